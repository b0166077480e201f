"""Switching role: the browser acts as a role until the person switches back or the role's session ends.

The role is assumed by STS's own operation, so trust, the caller's policies and the audit record are those of the wire;
the Django session keeps which session that is, and how the person wants the role shown. Django admin does not switch:
it shows the rows of the signed-in person's own account.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from django.contrib import messages
from django.http import HttpRequest
from django.urls import reverse

from console.requests import ConsoleRequest, browser_of
from hsmapp import clock
from kmsapp import dispatch, sign_in_events
from kmsapp.caller import Caller
from kmsapp.iam import credentials
from kmsapp.models import User

KEY = "role"  # in the Django session
PREFERENCE = "roles"  # in User.preferences: the last ones, newest first
KEPT = 5
# AWS's choice. Each is a class in menus.css.
COLOURS = {"": "None", "red": "Red", "orange": "Orange", "yellow": "Yellow", "green": "Green", "blue": "Blue"}


@dataclass(frozen=True)
class Choice:
    """A role to switch to, and how it is shown."""

    account: str
    role: str  # name, with the path before it if it has one: "service/Reader"
    display_name: str = ""
    colour: str = ""  # a key of COLOURS

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:role/{self.role}"

    @property
    def shown(self) -> str:
        return self.display_name or f"{self.role.rpartition('/')[2]} / {self.account}"


def switch(request: ConsoleRequest, choice: Choice) -> None:
    """Assume the role as the signed-in person (never as a role switched to before), and act as it from now on.

    Raises: KmsError, as AssumeRole does.
    """
    answer = dispatch.call(
        request.own_caller,
        "sts:AssumeRole",
        {"RoleArn": choice.arn, "RoleSessionName": _session_name(request.user)},
    )
    access_key_id = answer["Credentials"]["AccessKeyId"]
    found = credentials.find(access_key_id)
    acting = _caller(request.own_caller, choice.account, found.session) if found is not None else None
    if acting is None:
        raise LookupError(f"{access_key_id} ended as it began")
    sign_in_events.record_switch(browser_of(request, reverse("console:keys")), request.own_caller, acting)
    request.session.cycle_key()  # whoever knew the session's name as the person must not become the role
    request.session[KEY] = {"session": acting.session, **asdict(choice)}
    _remember(request.user, choice)


def _session_name(user: User) -> str:
    # A session's name has two characters and more, a user name may have one.
    return user.user_name if len(user.user_name) > 1 else user.user_id


def switch_back(request: HttpRequest) -> None:
    """Act as the signed-in person again."""
    request.session.pop(KEY, None)


def act(request: HttpRequest, own: Caller) -> None:
    """Set who calls, and as which role: request.caller, own_caller, role, role_has_ended."""
    this = cast(ConsoleRequest, request)
    this.caller = this.own_caller = own
    this.role, this.role_has_ended = None, False
    kept = request.session.get(KEY)
    if kept is None or own.via == "admin":
        return
    choice = _choice(kept)
    acting = _caller(own, choice.account, kept["session"])
    if acting is not None:
        this.caller, this.role = acting, choice
        return
    switch_back(request)
    this.role_has_ended = True
    messages.warning(
        request, f"Your session as {choice.shown} has ended. You are {own.user_name} @ {own.account} again."
    )


def _caller(own: Caller, account: str, session: int) -> Caller | None:
    found = credentials.find_session(account, session)
    if found is None or not found.active or found.has_expired(clock.now()):
        return None
    return replace(
        own,
        account=found.account,
        principal_arn=found.principal_arn,
        principal_id=found.principal_id,
        principal_type=found.principal_type,
        user_name="",
        role_arn=found.role_arn,
        session=found.session,
        session_began_at=found.session_began_at,
        source_identity=found.source_identity,
    )


def history(user: User) -> list[Choice]:
    """The roles that the person switched to last, newest first."""
    preferences: Any = user.preferences
    kept = preferences.get(PREFERENCE) if isinstance(preferences, dict) else None
    return [_choice(entry) for entry in kept if isinstance(entry, dict)] if isinstance(kept, list) else []


def _choice(kept: Mapping[str, Any]) -> Choice:
    texts = {name: str(kept.get(name, "")) for name in ("account", "role", "display_name", "colour")}
    return Choice(**texts)


def _remember(user: User, choice: Choice) -> None:
    others = [known for known in history(user) if (known.account, known.role) != (choice.account, choice.role)]
    kept = [asdict(known) for known in [choice, *others][:KEPT]]
    user.preferences = {**(user.preferences or {}), PREFERENCE: kept}
    User.objects.filter(pk=user.pk).update(preferences=user.preferences)


def called(caller: Caller) -> str:
    """What the pages call whoever acts: user @ account, or role / account."""
    if caller.principal_type == "AssumedRole":
        return f"{caller.role_arn.rpartition('/')[2]} / {caller.account}"
    return f"{caller.user_name or 'root'} @ {caller.account}"
