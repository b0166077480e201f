"""What the forms of identities read from a post, and what must be corrected before IAM is asked.

Limits are those of IAM's model; what else is wrong IAM says itself.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from console.identities import GROUP, ROLE, USER, Kind

Problems = dict[str, str]  # id of the field -> sentence

LONGEST_NAMES = {USER.slug: 64, ROLE.slug: 64, GROUP.slug: 128}
LONGEST_POLICY_NAME = 128
LONGEST_PATH = 512
LONGEST_DESCRIPTION = 1000
MOST_TAGS = 50
SESSION_SECONDS = range(3600, 43_201)
SESSIONS = {3600: "1 hour", 7200: "2 hours", 14_400: "4 hours", 28_800: "8 hours", 43_200: "12 hours"}
_NAME = re.compile(r"[\w+=,.@-]+", re.ASCII)
_PATH = re.compile(r"/|/[\x21-\x7e]+/")
ALLOWED = "Use letters, numbers, and the characters + = , . @ _ -."


def clean(text: str) -> str:
    # No member of IAM's takes NUL, and a database may not either.
    return text.replace("\0", "")


def name_problem(kind: Kind, name: str) -> str:
    """What is wrong with a name, or an empty text."""
    return _name_problem(f"{kind.title} name", name, LONGEST_NAMES[kind.slug])


def policy_name_problem(name: str) -> str:
    return _name_problem("Policy name", name, LONGEST_POLICY_NAME)


def _name_problem(label: str, name: str, longest: int) -> str:
    if not name:
        return f"{label} is required."
    if len(name) > longest:
        return f"{label} must be 1 to {longest} characters. Shorten it."
    return "" if _NAME.fullmatch(name) else f"{label} has a character that isn't allowed. {ALLOWED}"


def path_problem(path: str) -> str:
    if len(path) > LONGEST_PATH:
        return f"Path must be 1 to {LONGEST_PATH} characters. Shorten it."
    return "" if _PATH.fullmatch(path) else "Begin and end the path with a slash (/), and use no spaces."


def read_path(post: QueryDict) -> str:
    """The path; an empty field is the default one."""
    return clean(post.get("path", "")).strip() or "/"


def read_description(post: QueryDict) -> str:
    return clean(post.get("description", "")).replace("\r\n", "\n").strip()


def description_problem(text: str) -> str:
    if len(text) > LONGEST_DESCRIPTION:
        return f"Description must be {LONGEST_DESCRIPTION} characters or fewer. Shorten it."
    return ""


def read_session(post: QueryDict) -> int:
    """Seconds; 0 for what is no length that a session can have."""
    text = post.get("max_session", "").strip()
    seconds = int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0
    return seconds if seconds in SESSION_SECONDS else 0


@dataclass
class Tags:
    """Rows of the tag editor."""

    rows: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, post: QueryDict) -> Tags:
        keys, values = post.getlist("tag_key")[: MOST_TAGS + 1], post.getlist("tag_value")[: MOST_TAGS + 1]
        return cls([(clean(key).strip(), clean(value).strip()) for key, value in zip(keys, values, strict=False)])

    def problems(self) -> Problems:
        problems: Problems = {}
        seen: set[str] = set()
        for row, (key, value) in enumerate(self.rows):
            if key and key.lower() in seen:
                problems[f"id_tag_key_{row}"] = "Another row has this tag key. Remove one of the two."
            elif value and not key:
                problems[f"id_tag_key_{row}"] = "Tag key is required."
            elif len(key) > 128:
                problems[f"id_tag_key_{row}"] = "Tag key must be 1 to 128 characters. Shorten it."
            if len(value) > 256:
                problems[f"id_tag_value_{row}"] = "Tag value must be 256 characters or fewer. Shorten it."
            seen.add(key.lower())
        return problems

    def filled(self) -> dict[str, str]:
        return {key: value for key, value in self.rows if key}

    def changes(self, before: dict[str, str]) -> tuple[list[dict[str, str]], list[str]]:
        """What to tag and which keys to untag, so that `before` becomes these."""
        wanted = self.filled()
        tagged = [{"Key": key, "Value": value} for key, value in wanted.items() if before.get(key) != value]
        kept = {key.lower() for key in wanted}
        return tagged, [key for key in before if key.lower() not in kept]


def edited_rows(rows: list[Any], go: str, empty: Any, most: int) -> list[Any] | None:
    """The rows after an Add or Remove button; None for another button."""
    name, _, number = go.partition(":")
    if name == "add":
        return [*rows, empty] if len(rows) < most else rows
    if name == "remove":
        at = int(number) if number.isascii() and number.isdigit() and len(number) < 4 else len(rows)
        return rows[:at] + rows[at + 1 :]
    return None
