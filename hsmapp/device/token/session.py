"""The token's slot and the one session that everything in it is done with: initialise, log in, health, random."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pkcs11
from pkcs11 import Attribute, TokenFlag
from pkcs11.exceptions import NoSuchToken, PinIncorrect, PKCS11Error
from pkcs11.types import Session

from hsmapp.device.cryptoki import CKU_SO, CKU_USER, Cryptoki, CryptokiError
from hsmapp.device.token.refusals import TokenRefusedError, TokenUnusableError, refused
from hsmapp.device.token.templates import KeyObject, attribute_mapper


class TokenSession:
    """The token labelled with the HSM's id. open: the session, for python-pkcs11; raw and number: the same for calls
    by hand.
    """

    def __init__(self, module: Path, hsm_id: str, pin: bytes) -> None:
        self.hsm_id = hsm_id
        self._pin = pin
        self._library = pkcs11.lib(str(module))
        self.raw = Cryptoki(module)
        self._session: Session | None = None
        self._slot = -1

    def __repr__(self) -> str:
        return f"<TokenSession {self.hsm_id}>"

    def is_there(self) -> bool:
        """True if the token exists and its user PIN is set; without one it is a first start that did not finish."""
        token = self._find()
        return token is not None and TokenFlag.USER_PIN_INITIALIZED in token.flags

    def initialise(self, so_pin: bytes) -> None:
        """Make the token (or finish making it) and set its user PIN.

        Raises: TokenUnusableError if the module refuses.
        """
        try:
            unfinished = self._find()
            slot = self._empty_slot() if unfinished is None else unfinished.slot.slot_id
            self.raw.init_token(slot, so_pin, self.hsm_id)
            with self._found().open(rw=True, so_pin=so_pin.decode()) as session:
                session.init_pin(self._pin.decode())
        except (PKCS11Error, CryptokiError) as error:
            raise TokenUnusableError(
                f"the token of {self.hsm_id} cannot be initialised ({type(error).__name__})"
            ) from error

    def _empty_slot(self) -> int:
        for slot in self._library.get_slots():
            if TokenFlag.TOKEN_INITIALIZED not in slot.get_token().flags:
                return slot.slot_id
        raise TokenUnusableError("the PKCS#11 module has no slot for another token")

    def _find(self) -> pkcs11.Token | None:
        try:
            return self._library.get_token(token_label=self.hsm_id)
        except NoSuchToken:
            return None
        except PKCS11Error as error:
            raise TokenUnusableError(f"the token of {self.hsm_id} cannot be read ({type(error).__name__})") from error

    def _found(self) -> pkcs11.Token:
        token = self._find()
        if token is None:
            raise TokenUnusableError(f"there is no token of {self.hsm_id} in its folder")
        return token

    def log_in(self) -> None:
        """Open the one session that everything is done in.

        Raises: TokenUnusableError, also for a wrong PIN.
        """
        token = self._found()
        self._slot = token.slot.slot_id
        try:
            self._session = token.open(rw=True, user_pin=self._pin.decode(), attribute_mapper=attribute_mapper())
        except PKCS11Error as error:
            # A failed login leaks its session, and a leaked session is in the way of the next login.
            self.raw.close_all_sessions(self._slot)
            reason = "its PIN is wrong" if isinstance(error, PinIncorrect) else type(error).__name__
            raise TokenUnusableError(f"the token of {self.hsm_id} does not open: {reason}") from error

    def close(self) -> None:
        self._session = None
        self._library.finalize()

    @property
    def open(self) -> Session:
        if self._session is None:
            raise TokenRefusedError("the token is not open")
        return self._session

    @property
    def number(self) -> int:
        return cast(int, self.open.handle)  # type: ignore[attr-defined]  # the implementation's, not in its types

    def find(self, attributes: dict[Attribute, Any]) -> list[KeyObject]:
        """Return the objects that have these attributes. Raises: TokenRefusedError."""
        try:
            # At once: no other call may come between the first and the last of a search.
            return list(self.open.get_objects(attributes))
        except PKCS11Error as error:
            raise refused(error) from error

    def find_readable(self, attributes: dict[Attribute, Any]) -> list[KeyObject]:
        """Return the objects that have these attributes, none if a damaged one among them is in the way.

        Raises: TokenRefusedError if it is the token that does not answer.
        """
        try:
            return self.find(attributes)
        except TokenRefusedError:
            if not self.healthy():
                raise
            return []

    def healthy(self) -> bool:
        """True if the token's storage answers. Asked before "not found" or a refusal is believed."""
        try:
            self.raw.token_info(self._slot)
        except CryptokiError:
            return False
        return True

    def random(self, length: int) -> bytes:
        try:
            return self.open.generate_random(length * 8)
        except PKCS11Error as error:
            raise refused(error) from error

    @contextlib.contextmanager
    def security_officer(self, so_pin: bytes) -> Iterator[None]:
        """Be logged in as the security officer for a while. Every handle changes meanwhile.

        Raises: TokenRefusedError, also for a wrong SO PIN.
        """
        try:
            self.raw.logout(self.number)
            try:
                self.raw.login(self.number, CKU_SO, so_pin)
                yield
                self.raw.logout(self.number)
            finally:
                self._log_in_again()
        except (PKCS11Error, CryptokiError) as error:
            raise refused(error) from error

    def _log_in_again(self) -> None:
        try:
            self.raw.login(self.number, CKU_USER, self._pin)
        except CryptokiError:
            self.raw.logout(self.number)
            self.raw.login(self.number, CKU_USER, self._pin)
