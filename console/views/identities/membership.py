"""Who is in which group: from the user's page and from the group's."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.views.decorators.http import require_http_methods

from console.identities import GROUP, USER, Identities, Kind, Part
from console.pages import page
from console.requests import ConsoleRequest, signed_in
from console.views.identities.choosing import Choosing
from console.views.identities.frame import Question, address, ask, crumbs, failure
from kmsapp.errors import KmsError

MOST_AT_ONCE = 100  # each is a call of its own


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def user_add(request: ConsoleRequest, name: str) -> HttpResponse:
    """Add a user to groups."""
    return _add(request, USER, name, GROUP, "Add user to groups")


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def group_add(request: ConsoleRequest, name: str) -> HttpResponse:
    """Add users to a group."""
    return _add(request, GROUP, name, USER, "Add users to group")


def _add(request: ConsoleRequest, kind: Kind, name: str, other: Kind, title: str) -> HttpResponse:
    """kind and name: whose page it is. other: what is chosen."""
    iam, choosing = Identities(request.caller), Choosing.of(request, "chosen")
    back = address(kind, name, other.slug)
    error: KmsError | None = None
    problems: dict[str, str] = {}
    if choosing.is_done:
        pairs = [(name, one) if kind is USER else (one, name) for one in choosing.ticked]
        if not pairs:
            problems = {"id_chosen": f"Select one or more {other.slug}."}
        elif len(pairs) > MOST_AT_ONCE:
            problems = {"id_chosen": f"Select up to {MOST_AT_ONCE} {other.slug}. Add the others afterwards."}
        else:
            error = add(request, iam, pairs)
            if error is None:
                return HttpResponseRedirect(back)
    candidates = iam.part(f"List{other.plural}", other.plural)
    there = _there(iam, kind, name)
    rows = [row | {"Name": row[other.name]} for row in candidates.items if row[other.name] not in there]
    return page(
        request,
        "identities/membership.html",
        title=title,
        crumbs=crumbs(kind, name, title),
        section=kind.slug,
        other=other,
        name=name,
        denied=candidates.denied,
        back=back,
        **choosing.shown(rows, "Name", lambda row: (row["Name"], row["Path"])),
        **failure(error, problems),
    )


def _there(iam: Identities, kind: Kind, name: str) -> set[str]:
    """Who or what need not be offered. Whether that may be seen is not what decides here."""
    if kind is USER:
        return {group["GroupName"] for group in iam.part("ListGroupsForUser", "Groups", UserName=name).items}
    members: Part = iam.part("GetGroup", "Users", GroupName=name)
    return {user["UserName"] for user in members.items}


def add(request: ConsoleRequest, iam: Identities, pairs: list[tuple[str, str]]) -> KmsError | None:
    """Put users into groups, (user, group) each; return why one could not be. Those before it are in."""
    for user, group in pairs:
        try:
            iam.ask("AddUserToGroup", UserName=user, GroupName=group)
        except KmsError as error:
            return error
        messages.success(request, f"User {user} was added to group {group}.")
    return None


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def user_remove(request: ConsoleRequest, name: str, group: str) -> HttpResponse:
    return _remove(request, USER, name, name, group)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def group_remove(request: ConsoleRequest, name: str, user: str) -> HttpResponse:
    return _remove(request, GROUP, name, user, name)


def _remove(request: ConsoleRequest, kind: Kind, name: str, user: str, group: str) -> HttpResponse:
    question = Question(
        "Remove user from group",
        f"Remove user {user} from group",
        group,
        f"{user} loses the permissions that the group gives.",
        "Remove",
    )
    return ask(
        request,
        question,
        lambda iam: iam.ask("RemoveUserFromGroup", UserName=user, GroupName=group),
        crumbs=crumbs(kind, name, question.title),
        section=kind.slug,
        back=address(kind, name, GROUP.slug if kind is USER else USER.slug),
        done=f"User {user} was removed from group {group}.",
    )
