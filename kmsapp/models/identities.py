"""Accounts, users, roles, groups, access keys and sessions.

A person is one `User`, the same principal in the browser, in Django admin and on the wire; so is an account's root
user, who has no user name. What they may do stands in policies (models/policies.py).
"""

from __future__ import annotations

import datetime
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from kmsapp.models.epoch_rows import RaisesEpoch
from kmsapp.models.policies import ManagedPolicy


class Account(models.Model):
    """An AWS account."""

    account_id = models.CharField(max_length=12, primary_key=True)
    name = models.CharField(max_length=128, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["account_id"]
        constraints = [
            models.CheckConstraint(condition=Q(account_id__regex=r"^[0-9]{12}$"), name="account_id_is_12_digits")
        ]

    def __str__(self) -> str:
        return self.account_id

    @property
    def root_arn(self) -> str:
        return f"arn:aws:iam::{self.account_id}:root"


class UserManager(BaseUserManager["User"]):
    """Makes users; the password is hashed before it reaches a row."""

    def create_user(self, *, account: Account, user_name: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(account=account, user_name=user_name, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(RaisesEpoch, AbstractBaseUser):
    """An IAM user, who may also sign in to the console and, as staff, to Django admin; or an account's root user.

    The root user's name is empty, and its unique id is the account id, as STS shows it.
    """

    user_id = models.CharField(max_length=32, unique=True)  # AIDA…
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="users")
    user_name = models.CharField(max_length=64, blank=True)
    path = models.CharField(max_length=512, default="/")
    is_active = models.BooleanField(default=True)  # False: disabled
    # When a disabled user was last enabled again: what they had signed in to before is over.
    enabled_at = models.DateTimeField(null=True, blank=True)
    is_staff = models.BooleanField(default=False)
    is_root = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    tags = models.JSONField(default=dict, blank=True)  # tag key -> value
    managed_policies = models.ManyToManyField(ManagedPolicy, related_name="users", blank=True)
    permissions_boundary = models.ForeignKey(
        ManagedPolicy, null=True, blank=True, on_delete=models.PROTECT, related_name="bounded_users"
    )
    login_profile_created_at = models.DateTimeField(null=True, blank=True)  # when a password was first given
    password_reset_required = models.BooleanField(default=False)  # at the next sign-in
    preferences = models.JSONField(default=dict, blank=True)  # page -> what the person chose there

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "user_id"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ["account", "user_name"]
        constraints = [
            models.UniqueConstraint("account", Lower("user_name"), name="user_name_is_unique_in_its_account"),
            models.CheckConstraint(
                condition=Q(is_root=True, user_name="") | Q(is_root=False) & ~Q(user_name=""),
                name="only_root_has_no_user_name",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_name or 'root'} @ {self.account_id}"

    @classmethod
    def root_of(cls, account_id: str, *, created_at: datetime.datetime) -> User:
        """A new account's root user, not saved yet."""
        return cls(user_id=account_id, account_id=account_id, is_root=True, created_at=created_at)

    @property
    def arn(self) -> str:
        if self.is_root:
            return f"arn:aws:iam::{self.account_id}:root"
        return f"arn:aws:iam::{self.account_id}:user{self.path}{self.user_name}"

    def account_of_row(self) -> str:
        return self.account_id

    def get_session_auth_hash(self) -> str:
        """What a browser's session is begun with; Django ends it when this says another thing."""
        own = super().get_session_auth_hash()
        return f"{own} {self.enabled_at.timestamp()}" if self.enabled_at else own

    # Django admin asks these. Staff may look at everything of the admin; what they may *do* is decided by
    # kmsapp.access when an action goes through dispatch.
    def has_perm(self, perm: str, obj: object | None = None) -> bool:
        return self.is_active and self.is_staff and perm.rpartition(".")[2].startswith("view_")

    def has_perms(self, perm_list: list[str], obj: object | None = None) -> bool:
        return all(self.has_perm(perm, obj) for perm in perm_list)

    def has_module_perms(self, app_label: str) -> bool:
        return self.is_active and self.is_staff


class Group(RaisesEpoch):
    """An IAM group: its users have its policies."""

    group_id = models.CharField(max_length=32, unique=True)  # AGPA…
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="groups")
    name = models.CharField(max_length=128)
    path = models.CharField(max_length=512, default="/")
    users = models.ManyToManyField(User, related_name="groups", blank=True)
    created_at = models.DateTimeField()
    managed_policies = models.ManyToManyField(ManagedPolicy, related_name="groups", blank=True)

    class Meta:
        ordering = ["account", "name"]
        constraints = [
            models.UniqueConstraint("account", Lower("name"), name="group_name_is_unique_in_its_account"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account_id}:group{self.path}{self.name}"

    def account_of_row(self) -> str:
        return self.account_id


class Role(RaisesEpoch):
    """An IAM role.

    trust_principals: ARN in the trust policy -> unique id of whoever had it when the policy was written, so that a
    namesake made later is not trusted.
    """

    role_id = models.CharField(max_length=32, unique=True)  # AROA…
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="roles")
    name = models.CharField(max_length=64)
    path = models.CharField(max_length=512, default="/")
    description = models.CharField(max_length=1000, blank=True)
    trust_policy = models.TextField(blank=True)
    trust_principals = models.JSONField(default=dict, blank=True)
    max_session_seconds = models.PositiveIntegerField(default=3600)
    created_at = models.DateTimeField()
    tags = models.JSONField(default=dict, blank=True)  # tag key -> value
    managed_policies = models.ManyToManyField(ManagedPolicy, related_name="roles", blank=True)
    permissions_boundary = models.ForeignKey(
        ManagedPolicy, null=True, blank=True, on_delete=models.PROTECT, related_name="bounded_roles"
    )

    class Meta:
        ordering = ["account", "name"]
        constraints = [
            models.UniqueConstraint("account", Lower("name"), name="role_name_is_unique_in_its_account"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account_id}:role{self.path}{self.name}"

    def account_of_row(self) -> str:
        return self.account_id


class AccessKey(RaisesEpoch):
    """A long-term access key of a user."""

    access_key_id = models.CharField(max_length=32, unique=True)  # AKIA…
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="access_keys")
    secret_sealed = models.BinaryField(editable=False)
    status = models.CharField(max_length=8, choices=[("Active", "Active"), ("Inactive", "Inactive")], default="Active")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["access_key_id"]

    def __str__(self) -> str:
        return self.access_key_id

    def account_of_row(self) -> str:
        return self.user.account_id


class InlinePolicy(RaisesEpoch):
    """A policy that belongs to one user, group or role."""

    name = models.CharField(max_length=128)
    document = models.TextField()
    user = models.ForeignKey(User, null=True, on_delete=models.CASCADE, related_name="inline_policies")
    group = models.ForeignKey(Group, null=True, on_delete=models.CASCADE, related_name="inline_policies")
    role = models.ForeignKey(Role, null=True, on_delete=models.CASCADE, related_name="inline_policies")

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "inline policies"
        constraints = [
            models.UniqueConstraint(fields=["user", "name"], name="inline_policy_is_unique_on_its_user"),
            models.UniqueConstraint(fields=["group", "name"], name="inline_policy_is_unique_on_its_group"),
            models.UniqueConstraint(fields=["role", "name"], name="inline_policy_is_unique_on_its_role"),
            models.CheckConstraint(
                condition=Q(user__isnull=False, group__isnull=True, role__isnull=True)
                | Q(user__isnull=True, group__isnull=False, role__isnull=True)
                | Q(user__isnull=True, group__isnull=True, role__isnull=False),
                name="inline_policy_belongs_to_one",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def owner(self) -> User | Group | Role:
        found = self.user or self.group or self.role
        if found is None:
            raise TypeError("an inline policy belongs to a user, a group or a role")
        return found

    def account_of_row(self) -> str:
        return self.owner.account_id


class TemporaryCredential(RaisesEpoch):
    """What AssumeRole and GetSessionToken give, and what switching role in the console uses: a session until its end.

    `role` is assumed by it, or `user` is who it stands for. It ends with either of them.
    """

    access_key_id = models.CharField(max_length=32, unique=True)  # ASIA…
    secret_sealed = models.BinaryField(editable=False)
    token_sha256 = models.CharField(max_length=64, editable=False)  # hex digest of the session token
    user = models.ForeignKey(User, null=True, on_delete=models.CASCADE, related_name="temporary_credentials")
    role = models.ForeignKey(Role, null=True, on_delete=models.CASCADE, related_name="sessions")
    session_name = models.CharField(max_length=64, blank=True)
    source_identity = models.CharField(max_length=64, blank=True)
    assumed_by = models.CharField(max_length=700, blank=True)  # ARN of whoever asked for it
    # [{"name": …, "document": …}]: the inline policy and the managed ones given with the call, as they were then.
    session_policies = models.JSONField(default=list, blank=True)
    tags = models.JSONField(default=dict, blank=True)  # of this session: tag key -> value
    transitive_tag_keys = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ["access_key_id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(user__isnull=True, role__isnull=False) | Q(user__isnull=False, role__isnull=True),
                name="session_is_of_a_role_or_a_user",
            )
        ]

    def __str__(self) -> str:
        return self.access_key_id

    def account_of_row(self) -> str:
        owner = self.role or self.user
        if owner is None:
            raise TypeError("a session is of a role or a user")
        return owner.account_id
