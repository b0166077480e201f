"""The pages of one user, one role and one group. Each tab is an address and asks IAM only for what it shows."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from console import policy_text
from console.identities import GROUP, ROLE, USER, Identities, Kind, Part, document
from console.pages import page
from console.requests import ConsoleRequest, signed_in
from console.views.identities.frame import list_crumbs
from kmsapp.errors import AccessDeniedException

TABS = {
    "users": {
        "permissions": "Permissions",
        "groups": "Groups",
        "security-credentials": "Security credentials",
        "tags": "Tags",
    },
    "roles": {"permissions": "Permissions", "trust": "Trust relationships", "tags": "Tags"},
    "groups": {"users": "Users", "permissions": "Permissions"},
}


@require_safe
@signed_in
def user(request: ConsoleRequest, name: str) -> HttpResponse:
    return _detail(request, USER, name)


@require_safe
@signed_in
def role(request: ConsoleRequest, name: str) -> HttpResponse:
    return _detail(request, ROLE, name)


@require_safe
@signed_in
def group(request: ConsoleRequest, name: str) -> HttpResponse:
    return _detail(request, GROUP, name)


def _detail(request: ConsoleRequest, kind: Kind, name: str) -> HttpResponse:
    iam = Identities(request.caller)
    found = iam.get(kind, name)
    tabs = TABS[kind.slug]
    tab = request.GET.get("tab", "")
    tab = tab if tab in tabs else next(iter(tabs))
    return page(
        request,
        f"identities/{kind.noun}.html",
        title=found["Name"],
        crumbs=list_crumbs(kind, found["Name"]),
        section=kind.slug,
        kind=kind,
        found=found,
        # Nobody disables or deletes themselves, also not by a role that they have switched to.
        is_own=found.get("UserId") == request.own_caller.principal_id,
        name=found["Name"],
        tabs=tabs,
        tab=tab,
        **_tab(iam, kind, found, tab),
    )


def _tab(iam: Identities, kind: Kind, found: dict[str, Any], tab: str) -> dict[str, Any]:
    name = found["Name"]
    if tab == "permissions":
        part = iam.policies_of_user(name) if kind is USER else iam.policies(kind, name)
        return {"part": part, "boundary": _boundary(found)}
    if tab == "groups":
        return {"part": iam.part("ListGroupsForUser", "Groups", UserName=name)}
    if tab == "security-credentials":
        return {"part": iam.part("ListAccessKeys", "AccessKeyMetadata", UserName=name), **_password(iam, name)}
    if tab == "trust":
        return {"policy": policy_text.highlighted(document(found["AssumeRolePolicyDocument"]))}
    if tab == "tags":
        return {"edit_tags": reverse("console:identity-tags", args=[kind.slug, name])}
    if tab == "users":
        return {"part": Part(iam.all("GetGroup", "Users", GroupName=name))}
    return {}


def _boundary(found: dict[str, Any]) -> dict[str, str] | None:
    """The permissions boundary: its ARN, its name and where it is."""
    boundary = found.get("PermissionsBoundary")
    if not boundary:
        return None
    arn = boundary["PermissionsBoundaryArn"]
    return {"Arn": arn, "Name": arn.rpartition("/")[2], "Address": reverse("console:policy", args=[arn])}


def _password(iam: Identities, name: str) -> dict[str, Any]:
    try:
        return {"profile": iam.login_profile(name), "profile_denied": ""}
    except AccessDeniedException as error:
        return {"profile": None, "profile_denied": error.message}
