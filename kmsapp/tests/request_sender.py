"""Counts requests as fast as a busy web worker could: `python -m kmsapp.tests.request_sender PATH PER_SECOND`.

Prints, for each second of the clock that all workers have, how many were let through and how many were not.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter

from kmsapp.rate_limits import Counters

SECONDS = 2.2
THREADS = 4


def main(path: str, per_second: int) -> None:
    counters, until = Counters(path), time.monotonic() + SECONDS
    seen: list[Counter[int]] = [Counter(), Counter()]

    def work() -> None:
        while (began := time.monotonic()) < until:
            admitted = counters.admits("shared", per_second)
            if int(time.monotonic()) == int(began):  # else nobody knows which second it was counted in
                seen[admitted][int(began)] += 1
            time.sleep(0.001)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"refused": seen[False], "admitted": seen[True]}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
