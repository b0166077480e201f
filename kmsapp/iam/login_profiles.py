"""CreateLoginProfile, GetLoginProfile, UpdateLoginProfile, DeleteLoginProfile, ChangePassword.

A user's login profile is the password for the console: who has none can't sign in there. Passwords are hashed before
the transaction begins, because that takes a tenth of a second.
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_passwords_account-policy.html
"""

from __future__ import annotations

from typing import Any

from hsmapp import clock
from kmsapp import access
from kmsapp.call import Call
from kmsapp.errors import (
    AccessDeniedException,
    EntityAlreadyExistsException,
    InvalidUserTypeException,
    NoSuchEntityException,
)
from kmsapp.iam import recording
from kmsapp.iam.entities import user_or_caller
from kmsapp.iam.passwords import require_good
from kmsapp.models import User
from kmsapp.registry import operation

_PASSWORD_FIELDS = ["password", "password_reset_required", "login_profile_created_at"]


def entry(user: User) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_LoginProfile.html"""
    return {
        "UserName": user.user_name,
        "CreateDate": user.login_profile_created_at or user.created_at,
        "PasswordResetRequired": user.password_reset_required,
    }


@operation("iam:CreateLoginProfile")
def create_login_profile(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateLoginProfile.html"""
    recording.note(call, params)
    user = _person(call, "iam:CreateLoginProfile", params.get("UserName"))
    if user.has_usable_password():
        raise EntityAlreadyExistsException(f"Login Profile for user {user.user_name} already exists.")
    password = params.get("Password") or ""
    require_good(password, user)
    user.set_password(password)
    user.password_reset_required = bool(params.get("PasswordResetRequired"))
    user.login_profile_created_at = clock.now()
    answer = {"LoginProfile": entry(user)}
    with call.change(recording.response(call, answer)):
        user.save(update_fields=_PASSWORD_FIELDS)
    return answer


@operation("iam:GetLoginProfile", read_only=True)
def get_login_profile(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetLoginProfile.html"""
    recording.note(call, params)
    user = _person(call, "iam:GetLoginProfile", params.get("UserName"))
    _require_profile(user)
    return {"LoginProfile": entry(user)}


@operation("iam:UpdateLoginProfile")
def update_login_profile(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateLoginProfile.html"""
    recording.note(call, params)
    user = _person(call, "iam:UpdateLoginProfile", params["UserName"])
    _require_profile(user)
    if params.get("Password") is not None:
        require_good(params["Password"], user)
        user.set_password(params["Password"])
    if params.get("PasswordResetRequired") is not None:
        user.password_reset_required = params["PasswordResetRequired"]
    with call.change():
        user.save(update_fields=_PASSWORD_FIELDS)
    return {}


@operation("iam:DeleteLoginProfile")
def delete_login_profile(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Who is signed in to the console is signed out by it; access keys go on.

    https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteLoginProfile.html
    """
    recording.note(call, params)
    user = _person(call, "iam:DeleteLoginProfile", params.get("UserName"))
    _require_profile(user)
    user.set_unusable_password()
    user.password_reset_required, user.login_profile_created_at = False, None
    with call.change():
        user.save(update_fields=_PASSWORD_FIELDS)
    return {}


@operation("iam:ChangePassword")
def change_password(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """A user's own password. https://docs.aws.amazon.com/IAM/latest/APIReference/API_ChangePassword.html"""
    recording.note(call, params)
    caller = call.caller
    if caller.principal_type != "User":
        access.account(call, "iam:ChangePassword")
        raise InvalidUserTypeException("Only IAM Users can change their own password")
    user = user_or_caller(call, "iam:ChangePassword", None)
    _require_profile(user)
    if not user.check_password(params["OldPassword"]):
        raise AccessDeniedException("The old password was incorrect.")
    require_good(params["NewPassword"], user)
    user.set_password(params["NewPassword"])
    user.password_reset_required = False
    with call.change():
        user.save(update_fields=_PASSWORD_FIELDS)
    return {}


def _person(call: Call, action: str, user_name: str | None) -> User:
    """The user of that name or the caller, who must be one: a root user's password is no login profile."""
    user = user_or_caller(call, action, user_name)
    if user.is_root:
        raise NoSuchEntityException("The root user has no login profile.")
    return user


def _require_profile(user: User) -> None:
    if not user.has_usable_password():
        raise NoSuchEntityException(f"Login Profile for User {user.user_name} cannot be found.")
