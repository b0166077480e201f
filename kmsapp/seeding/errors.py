"""Why a seed file that is right can't be made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep

from kmsapp.errors import KmsError
from kmsapp.seed_file.entries import Entry

WAIT_SECONDS = 60


class SeedingError(Exception):
    """Something could not be made; the message says what, or what was waited for."""


@contextmanager
def making(entry: Entry) -> Iterator[None]:
    """Say of a call that is refused inside which entry it was about."""
    try:
        yield
    except KmsError as error:
        raise SeedingError(
            f"{entry.place.path} (line {entry.place.line}) was refused: {error.code}: {error.message}"
        ) from error


def wait(what: str, done: Callable[[], bool], *, seconds: float = WAIT_SECONDS) -> None:
    """Wait for something that other processes bring about. Raises: SeedingError."""
    deadline = monotonic() + seconds
    while not done():
        if monotonic() > deadline:
            raise SeedingError(f"Waited {seconds:.0f} seconds for {what}.")
        sleep(0.05)
