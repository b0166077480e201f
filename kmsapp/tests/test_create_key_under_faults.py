"""R4: CreateKey is done or not done, whatever fails at whichever step and however many do it at once.

Fails: a PKCS#11 call of either HSM (the module under its token answers CKR_GENERAL_ERROR), an HSM process (killed, or
frozen), its storage (it can write no file). test_crash.py kills web workers, jobs and bin/serve. CASEMATE_CREATE_KEYS
sets another number of calls.
"""

from __future__ import annotations

import itertools
import os
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from django.db import connection

from hsmapp import key_creation
from hsmapp.models import Hsm, KeyIntent, MaskedKey
from hsmapp.testing import process_of, wait_until
from hsmapp.tests import faulty_module
from kmsapp import service_models
from kmsapp.errors import KmsError
from kmsapp.models import Alias, KmsKey, Tag
from kmsapp.tests.one_hsm import FIRST, SECOND, labels, opens_on
from kmsapp.tests.people import finish

CALLS = int(os.environ.get("CASEMATE_CREATE_KEYS", "200"))
CALLERS = 8
# Of making a key: the key itself, its check ciphertext, the masked key, the key again from that, and the check again.
FUNCTIONS = ("C_GenerateKey", "C_Encrypt", "C_WrapKey", "C_UnwrapKey", "C_Decrypt")
TIMES = 2
FAULT_SECONDS = 0.15
LONGEST_SECONDS = key_creation.CREATE_SECONDS + 2.0  # the last wait may begin just before the end


@dataclass
class Callers:
    """Some threads that finish the wizard, a key with an alias and a tag each time, until there were enough."""

    enough: threading.Event  # besides the number of calls: every fault was there
    done: dict[str, str] = field(default_factory=dict)  # alias -> key id
    refused: Counter[str] = field(default_factory=Counter)
    bugs: list[BaseException] = field(default_factory=list)
    slowest_seconds: float = 0.0
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def run(self) -> None:
        try:
            while (number := next(self._numbers)) < CALLS or not self.enough.is_set():
                # With one HSM away a refusal takes no time, and no step would be reached.
                wait_until(both_serve, "both HSMs to serve")
                self._call(f"faults-{number}")
        finally:
            connection.close()

    @property
    def calls(self) -> int:
        return len(self.done) + self.refused.total() + len(self.bugs)

    def _call(self, name: str) -> None:
        started = time.monotonic()
        try:
            answer = finish(alias=name, draft=name, Tags=[{"TagKey": "name", "TagValue": name}])
            self.done[f"alias/{name}"] = answer["KeyMetadata"]["KeyId"]
        except KmsError as error:
            self.refused[error.code] += 1
        except Exception as error:  # what the wire would log as a bug of ours
            self.bugs.append(error)
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - started)


@contextmanager
def failing(folder: Path, hsm_id: str, *, function: str) -> Iterator[None]:
    faulty_module.fail(folder / "hsm" / hsm_id, function, times=TIMES)
    try:
        yield
    finally:
        faulty_module.fail(folder / "hsm" / hsm_id, function, times=0)


@contextmanager
def killed(folder: Path, hsm_id: str) -> Iterator[None]:
    os.kill(process_of(hsm_id, folder), signal.SIGKILL)
    yield


@contextmanager
def frozen(folder: Path, hsm_id: str) -> Iterator[None]:
    pid = process_of(hsm_id, folder)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # its supervisor has replaced it
            os.kill(pid, signal.SIGCONT)


@contextmanager
def refusing_to_store(folder: Path, hsm_id: str) -> Iterator[None]:
    """Every write to a file fails in its process, as on a full disk."""
    pid = process_of(hsm_id, folder)
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def both_serve() -> bool:
    return not Hsm.objects.exclude(state="ACTIVE").exists()


def cause_faults(folder: Path, stop: threading.Event, enough: threading.Event) -> Counter[str]:
    """One fault after the other, on each HSM, until told to stop; return how many of which kind there were."""
    kinds: dict[str, Callable[[str], AbstractContextManager[None]]] = {
        name: partial(failing, folder, function=name) for name in FUNCTIONS
    }
    kinds |= {
        "killed": partial(killed, folder),
        "frozen": partial(frozen, folder),
        "storage refused": partial(refusing_to_store, folder),
    }
    caused = Counter[str]()
    for name, hsm_id in itertools.cycle(itertools.product(kinds, (FIRST, SECOND))):
        if stop.is_set():
            return caused
        wait_until(both_serve, "both HSMs to serve")
        with suppress(LookupError, ProcessLookupError), kinds[name](hsm_id):  # it may be on its way out
            caused[name] += 1
            stop.wait(FAULT_SECONDS)
        if len(caused) == len(kinds):
            enough.set()
    raise AssertionError("unreachable")


def test_every_create_key_is_done_or_refused_by_name_and_leaves_nothing_half_made(faulty_hsms: Path) -> None:
    stop, enough = threading.Event(), threading.Event()
    before = set(KmsKey.objects.values_list("key_id", flat=True))
    callers = Callers(enough)
    caused = Counter[str]()

    def strike() -> None:
        try:
            caused.update(cause_faults(faulty_hsms.parent, stop, enough))
        finally:
            enough.set()
            connection.close()

    threads = [threading.Thread(target=callers.run) for _ in range(CALLERS)]
    faults = threading.Thread(target=strike)
    for thread in (*threads, faults):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    faults.join()
    print(
        f"R4: {callers.calls} CreateKey by {CALLERS} callers at once under {caused.total()} faults {dict(caused)}: "
        f"{len(callers.done)} done, refused {dict(callers.refused)}, slowest {callers.slowest_seconds:.1f} s"
    )
    assert callers.bugs == []
    assert callers.calls >= CALLS and callers.done
    assert len(caused) == len(FUNCTIONS) + 3
    assert set(callers.refused) <= set(service_models.service("kms").operation("CreateKey").errors)
    assert callers.slowest_seconds < LONGEST_SECONDS
    assert not KeyIntent.objects.filter(state="open").exists(), "whose call has ended"
    assert_what_is_there_was_answered(callers.done, before)
    assert_hsms_hold_the_same(callers.done)


def assert_what_is_there_was_answered(done: dict[str, str], before: set[str]) -> None:
    """Each key has its alias and its tag; of what was refused there is none."""
    assert set(KmsKey.objects.values_list("key_id", flat=True)) - before == set(done.values())
    aliases = Alias.objects.filter(name__startswith="alias/faults-")
    assert dict(aliases.values_list("name", "key__key_id")) == done
    tags = Tag.objects.filter(tag_value__startswith="faults-").values_list("tag_value", "key__key_id")
    assert {f"alias/{value}": key_id for value, key_id in tags} == done
    assert KeyIntent.objects.filter(state="done", requested_by__startswith="faults-").count() == len(done)


def assert_hsms_hold_the_same(done: dict[str, str]) -> None:
    """After what was away has come back: masked keys and the keys of both tokens are one to one."""
    wait_until(both_serve, "both HSMs to serve")
    left = KeyIntent.objects.filter(state="abandoned").exclude(hsms=[])
    wait_until(lambda: not left.exists(), "what was given up to be destroyed")
    rows = set(MaskedKey.objects.values_list("label", flat=True))
    for key_id in done.values():
        assert opens_on(FIRST, key_id) and opens_on(SECOND, key_id)
    assert labels(FIRST) == labels(SECOND) == rows
