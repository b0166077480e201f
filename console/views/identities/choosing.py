"""A table to choose from, with a filter and pages: what is ticked stays ticked, whichever part of the table is shown.

Filter and pages are buttons of the form that holds the check boxes, so this works without JavaScript. What is ticked
but not shown stands below the table, where it can be given up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from console.forms.identities import clean
from console.paging import Pages, number_of
from console.requests import ConsoleRequest
from console.views.identities.lists import ON_A_PAGE, Row, asked_text, matching


@dataclass(frozen=True)
class Choosing:
    """What a post or an address says of the table."""

    ticked: list[str]
    text: str  # of the filter
    page: int
    is_done: bool  # the form's own button was chosen, none that shows another part of the table

    @classmethod
    def of(cls, request: ConsoleRequest, field: str) -> Choosing:
        """field: the name of the check boxes."""
        if request.method != "POST":
            return cls([], asked_text(request.GET), number_of(request.GET.get("page", "")), is_done=False)
        button, _, number = request.POST.get("go", "").partition(":")
        ticked = list(dict.fromkeys(clean(value) for value in request.POST.getlist(field)))
        is_done = button not in {"find", "page"}
        return cls(ticked, asked_text(request.POST), number_of(number), is_done)

    def shown(self, rows: list[Row], value: str, words: Callable[[Row], tuple[str, ...]]) -> dict[str, Any]:
        """Context of the table. value: the member of a row that its check box has; words: what the filter looks at."""
        found = matching(rows, self.text, words)
        pages = Pages(self.page, len(found), ON_A_PAGE)
        pages = Pages(min(pages.number, pages.last), len(found), ON_A_PAGE)
        here = pages.cut(found)
        ticked = [row for row in matching(rows, "", words) if row[value] in self.ticked]
        return {
            "rows": here,
            "chosen": [row[value] for row in ticked],
            "elsewhere": [row for row in ticked if row not in here],
            "total": len(found),
            "all": len(rows),
            "q": self.text,
            "pages": pages,
        }
