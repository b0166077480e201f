"""The messages between an HSM process and whoever uses it, and the blocking client.

A frame is a 4-byte big-endian length and that many bytes of msgpack, at most 64 KiB. A request is `[op,
{arguments}]`; an answer is `["ok", {values}]` or `["error", name, message]`. Requests on one connection are answered
one after another.

Order of calls for a user of keys: connect, `login`, then operations. The supervisor says `control` instead of `login`.
One thread uses one Connection at a time. After HsmUnreachableError the connection is closed and whether the request
was carried out is not known.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, cast

import msgpack

from hsmapp.unix_sockets import unix_address

MAX_FRAME_BYTES = 64 * 1024
HEADER = struct.Struct(">I")
_TIMEVAL = struct.Struct("ll")

ROLE_ADMIN = "admin"
ROLE_CRYPTO_USER = "crypto-user"
ROLES = (ROLE_ADMIN, ROLE_CRYPTO_USER)

BAD_REQUEST = "BadRequest"
NOT_PERMITTED = "NotPermitted"
NOT_LOGGED_IN = "NotLoggedIn"
NOT_SERVING = "NotServing"
USER_NOT_FOUND = "UserNotFound"
WRONG_PASSWORD = "WrongPassword"  # noqa: S105 - the name of an error
PASSWORD_CHANGED = "PasswordChanged"  # noqa: S105 - the name of an error
USER_LOCKED = "UserLocked"
USER_EXISTS = "UserExists"
BUSY = "Busy"
KEY_NOT_FOUND = "KeyNotFound"
KEY_EXISTS = "KeyExists"
KEY_DAMAGED = "KeyDamaged"
KEY_PAIR_LOST = "KeyPairLost"
INVALID_CIPHERTEXT = "InvalidCiphertext"
IV_NOT_COUNTED = "IvNotCounted"
MASKED_KEY_WRONG = "MaskedKeyWrong"
MASKING_KEY_MISSING = "MaskingKeyMissing"
CAPACITY_EXCEEDED = "CapacityExceeded"
TOKEN_FAILED = "TokenFailed"  # noqa: S105 - the name of an error

# Kinds of the rows that list_defects answers: kind, name, id, reason. What the supervisor can do about each:
DEFECT_STORAGE = "storage"  # nothing the HSM says of its keys can be believed: start it again, or make it anew
DEFECT_MASKING_KEY = "masking-key"  # masking_key says that it is not present: fetch it from a peer or the backup
DEFECT_MASKING_KEY_UNPROVEN = "masking-key-unproven"  # prove_masking_key with a masked key; else withdraw_masking_key
DEFECT_KEY_PAIR = "key-pair"  # name: identity or transport; renew_key_pairs, then certify and trust anew
DEFECT_DAMAGED_KEY = "damaged-key"  # restore_key makes it anew
DEFECT_UNOWNED_KEY = "unowned-key"  # restore_key if it is known, else quarantine_key
DEFECT_FOREIGN_OBJECT = "foreign-object"  # under the label of a key: quarantine_key, or leave it
DEFECT_QUARANTINED = "quarantined"  # release_key, or restore_key with its masked key, brings it back
DEFECT_DEBRIS = "debris"  # clear_debris
DEFECT_ODD_OBJECT = "odd-object"  # damaged beyond recognition: a key that is missing is restored beside it
DEFECT_SET_ASIDE = "set-aside"  # a file that was moved out of the way at the start
DEFECT_STRAY_FILE = "stray-file"


class Defect(NamedTuple):
    """One row of list_defects. name: a label, or a file's name. id: CKA_ID of an object that has one."""

    kind: str
    name: str
    id: str
    reason: str


# A path that does not fit sun_path (108 bytes with the closing NUL) is reached through its folder's descriptor.
_SUN_PATH_BYTES = 107


class HsmAnswerError(Exception):
    """The HSM process answered with an error. `name` is one of the constants above; `message` never holds a secret."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message


class HsmUnreachableError(Exception):
    """No answer: the HSM process refused the connection, ended it, or missed the deadline."""


class FrameError(Exception):
    """What came is no frame of this protocol; its connection ends."""


def pack(message: object) -> bytes:
    """Return `message` as one frame.

    Raises: ValueError if it is larger than a frame may be.
    """
    payload = cast(bytes, msgpack.packb(message, use_bin_type=True))
    if len(payload) > MAX_FRAME_BYTES:
        raise ValueError("a message of the HSM protocol is at most 64 KiB")
    return HEADER.pack(len(payload)) + payload


def pack_checks(checks: list[tuple[str, bytes]]) -> bytes:
    """Pairs of label and check ciphertext, as check_keys takes them."""
    return cast(bytes, msgpack.packb(checks))


def unpack(payload: bytes | bytearray | memoryview) -> Any:
    """Return the value of one frame's payload, plain types only as far as msgpack itself goes.

    Raises: RecursionError if it is nested too deeply; FrameError if it is not msgpack.
    """
    try:
        return msgpack.unpackb(payload, raw=False, strict_map_key=False)
    except msgpack.StackError as error:
        raise RecursionError("nested too deeply") from error
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise FrameError("not msgpack") from error


class Connection:
    """A blocking connection to one HSM process."""

    def __init__(self, connected: socket.socket) -> None:
        # The kernel watches the time. Python's own timeouts cost one more system call for each send and each receive.
        connected.settimeout(None)
        self._socket: socket.socket | None = connected
        self._timeout = 0.0  # seconds that the kernel waits; 0 for ever

    @classmethod
    def connect(cls, path: str | Path, timeout: float = 0.1) -> Connection:
        """Connect to the socket at `path`, waiting at most `timeout` seconds.

        Raises: HsmUnreachableError.
        """
        connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connecting.settimeout(timeout)
        try:
            _connect(connecting, Path(path))
        except OSError as error:
            connecting.close()
            raise HsmUnreachableError(f"cannot connect to the HSM process: {error.strerror or error}") from error
        return cls(connecting)

    @property
    def closed(self) -> bool:
        return self._socket is None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """The socket's descriptor, so that a pool can see whether the other side has hung up; -1 when closed."""
        return -1 if self._socket is None else self._socket.fileno()

    def call(self, op: str, args: dict[str, Any], *, deadline_seconds: float) -> dict[str, Any]:
        """Send one request and return the values of its answer, all within `deadline_seconds`.

        Raises: HsmAnswerError for an error the HSM process answered; HsmUnreachableError otherwise, the connection
        being closed.
        """
        if self._socket is None:
            raise HsmUnreachableError("the connection to the HSM process is closed")
        frame = pack([op, args])
        deadline = time.monotonic() + deadline_seconds
        try:
            self._wait_at_most(deadline_seconds)
            self._socket.sendall(frame)
            answer = unpack(self._read_frame(deadline))
        except (OSError, FrameError, RecursionError) as error:
            self.close()
            raise HsmUnreachableError(f"no answer from the HSM process to {op}") from error
        return self._values(op, answer)

    def _values(self, op: str, answer: Any) -> dict[str, Any]:
        match answer:
            case ["ok", dict() as values]:
                return values
            case ["error", str() as name, str() as message]:
                raise HsmAnswerError(name, message)
        self.close()
        raise HsmUnreachableError(f"the HSM process answered {op} with something else than an answer")

    def _read_frame(self, deadline: float) -> bytes | bytearray:
        received = self._receive(deadline, first=True)
        while len(received) < HEADER.size:
            received += self._receive(deadline)
        end = HEADER.size + HEADER.unpack_from(received)[0]
        if end > HEADER.size + MAX_FRAME_BYTES:
            raise FrameError("oversized")
        while len(received) < end:
            received += self._receive(deadline)
        if len(received) > end:
            raise FrameError("more than one answer")
        return received[HEADER.size :]

    def _receive(self, deadline: float, *, first: bool = False) -> bytes:
        if self._socket is None:
            raise FrameError("closed")
        if not first:
            self._wait_at_most(deadline - time.monotonic())
        part = self._socket.recv(HEADER.size + MAX_FRAME_BYTES)
        if not part:
            raise FrameError("ended")
        return part

    def _wait_at_most(self, seconds: float) -> None:
        if seconds <= 0:
            raise TimeoutError("deadline")
        # Setting a timeout is a system call, so an unchanged one is left alone.
        if self._socket is not None and seconds != self._timeout:
            whole, microseconds = divmod(max(int(seconds * 1_000_000), 1), 1_000_000)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                self._socket.setsockopt(socket.SOL_SOCKET, option, _TIMEVAL.pack(whole, microseconds))
            self._timeout = seconds


def _connect(connecting: socket.socket, path: Path) -> None:
    if len(os.fsencode(path)) <= _SUN_PATH_BYTES:
        connecting.connect(str(path))
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connecting.connect(unix_address(folder, path))
    finally:
        os.close(folder)
