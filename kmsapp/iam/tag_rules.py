"""The rules of tags on users, roles and managed policies. Keys differ without regard to case, and keep theirs.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kmsapp.errors import InvalidInputException, LimitExceededException

MOST_TAGS = 50
TagList = Sequence[Mapping[str, str]]  # [{"Key": …, "Value": …}]


def with_tags(tags: Mapping[str, str], added: TagList | None) -> dict[str, str]:
    """The tags with more of them; a key that is there already takes the new value and spelling.

    Raises: InvalidInputException, LimitExceededException.
    """
    new = {tag["Key"]: tag["Value"] for tag in added or ()}
    lower = {key.lower() for key in new}
    if len(lower) != len(added or ()):
        raise InvalidInputException("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    if any(key.startswith("aws:") for key in lower):
        raise InvalidInputException("Tag keys that begin with aws: are reserved for AWS.")
    changed = {**{key: value for key, value in tags.items() if key.lower() not in lower}, **new}
    if len(changed) > MOST_TAGS:
        raise LimitExceededException(f"Cannot exceed quota for TagsPerResource: {MOST_TAGS}")
    return changed


def without_tags(tags: Mapping[str, str], keys: Iterable[str]) -> dict[str, str]:
    """The tags without those of these keys, whether they are there or not."""
    gone = {key.lower() for key in keys}
    return {key: value for key, value in tags.items() if key.lower() not in gone}


def entries(tags: Mapping[str, str]) -> list[dict[str, str]] | None:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_Tag.html; None, so no member, without tags."""
    return [{"Key": key, "Value": tags[key]} for key in sorted(tags)] or None
