"""What a token answers when it does not do what it was asked, without PKCS#11's own words for it."""

from __future__ import annotations

from pkcs11.exceptions import PKCS11Error

from hsmapp.device.cryptoki import CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID, CryptokiError


class TokenRefusedError(Exception):
    """The token refused an operation; why is not known yet. `gone` says that it no longer knows the object."""

    def __init__(self, message: str, *, gone: bool = False) -> None:
        super().__init__(message)
        self.gone = gone


class TokenUnusableError(Exception):
    """The token cannot be opened; the message is for the person who starts the HSM process."""


def refused(error: PKCS11Error | CryptokiError) -> TokenRefusedError:
    if isinstance(error, CryptokiError):
        return TokenRefusedError(str(error), gone=error.code in (CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID))
    return TokenRefusedError(
        type(error).__name__, gone=type(error).__name__ in ("KeyHandleInvalid", "ObjectHandleInvalid")
    )
