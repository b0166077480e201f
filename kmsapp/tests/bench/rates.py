"""How many calls a second, and how long each takes: closed loop for rates, open loop for a load that does not wait."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from kmsapp.testing import Casemate
from kmsapp.tests.bench import calls, driver, moto, token_gcm
from kmsapp.tests.bench.driver import Run, Target
from kmsapp.tests.bench.report import figure, table
from kmsapp.tests.token_copies import HSMS, copy_token

TOKEN = "token alone: AES-GCM"
WARM_SECONDS = 0.3

# What is aimed at (see "What falls short" in docs/measurements.md).
OF_MOTO = 8.0  # Encrypt's rate, in the same run
ENCRYPT_RATE = 4_000.0  # calls a second
CREATE_KEY_MS = 60.0  # median
OPEN_LOOP_MS = {2_000.0: (1.0, 5.0)}  # calls a second -> p50, p99


def closed_loop(casemate: Casemate, *, connections: int, seconds: float, rounds: int, with_moto: bool) -> list[str]:
    """Measure every call in rounds; the lines of a table with the medians over the rounds."""
    loaded: dict[str, list[Run]] = {}
    alone: dict[str, list[Run]] = {}
    token: list[float] = []
    with TemporaryDirectory() as folder:
        copy = copy_token(casemate, HSMS[0], Path(folder))
        for _ in range(rounds):
            token.append(token_gcm.per_second(copy, min(seconds, 1.0)))
            _measure(calls.every_call(casemate), loaded, alone, connections=connections, seconds=seconds)
            if with_moto:
                with moto.running() as target:
                    _measure({moto.NAME: target}, loaded, alone, connections=connections, seconds=seconds)
    _refuse_failures(loaded)
    _refuse_failures(alone)
    rows = [_row(name, loaded, alone) for name in loaded]
    rows.append([TOKEN, figure(statistics.median(token)), "", "", "", ""])
    lines = table(["call", "calls/s", "p50 ms", "p99 ms", f"of {calls.EMPTY}", "of moto's Encrypt"], rows)
    return lines + falls_short(_aims(loaded, alone))


# What, as measured, as aimed at, and whether more is better.
Aim = tuple[str, float, float, bool]


def _aims(loaded: Mapping[str, list[Run]], alone: Mapping[str, list[Run]]) -> list[Aim]:
    rate = statistics.median(run.rate for run in loaded["Encrypt"])
    created = statistics.median(run.percentile_ms(50) for run in alone["CreateKey"])
    aims: list[Aim] = [
        ("Encrypt, calls/s", rate, ENCRYPT_RATE, True),
        ("CreateKey, p50 ms", created, CREATE_KEY_MS, False),
    ]
    if moto.NAME in loaded:
        ratios = [ours.rate / its.rate for ours, its in zip(loaded["Encrypt"], loaded[moto.NAME], strict=True)]
        aims.append(("Encrypt, times moto_server's rate", statistics.median(ratios), OF_MOTO, True))
    return aims


def falls_short(aims: Sequence[Aim]) -> list[str]:
    """A line for each aim that was missed."""
    missed = [
        f"Falls short: {what}: {figure(measured)}, aimed at {figure(aimed)}."
        for what, measured, aimed, more_is_better in aims
        if (measured < aimed) == more_is_better and measured != aimed
    ]
    return ["", *missed] if missed else []


def _measure(
    targets: Mapping[str, Target],
    loaded: dict[str, list[Run]],
    alone: dict[str, list[Run]],
    *,
    connections: int,
    seconds: float,
) -> None:
    for name, target in targets.items():
        driver.closed_loop(target, connections=connections, seconds=WARM_SECONDS)
        loaded.setdefault(name, []).append(driver.closed_loop(target, connections=connections, seconds=seconds))
        alone.setdefault(name, []).append(driver.closed_loop(target, connections=1, seconds=seconds / 2))


def _row(name: str, loaded: Mapping[str, list[Run]], alone: Mapping[str, list[Run]]) -> list[str]:
    def median(values: Sequence[float]) -> str:
        return figure(statistics.median(values))

    def against(other: str) -> str:
        """The median of the ratios within each round, so that what moves all of a round moves no ratio."""
        if other not in loaded:
            return ""
        return median([mine.rate / its.rate for mine, its in zip(loaded[name], loaded[other], strict=True)])

    return [
        name,
        median([run.rate for run in loaded[name]]),
        median([run.percentile_ms(50) for run in alone[name]]),
        median([run.percentile_ms(99) for run in alone[name]]),
        against(calls.EMPTY),
        against(moto.NAME) if name == "Encrypt" else "",
    ]


def open_loop(casemate: Casemate, rates: Sequence[float], *, seconds: float, rounds: int) -> list[str]:
    """Encrypt at fixed rates; the lines of a table with the medians over the rounds."""
    runs: dict[float, list[Run]] = {rate: [] for rate in rates}
    for _ in range(rounds):
        target = calls.encrypt(calls.signer(casemate), [calls.KEY])
        driver.closed_loop(target, connections=8, seconds=WARM_SECONDS)
        for rate in rates:
            runs[rate].append(driver.open_loop(target, rate=rate, seconds=seconds))
    rows = [
        [
            f"{rate:,.0f}",
            *(figure(_median_ms(done, at)) for at in (50, 99, 99.9)),
            figure(max(max(run.latencies) for run in done) * 1000),
            str(sum(run.failures.total() for run in done)),
        ]
        for rate, done in runs.items()
    ]
    aims: list[Aim] = [
        (f"Encrypt at {rate:,.0f} a second, p{at} ms", _median_ms(runs[rate], at), aimed, False)
        for rate, both in OPEN_LOOP_MS.items()
        if rate in runs
        for at, aimed in zip((50, 99), both, strict=True)
    ]
    lines = table(["Encrypt calls/s", "p50 ms", "p99 ms", "p99.9 ms", "slowest ms", "failed"], rows)
    return lines + falls_short(aims)


def _median_ms(runs: Sequence[Run], percent: float) -> float:
    return statistics.median(run.percentile_ms(percent) for run in runs)


def _refuse_failures(measured: Mapping[str, list[Run]]) -> None:
    failures = [(name, dict(run.failures)) for name, runs in measured.items() for run in runs if run.failures]
    if failures:
        raise SystemExit(f"Not every call was answered with a 200, so these are no measurements: {failures}")
