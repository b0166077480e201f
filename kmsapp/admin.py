"""Pages of Django admin for KMS, its identities and the audit record. The site is the console's.

They show rows. What they do, connecting and disconnecting key stores, is in key_store_admin.py.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from hsmapp.account_admin import AccountAdmin, preformatted, pretty_json
from kmsapp import key_facts, registry
from kmsapp.key_store_admin import CustomKeyStoreAdmin
from kmsapp.models import (
    AccessKey,
    Account,
    Alias,
    AuditEvent,
    CustomKeyStore,
    Grant,
    Group,
    KmsKey,
    Role,
    Tag,
    User,
)


class KmsKeyAdmin(AccountAdmin):
    console_page = ("console:key", "key_id")
    list_display = ["key_id", "alias_names", "shown_state", "key_store", "region", "created_at", "key_spec", "origin"]
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
        "deletion_date",
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


class AccountPageAdmin(AccountAdmin):
    account_path = "account_id"
    list_display = ["account_id", "name", "created_at"]
    search_fields = ["account_id", "name"]
    fields = ["account_id", "name", "root_arn", "created_at"]


class UserAdmin(AccountAdmin):
    list_display = ["user_name", "path", "user_id", "is_active", "is_staff", "last_login", "created_at"]
    list_filter = ["is_active", "is_staff"]
    search_fields = ["user_name", "user_id", "path"]
    date_hierarchy = "created_at"
    fields = [
        "user_name",
        "arn",
        "user_id",
        "account",
        "path",
        "group_names",
        "is_active",
        "is_staff",
        "last_login",
        "created_at",
    ]

    @admin.display(description="groups")
    def group_names(self, row: User) -> str:
        return ", ".join(row.groups.filter(account=row.account_id).values_list("name", flat=True)) or "-"


class RoleAdmin(AccountAdmin):
    list_display = ["name", "path", "role_id", "created_at"]
    search_fields = ["name", "role_id", "path"]
    date_hierarchy = "created_at"
    fields = ["name", "arn", "role_id", "account", "path", "trust", "created_at"]

    @admin.display(description="trust policy")
    def trust(self, row: Role) -> str:
        return preformatted(row.trust_policy)


class GroupAdmin(AccountAdmin):
    list_display = ["name", "path", "group_id", "created_at"]
    search_fields = ["name", "group_id", "path"]
    date_hierarchy = "created_at"
    fields = ["name", "arn", "group_id", "account", "path", "members", "created_at"]

    @admin.display(description="users")
    def members(self, row: Group) -> str:
        return ", ".join(row.users.filter(account=row.account_id).values_list("user_name", flat=True)) or "-"


class AccessKeyAdmin(AccountAdmin):
    account_path = "user__account"
    list_display = ["access_key_id", "user", "status", "created_at"]
    list_select_related = ["user"]
    list_filter = ["status"]
    search_fields = ["access_key_id", "user__user_name"]
    date_hierarchy = "created_at"
    fields = ["access_key_id", "user", "status", "created_at"]


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
        names = sorted({name.partition(":")[2] for name in recorded})
        return [(name, name) for name in names]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        return queryset.filter(event_name=self.value()) if self.value() else queryset


class AuditEventAdmin(AccountAdmin):
    """One row per call of this account. Calls of other accounts are theirs to read."""

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
        return str(row.event.get("userIdentity", {}).get("invokedBy", "wire"))

    @admin.display(description="outcome", ordering="error_code")
    def outcome(self, row: AuditEvent) -> str:
        return row.error_code or "Answered"

    @admin.display(description="whole record")
    def record(self, row: AuditEvent) -> str:
        return pretty_json(row.event)


MODEL_ADMINS: dict[type[models.Model], type[AccountAdmin]] = {
    CustomKeyStore: CustomKeyStoreAdmin,
    KmsKey: KmsKeyAdmin,
    Alias: AliasAdmin,
    Tag: TagAdmin,
    Grant: GrantAdmin,
    Account: AccountPageAdmin,
    User: UserAdmin,
    Role: RoleAdmin,
    Group: GroupAdmin,
    AccessKey: AccessKeyAdmin,
    AuditEvent: AuditEventAdmin,
}
