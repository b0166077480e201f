"""Users, groups and roles by name, on behalf of a caller of their account.

The permission is asked before it is said that there is none of that name, so that whoever may not look learns nothing.
Names are told apart without regard to case. Root users are no users here: they have no name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db import IntegrityError, models, transaction

from kmsapp import access
from kmsapp.call import Call
from kmsapp.errors import (
    DeleteConflictException,
    EntityAlreadyExistsException,
    LimitExceededException,
    NoSuchEntityException,
    ValidationException,
)
from kmsapp.iam import recording
from kmsapp.models import Account, Group, ManagedPolicy, Role, User

Entity = TypeVar("Entity", User, Group, Role)
Context = Mapping[str, str]  # condition keys that only the operation knows


@dataclass(frozen=True)
class Kind(Generic[Entity]):
    """What differs between users, groups and roles.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    """

    model: type[Entity]
    noun: str  # as messages and ARNs have it
    column: str  # of the name
    unique_id: Callable[[Entity], str]
    most: int  # in an account
    most_inline: int  # characters of all inline policies of one, without white space

    @property
    def title(self) -> str:
        """As operations and members are called: User, Group, Role."""
        return self.noun.capitalize()

    def named(self, account: str, name: str) -> Entity | None:
        rows = self.model._default_manager.filter(**{"account_id": account, f"{self.column}__iexact": name})
        return rows.first() if name else None

    def find(self, call: Call, action: str, name: str, context: Context | None = None) -> Entity:
        """The entity of that name, once the caller may do the action to it.

        Raises: AccessDeniedException, NoSuchEntityException.
        """
        found = self.named(call.caller.account, name)
        if found is None:
            access.account(call, action, resource=self.arn(call, "/", name), context=context)
            raise self.missing(name)
        authorize(call, action, found, context)
        return found

    def asked(self, call: Call, params: Mapping[str, Any], context: Context | None = None) -> Entity:
        """The entity that an IAM call names, once its parameters are recorded and the caller may do it.

        Raises: as `find`.
        """
        recording.note(call, params)
        return self.find(call, f"iam:{call.operation}", params[f"{self.title}Name"], context)

    def arn(self, call: Call, path: str, name: str) -> str:
        """The ARN that one of this path and name has or would have."""
        return f"arn:aws:iam::{call.caller.account}:{self.noun}{path}{name}"

    def name_of(self, entity: Entity) -> str:
        return str(getattr(entity, self.column))

    def missing(self, name: str) -> NoSuchEntityException:
        return NoSuchEntityException(f"The {self.noun} with name {name} cannot be found.")

    def locked(self, entity: Entity) -> Entity:
        """The row as it is now, held until the end of the transaction, so that what is counted of it stays true.

        Raises: NoSuchEntityException if it was deleted meanwhile.
        """
        found = self.model._default_manager.select_for_update().filter(pk=entity.pk).first()
        if found is None:
            raise self.missing(self.name_of(entity))
        return found

    @contextmanager
    def unique(self, name: str) -> Iterator[None]:
        """The name is given inside. Raises EntityAlreadyExistsException if the account has it already."""
        try:
            with transaction.atomic():
                yield
        except IntegrityError as error:
            raise EntityAlreadyExistsException(f"{self.title} with name {name} already exists.") from error

    def require_room(self, call: Call) -> None:
        """Refuse one more than an account may have. Call inside the transaction that makes it."""
        require_room(call, self.model._default_manager.filter(account_id=call.caller.account), self.title, self.most)

    def require_bare(self, entity: Entity) -> None:
        """Refuse to delete what has policies."""
        if entity.managed_policies.exists():
            raise DeleteConflictException("Cannot delete entity, must detach all policies first.")
        if entity.inline_policies.exists():
            raise DeleteConflictException("Cannot delete entity, must delete policies first.")


USER = Kind(User, "user", "user_name", lambda user: user.user_id, 5000, 2048)
GROUP = Kind(Group, "group", "name", lambda group: group.group_id, 300, 5120)
ROLE = Kind(Role, "role", "name", lambda role: role.role_id, 1000, 10_240)


def authorize(call: Call, action: str, entity: User | Group | Role, context: Context | None = None) -> None:
    """Ask access.py for an action on an entity, with the condition keys that its tags give."""
    tags: dict[str, str] = {} if isinstance(entity, Group) else entity.tags
    access.account(call, action, resource=entity.arn, context={**resource_tags(tags), **(context or {})})


def user_or_caller(call: Call, action: str, name: str | None) -> User:
    """The user of that name or, without one, the user (or root user) who calls.

    Raises: ValidationException for a session, which is no user.
    """
    if name is not None:
        return USER.find(call, action, name)
    caller = call.caller
    found = None
    if caller.principal_type != "AssumedRole":
        found = User.objects.filter(account_id=caller.account, user_id=caller.identity_id).first()
    if found is None:
        access.account(call, action)
        raise ValidationException("Must specify userName when calling with non-User credentials")
    authorize(call, action, found)
    return found


def require_room(call: Call, rows: models.QuerySet[Any], title: str, most: int) -> None:
    """Refuse one more of `rows` than `most`; the account's row is held, so that two calls can't both find room."""
    Account.objects.select_for_update().filter(pk=call.caller.account).first()
    if rows.count() >= most:
        plural = "Policies" if title == "Policy" else f"{title}s"
        raise LimitExceededException(f"Cannot exceed quota for {plural}PerAccount: {most}")


def resource_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Condition keys of a tagged resource: the global one, and IAM's own."""
    return {f"{prefix}:ResourceTag/{key}": value for key, value in tags.items() for prefix in ("aws", "iam")}


def boundary_entry(boundary: ManagedPolicy | None) -> dict[str, str] | None:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_AttachedPermissionsBoundary.html"""
    if boundary is None:
        return None
    return {"PermissionsBoundaryType": "PermissionsBoundaryPolicy", "PermissionsBoundaryArn": boundary.arn}
