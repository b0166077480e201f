"""States of HSMs, as rows: no process runs here."""

from __future__ import annotations

import pytest

from hsmapp import clock, hsms
from hsmapp.models import Hsm
from hsmapp.tests.cluster_row import new_cluster


@pytest.mark.django_db
def test_before_a_process_runs_no_hsm_serves_and_none_says_what_was_wrong_the_last_time() -> None:
    cluster = new_cluster()
    rows = {
        "hsm-served": ("ACTIVE", "HSM created.", True),
        "hsm-failed": ("DEGRADED", "Its token was gone.", True),
        "hsm-stopped": ("DEGRADED", "The HSM was stopped.", False),
        "hsm-deleted": ("DELETED", "", True),
    }
    for number, (hsm_id, (state, message, wanted)) in enumerate(rows.items()):
        Hsm.objects.create(
            hsm_id=hsm_id,
            cluster=cluster,
            availability_zone="us-west-2a",
            subnet_id="subnet-1",
            eni_id=f"eni-{number}",
            eni_ip=f"10.0.0.{number}",
            state=state,
            state_message=message,
            wanted=wanted,
            pin_sealed=b"",
            so_pin_sealed=b"",
            created_at=clock.now(),
        )
    hsms.none_runs()
    assert dict(Hsm.objects.values_list("hsm_id", "state_message")) == {
        "hsm-served": "The HSM process is being started.",
        "hsm-failed": "The HSM process is being started.",
        "hsm-stopped": "The HSM was stopped.",
        "hsm-deleted": "",
    }
    assert not Hsm.objects.filter(state="ACTIVE").exists()
