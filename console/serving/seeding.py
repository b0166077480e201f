"""What an installation begins with: which seed file it is made from, and how far that has come.

Two files in the data folder say so. `being-seeded.json` is there from before anything is made until credentials.json
and aws.env are written: it holds the text of the seed file and what was drawn for it, so that a start that was cut
short in between is made good by the next one; until then /healthz says that the server can't serve. `seeded.json` says
afterwards what was made, without a secret: the text itself may hold passwords, so a slow hash stands for it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from console.serving.options import CannotStartError, Options
from hsmapp.durable import write_durably

REGION = "us-west-2"  # of an installation that was made before there were notes


@dataclass(frozen=True)
class Unfinished:
    """A seed file that is being made."""

    file: str  # its name, for people
    is_demo: bool
    region: str  # of aws.env
    text: str = field(repr=False)
    drawn: dict[str, str] = field(repr=False)


@dataclass(frozen=True)
class Note:
    """A seed file that was made."""

    file: str
    is_demo: bool
    region: str  # of aws.env
    text_hash: str = field(default="", repr=False)  # empty for the demo, which nobody gives as a file


def mark(data: Path) -> Path:
    return data / "being-seeded.json"


def _note(data: Path) -> Path:
    return data / "seeded.json"


def unfinished(data: Path) -> Unfinished | None:
    read = _read(mark(data))
    return Unfinished(**read) if read is not None else None


def note(data: Path) -> Note | None:
    """What the installation was made from; None if with nothing, or by a version without notes."""
    read = _read(_note(data))
    return Note(**read) if read is not None else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return found


def begin(options: Options) -> None:
    """Choose what a new installation begins with, and write it down.

    A start that was cut short before it made anything counts for nothing, unless this one says nothing else.
    Raises: CannotStartError for a seed file that is wrong; then nothing was written.
    """
    if options.seed is not None:
        _write_mark(options.data, str(options.seed), _content(options.seed), is_demo=False)
    elif options.empty:
        mark(options.data).unlink(missing_ok=True)
    elif not mark(options.data).exists():
        from kmsapp import demo

        _write_mark(options.data, demo.FILE.name, demo.FILE.read_bytes(), is_demo=True)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotStartError(f"The seed file {path} can't be read: {error.strerror}.") from error


def _write_mark(data: Path, file: str, content: bytes, *, is_demo: bool) -> None:
    from kmsapp.seed_file import seed
    from kmsapp.seed_file.places import SeedFileError
    from kmsapp.seeding import drawing

    try:
        read = seed.read(content)
    except SeedFileError as error:
        lines = error.lines(file)
        number = "1 mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
        raise CannotStartError("\n".join([*lines, f"The seed file has {number}; nothing was made."])) from error
    text = content.decode("utf-8-sig")
    begun = Unfinished(file=file, is_demo=is_demo, region=str(read.region), text=text, drawn=drawing.draw(read))
    write_durably(mark(data), json.dumps(asdict(begun)).encode())


def require_same(options: Options) -> None:
    """Check that a seed file given for an installation is the one that it was made from.

    Raises: CannotStartError.
    """
    from django.contrib.auth.hashers import check_password

    if options.seed is None:
        return
    text = _content(options.seed).decode("utf-8-sig", errors="replace")
    begun, made = unfinished(options.data), note(options.data)
    if begun is not None:
        is_same, from_what = begun.text == text, begun.file
    elif made is not None:
        is_same, from_what = bool(made.text_hash) and check_password(text, made.text_hash), made.file
    else:
        is_same, from_what = False, ""
    if not is_same:
        origin = f" It was made from {from_what}, as that was then." if from_what else ""
        raise CannotStartError(
            f"--seed {options.seed} is for an empty data folder, and {options.data} is none.{origin} "
            "Leave --seed out to go on with what is there, or name another folder with --data."
        )


def has_demo(data: Path) -> bool:
    """Whether an installation has the demo's people, finished or not."""
    from kmsapp import demo

    found = unfinished(data) or note(data)
    return found.is_demo if found is not None else demo.is_seeded()


def region(data: Path) -> str:
    """AWS_DEFAULT_REGION of aws.env."""
    found = unfinished(data) or note(data)
    return found.region if found is not None else REGION


def finish(data: Path) -> None:
    """Say that all is made, and can be got into: the next start makes nothing."""
    from django.contrib.auth.hashers import make_password

    begun = unfinished(data)
    if begun is None:
        return
    text_hash = "" if begun.is_demo else make_password(begun.text)
    made = Note(begun.file, begun.is_demo, begun.region, text_hash)
    write_durably(_note(data), json.dumps(asdict(made)).encode())
    mark(data).unlink()
