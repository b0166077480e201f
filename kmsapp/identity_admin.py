"""Pages of Django admin for accounts, users, roles, groups, their policies, access keys and sessions: rows to read."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any, ClassVar

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from hsmapp.account_admin import AccountAdmin, preformatted, pretty_json
from kmsapp.iam import principals
from kmsapp.models import (
    AccessKey,
    Account,
    Group,
    InlinePolicy,
    ManagedPolicy,
    PolicyVersion,
    Role,
    TemporaryCredential,
    User,
)


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


IDENTITY_ADMINS: dict[type[models.Model], type[AccountAdmin]] = {
    Account: AccountPageAdmin,
    User: UserAdmin,
    Role: RoleAdmin,
    Group: GroupAdmin,
    AccessKey: AccessKeyAdmin,
    ManagedPolicy: ManagedPolicyAdmin,
    PolicyVersion: PolicyVersionAdmin,
    InlinePolicy: InlinePolicyAdmin,
    TemporaryCredential: TemporaryCredentialAdmin,
}
