"""Pages of Django admin for KMS and the audit record. The site is the console's.

They show rows; those of identities are in identity_admin.py. What they do, connecting and disconnecting key stores, is
in key_store_admin.py.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from hsmapp.account_admin import AccountAdmin, preformatted, pretty_json
from kmsapp import arns, denials, key_facts, registry, sign_in_events
from kmsapp.identity_admin import IDENTITY_ADMINS
from kmsapp.key_store_admin import CustomKeyStoreAdmin
from kmsapp.models import (
    Alias,
    AuditEvent,
    CustomKeyStore,
    Grant,
    KeyLastUsage,
    KmsKey,
    Tag,
)


class KmsKeyAdmin(AccountAdmin):
    console_page = ("console:key", "key_id")
    list_display = [
        "key_id",
        "alias_names",
        "shown_state",
        "deletion_date",
        "key_store",
        "region",
        "created_at",
        "key_spec",
        "origin",
    ]
    list_select_related = ["custom_key_store"]
    list_filter = ["key_state", "region", "origin", ("custom_key_store", admin.RelatedOnlyFieldListFilter)]
    search_fields = ["key_id", "description", "aliases__name"]
    date_hierarchy = "created_at"
    fields = [
        "key_id",
        "arn",
        "account",
        "region",
        "alias_names",
        "description",
        "shown_state",
        "own_state",
        "key_spec",
        "key_usage",
        "origin",
        "multi_region",
        "custom_key_store",
        "material_of",
        "key_policy",
        "tag_list",
        "audit_events",
        "created_at",
        "last_used",
        "deletion_date",
        "deletion_scheduled_at",
        "deletion_confirmed_at",
    ]

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("aliases")

    @admin.display(description="aliases")
    def alias_names(self, row: KmsKey) -> str:
        return ", ".join(alias.name for alias in row.aliases.all()) or "-"

    @admin.display(description="key state", ordering="key_state")
    def shown_state(self, row: KmsKey) -> str:
        return key_facts.shown_state(row)

    @admin.display(description="without its store")
    def own_state(self, row: KmsKey) -> str:
        return row.key_state

    @admin.display(description="custom key store", ordering="custom_key_store__name")
    def key_store(self, row: KmsKey) -> str:
        return row.custom_key_store.custom_key_store_id if row.custom_key_store else "-"

    @admin.display(description="last used")
    def last_used(self, row: KmsKey) -> str:
        use = KeyLastUsage.objects.filter(key=row).first()
        return str(use) if use is not None else "never"

    @admin.display(description="masked key")
    def material_of(self, row: KmsKey) -> str:
        if row.material_id is None:
            return "-"
        address = reverse("admin:hsmapp_maskedkey_change", args=[row.material_id])
        return format_html('<a href="{}">Where it is kept</a>', address)

    @admin.display(description="key policy")
    def key_policy(self, row: KmsKey) -> str:
        return preformatted(row.policy)

    @admin.display(description="tags")
    def tag_list(self, row: KmsKey) -> str:
        return preformatted("\n".join(map(str, row.tags.all())) or "-")

    @admin.display(description="audit events")
    def audit_events(self, row: KmsKey) -> str:
        address = reverse("admin:kmsapp_auditevent_changelist", query={"resource": row.arn})
        return format_html('<a href="{}">Calls that named this key</a>', address)


class AliasAdmin(AccountAdmin):
    console_page = ("console:key", "key.key_id")
    list_display = ["name", "region", "key", "created_at", "updated_at"]
    list_select_related = ["key"]
    list_filter = ["region"]
    search_fields = ["name", "key__key_id"]
    date_hierarchy = "created_at"
    fields = ["name", "arn", "account", "region", "key", "created_at", "updated_at"]


class TagAdmin(AccountAdmin):
    console_page = ("console:key", "key.key_id")
    region_path = "key.region"
    account_path = "key__account"
    list_display = ["tag_key", "tag_value", "key", "region"]
    list_select_related = ["key"]
    search_fields = ["tag_key", "tag_value", "key__key_id"]
    fields = ["tag_key", "tag_value", "key", "region"]

    @admin.display(description="region", ordering="key__region")
    def region(self, row: Tag) -> str:
        return row.key.region


class GrantAdmin(AccountAdmin):
    console_page = ("console:key", "key.key_id")
    region_path = "key.region"
    account_path = "key__account"
    list_display = ["grant_id", "key", "grantee_principal", "operation_names", "name", "region", "created_at"]
    list_select_related = ["key"]
    search_fields = ["grant_id", "name", "grantee_principal", "retiring_principal", "key__key_id"]
    date_hierarchy = "created_at"
    fields = [
        "grant_id",
        "key",
        "region",
        "name",
        "grantee_principal",
        "grantee_id",
        "retiring_principal",
        "retiring_id",
        "issuing_account",
        "operation_names",
        "constraint_text",
        "created_at",
    ]

    @admin.display(description="region", ordering="key__region")
    def region(self, row: Grant) -> str:
        return row.key.region

    @admin.display(description="operations")
    def operation_names(self, row: Grant) -> str:
        return ", ".join(row.operations)

    @admin.display(description="constraints")
    def constraint_text(self, row: Grant) -> str:
        return pretty_json(row.constraints) if row.constraints else "-"


class OutcomeFilter(admin.SimpleListFilter):
    """Answered or refused, without a scan for all error codes that ever occurred."""

    title = "outcome"
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("answered", "Answered"), ("refused", "Refused")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        if self.value() == "answered":
            return queryset.filter(error_code="")
        return queryset.exclude(error_code="") if self.value() == "refused" else queryset


class OperationFilter(admin.SimpleListFilter):
    """The operations that are built, by the names that the audit record has for them, which need no query."""

    title = "operation"
    parameter_name = "operation"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        recorded = [operation.recorded_as or name for name, operation in registry.OPERATIONS.items()]
        names = sorted({*(name.partition(":")[2] for name in recorded), *sign_in_events.NAMES})
        return [(name, name) for name in names]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        return queryset.filter(event_name=self.value()) if self.value() else queryset


class AuditEventAdmin(AccountAdmin):
    """One row per call of this account, or of another account that was let at something of this one's."""

    list_display = ["time", "event_name", "who", "way_in", "outcome", "what", "region"]
    list_filter = [OutcomeFilter, OperationFilter]
    linked_by = ["resource", "request_id", "principal"]
    search_fields = ["event_name", "principal", "resource", "error_code", "request_id"]
    date_hierarchy = "event_time"
    fields = [
        "time",
        "event_id",
        "event_name",
        "event_source",
        "account",
        "region",
        "principal",
        "way_in",
        "outcome",
        "why",
        "resource",
        "request_id",
        "record",
    ]

    @admin.display(description="time (UTC)", ordering="event_time")
    def time(self, row: AuditEvent) -> str:
        return f"{row.event_time:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="principal", ordering="principal")
    def who(self, row: AuditEvent) -> str:
        return row.principal.rpartition(":")[2] or "-"

    @admin.display(description="resource", ordering="resource")
    def what(self, row: AuditEvent) -> str:
        return row.resource.rpartition(":")[2] or "-"

    @admin.display(description="way in")
    def way_in(self, row: AuditEvent) -> str:
        if row.event.get("eventType") == sign_in_events.TYPE:
            return "console"
        return str(row.event.get("userIdentity", {}).get("invokedBy", "wire"))

    @admin.display(description="outcome", ordering="error_code")
    def outcome(self, row: AuditEvent) -> str:
        return row.error_code or "Answered"

    @admin.display(description="why")
    def why(self, row: AuditEvent) -> str:
        """The policy simulator, asked what a denial was about; it shows keys of the Region that is chosen there."""
        denied = denials.of_event(row.event)
        arn = arns.parse(denied.resource) if denied else None
        if denied is None or arn is None or arn.account != row.account or not arn.resource.startswith("key/"):
            return "-"
        address = reverse(
            "console:key-simulator",
            args=[arn.resource.removeprefix("key/")],
            query={
                "principal": denied.principal,
                "action": denied.action,
                "source_ip": denied.source_ip,
                "context_key": list(denied.encryption_context),
                "context_value": list(denied.encryption_context.values()),
            },
        )
        return format_html('<a href="{}">Policy simulator</a> (Region {})', address, arn.region)

    @admin.display(description="whole record")
    def record(self, row: AuditEvent) -> str:
        return pretty_json(row.event)


MODEL_ADMINS: dict[type[models.Model], type[AccountAdmin]] = {
    CustomKeyStore: CustomKeyStoreAdmin,
    KmsKey: KmsKeyAdmin,
    Alias: AliasAdmin,
    Tag: TagAdmin,
    Grant: GrantAdmin,
    **IDENTITY_ADMINS,
    AuditEvent: AuditEventAdmin,
}
