"""Rows that decide who may come in and what they may do."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models, transaction

from hsmapp import epochs


class RaisesEpoch(models.Model):
    """A row that decides who may come in: whatever changes it, every cached credential of its account is old."""

    # Written at every sign-in and by preferences; nobody's way in depends on them.
    HARMLESS: ClassVar[frozenset[str]] = frozenset({"last_login", "preferences"})

    class Meta:
        abstract = True

    def account_of_row(self) -> str:
        raise TypeError(f"{type(self).__name__} does not say whose account it is")

    def save(self, *args: Any, **options: Any) -> None:
        fields = options.get("update_fields")
        with transaction.atomic():
            super().save(*args, **options)
            if fields is None or not set(fields) <= self.HARMLESS:
                epochs.raise_epoch(self.account_of_row())

    def delete(self, *args: Any, **options: Any) -> tuple[int, dict[str, int]]:
        with transaction.atomic():
            epochs.raise_epoch(self.account_of_row())
            return super().delete(*args, **options)
