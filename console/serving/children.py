"""A process that bin/serve keeps running, and how its lives ended."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Death:
    """The end of one life of a process."""

    at: float  # monotonic time
    after_living: bool  # it had shown a sign of life


@dataclass
class Child:
    """One process, and what is needed to start it again."""

    name: str
    command: list[str]
    purposes: tuple[str, ...]  # of the secrets it may open
    process: subprocess.Popen[bytes] | None = None
    has_lived: bool = False  # this life has shown a sign of life
    deaths: list[Death] = field(default_factory=list)  # of the last minute
    start_at: float = 0.0  # monotonic time before which it is not started again

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None
