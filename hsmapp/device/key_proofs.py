"""The proof that a key object is the key it should be: its check ciphertext, and what PKCS#11 lets be done with it.

The check ciphertext catches another value under the right label; the attributes catch a bit that has turned a key into
one that may be read, or may no longer encrypt.
"""

from __future__ import annotations

from hsmapp.device.token import KEY_BYTES, Token, TokenRefusedError

CHECK_PLAINTEXT = bytes(32)
CHECK_DOMAIN = b"casemate check 1"
IV_BYTES = 12
MASKED_BYTES = KEY_BYTES + 8  # RFC 3394 adds 8 bytes; any other length is not a masked AES-256 key
CHECK_BYTES = IV_BYTES + len(CHECK_PLAINTEXT) + 16


def check_aad(label: str, id_: str) -> bytes:
    """Return the additional data of a check ciphertext: domain | label | material id, the latter two each after a
    4-byte length.
    """
    parts = (label.encode(), bytes.fromhex(id_))
    return CHECK_DOMAIN + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


class KeyProofs:
    """Proves keys of one token. False says nothing about the key if the token itself does not answer."""

    def __init__(self, token: Token) -> None:
        self._token = token

    def passes(self, handle: int, label: str, id_: str, check: bytes) -> bool:
        """True if this object opens the check ciphertext, and is made as keys are made."""
        iv, sealed = check[:IV_BYTES], check[IV_BYTES:]
        try:
            opened = self._token.objects.decrypt(handle, iv, check_aad(label, id_), sealed)
            return opened == CHECK_PLAINTEXT and self._token.objects.is_as_made(handle)
        except TokenRefusedError:
            return False

    def opens(self, label: str, id_: str, masked: bytes, check: bytes) -> bool:
        """True if the masked key opens with the token's masking key and passes its check, all in a session object."""
        if len(masked) != MASKED_BYTES:
            return False
        try:
            handle = self._token.masking.unmask(masked, label, id_, store=False)
        except TokenRefusedError:
            return False
        try:
            return self.passes(handle, label, id_, check)
        finally:
            self._token.objects.destroy(handle)
