"""`python -m hsmapp.device <hsm id>`: become the HSM process of one HSM.

The configuration comes as one frame on standard input; "ready" goes to standard output when the socket is open. The
process ends at the end of standard input, at SIGTERM, and with its parent. If it can't get ready, a sentence that says
why takes the place of "ready". Exit codes: 2 configuration, 3 the HSM is owned by another process, 4 its token is gone
or damaged, 5 its folder can't be read or written.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import sys
from typing import NoReturn

from hsmapp.device.configuration import Configuration

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
EXIT_CONFIGURATION = 2
EXIT_LOCKED = 3
EXIT_TOKEN = 4
EXIT_FOLDER = 5
_DESCRIPTORS = 4096


def main() -> int:
    if len(sys.argv) != 2:
        stop(EXIT_CONFIGURATION, "usage: python -m hsmapp.device <hsm id>")
    # First of all, so that no moment is left in which the parent can die and leave this process behind.
    _set_process(PR_SET_PDEATHSIG, signal.SIGKILL)
    _set_process(PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    configuration = _read_configuration(sys.argv[1])
    if os.getppid() != configuration.parent_pid:
        stop(EXIT_CONFIGURATION, "the process that should own this one is gone")
    _allow_descriptors()
    os.umask(0o077)
    lock = _lock(configuration)
    try:
        _serve(configuration)
    finally:
        os.close(lock)
    return 0


def stop(code: int, sentence: str) -> NoReturn:
    print(f"hsm process: {sentence}", file=sys.stderr, flush=True)
    with contextlib.suppress(BrokenPipeError):  # a parent that is gone needs no reason
        print(sentence, flush=True)
    sys.exit(code)


def _set_process(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        stop(EXIT_CONFIGURATION, f"prctl({option}) failed: {os.strerror(ctypes.get_errno())}")


def _allow_descriptors() -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _read_configuration(hsm_id: str) -> Configuration:
    from hsmapp.device.protocol import HEADER, MAX_FRAME_BYTES, FrameError, unpack

    header = _read_exactly(HEADER.size)
    (length,) = HEADER.unpack(header)
    if length > MAX_FRAME_BYTES:
        stop(EXIT_CONFIGURATION, "the configuration is too large")
    try:
        return Configuration.parse(hsm_id, unpack(_read_exactly(length)))
    except (FrameError, RecursionError, KeyError, TypeError, ValueError, AttributeError):
        # Without the cause: it could show a part of a secret.
        stop(EXIT_CONFIGURATION, "the configuration on standard input is not complete")


def _read_exactly(count: int) -> bytes:
    # os.read, not sys.stdin: nothing of what follows may be taken into a buffer.
    received = b""
    while len(received) < count:
        part = os.read(0, count - len(received))
        if not part:
            stop(EXIT_CONFIGURATION, "no configuration came on standard input")
        received += part
    return received


def _lock(configuration: Configuration) -> int:
    descriptor = os.open(configuration.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stop(EXIT_LOCKED, f"another process owns {configuration.hsm_id}")
    return descriptor


def _serve(configuration: Configuration) -> None:
    from hsmapp.device.hsm_users import UsersFileError
    from hsmapp.device.opening import FolderUnusableError, open_hsm
    from hsmapp.device.server import Server
    from hsmapp.device.token import TokenUnusableError

    try:
        hsm = open_hsm(configuration)
    except FolderUnusableError as error:
        stop(EXIT_FOLDER, str(error))
    except (TokenUnusableError, UsersFileError) as error:
        stop(EXIT_TOKEN, str(error))
    server = Server(hsm, configuration.socket)
    server.stop_on_signals()
    print("ready", flush=True)
    try:
        server.run()
    finally:
        hsm.token.session.close()


if __name__ == "__main__":
    sys.exit(main())
