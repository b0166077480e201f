"""Tables of measurements, printed and kept in docs/measurements.md."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from kmsapp.testing import ROOT

MEASUREMENTS = ROOT / "docs" / "measurements.md"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table, its columns of one width each."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    rule = "|".join("-" * (width + 2) for width in widths)
    return [f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])]


def figure(value: float) -> str:
    """Three digits that mean something; more for a large number."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def circumstances(command: str) -> str:
    """When, with what command, and how busy the machine is."""
    date = time.strftime("%Y-%m-%d", time.gmtime())
    return f"`{command}` on {date}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the end."


def write_section(title: str, lines: Sequence[str], path: Path = MEASUREMENTS) -> None:
    """Put the lines in the place of the section of that title, or at the end if there is none."""
    text = path.read_text()
    section = "\n".join([f"## {title}", *lines]) + "\n"
    pattern = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if pattern.search(text):
        text = pattern.sub(lambda match: section + ("\n" if match.end() < len(text) else ""), text)
    else:
        text = text.rstrip("\n") + "\n\n" + section
    path.write_text(text)
