"""R6 and R7: one HSM is killed, or freezes, and comes back, under calls that come at a fixed rate whatever happens.

Large counts are run by hand: bin/soak --rate 200 --seconds 60, with and without --freeze (docs/measurements.md).
"""

from __future__ import annotations

import pytest

from hsmapp import cluster
from hsmapp.connections import READY_PER_HSM
from kmsapp.testing import Casemate
from kmsapp.tests.bench import driver
from kmsapp.tests.outage import Plan, outage, prepare
from kmsapp.tests.token_copies import HSMS

pytestmark = pytest.mark.alone

MOST_CALLS_PER_SECOND = 200.0
SECONDS, GONE_AT, BACK_AT = 9.0, 1.0, 7.0
WORKERS = 2
FREEZES = {"killed": (HSMS[0], False), "frozen": (HSMS[1], True)}


@pytest.mark.parametrize("hsm_id, freeze", FREEZES.values(), ids=FREEZES)
def test_an_hsm_that_is_gone_for_a_while_fails_no_call(casemate: Casemate, hsm_id: str, freeze: bool) -> None:
    # Well below what this machine, with whatever else it does now, can answer: no queue but that of the outage.
    most = driver.closed_loop(prepare(casemate).target, connections=4, seconds=0.5).rate
    rate = min(MOST_CALLS_PER_SECOND, most / 4)
    report = outage(casemate, Plan(rate, SECONDS, GONE_AT, BACK_AT, freeze=freeze, hsm_id=hsm_id))
    print("R7:" if freeze else "R6:", *report.lines(), sep="\n")
    assert (report.failed, report.wrong) == (0, 0)
    assert len(report.run.latencies) == round(rate * SECONDS)
    assert report.opened == (len(report.run.latencies) + 1) // 2
    # Those under way when it froze, of each worker; nobody who came later.
    waited = sum(seconds > cluster.CRYPTO_SECONDS * 0.9 for seconds in report.fail_over)
    print(f"{waited} calls waited for a deadline")
    assert waited <= WORKERS * READY_PER_HSM
    assert waited > 0 or not freeze
    assert report.fail_over_p99 < 1.0 or len(report.fail_over) < 100 * WORKERS * READY_PER_HSM
