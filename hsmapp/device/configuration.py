"""The configuration of an HSM process, which comes on its standard input: never on its command line or in its
environment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CONTROL_SECRET_BYTES = 32


@dataclass(frozen=True)
class Configuration:
    hsm_id: str
    parent_pid: int
    module: Path  # the PKCS#11 module
    folder: Path  # tokens, softhsm2.conf, users, owners
    lock: Path  # outside the folder, so that it survives the folder
    socket: Path
    capacity: int  # keys
    pin: bytes = field(repr=False)
    so_pin: bytes | None = field(repr=False)  # only for a first start, which initialises the token
    control_secret: bytes = field(repr=False)  # who shows it is the supervisor

    @classmethod
    def parse(cls, hsm_id: str, given: Any) -> Configuration:
        """Return the configuration of the HSM named on the command line.

        Raises: KeyError, TypeError, ValueError or AttributeError if something is missing or of the wrong type.
        """
        if given["hsm_id"] != hsm_id or len(given["control_secret"]) != CONTROL_SECRET_BYTES:
            raise ValueError("not the configuration of this HSM")
        so_pin = given.get("so_pin")
        return cls(
            hsm_id=hsm_id,
            parent_pid=int(given["parent_pid"]),
            module=Path(given["module"]),
            folder=Path(given["folder"]),
            lock=Path(given["lock"]),
            socket=Path(given["socket"]),
            capacity=int(given["capacity"]),
            pin=given["pin"].encode(),
            so_pin=so_pin.encode() if so_pin is not None else None,
            control_secret=bytes(given["control_secret"]),
        )
