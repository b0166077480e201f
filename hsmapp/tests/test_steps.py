"""Marks of where a process is: seen from outside, by thread, and after kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from django.conf import LazySettings

from hsmapp import steps
from hsmapp.steps import Step
from hsmapp.testing import wait_until

PROGRAM = """
import sys, time
from django.conf import settings
settings.configure(STEPS=sys.argv[1])
from hsmapp import steps
steps.reach(steps.Step.MASKED)
steps.reach(steps.Step.COMMITTING)
time.sleep(60)
"""


def test_a_mark_outlives_the_process_that_made_it(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parent.parent.parent
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=root)
    path = tmp_path / str(process.pid)
    wait_until(lambda: steps.read(path) == [Step.COMMITTING], "the mark")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert steps.read(path) == [Step.COMMITTING]


def test_each_thread_has_a_mark_of_its_own(tmp_path: Path, settings: LazySettings) -> None:
    settings.STEPS = str(tmp_path)
    path, others_stand, go_on = tmp_path / str(os.getpid()), threading.Barrier(4), threading.Event()

    def work(step: Step) -> None:
        steps.reach(step)
        others_stand.wait(30)
        go_on.wait(30)
        steps.leave()

    threads = [threading.Thread(target=work, args=(step,)) for step in (Step.MASKED, Step.COMMITTED, Step.MASKED)]
    for thread in threads:
        thread.start()
    others_stand.wait(30)
    assert sorted(steps.read(path)) == [Step.MASKED, Step.MASKED, Step.COMMITTED]
    go_on.set()
    for thread in threads:
        thread.join()
    assert steps.read(path) == []


def test_nothing_is_kept_without_the_setting(
    tmp_path: Path, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings.STEPS == ""
    steps.reach(Step.MASKED)
    assert list(tmp_path.iterdir()) == [] and steps.read(tmp_path / "1") == []
