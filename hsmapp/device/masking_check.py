"""Whether the masking key in the token is the one that was put there: a key masked by it, with its check ciphertext.

They lie in a file beside the token. When the token is opened, the masking key that opens them is used; one that does
not is damaged, and not used: it would mask new keys so that no other HSM could open them. A damaged file says nothing
about the masking key. It is written anew once the masking key has been proven with a masked key of the cluster.
"""

from __future__ import annotations

import zlib
from pathlib import Path

from hsmapp.device.key_proofs import CHECK_BYTES, MASKED_BYTES, KeyProofs
from hsmapp.device.token import Token
from hsmapp.durable import write_durably

# What the masked key is labelled with; no key in the token has this label.
LABEL = "masking key check"
ID = "0" * 64
_CHECKSUM_BYTES = 4


class MaskingCheck:
    """damaged: a masking key is there and is not the one it was. unproven: the file that says so is not there."""

    def __init__(self, path: Path, token: Token) -> None:
        self._path = path
        self._token = token
        self._proofs = KeyProofs(token)
        self.damaged = False

    @property
    def unproven(self) -> bool:
        return self._token.masking.present and self._read() is None

    def judge(self) -> None:
        """Have the token use the masking key that passes, or none."""
        proof = self._read()
        self.damaged = False
        if proof is None:
            return
        masked, check = proof
        for candidate in range(self._token.masking.candidates):
            self._token.masking.choose(candidate)
            if self._token.masking.is_as_made() and self._proofs.opens(LABEL, ID, masked, check):
                return
        # Also if none is found: one was there, and a flipped bit can hide it from every search.
        self.damaged = True
        self._token.masking.choose(None)

    def withdraw(self) -> None:
        """Let the token use no masking key; what is there stays until another one is proven."""
        self._token.masking.choose(None)
        self.damaged = True

    def write(self, masked: bytes, check: bytes) -> None:
        """Take what the present masking key has just masked as its proof from now on."""
        body = masked + check
        write_durably(self._path, zlib.crc32(body).to_bytes(_CHECKSUM_BYTES, "big") + body)
        self.damaged = False

    def _read(self) -> tuple[bytes, bytes] | None:
        try:
            content = self._path.read_bytes()
        except OSError:
            return None
        body = content[_CHECKSUM_BYTES:]
        checksum = int.from_bytes(content[:_CHECKSUM_BYTES], "big")
        if len(body) != MASKED_BYTES + CHECK_BYTES or zlib.crc32(body) != checksum:
            return None
        return body[:MASKED_BYTES], body[MASKED_BYTES:]
