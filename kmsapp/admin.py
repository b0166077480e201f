"""Pages of Django admin for KMS, its identities and the audit record. The site is the console's.

They show rows. What they do, connecting and disconnecting key stores, is in key_store_admin.py.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any, ClassVar

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from hsmapp.account_admin import AccountAdmin, preformatted, pretty_json
from kmsapp import arns, denials, key_facts, registry, sign_in_events
from kmsapp.iam import principals
from kmsapp.key_store_admin import CustomKeyStoreAdmin
from kmsapp.models import (
    AccessKey,
    Account,
    Alias,
    AuditEvent,
    CustomKeyStore,
    Grant,
    Group,
    InlinePolicy,
    KmsKey,
    ManagedPolicy,
    PolicyVersion,
    Role,
    Tag,
    TemporaryCredential,
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


class PolicyHolderAdmin(AccountAdmin):
    """What the pages of users, groups and roles say of the policies that each has."""

    @admin.display(description="managed policies")
    def attached_policies(self, row: User | Group | Role) -> str:
        return ", ".join(row.managed_policies.order_by("name").values_list("name", flat=True)) or "-"

    @admin.display(description="inline policies")
    def own_policies(self, row: User | Group | Role) -> str:
        return ", ".join(row.inline_policies.order_by("name").values_list("name", flat=True)) or "-"

    @admin.display(description="permissions boundary")
    def boundary(self, row: User | Role) -> str:
        return row.permissions_boundary.arn if row.permissions_boundary else "-"

    @admin.display(description="tags")
    def tag_list(self, row: User | Role) -> str:
        return tags_shown(row.tags)


def tags_shown(tags: dict[str, str]) -> str:
    return preformatted("\n".join(f"{key}: {tags[key]}" for key in sorted(tags)) or "-")


class UserAdmin(PolicyHolderAdmin):
    list_display = ["shown_name", "path", "user_id", "is_root", "is_active", "is_staff", "last_login", "created_at"]
    list_filter = ["is_active", "is_staff", "is_root"]
    search_fields = ["user_name", "user_id", "path"]
    date_hierarchy = "created_at"
    fields = [
        "shown_name",
        "arn",
        "user_id",
        "account",
        "path",
        "group_names",
        "attached_policies",
        "own_policies",
        "boundary",
        "tag_list",
        "is_root",
        "is_active",
        "is_staff",
        "last_login",
        "login_profile_created_at",
        "password_reset_required",
        "created_at",
    ]

    @admin.display(description="user name", ordering="user_name")
    def shown_name(self, row: User) -> str:
        return row.user_name or "root user"

    @admin.display(description="groups")
    def group_names(self, row: User) -> str:
        return ", ".join(row.groups.filter(account=row.account_id).values_list("name", flat=True)) or "-"


class RoleAdmin(PolicyHolderAdmin):
    list_display = ["name", "path", "role_id", "description", "created_at"]
    search_fields = ["name", "role_id", "path", "description"]
    date_hierarchy = "created_at"
    fields = [
        "name",
        "arn",
        "role_id",
        "account",
        "path",
        "description",
        "trust",
        "max_session_seconds",
        "attached_policies",
        "own_policies",
        "boundary",
        "tag_list",
        "created_at",
    ]

    @admin.display(description="trust policy")
    def trust(self, row: Role) -> str:
        return preformatted(principals.shown(row.trust_policy, row.trust_principals))


class GroupAdmin(PolicyHolderAdmin):
    list_display = ["name", "path", "group_id", "created_at"]
    search_fields = ["name", "group_id", "path"]
    date_hierarchy = "created_at"
    fields = [
        "name",
        "arn",
        "group_id",
        "account",
        "path",
        "members",
        "attached_policies",
        "own_policies",
        "created_at",
    ]

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


class ManagedPolicyAdmin(AccountAdmin):
    """An account's own policies; AWS managed ones, which are the same for all, are on the wire."""

    list_display = ["name", "path", "policy_id", "default_version", "created_at", "updated_at"]
    search_fields = ["name", "policy_id", "path", "description"]
    date_hierarchy = "created_at"
    fields = [
        "name",
        "arn",
        "policy_id",
        "account",
        "path",
        "description",
        "default_version",
        "document",
        "used_by",
        "tag_list",
        "created_at",
        "updated_at",
    ]

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("versions")

    @admin.display(description="default version")
    def default_version(self, row: ManagedPolicy) -> str:
        return self._default(row).version_id

    @admin.display(description="document in force")
    def document(self, row: ManagedPolicy) -> str:
        return preformatted(self._default(row).document)

    def _default(self, row: ManagedPolicy) -> PolicyVersion:
        return next(version for version in row.versions.all() if version.is_default)

    @admin.display(description="attached to")
    def used_by(self, row: ManagedPolicy) -> str:
        names = [
            *row.users.values_list("user_name", flat=True),
            *row.groups.values_list("name", flat=True),
            *row.roles.values_list("name", flat=True),
        ]
        return ", ".join(sorted(names)) or "-"

    @admin.display(description="tags")
    def tag_list(self, row: ManagedPolicy) -> str:
        return tags_shown(row.tags)


class PolicyVersionAdmin(AccountAdmin):
    account_path = "policy__account"
    list_display = ["version", "policy", "is_default", "created_at"]
    list_select_related = ["policy"]
    list_filter = ["is_default"]
    search_fields = ["policy__name", "policy__policy_id"]
    date_hierarchy = "created_at"
    fields = ["version", "policy", "is_default", "text", "created_at"]

    @admin.display(description="version", ordering="number")
    def version(self, row: PolicyVersion) -> str:
        return row.version_id

    @admin.display(description="document")
    def text(self, row: PolicyVersion) -> str:
        return preformatted(row.document)


class OwnedAdmin(AccountAdmin):
    """Rows whose account is that of the one user, group or role that they belong to."""

    owners: ClassVar[tuple[str, ...]]

    def rows_of(self, rows: models.QuerySet[Any], account: str) -> models.QuerySet[Any]:
        return rows.filter(reduce(or_, (models.Q(**{f"{owner}__account": account}) for owner in self.owners)))

    @admin.display(description="belongs to")
    def owner(self, row: InlinePolicy | TemporaryCredential) -> str:
        arns = [owner.arn for name in self.owners if (owner := getattr(row, name)) is not None]
        return str(arns[0]).rpartition(":")[2]


class InlinePolicyAdmin(OwnedAdmin):
    owners = ("user", "group", "role")
    list_display = ["name", "owner"]
    list_select_related = ["user", "group", "role"]
    search_fields = ["name", "user__user_name", "group__name", "role__name"]
    fields = ["name", "owner", "text"]

    @admin.display(description="document")
    def text(self, row: InlinePolicy) -> str:
        return preformatted(row.document)


class TemporaryCredentialAdmin(OwnedAdmin):
    """Sessions: who is in a role, or stands for a user, and until when. Neither secret nor token is shown."""

    owners = ("user", "role")
    list_display = ["access_key_id", "owner", "session_name", "assumed_by", "created_at", "expires_at"]
    list_select_related = ["user", "role"]
    search_fields = ["access_key_id", "session_name", "assumed_by", "user__user_name", "role__name"]
    date_hierarchy = "created_at"
    fields = [
        "access_key_id",
        "owner",
        "session_name",
        "source_identity",
        "assumed_by",
        "policies",
        "tag_list",
        "transitive_keys",
        "created_at",
        "expires_at",
    ]

    @admin.display(description="session policies")
    def policies(self, row: TemporaryCredential) -> str:
        return pretty_json(row.session_policies)

    @admin.display(description="session tags")
    def tag_list(self, row: TemporaryCredential) -> str:
        return tags_shown(row.tags)

    @admin.display(description="transitive tag keys")
    def transitive_keys(self, row: TemporaryCredential) -> str:
        return ", ".join(row.transitive_tag_keys) or "-"


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
    Account: AccountPageAdmin,
    User: UserAdmin,
    Role: RoleAdmin,
    Group: GroupAdmin,
    AccessKey: AccessKeyAdmin,
    ManagedPolicy: ManagedPolicyAdmin,
    PolicyVersion: PolicyVersionAdmin,
    InlinePolicy: InlinePolicyAdmin,
    TemporaryCredential: TemporaryCredentialAdmin,
    AuditEvent: AuditEventAdmin,
}
