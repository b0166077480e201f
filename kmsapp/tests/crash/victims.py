"""The processes of a running server that can be killed."""

from __future__ import annotations

from collections.abc import Callable

from kmsapp.testing import Casemate, command_line
from kmsapp.tests.token_copies import HSMS


def _command(name: str) -> Callable[[Casemate], int]:
    def find(casemate: Casemate) -> int:
        found = [pid for pid in casemate.server.pids() if command_line(pid)[-1:] == [name]]
        if len(found) != 1:
            raise LookupError(f"{len(found)} processes of manage.py {name}")
        return found[0]

    return find


def _server(casemate: Casemate) -> int:
    assert casemate.server.process is not None
    return casemate.server.process.pid


def _hsm(hsm_id: str) -> Callable[[Casemate], int]:
    return lambda casemate: casemate.hsm_pid(hsm_id)


# Name -> how to find its process id; 0 is the web worker in which the call is. Raises LookupError while there is none.
VICTIMS: dict[str, Callable[[Casemate], int]] = {
    "web worker": lambda casemate: 0,
    **{f"HSM {number}": _hsm(hsm_id) for number, hsm_id in enumerate(HSMS, 1)},
    "jobs": _command("jobs"),
    "supervisor": _command("supervise"),
    "bin/serve": _server,
}
# Web workers and HSMs come more often: they hold what a CreateKey is made of.
IN_TURN = (
    *("web worker", "HSM 1", "web worker", "HSM 2", "jobs", "web worker", "HSM 1", "supervisor", "web worker"),
    *("HSM 2", "web worker", "bin/serve"),
)
