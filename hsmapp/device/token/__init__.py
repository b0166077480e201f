"""The token of one HSM: initialise it, open it, and do cryptography with the keys in it.

Nothing outside this package imports pkcs11. One process owns the token folder and one thread calls it: SoftHSM's
locks are off under python-pkcs11. No value of a secret or private key is ever read. Order of calls: Token(),
`session.initialise` if it is not there, `session.log_in`, `key_pairs.make` at the first start, `load`.

Objects of the token's own carry a label with the reserved prefix: identity and transport key pairs, masking key,
trusted public keys. Everything else that is an AES key and has a label is a key of an HSM user.

PKCS#11 answers a forged ciphertext and a broken key or token alike (TokenRefusedError): keys.py finds out which it was.
"""

from __future__ import annotations

from pathlib import Path

from hsmapp.device.token.key_objects import Contents, Debris, KeyObjects, StoredKey
from hsmapp.device.token.key_pairs import KeyPairs
from hsmapp.device.token.masking import MaskingKey
from hsmapp.device.token.refusals import TokenRefusedError, TokenUnusableError
from hsmapp.device.token.session import TokenSession
from hsmapp.device.token.templates import KEY_BYTES, MASKING_KEY_LABEL, RESERVED_PREFIX

__all__ = [
    "KEY_BYTES",
    "MASKING_KEY_LABEL",
    "RESERVED_PREFIX",
    "Contents",
    "Debris",
    "StoredKey",
    "Token",
    "TokenRefusedError",
    "TokenUnusableError",
]


class Token:
    """The token labelled with the HSM's id, in the folder that SOFTHSM2_CONF names: its session, and by subject what
    is in it.
    """

    def __init__(self, module: Path, hsm_id: str, pin: bytes) -> None:
        self.session = TokenSession(module, hsm_id, pin)
        self.key_pairs = KeyPairs(self.session)
        self.masking = MaskingKey(self.session, self.key_pairs)
        self.objects = KeyObjects(self.session)

    def __repr__(self) -> str:
        return f"<Token {self.session.hsm_id}>"

    def load(self) -> Contents:
        """Find the token's own keys, and return what else is in it. Handles from before are no longer valid."""
        self.key_pairs.find()
        self.masking.find()
        return self.objects.load()
