"""Whether two ways to fail can be told apart by their time: interleaved rounds, a permutation test of the medians."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

PERMUTATIONS = 200
# A machine that others use does as much to a median of few rounds: less than this is not counted.
SMALLEST_SHARE = 0.15

Times = dict[str, list[float]]  # seconds, one per round
_random = secrets.SystemRandom()


@dataclass(frozen=True)
class Verdict:
    """How two ways compare."""

    difference: float  # seconds between the medians
    share: float  # of the smaller median
    p: float  # how often chance alone differs as much

    def tells_them_apart(self, smallest_seconds: float) -> bool:
        """Whether the difference is neither chance nor too small to count."""
        is_chance = self.p > 2 / (PERMUTATIONS + 1)
        return not is_chance and self.share > SMALLEST_SHARE and self.difference > smallest_seconds


def measure(ways: Mapping[str, Callable[[], Callable[[], object]]], rounds: int) -> Times:
    """Time each way once per round, in an order drawn for each round. A way prepares, and returns what is timed."""
    times: Times = {name: [] for name in ways}
    order = list(ways)
    for _ in range(rounds):
        _random.shuffle(order)
        for name in order:
            run = ways[name]()
            begun = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - begun)
    return times


def compare(first: list[float], second: list[float]) -> Verdict:
    """The permutation test exchanges the two within rounds, which are what else was going on at that moment."""
    medians = median(first), median(second)
    difference = abs(medians[0] - medians[1])
    as_large = sum(_permuted(first, second) >= difference for _ in range(PERMUTATIONS))
    return Verdict(difference, difference / min(medians), (as_large + 1) / (PERMUTATIONS + 1))


def _permuted(first: list[float], second: list[float]) -> float:
    bits = _random.getrandbits(len(first))
    pairs = [(b, a) if bits >> index & 1 else (a, b) for index, (a, b) in enumerate(zip(first, second, strict=True))]
    return abs(median(a for a, _ in pairs) - median(b for _, b in pairs))


def report(times: Times) -> str:
    """The medians, in milliseconds."""
    return ", ".join(f"{name} {median(taken) * 1000:.2f} ms" for name, taken in times.items())
