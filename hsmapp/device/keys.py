"""The keys of one HSM: label -> key object, owner, and whether its check ciphertext has been verified.

Rules kept here (design.md 3.5 to 3.8): a key is used only by its owner; its check ciphertext is verified before its
first encryption after a load, hourly while it is used, and whenever the token refuses a decryption; "not there" and
"refused" are believed only after the token itself answered. A key whose check fails is withdrawn: not used, not
destroyed, until its check verifies or `restore` replaces it.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hsmapp.device.ivs import IvMaker
from hsmapp.device.owners import OwnerJournal
from hsmapp.device.protocol import (
    CAPACITY_EXCEEDED,
    INVALID_CIPHERTEXT,
    IV_NOT_COUNTED,
    KEY_DAMAGED,
    KEY_EXISTS,
    KEY_NOT_FOUND,
    MASKED_KEY_WRONG,
    MASKING_KEY_MISSING,
    TOKEN_FAILED,
    HsmAnswerError,
)
from hsmapp.device.token import KEY_BYTES, Token, TokenRefusedError

CHECK_PLAINTEXT = bytes(32)
CHECK_DOMAIN = b"casemate check 1"
CHECK_SECONDS = 3600.0
IV_BYTES = 12
MASKED_BYTES = KEY_BYTES + 8  # RFC 3394 adds 8 bytes; any other length is not a masked AES-256 key
CHECK_BYTES = IV_BYTES + len(CHECK_PLAINTEXT) + 16


def check_aad(label: str, id_: str) -> bytes:
    """Return the additional data of a check ciphertext: domain | label | material id, the latter two each after a
    4-byte length.
    """
    parts = (label.encode(), bytes.fromhex(id_))
    return CHECK_DOMAIN + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


@dataclass
class Key:
    """One label. handles: its objects; more than one only after another program wrote into the token."""

    label: str
    id: str
    handles: list[int]
    owner: str | None
    checked_at: float | None = None  # monotonic seconds
    damaged: bool = False
    others: list[tuple[int, str]] = field(default_factory=list)  # objects with this label and another id


class Keys:
    """All keys of the token. `owner` None stands for the supervisor, which may manage every key."""

    def __init__(
        self, token: Token, journal: OwnerJournal, *, capacity: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._token = token
        self._journal = journal
        self._capacity = capacity
        self._clock = clock
        self._ivs = IvMaker(token.session.random)
        self._keys: dict[str, Key] = {}
        self._labels: list[str] = []
        self.debris = 0
        self.load()

    def load(self) -> None:
        """Read the token anew; no key counts as checked afterwards."""
        contents = self._token.load()
        self.debris = contents.debris
        self._keys = {}
        for stored in contents.keys:
            known = self._keys.get(stored.label)
            if known is None:
                owner = self._journal.owner(stored.label, stored.id)
                self._keys[stored.label] = Key(stored.label, stored.id, [stored.handle], owner)
            elif known.id == stored.id:
                known.handles.append(stored.handle)
            else:
                known.others.append((stored.handle, stored.id))
                if known.owner is None and self._journal.owner(stored.label, stored.id) is not None:
                    self._promote(known, stored.id)
        self._labels = sorted(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    # Using keys

    def encrypt(
        self, owner: str, label: str, check: bytes, plaintext: bytes, aad: bytes, *, counted: bool
    ) -> tuple[bytes, bytes]:
        """Return the IV made here (12 bytes), and ciphertext with tag.

        counted: the caller has counted this IV of the key's, which a module that makes IVs itself needs.
        """
        key = self._owned(label, owner)
        if self.module_makes_ivs and not counted:
            raise HsmAnswerError(IV_NOT_COUNTED, "this HSM's module makes IVs itself: count them, key by key")
        if key.damaged or key.checked_at is None or self._clock() - key.checked_at >= CHECK_SECONDS:
            self._verify(key, check)
        try:
            return self._seal(key.handles[0], aad, plaintext)
        except TokenRefusedError as error:
            raise self._failure(key, error) from error

    def decrypt(self, owner: str, label: str, check: bytes, iv: bytes, sealed: bytes, aad: bytes) -> bytes:
        key = self._owned(label, owner)
        if key.damaged:
            self._verify(key, check)
        try:
            return self._token.objects.decrypt(key.handles[0], iv, aad, sealed)
        except TokenRefusedError as error:
            if error.gone:
                raise self._failure(key, error) from error
            before = key.handles[0]
            self._verify(key, check)
            if key.handles[0] != before:
                return self._decrypt_again(key, iv, sealed, aad)
            raise HsmAnswerError(INVALID_CIPHERTEXT, "") from error

    def _decrypt_again(self, key: Key, iv: bytes, sealed: bytes, aad: bytes) -> bytes:
        try:
            return self._token.objects.decrypt(key.handles[0], iv, aad, sealed)
        except TokenRefusedError as error:
            raise HsmAnswerError(INVALID_CIPHERTEXT, "") from error

    @property
    def module_makes_ivs(self) -> bool:
        return self._token.objects.module_makes_ivs

    def _seal(self, handle: int, aad: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        """Return IV, and ciphertext with tag. Every encryption in this HSM goes through here."""
        if self.module_makes_ivs:
            return self._token.objects.encrypt_by_module(handle, aad, plaintext)
        iv = self._next_iv()
        return iv, self._token.objects.encrypt(handle, iv, aad, plaintext)

    def _next_iv(self) -> bytes:
        try:
            return self._ivs.next()
        except TokenRefusedError as error:
            raise HsmAnswerError(TOKEN_FAILED, "the token gives no random bytes") from error

    def random(self, length: int) -> bytes:
        try:
            return self._token.session.random(length)
        except TokenRefusedError as error:
            raise HsmAnswerError(TOKEN_FAILED, "the token gives no random bytes") from error

    def _verify(self, key: Key, check: bytes) -> None:
        """Verify the check ciphertext with the key's objects; the first that passes is used from now on.

        Raises: HsmAnswerError TokenFailed, KeyNotFound or KeyDamaged, the key being withdrawn then.
        """
        if not self._token.session.healthy():
            raise HsmAnswerError(TOKEN_FAILED, "the token does not answer")
        passing = next((handle for handle in key.handles if self._passes(handle, key.label, key.id, check)), None)
        if passing is None:
            key.damaged, key.checked_at = True, None
            raise HsmAnswerError(KEY_DAMAGED, f"the key {key.label} fails its check in this HSM")
        key.handles.sort(key=lambda handle: handle != passing)
        key.damaged, key.checked_at = False, self._clock()

    def _passes(self, handle: int, label: str, id_: str, check: bytes) -> bool:
        iv, sealed = check[:IV_BYTES], check[IV_BYTES:]
        try:
            return self._token.objects.decrypt(handle, iv, check_aad(label, id_), sealed) == CHECK_PLAINTEXT
        except TokenRefusedError:
            return False

    def verifies(self, label: str, check: bytes) -> bool:
        """True if the key passes its check; one that does not is withdrawn."""
        try:
            self._verify(self._present(label), check)
        except HsmAnswerError as error:
            if error.name == KEY_DAMAGED:
                return False
            raise
        return True

    def _failure(self, key: Key, error: TokenRefusedError) -> HsmAnswerError:
        """What to answer when a key that should work does not: an object that a healthy token no longer knows is not
        there.
        """
        if not self._token.session.healthy() or not error.gone:
            return HsmAnswerError(TOKEN_FAILED, f"the token refused an operation ({error})")
        self._drop(key)
        return _not_found(key.label)

    # Making and destroying keys

    def generate(self, label: str, id_: str) -> tuple[bytes, bytes]:
        """Return masked key and check ciphertext of a new key, of which nothing stays in this token."""
        if label in self._keys:
            raise HsmAnswerError(KEY_EXISTS, f"there is a key {label} already")
        self._refuse_when_full()
        self._need_masking_key()
        try:
            handle = self._token.objects.generate_for_masking()
            try:
                iv, sealed = self._seal(handle, check_aad(label, id_), CHECK_PLAINTEXT)
                return self._token.masking.mask(handle), iv + sealed
            finally:
                self._token.objects.destroy(handle)
        except TokenRefusedError as error:
            raise HsmAnswerError(TOKEN_FAILED, f"the token cannot generate a key ({error})") from error

    def restore(self, owner: str, label: str, id_: str, masked: bytes, check: bytes, *, supervisor: bool) -> bool:
        """Make sure that the key in `masked` is in the token and passes its check; return whether it had to be made.

        After a crash at any line the key is there and good, or a further call makes it so: the owner is on the disk
        before the object, and an object that does not pass is replaced.
        """
        key, foreign = self._to_restore(label, id_, supervisor=supervisor)
        if key is not None and self._is_good(key, owner, check, supervisor=supervisor):
            return False
        if key is None and not foreign:
            self._refuse_when_full()
        self._need_masking_key()
        self._try_masked(label, id_, masked, check)
        if key is not None:
            self._drop(key)
            self._destroy_handles(key.handles)
        self._journal.note(label, id_, owner)
        handle = self._make(label, id_, masked)
        if not self._passes(handle, label, id_, check):
            self._token.objects.destroy(handle)
            raise HsmAnswerError(MASKED_KEY_WRONG, f"the key made for {label} fails its check")
        self._put(Key(label, id_, [handle], owner, checked_at=self._clock(), others=foreign))
        return True

    def _to_restore(self, label: str, id_: str, *, supervisor: bool) -> tuple[Key | None, list[tuple[int, str]]]:
        """Return the key with this label and id, if there is one, and the label's other objects, which stay.

        What no HSM user owns cannot keep a label from its key. Raises: HsmAnswerError KeyExists.
        """
        key = self._keys.get(label)
        if key is None:
            return None, []
        if key.id != id_:
            if key.owner is not None and not supervisor:
                raise HsmAnswerError(KEY_EXISTS, f"there is another key {label} already")
            if id_ not in (other for _handle, other in key.others):
                return None, [(handle, key.id) for handle in key.handles] + key.others
            self._promote(key, id_)
        return key, key.others

    def _promote(self, key: Key, id_: str) -> None:
        """Make the objects with this id the label's own, and what was that before others."""
        before = [(handle, key.id) for handle in key.handles]
        key.handles = [handle for handle, other in key.others if other == id_]
        key.others = before + [(handle, other) for handle, other in key.others if other != id_]
        key.id, key.owner = id_, self._journal.owner(key.label, id_)
        key.checked_at, key.damaged = None, False

    def _is_good(self, key: Key, owner: str, check: bytes, *, supervisor: bool) -> bool:
        if key.owner is not None and key.owner != owner and not supervisor:
            raise _not_found(key.label)
        try:
            self._verify(key, check)
        except HsmAnswerError as error:
            if error.name == KEY_DAMAGED:
                return False
            raise
        if key.owner is None:
            self._journal.note(key.label, key.id, owner)
            key.owner = owner
        return True

    def _try_masked(self, label: str, id_: str, masked: bytes, check: bytes) -> None:
        """Open the masked key into a session object first, so that a wrong one neither replaces nor leaves anything."""
        if len(masked) != MASKED_BYTES:
            raise self._masked_key_failure(label)
        try:
            handle = self._token.masking.unmask(masked, label, id_, store=False)
        except TokenRefusedError as error:
            raise self._masked_key_failure(label) from error
        good = self._passes(handle, label, id_, check)
        self._token.objects.destroy(handle)
        if not good:
            raise self._masked_key_failure(label)

    def _masked_key_failure(self, label: str) -> HsmAnswerError:
        if not self._token.session.healthy():
            return HsmAnswerError(TOKEN_FAILED, "the token does not answer")
        return HsmAnswerError(MASKED_KEY_WRONG, f"the masked key of {label} does not open, or fails its check")

    def _make(self, label: str, id_: str, masked: bytes) -> int:
        try:
            return self._token.masking.unmask(masked, label, id_, store=True)
        except TokenRefusedError as error:
            # The masked key has just opened, so the token could not store it, and may have left a nameless object.
            if self._token.session.healthy():
                self._token.objects.destroy_debris()
            raise HsmAnswerError(TOKEN_FAILED, f"the token cannot store the key {label} ({error})") from error

    def try_backup(self, private: bytes, wrapped: bytes, label: str, id_: str, masked: bytes, check: bytes) -> None:
        """Open a wrapped masking key with the backup key, and a masked key with that, all in session objects.

        Raises: TokenRefusedError or HsmAnswerError MaskedKeyWrong if one of them does not open; ValueError if
        `private` is no RSA key.
        """
        masking_key = self._token.masking.open_backup(private, wrapped)
        try:
            handle = self._token.masking.unmask_with_backup(masking_key, masked, label, id_)
            good = self._passes(handle, label, id_, check)
            self._token.objects.destroy(handle)
        finally:
            masking_key.destroy()
        if not good:
            raise self._masked_key_failure(label)

    def destroy(self, owner: str | None, label: str, id_: str) -> int:
        """Destroy the objects with this label and id; return how many there were."""
        if not self._token.session.healthy():
            raise HsmAnswerError(TOKEN_FAILED, "the token does not answer")
        key = self._keys.get(label)
        if key is None:
            return 0
        if owner is not None and key.owner != owner:
            raise _not_found(label)
        if key.id != id_:
            return self._destroy_others(key, id_)
        destroyed = self._destroy_objects(key)
        self._journal.forget(label, id_)
        return destroyed

    def _destroy_others(self, key: Key, id_: str) -> int:
        gone = [handle for handle, other in key.others if other == id_]
        self._destroy_handles(gone)
        key.others = [(handle, other) for handle, other in key.others if other != id_]
        return len(gone)

    def _destroy_objects(self, key: Key) -> int:
        self._destroy_handles(key.handles)
        destroyed = len(key.handles)
        self._drop(key)
        if key.others:
            key.handles = []
            self._promote(key, key.others[0][1])
            self._put(key)
        return destroyed

    def _destroy_handles(self, handles: list[int]) -> None:
        for handle in handles:
            try:
                self._token.objects.destroy(handle)
            except TokenRefusedError as error:
                if not error.gone:
                    raise HsmAnswerError(TOKEN_FAILED, f"the token cannot destroy a key ({error})") from error

    def _refuse_when_full(self) -> None:
        if len(self._keys) >= self._capacity:
            raise HsmAnswerError(CAPACITY_EXCEEDED, f"this HSM holds at most {self._capacity} keys")

    def _need_masking_key(self) -> None:
        if not self._token.masking.present:
            raise HsmAnswerError(MASKING_KEY_MISSING, "this HSM has no masking key yet")

    # Looking at keys

    def owned_by(self, owner: str) -> bool:
        return any(key.owner == owner for key in self._keys.values())

    def page(self, owner: str | None, after: str, limit: int) -> tuple[list[Key], str | None]:
        """Return keys in the order of their labels, and the label to continue after, None at the end."""
        start = bisect_right(self._labels, after) if after else 0
        found: list[Key] = []
        for label in self._labels[start:]:
            key = self._keys[label]
            if owner is not None and key.owner != owner:
                continue
            if len(found) == limit:
                return found, found[-1].label
            found.append(key)
        return found, None

    def attributes(self, owner: str | None, label: str) -> dict[str, Any]:
        key = self._present(label) if owner is None else self._owned(label, owner)
        try:
            shown = self._token.objects.attributes(key.handles[0])
        except TokenRefusedError as error:
            raise self._failure(key, error) from error
        return {"label": key.label, "id": key.id, "owner": key.owner, "damaged": key.damaged, **shown}

    def _present(self, label: str) -> Key:
        key = self._keys.get(label)
        if key is None:
            raise _not_found(label)
        return key

    def _owned(self, label: str, owner: str) -> Key:
        key = self._keys.get(label)
        if key is None or key.owner != owner:
            raise _not_found(label)
        return key

    def _put(self, key: Key) -> None:
        if key.label not in self._keys:
            insort(self._labels, key.label)
        self._keys[key.label] = key

    def _drop(self, key: Key) -> None:
        if self._keys.pop(key.label, None) is not None:
            del self._labels[bisect_left(self._labels, key.label)]


def _not_found(label: str) -> HsmAnswerError:
    return HsmAnswerError(KEY_NOT_FOUND, f"there is no key {label}")
