"""The keys of one HSM: label -> key object, owner, and whether its check ciphertext has been verified.

Rules kept here (design.md 3.5 to 3.8): a key is used only by its owner; its check ciphertext is verified before its
first encryption after a load, hourly while it is used, and whenever the token refuses a decryption; "not there" and
"refused" are believed only after the token itself answered. A key whose check fails is withdrawn: not used, not
destroyed, until its check verifies or `restore` replaces it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from hsmapp.device import masking_check
from hsmapp.device.ivs import IvMaker
from hsmapp.device.key_proofs import CHECK_PLAINTEXT, KeyProofs, check_aad
from hsmapp.device.key_table import Key, KeyTable
from hsmapp.device.masking_check import MaskingCheck
from hsmapp.device.owners import QUARANTINED, OwnerJournal
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
from hsmapp.device.token import Debris, Token, TokenRefusedError

CHECK_SECONDS = 3600.0


class Keys:
    """All keys of the token. `owner` None stands for the supervisor, which may manage every key."""

    def __init__(
        self,
        token: Token,
        journal: OwnerJournal,
        masking_check: MaskingCheck,
        *,
        capacity: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._token = token
        self._journal = journal
        self._capacity = capacity
        self._clock = clock
        self._ivs = IvMaker(token.session.random)
        self._proofs = KeyProofs(token)
        self._masking_check = masking_check
        self.table = KeyTable(journal)
        self.debris: list[Debris] = []
        self.load()

    def load(self) -> None:
        """Read the token anew; no key counts as checked afterwards."""
        contents = self._token.load()
        self._masking_check.judge()
        self.debris = contents.debris
        self.table.fill(contents.keys)

    def __len__(self) -> int:
        return len(self.table)

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
            self._verify(key, check)
            # The key is sound, and so is the token by now: whether it was so before, only another try tells.
            return self._decrypt_again(key, iv, sealed, aad)

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
        passing = next(
            (handle for handle in key.handles if self._proofs.passes(handle, key.label, key.id, check)), None
        )
        if passing is None:
            key.damaged, key.checked_at = True, None
            raise HsmAnswerError(KEY_DAMAGED, f"the key {key.label} fails its check in this HSM")
        key.handles.sort(key=lambda handle: handle != passing)
        key.damaged, key.checked_at = False, self._clock()

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
            key.checked_at = None  # it may be the object: its attributes are checked too before it is used again
            return HsmAnswerError(TOKEN_FAILED, f"the token refused an operation ({error})")
        self.table.lose_own_objects(key)
        return _not_found(key.label)

    # Making and destroying keys

    def generate(self, label: str, id_: str) -> tuple[bytes, bytes]:
        """Return masked key and check ciphertext of a new key, of which nothing stays in this token."""
        if self.table.get(label) is not None:
            raise HsmAnswerError(KEY_EXISTS, f"there is a key {label} already")
        self._refuse_when_full()
        return self._generate(label, id_)

    def prove_masking_key(self) -> None:
        """Make the present masking key the one that the token must have from now on."""
        self._masking_check.write(*self._generate(masking_check.LABEL, masking_check.ID))

    def _generate(self, label: str, id_: str) -> tuple[bytes, bytes]:
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
        if self._journal.owner(label, id_) == QUARANTINED:
            self._release_proven(label, id_, masked, check)
        key, foreign = self._to_restore(label, id_, supervisor=supervisor)
        if key is not None and self._is_good(key, owner, check, supervisor=supervisor):
            return False
        if key is None and not foreign:
            self._refuse_when_full()
        self._need_masking_key()
        self._try_masked(label, id_, masked, check)
        if key is not None:
            self.table.drop(key)
            self._destroy_handles(key.handles)
        self._journal.note(label, id_, owner)
        handle = self._make(label, id_, masked)
        if not self._proofs.passes(handle, label, id_, check):
            self._token.objects.destroy(handle)
            raise HsmAnswerError(MASKED_KEY_WRONG, f"the key made for {label} fails its check")
        self.table.put(Key(label, id_, [handle], owner, checked_at=self._clock(), others=foreign))
        return True

    def _release_proven(self, label: str, id_: str, masked: bytes, check: bytes) -> None:
        self._need_masking_key()
        self._try_masked(label, id_, masked, check)
        self.release(label, id_)

    def _to_restore(self, label: str, id_: str, *, supervisor: bool) -> tuple[Key | None, list[tuple[int, str]]]:
        """Return the key with this label and id, if there is one, and the label's other objects, which stay.

        What no HSM user owns cannot keep a label from its key. Raises: HsmAnswerError KeyExists.
        """
        key = self.table.get(label)
        if key is None:
            return None, []
        if key.id != id_:
            if key.owner is not None and not supervisor:
                raise HsmAnswerError(KEY_EXISTS, f"there is another key {label} already")
            if id_ not in (other for _handle, other in key.others):
                return None, [(handle, key.id) for handle in key.handles] + key.others
            self.table.promote(key, id_)
        return key, key.others

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
        if not self.opens_masked(label, id_, masked, check):
            raise HsmAnswerError(MASKED_KEY_WRONG, f"the masked key of {label} does not open, or fails its check")

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
                self._token.objects.destroy_nameless()
            raise HsmAnswerError(TOKEN_FAILED, f"the token cannot store the key {label} ({error})") from error

    def try_backup(self, private: bytes, wrapped: bytes, label: str, id_: str, masked: bytes, check: bytes) -> None:
        """Open a wrapped masking key with the backup key, and a masked key with that, all in session objects.

        Raises: TokenRefusedError or HsmAnswerError MaskedKeyWrong if one of them does not open; ValueError if
        `private` is no RSA key.
        """
        masking_key = self._token.masking.open_backup(private, wrapped)
        try:
            handle = self._token.masking.unmask_with_backup(masking_key, masked, label, id_)
            good = self._proofs.passes(handle, label, id_, check)
            self._token.objects.destroy(handle)
        finally:
            masking_key.destroy()
        if not good:
            raise self._masked_key_failure(label)

    def destroy(self, owner: str | None, label: str, id_: str) -> int:
        """Destroy the objects with this label and id; return how many there were."""
        if not self._token.session.healthy():
            raise HsmAnswerError(TOKEN_FAILED, "the token does not answer")
        key = self.table.get(label)
        if key is None:
            return 0
        if owner is not None and key.owner != owner:
            raise _not_found(label)
        if key.id != id_:
            return self._destroy_others(key, id_)
        self._destroy_handles(key.handles)
        destroyed = len(key.handles)
        self.table.lose_own_objects(key)
        self._journal.forget(label, id_)
        return destroyed

    def _destroy_others(self, key: Key, id_: str) -> int:
        gone = [handle for handle, other in key.others if other == id_]
        self._destroy_handles(gone)
        key.others = [(handle, other) for handle, other in key.others if other != id_]
        self._journal.forget(key.label, id_)
        return len(gone)

    def _destroy_handles(self, handles: list[int]) -> None:
        for handle in handles:
            try:
                self._token.objects.destroy(handle)
            except TokenRefusedError as error:
                if not error.gone:
                    raise HsmAnswerError(TOKEN_FAILED, f"the token cannot destroy a key ({error})") from error

    def _refuse_when_full(self) -> None:
        if len(self.table) >= self._capacity:
            raise HsmAnswerError(CAPACITY_EXCEEDED, f"this HSM holds at most {self._capacity} keys")

    def _need_masking_key(self) -> None:
        if not self._token.masking.present:
            raise HsmAnswerError(MASKING_KEY_MISSING, "this HSM has no masking key yet")

    def opens_masked(self, label: str, id_: str, masked: bytes, check: bytes) -> bool:
        """True if the masking key opens this masked key, and nobody has put another key into it."""
        if self._proofs.opens(label, id_, masked, check):
            return True
        if not self._token.session.healthy():
            raise HsmAnswerError(TOKEN_FAILED, "the token does not answer")
        return False

    # Putting aside what nobody knows

    def quarantine(self, label: str, id_: str) -> int:
        """Take the objects with this label and id out of use, for good or until they are released."""
        if self.table.get(label) is None:
            return 0
        self._journal.note(label, id_, QUARANTINED)
        return self.table.quarantine(label, id_)

    def release(self, label: str, id_: str) -> int:
        """Let what was quarantined be a key again, of no owner."""
        self._journal.forget(label, id_)
        return self.table.release(label, id_)

    def clear_debris(self) -> int:
        """Destroy the objects without a label, which are what a token leaves of a key that was not made."""
        if not self._token.session.healthy():
            raise HsmAnswerError(TOKEN_FAILED, "the token does not answer")
        destroyed = self._token.objects.destroy_nameless()
        self.debris = [one for one in self.debris if not one.nameless]
        return destroyed

    # Looking at keys

    def attributes(self, owner: str | None, label: str) -> dict[str, Any]:
        key = self._present(label) if owner is None else self._owned(label, owner)
        try:
            shown = self._token.objects.attributes(key.handles[0])
        except TokenRefusedError as error:
            raise self._failure(key, error) from error
        return {"label": key.label, "id": key.id, "owner": key.owner, "damaged": key.damaged, **shown}

    def _present(self, label: str) -> Key:
        key = self.table.get(label)
        if key is None:
            raise _not_found(label)
        return key

    def _owned(self, label: str, owner: str) -> Key:
        key = self.table.get(label)
        if key is None or key.owner != owner:
            raise _not_found(label)
        return key


def _not_found(label: str) -> HsmAnswerError:
    return HsmAnswerError(KEY_NOT_FOUND, f"there is no key {label}")
