"""Django admin's page for custom key stores, and what may be done there: connect and disconnect.

Both go through dispatch as the signed-in person, so they are authorized, recorded and refused as on every other way in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Protocol, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import models
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html

from hsmapp.account_admin import AccountAdmin, count_of, preformatted
from hsmapp.models import Hsm
from hsmapp.states import HsmState
from kmsapp import dispatch
from kmsapp.caller import Caller
from kmsapp.errors import KmsError
from kmsapp.models import CustomKeyStore, KmsKey
from kmsapp.models.key_stores import ConnectionState


class Proof(Protocol):
    """Whether the form has to ask for the password once more."""

    @property
    def is_asked(self) -> bool: ...
    @property
    def status(self) -> int: ...


class AsksForPasswords(Protocol):
    """What the console adds to the admin site."""

    def proof_of(self, request: HttpRequest, *, is_submitted: bool) -> Proof: ...


class CustomKeyStoreAdmin(AccountAdmin):
    console_page = ("console:key-store", "custom_key_store_id")
    list_display = [
        "name",
        "custom_key_store_id",
        "state",
        "cluster",
        "hsms_active",
        "keys",
        "region",
    ]
    list_select_related = ["cluster"]
    list_filter = ["connection_state", "region"]
    search_fields = ["name", "custom_key_store_id", "cluster__cluster_id"]
    date_hierarchy = "created_at"
    actions = ["connect", "disconnect"]
    fields = [
        "name",
        "custom_key_store_id",
        "account",
        "region",
        "state",
        "transition_due_at",
        "cluster",
        "hsms_active",
        "keys",
        "trust_anchor",
        "created_at",
    ]

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows: models.QuerySet[Any] = (
            super()
            .get_queryset(request)
            .annotate(
                key_count=count_of(KmsKey.objects.all(), by="custom_key_store"),
                active_hsm_count=count_of(Hsm.objects.filter(state=HsmState.ACTIVE), by="cluster", to="cluster"),
            )
        )
        return rows

    @admin.display(description="connection state", ordering="connection_state")
    def state(self, row: CustomKeyStore) -> str:
        """CONNECTED, or FAILED with why."""
        return f"{row.connection_state} {row.connection_error_code}".strip()

    @admin.display(description="active HSMs", ordering="active_hsm_count")
    def hsms_active(self, row: Any) -> int:
        return int(row.active_hsm_count)

    @admin.display(description="keys", ordering="key_count")
    def keys(self, row: Any) -> str:
        address = reverse("admin:kmsapp_kmskey_changelist", query={"custom_key_store__id__exact": row.pk})
        return format_html(
            '<a href="{}" aria-label="Keys of {}: {}">{}</a>', address, row, row.key_count, row.key_count
        )

    @admin.display(description="trust anchor certificate")
    def trust_anchor(self, row: CustomKeyStore) -> str:
        return preformatted(row.trust_anchor_certificate)

    @admin.action(description="Connect the selected custom key stores", permissions=["view"])
    def connect(self, request: HttpRequest, queryset: models.QuerySet[CustomKeyStore]) -> None:
        self._call("kms:ConnectCustomKeyStore", request, queryset)

    @admin.action(description="Disconnect the selected custom key stores", permissions=["view"])
    def disconnect(self, request: HttpRequest, queryset: models.QuerySet[CustomKeyStore]) -> TemplateResponse | None:
        is_confirmed = "confirmed" in request.POST
        proof = cast(AsksForPasswords, self.admin_site).proof_of(request, is_submitted=is_confirmed)
        if not is_confirmed or proof.is_asked:
            return self._ask(request, queryset, proof)
        self._call("kms:DisconnectCustomKeyStore", request, queryset)
        return None

    def _ask(self, request: HttpRequest, stores: models.QuerySet[CustomKeyStore], proof: Proof) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Disconnect custom key stores",
            "opts": self.opts,
            "media": self.media,
            "stores": list(stores),
            "proof": proof,
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/kmsapp/customkeystore/disconnect.html", context, status=proof.status)

    def _call(self, operation: str, request: HttpRequest, stores: Iterable[CustomKeyStore]) -> None:
        """Call the operation for each store in the store's own Region, and say what came of it."""
        caller: Caller = request.caller  # type: ignore[attr-defined]
        for store in stores:
            params = {"CustomKeyStoreId": store.custom_key_store_id}
            try:
                dispatch.call(replace(caller, region=store.region), operation, params)
            except KmsError as error:
                self.message_user(request, f"{store}: {error.code}: {error.message}", messages.ERROR)
                continue
            store.refresh_from_db(fields=["connection_state", "connection_error_code"])
            failed = store.connection_state == ConnectionState.FAILED
            self.message_user(
                request, f"{store}: {self.state(store)}", messages.WARNING if failed else messages.SUCCESS
            )
