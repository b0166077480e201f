"""One HSM of the demo, as tests see it: what its token holds, its process, its end and its return."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hsmapp import credentials, hsms
from hsmapp.device.protocol import Connection
from hsmapp.models import ClusterCredential, Hsm, MaskedKey
from hsmapp.testing import process_of, state_of, wait_until
from kmsapp import demo

FIRST, SECOND = demo.HSM_IDS


@contextmanager
def logged_in(hsm_id: str) -> Iterator[Connection]:
    """A connection to one HSM as kmsuser, as this service itself would have it."""
    credential = ClusterCredential.objects.select_related("cluster").get(
        cluster__hsms__hsm_id=hsm_id, user_name="kmsuser"
    )
    with credentials.log_in(Hsm.objects.get(hsm_id=hsm_id), credential, credentials.current_password(credential)) as it:
        yield it


def labels(hsm_id: str) -> set[str]:
    """Labels of the keys in the token of an HSM."""
    found: set[str] = set()
    after = ""
    with logged_in(hsm_id) as hsm:
        while True:
            page = hsm.call("list_keys", {"after": after, "limit": 500}, deadline_seconds=5)
            found |= {row[0] for row in page["keys"]}
            after = page["next"]
            if not after:
                return found


def opens_on(hsm_id: str, key_id: str) -> bool:
    """Whether the key's check ciphertext opens on that very HSM."""
    row = MaskedKey.objects.get(kms_key__key_id=key_id)
    args = {"label": row.label, "check": bytes(row.check_ciphertext), "plaintext": b"x", "aad": b""}
    with logged_in(hsm_id) as hsm:
        return "sealed" in hsm.call("encrypt", args, deadline_seconds=5)


@contextmanager
def restarted(hsm_id: str, folder: Path) -> Iterator[None]:
    """Its process does not run inside, so that its files can be damaged; afterwards it serves again."""
    hsms.stop(Hsm.objects.select_related("cluster").get(hsm_id=hsm_id))
    wait_until(lambda: not runs(hsm_id, folder), f"the process of {hsm_id} to end")
    yield
    hsms.start(Hsm.objects.select_related("cluster").get(hsm_id=hsm_id))
    wait_until(lambda: state_of(hsm_id) == "ACTIVE", f"{hsm_id} to serve again")


def runs(hsm_id: str, folder: Path) -> bool:
    try:
        return bool(process_of(hsm_id, folder))
    except LookupError:
        return False


def kill(hsm_id: str, folder: Path) -> int:
    """kill -9 the HSM's process and return its id."""
    pid = process_of(hsm_id, folder)
    os.kill(pid, signal.SIGKILL)
    return pid


def wait_for_successor(hsm_id: str, killed: int, folder: Path) -> None:
    """Wait until another process of the HSM serves. Before it starts, the HSM has been DEGRADED."""

    def another_serves() -> bool:
        try:
            return process_of(hsm_id, folder) != killed and state_of(hsm_id) == "ACTIVE"
        except LookupError:
            return False

    wait_until(another_serves, f"{hsm_id} to serve again")
