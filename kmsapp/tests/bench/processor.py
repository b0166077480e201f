"""The processor time that a call takes, by kind of process: what other programs on the machine change least.

Rates and latencies tell what a caller sees on this machine at this hour; this tells where a call's time goes.
"""

from __future__ import annotations

import collections
import os
import statistics
from pathlib import Path

from kmsapp.testing import Casemate, command_line, descendants
from kmsapp.tests.bench import calls, driver, moto
from kmsapp.tests.bench.driver import Target
from kmsapp.tests.bench.report import table

CALLS = 4000  # of each kind in a round; the kernel counts in hundredths of a second
TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
MOTO = "moto"
# Kind of process -> what its command line has in it. The first that fits counts.
KINDS = {"HSMs": "hsmapp.device", "jobs": "manage.py jobs", "supervisor": "manage.py supervise", MOTO: "moto.server"}
WEB = "web workers"
COLUMNS = (WEB, "HSMs", "jobs", "supervisor")

Times = dict[str, float]  # kind of process -> processor time


def per_call(casemate: Casemate, *, connections: int, rounds: int, with_moto: bool) -> list[str]:
    """Microseconds for one call of each kind, medians over the rounds; the lines of a table."""
    taken: dict[str, list[Times]] = {}
    for _ in range(rounds):
        for name, target in calls.every_call(casemate).items():
            if name != "CreateKey":
                taken.setdefault(name, []).append(_microseconds(target, connections))
        if with_moto:
            with moto.running() as target:
                taken.setdefault(moto.NAME, []).append({MOTO: _microseconds(target, connections)[MOTO]})
    rows = [
        [
            name,
            *(_median(runs, kind) for kind in COLUMNS),
            f"{statistics.median(sum(run.values()) for run in runs):,.0f}",
        ]
        for name, runs in taken.items()
    ]
    return table(["us of processor time", *COLUMNS, "together"], rows)


def _median(runs: list[Times], kind: str) -> str:
    value = statistics.median(run.get(kind, 0.0) for run in runs)
    return f"{value:,.0f}" if value else ""


def _microseconds(target: Target, connections: int) -> Times:
    """What one call takes of each kind of process, with what that does anyway meanwhile. The driver is left out."""
    driver.counted(target, connections=connections)
    requests = [target.requests[number % len(target.requests)] for number in range(CALLS)]
    before = _spent()
    run = driver.counted(Target(target.port, requests), connections=connections)
    after = _spent()
    if run.failures:
        raise SystemExit(f"Not every call was answered with a 200, so this is no measurement: {dict(run.failures)}")
    return {kind: (after[kind] - before[kind]) / CALLS * 1e6 for kind in after}


def _spent() -> Times:
    """Seconds that the processes below this one have spent so far."""
    spent: Times = collections.defaultdict(float)
    for pid in descendants(os.getpid()):
        if (kind := _kind(pid)) is not None:
            user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[11:13]
            spent[kind] += (int(user) + int(system)) * TICK_SECONDS
    return spent


def _kind(pid: int) -> str | None:
    command = " ".join(command_line(pid))
    if "granian" in command:
        return WEB
    return next((kind for kind, part in KINDS.items() if part in command), None)
