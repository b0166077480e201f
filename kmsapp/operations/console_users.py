"""Users as the console's pages have them: IAM's own answers, and whether each is enabled. Not reachable on the wire.

AWS's IAM has nothing that disables a user; here an administrator of users can, at once and on every way in: the console
password, access keys, and sessions of GetSessionToken. Sessions from before do not come back when the user is enabled
again. Sessions of roles that the user has assumed are the roles', and end in their own time, as in AWS.
"""

from __future__ import annotations

from typing import Any

from hsmapp import clock
from kmsapp import shapes
from kmsapp.call import Call
from kmsapp.caller import Caller
from kmsapp.errors import InvalidInputException
from kmsapp.iam import recording, users
from kmsapp.iam.entities import USER
from kmsapp.models import TemporaryCredential, User
from kmsapp.registry import operation


@operation("console:ListUsers", read_only=True, recorded_as="iam:ListUsers")
def list_users(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """iam:ListUsers, and of each user whether it is Enabled."""
    shapes.validate("iam", "ListUsers", params)
    return users.listed(call, params, lambda user: users.entry(user) | {"Enabled": user.is_active})


@operation("console:GetUser", read_only=True, recorded_as="iam:GetUser")
def get_user(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """iam:GetUser of a UserName, and whether the user is Enabled."""
    shapes.validate("iam", "GetUser", params)
    recording.note(call, params)
    user = USER.find(call, "iam:GetUser", params["UserName"])
    return {"User": users.full_entry(user) | {"Enabled": user.is_active}}


@operation("console:DisableUser", recorded_as="iam:UpdateUser")
def disable_user(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Let a user (UserName) in no more, by whatever way. Needs iam:UpdateUser on the user.

    Raises: AccessDeniedException, NoSuchEntityException, InvalidInputException (the caller's own user).
    """
    user = _found(call, params)
    if _is_own(call.caller, user):
        raise InvalidInputException(f"You can't disable {user.user_name}: that is you. Ask another administrator.")
    return _set_enabled(call, user, enabled=False)


@operation("console:EnableUser", recorded_as="iam:UpdateUser")
def enable_user(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Let a disabled user (UserName) in again. Needs iam:UpdateUser on the user."""
    return _set_enabled(call, _found(call, params), enabled=True)


def _found(call: Call, params: dict[str, Any]) -> User:
    """The user named, who is no root user: these have no name."""
    shapes.validate("iam", "UpdateUser", params)
    recording.note(call, params)
    return USER.find(call, "iam:UpdateUser", params["UserName"])


def _set_enabled(call: Call, user: User, *, enabled: bool) -> dict[str, Any]:
    call.additional_event_data["enabled"] = enabled
    with call.change():
        user = USER.locked(user)
        if enabled and not user.is_active:
            user.enabled_at = clock.now()
        if not enabled:
            TemporaryCredential.objects.filter(user=user).delete()  # they do not come back with the user
        user.is_active = enabled
        user.save(update_fields=["is_active", "enabled_at"])
    return {}


def _is_own(caller: Caller, user: User) -> bool:
    """Whether the caller is that user, as a user or in a role that the user has switched to."""
    if caller.identity_id == user.user_id:
        return True
    return TemporaryCredential.objects.filter(pk=caller.session, assumed_by=user.arn).exists()
