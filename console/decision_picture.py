"""A picture of a decision: its steps in a row, or one below the other where there is little room, and the verdict.

Only geometry and words are decided here; the template draws. What a step's state is, its outline says (whole, dashed,
dotted, cut corners), its sign and its word; colour only adds to them. Units are those of the pictures' viewBoxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

WIDE_BOX, WIDE_HEIGHT, WIDE_GAP = (132, 96, 24)
TALL_BOX, TALL_HEIGHT, TALL_GAP = (300, 60, 24)
CORNER = 14  # cut off an explicit denial

# Kind of a step -> its title, in two lines where the picture is wide.
TITLES = {
    "keyPolicy": ("Key policy", ""),
    "delegation": ("Delegation", "to the account"),
    "identityPolicies": ("Identity", "policies"),
    "permissionsBoundary": ("Permissions", "boundary"),
    "sessionPolicies": ("Session", "policies"),
    "grants": ("Grants", ""),
}
# State of a step -> word, symbol of icons.svg, class. The class has the outline and the colour.
STATES = {
    "passed": ("Allows", "success", "passed"),
    "failed": ("Does not allow", "error", "failed"),
    "denied": ("Denies", "stopped", "denied"),
    "notNeeded": ("Not needed", "pending", "aside"),
    "unread": ("Not known", "progress", "aside"),
}
VERDICTS = {
    "allow": ("Allowed", "success", "passed"),
    "explicitDeny": ("Denied", "stopped", "denied"),
    "implicitDeny": ("Denied", "error", "failed"),
}
# What the verdict's second line says.
REASONS = {"allow": "", "explicitDeny": "explicitly", "implicitDeny": "nothing allows it"}


@dataclass(frozen=True)
class Shown:
    """A step as page and picture have it."""

    step: dict[str, Any]  # of console:SimulateKeyAccess
    number: int

    @property
    def title(self) -> str:
        return " ".join(self.lines).strip()

    @property
    def lines(self) -> tuple[str, str]:
        return TITLES.get(self.step["Kind"], (self.step["Kind"], ""))

    @property
    def state(self) -> tuple[str, str, str]:
        """Word, sign, class."""
        return STATES.get(self.step["State"], STATES["notNeeded"])


@dataclass(frozen=True)
class Box:
    """A step or the verdict, placed."""

    lines: tuple[str, str]
    word: str
    sign: str
    style: str
    x: int
    y: int
    width: int
    height: int
    is_verdict: bool = False

    @property
    def middle(self) -> int:
        return self.x + self.width // 2

    @property
    def centre(self) -> int:
        return self.y + self.height // 2

    @property
    def bottom(self) -> int:
        return self.y + self.height

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def outline(self) -> str:
        """Path data: a denial has its corners cut."""
        cut = CORNER if self.style == "denied" else 0
        x, y, right, bottom = self.x, self.y, self.right, self.bottom
        return (
            f"M{x + cut} {y} H{right - cut} L{right} {y + cut} V{bottom - cut} L{right - cut} {bottom} "
            f"H{x + cut} L{x} {bottom - cut} V{y + cut} Z"
        )


@dataclass(frozen=True)
class Picture:
    name: str  # "wide" or "tall", part of ids
    width: int
    height: int
    boxes: list[Box]
    arrows: list[str]  # path data

    @property
    def is_wide(self) -> bool:
        return self.name == "wide"


def shown(answer: dict[str, Any]) -> list[Shown]:
    return [Shown(step, number) for number, step in enumerate(answer["Steps"], 1)]


def wide(answer: dict[str, Any]) -> Picture:
    """The steps from left to right."""
    step = WIDE_BOX + WIDE_GAP
    boxes = [
        Box(*words, x=2 + at * step, y=2, width=WIDE_BOX, height=WIDE_HEIGHT, is_verdict=last)
        for at, (words, last) in enumerate(_words(answer))
    ]
    arrows = [f"M{one.right + 3} {one.centre} H{two.x - 5}" for one, two in pairwise(boxes)]
    return Picture("wide", boxes[-1].right + 2, WIDE_HEIGHT + 4, boxes, arrows)


def tall(answer: dict[str, Any]) -> Picture:
    """The steps from top to bottom."""
    step = TALL_HEIGHT + TALL_GAP
    boxes = [
        Box(*words, x=2, y=2 + at * step, width=TALL_BOX, height=TALL_HEIGHT, is_verdict=last)
        for at, (words, last) in enumerate(_words(answer))
    ]
    arrows = [f"M{one.middle} {one.bottom + 3} V{two.y - 5}" for one, two in pairwise(boxes)]
    return Picture("tall", TALL_BOX + 4, boxes[-1].bottom + 2, boxes, arrows)


_Words = tuple[tuple[str, str], str, str, str]


def _words(answer: dict[str, Any]) -> list[tuple[_Words, bool]]:
    """Lines, word, sign and class of each box, and whether it is the verdict."""
    steps: list[tuple[_Words, bool]] = [((one.lines, *one.state), False) for one in shown(answer)]
    outcome = answer["Outcome"]
    return [*steps, ((("Verdict", REASONS[outcome]), *VERDICTS[outcome]), True)]


def in_words(answer: dict[str, Any]) -> str:
    """The same for who does not see the picture."""
    steps = ", then ".join(f"{one.title}: {one.state[0].lower()}" for one in shown(answer))
    return f"{steps}. The verdict: {VERDICTS[answer['Outcome']][0].lower()}."
