"""Accounts, users, roles, groups and access keys.

A person is one `User`, the same principal in the browser, in Django admin and on the wire.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Lower

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
    """An IAM user, who may also sign in to the console and, as staff, to Django admin."""

    user_id = models.CharField(max_length=32, unique=True)  # AIDA…
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="users")
    user_name = models.CharField(max_length=64)
    path = models.CharField(max_length=512, default="/")
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    preferences = models.JSONField(default=dict, blank=True)  # page -> what the person chose there

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "user_id"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ["account", "user_name"]
        constraints = [
            models.UniqueConstraint("account", Lower("user_name"), name="user_name_is_unique_in_its_account"),
        ]

    def __str__(self) -> str:
        return f"{self.user_name} @ {self.account_id}"

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account_id}:user{self.path}{self.user_name}"

    def account_of_row(self) -> str:
        return self.account_id

    # Django admin asks these. Staff may look at everything of the admin; what they may *do* is decided by
    # kmsapp.access when an action goes through dispatch.
    def has_perm(self, perm: str, obj: object | None = None) -> bool:
        return self.is_active and self.is_staff and perm.rpartition(".")[2].startswith("view_")

    def has_perms(self, perm_list: list[str], obj: object | None = None) -> bool:
        return all(self.has_perm(perm, obj) for perm in perm_list)

    def has_module_perms(self, app_label: str) -> bool:
        return self.is_active and self.is_staff


class Group(models.Model):
    """An IAM group."""

    group_id = models.CharField(max_length=32, unique=True)  # AGPA…
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="groups")
    name = models.CharField(max_length=128)
    path = models.CharField(max_length=512, default="/")
    users = models.ManyToManyField(User, related_name="groups", blank=True)
    created_at = models.DateTimeField()

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


class Role(models.Model):
    """An IAM role."""

    role_id = models.CharField(max_length=32, unique=True)  # AROA…
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="roles")
    name = models.CharField(max_length=64)
    path = models.CharField(max_length=512, default="/")
    trust_policy = models.TextField(blank=True)
    created_at = models.DateTimeField()

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
