"""Pages of Django admin for the console's drafts, and the one place where all apps' pages are put on the site."""

from __future__ import annotations

from django.contrib import admin
from django.db import models
from django.urls import reverse
from django.utils.html import format_html

from console.admin_site import site
from console.models import KeyDraft
from hsmapp import admin as hsm_pages
from hsmapp.account_admin import AccountAdmin, pretty_json
from kmsapp import admin as kms_pages


class KeyDraftAdmin(AccountAdmin):
    list_display = ["id", "owner", "state", "alias", "region", "made_key_id", "failure_code", "updated_at"]
    list_select_related = ["owner"]
    list_filter = ["state", "region"]
    search_fields = ["id", "owner__user_name", "made_key_id"]
    date_hierarchy = "updated_at"
    fields = [
        "id",
        "owner",
        "account",
        "region",
        "state",
        "choices",
        "made_key",
        "last_failure",
        "created_at",
        "updated_at",
        "claimed_at",
    ]

    @admin.display(description="alias")
    def alias(self, row: KeyDraft) -> str:
        return str(row.data.get("alias") or "-")

    @admin.display(description="last failure")
    def failure_code(self, row: KeyDraft) -> str:
        return str(row.failure.get("code") or "-")

    @admin.display(description="choices so far")
    def choices(self, row: KeyDraft) -> str:
        return pretty_json(row.data)

    @admin.display(description="key it made")
    def made_key(self, row: KeyDraft) -> str:
        if not row.made_key_id:
            return "-"
        address = reverse("admin:kmsapp_kmskey_changelist", query={"q": row.made_key_id})
        return format_html('<a href="{}">{}</a>', address, row.made_key_id)

    @admin.display(description="last failure")
    def last_failure(self, row: KeyDraft) -> str:
        return pretty_json(row.failure)


PAGES: dict[type[models.Model], type[AccountAdmin]] = {
    **hsm_pages.MODEL_ADMINS,
    **kms_pages.MODEL_ADMINS,
    KeyDraft: KeyDraftAdmin,
}
for model, page in PAGES.items():
    site.register(model, page)
