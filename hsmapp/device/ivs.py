"""The IVs of one opened token: 8 random bytes, then a 4-byte counter that all keys of the token share.

No IV repeats within a prefix, and prefixes are 64 random bits drawn anew at each start and whenever the counter has
run out, so no state has to survive a crash. docs/ciphertext.md states the bound.
"""

from __future__ import annotations

from collections.abc import Callable

PREFIX_BYTES = 8
COUNTER_END = 1 << 32


class IvMaker:
    """Makes 12-byte IVs. random: gives that many random bytes, from the token."""

    def __init__(self, random: Callable[[int], bytes], *, counter: int = 0) -> None:
        self._random = random
        self._prefix = self._new_prefix()
        self._counter = counter

    def _new_prefix(self) -> bytes:
        prefix = self._random(PREFIX_BYTES)
        if len(prefix) != PREFIX_BYTES:
            raise ValueError("the random source gave too little")
        return prefix

    def next(self) -> bytes:
        if self._counter >= COUNTER_END:
            # Drawn before anything is changed: if the token fails here, the counter stays at its end and no IV is
            # given.
            self._prefix = self._new_prefix()
            self._counter = 0
        iv = self._prefix + self._counter.to_bytes(4, "big")
        self._counter += 1
        return iv
