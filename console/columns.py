"""Columns of the Customer managed keys table, as data: what is shown, what it is sorted by, what is on at first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    name: str  # in preferences, and of the cell's template console/keys/cells/<name>.html
    label: str
    sort: str = ""  # Sort of console:ListKeys; empty: can't be sorted by it
    on_at_first: bool = True
    fixed: bool = False  # can't be turned off

    @property
    def template(self) -> str:
        return f"console/keys/cells/{self.name}.html"


COLUMNS = (
    Column("aliases", "Aliases", sort="alias", fixed=True),
    # Leads to the key, which the alias does only where there is one.
    Column("key_id", "Key ID", sort="key_id", fixed=True),
    Column("status", "Status", sort="status"),
    Column("key_type", "Key type"),
    Column("key_spec", "Key spec"),
    Column("key_usage", "Key usage"),
    Column("creation_date", "Creation date (UTC)", sort="creation_date", on_at_first=False),
    Column("origin", "Origin", on_at_first=False),
    Column("custom_key_store_id", "Custom key store ID", on_at_first=False),
    Column("custom_key_store_name", "Custom key store name", on_at_first=False),
    Column("description", "Description", on_at_first=False),
)
PAGE_SIZES = (10, 20, 50, 100)
SORTS = {column.sort: column for column in COLUMNS if column.sort}


def chosen(names: list[str] | None) -> list[Column]:
    """Return the columns to show: those named, or those that are on at first; the fixed ones always."""
    if names is None:
        return [column for column in COLUMNS if column.on_at_first]
    return [column for column in COLUMNS if column.fixed or column.name in names]
