"""How a person wants the keys table: kept with the person, so that it holds on the next visit and device."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from console.columns import COLUMNS, PAGE_SIZES, Column, chosen
from kmsapp.models import User

PAGE = "keys"


@dataclass(frozen=True)
class KeysPreferences:
    page_size: int = PAGE_SIZES[0]
    wrap: bool = False
    columns: list[str] = field(default_factory=lambda: [column.name for column in chosen(None)])

    @property
    def shown(self) -> list[Column]:
        return chosen(self.columns)


def of(user: User) -> KeysPreferences:
    """Return what the person chose; what an older version wrote and nobody knows any more is left out."""
    kept = _section(user.preferences)
    standard = KeysPreferences()
    known = {column.name for column in COLUMNS}
    size = kept.get("page_size")
    columns = kept.get("columns")
    return KeysPreferences(
        page_size=size if size in PAGE_SIZES else standard.page_size,
        wrap=kept.get("wrap") is True,
        columns=[name for name in columns if name in known] if isinstance(columns, list) else standard.columns,
    )


def _section(preferences: Any) -> dict[str, Any]:
    section = preferences.get(PAGE) if isinstance(preferences, dict) else None
    return section if isinstance(section, dict) else {}


def remember(user: User, preferences: KeysPreferences) -> None:
    """Keep `preferences` with the person; what other pages keep there stays."""
    user.preferences = {**(user.preferences or {}), PAGE: asdict(preferences)}
    User.objects.filter(pk=user.pk).update(preferences=user.preferences)
