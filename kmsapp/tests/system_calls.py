"""What a program asks of the kernel, in the order in which it is done: strace, attached while something happens."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ATTACH_SECONDS = 20.0
CALLS = "fsync,fdatasync,write,writev,pwrite64,sendto,sendmsg"
_LINE = re.compile(r"(\d+) +[\d.]+ (?:<\.\.\. )?(\w+)(?:\(| resumed>)(.*)$")
_PATH = re.compile(r"\d+<([^>]*)>")


@dataclass(frozen=True)
class Call:
    """A call that has ended. place: the path of its file; for a socket what the kernel calls it."""

    process: int  # or thread
    name: str
    place: str
    text: str  # its arguments as strace shows them

    @property
    def is_sync(self) -> bool:
        return self.name in ("fsync", "fdatasync") and self.text.endswith("= 0")

    @property
    def is_write(self) -> bool:
        return not self.name.endswith("sync")


@contextmanager
def traced(processes: Sequence[int], folder: Path) -> Iterator[list[Call]]:
    """Fill the list with the calls of these processes, all their threads among them, when the block has ended."""
    if shutil.which("strace") is None:
        pytest.fail("strace is missing: bin/test says how to install it")
    output, calls = folder / "calls", list[Call]()
    command = ["strace", "-f", "-ttt", "-y", "-s", "64", "-e", f"trace={CALLS}", "-o", str(output)]
    command += [word for pid in processes for word in ("-p", str(pid))]
    said = folder / "said"
    with said.open("w") as stderr:
        strace = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stderr)
    try:
        _wait_until_attached(strace, said, processes)
        yield calls
    finally:
        strace.send_signal(signal.SIGINT)
        strace.wait()
    calls += _read(output.read_text(errors="replace"))


def _wait_until_attached(strace: subprocess.Popen[bytes], said: Path, processes: Sequence[int]) -> None:
    deadline = time.monotonic() + ATTACH_SECONDS
    while not all(f"Process {pid} attached" in said.read_text() for pid in processes):
        if strace.poll() is not None:
            pytest.skip(f"strace may not look at a process here: {said.read_text().strip()}")
        assert time.monotonic() < deadline, said.read_text()
        time.sleep(0.02)


def _read(text: str) -> Iterator[Call]:
    """The lines of calls that ended; of one that was interrupted by another's, both halves together."""
    begun: dict[str, str] = {}
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        process, name, rest = found.groups()
        if rest.endswith("<unfinished ...>"):
            begun[process] = rest.removesuffix("<unfinished ...>")
            continue
        if " resumed>" in line:
            rest = begun.pop(process, "") + rest
        place = _PATH.match(rest)
        yield Call(int(process), name, place[1] if place else "", rest)
