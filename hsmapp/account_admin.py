"""What all pages of Django admin have in common.

Rules they keep: only rows of the signed-in person's own account are found, by list, search, filter, autocomplete or
address; nothing is added, changed or deleted; each page names the fields it shows, so that a new column is shown
nowhere until somebody says so; columns with secrets are not even read; the address may filter only by what the page
offers.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db import models
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin

# What an address may compare with; patterns such as __regex and __startswith are no part of any page.
LOOKUPS = {"exact", "in", "isnull", "gte", "lt", "year", "month", "day"}
MOST_SEARCH_WORDS = 10
# Columns that hold a hash of a password or a session token, wherever they occur; every other secret is a BinaryField.
SECRET_NAMES = {"password", "token_sha256"}


class AccountAdmin(ModelAdmin):
    """Shows the rows of one model that belong to the account of the person who looks."""

    account_path: ClassVar[str] = "account"  # from a row to its 12 digits
    linked_by: ClassVar[Sequence[str]] = ()  # what other pages' links filter this list by, beside list_filter
    # The row's page in the console: name of the address, and dotted path from the row to its argument. None: no page.
    console_page: ClassVar[tuple[str, str] | None] = None
    region_path: ClassVar[str] = "region"  # dotted path from the row to its Region, for console_page

    view_on_site = False  # would look objects up past the account; console_page is the way
    show_facets = admin.ShowFacets.NEVER  # a query per choice
    show_full_result_count = False  # counts the whole table once more
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows = self.rows_of(super().get_queryset(request), account_of(request))
        return rows.defer(*secret_columns(self.model))

    def rows_of(self, rows: models.QuerySet[Any], account: str) -> models.QuerySet[Any]:
        """Those of the rows that belong to the account (12 digits)."""
        return rows.filter(**{self.account_path: account})

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The row. Another account's is not found, exactly as one that doesn't exist. Raises Http404."""
        found = None if "\0" in object_id else super().get_object(request, object_id, from_field)
        if found is None:
            raise Http404("No such row in this account")
        return found

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Whether the address may filter by this: only what the page's own filters and other pages' links use."""
        path = lookup.split("__")
        kind = path.pop() if len(path) > 1 and path[-1] in LOOKUPS else "exact"
        if kind == "year" and not _is_year(value):
            return False  # Django adds a year or a month to it, and there is none after 9999
        return "__".join(path) in self._offered(request) and "\0" not in str(value)

    def _offered(self, request: HttpRequest) -> set[str]:
        offered = {*self.linked_by, self.date_hierarchy or ""}
        for choice in self.get_list_filter(request):
            if isinstance(choice, str):
                offered.add(choice)
            elif isinstance(choice, tuple):
                offered |= {str(choice[0]), f"{choice[0]}__id"}
            elif isinstance(choice, type) and issubclass(choice, admin.SimpleListFilter):
                offered.add(str(choice.parameter_name))
        return offered

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        if "\0" in search_term:
            return queryset.none(), False  # no text holds it; SQLite would find everything, PostgreSQL would fail
        # Each word becomes a clause for each searched column, and databases bound the depth of an expression.
        return super().get_search_results(request, queryset, " ".join(search_term.split()[:MOST_SEARCH_WORDS]))

    def get_list_display(self, request: HttpRequest) -> Any:
        return [*self.list_display, *self._console_column(request)]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*(self.fields or ()), *self._console_column(request)]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.get_fields(request, obj)

    def _console_column(self, request: HttpRequest) -> list[Callable[[Any], str]]:
        """A link to the row's page in the console, which shows one Region at a time."""
        if self.console_page is None:
            return []
        name, path = self.console_page
        argument_of, region_of_row, region_shown = attrgetter(path), attrgetter(self.region_path), region_of(request)

        @admin.display(description="Console")
        def console(row: Any) -> str:
            if region_of_row(row) != region_shown:
                return f"Choose Region {region_of_row(row)} in the console"
            address = reverse(name, args=[argument_of(row)])
            return format_html('<a href="{}" aria-label="Console page of {}">Console page</a>', address, row)

        return [console]


def account_of(request: HttpRequest) -> str:
    """The 12-digit account of who has signed in; only such requests reach a page of the admin."""
    return str(request.user.account_id)  # type: ignore[union-attr]


def region_of(request: HttpRequest) -> str:
    """The Region that the person has chosen in the console."""
    return str(request.caller.region)  # type: ignore[attr-defined]


def secret_columns(model: type[models.Model]) -> list[str]:
    """Columns that are shown nowhere and filtered by nowhere: sealed, wrapped and hashed secrets."""
    return [
        column.name
        for column in model._meta.concrete_fields
        if isinstance(column, models.BinaryField) or column.name in SECRET_NAMES
    ]


def count_of(rows: models.QuerySet[Any], *, by: str, to: str = "pk") -> Coalesce:
    """Annotation: how many of `rows` have in their column `by` what the row of the list has in its column `to`."""
    counted = rows.filter(**{by: models.OuterRef(to)}).order_by().values(by).annotate(n=models.Count("pk"))
    return Coalesce(models.Subquery(counted.values("n")), 0)


def preformatted(text: str) -> SafeString:
    """Text whose lines and spaces matter, such as PEM or JSON."""
    return format_html("<pre>{}</pre>", text)


def pretty_json(value: Any) -> SafeString:
    return preformatted(json.dumps(value, indent=2, ensure_ascii=False))


def _is_year(value: Any) -> bool:
    return str(value).isdecimal() and datetime.MINYEAR <= int(str(value)[:5]) < datetime.MAXYEAR
