"""Pages of a table: which one is asked for, and the links to the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from django.http import HttpRequest

Item = TypeVar("Item")


@dataclass(frozen=True)
class Pages:
    number: int  # from 1
    total: int  # items on all pages
    size: int  # items on one page
    address: str = "?"  # of the table without a page, beginning with ?

    @property
    def last(self) -> int:
        return max(1, -(-self.total // self.size))

    @property
    def is_past_the_end(self) -> bool:
        return self.number > self.last

    @property
    def previous(self) -> int:
        """0 on the first page."""
        return self.number - 1

    @property
    def next(self) -> int:
        """0 on the last page."""
        return self.number + 1 if self.number < self.last else 0

    @property
    def link(self) -> str:
        """Address up to the page number."""
        return self.address + ("page=" if self.address == "?" else "&page=")

    @property
    def near(self) -> list[int]:
        """Numbers to offer: the first, the last, and those around this one; 0 stands for a gap."""
        shown = sorted({1, self.last, *range(max(1, self.number - 2), min(self.last, self.number + 2) + 1)})
        numbers: list[int] = []
        for number in shown:
            if numbers and number - numbers[-1] > 1:
                numbers.append(0)
            numbers.append(number)
        return numbers

    def cut(self, items: list[Item]) -> list[Item]:
        """The items of this page."""
        return items[(self.number - 1) * self.size : self.number * self.size]


def page_number(request: HttpRequest) -> int:
    """The page that the address asks for."""
    return number_of(request.GET.get("page", ""))


def number_of(text: str) -> int:
    """A page number as it was sent; 1 for anything that is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 and int(text) > 0 else 1
