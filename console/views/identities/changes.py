"""What can be changed of users, roles and groups beside their permissions: tags, trust policy, settings, deletion."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from console import reauthentication
from console.forms.identities import (
    MOST_TAGS,
    SESSIONS,
    Problems,
    Tags,
    clean,
    description_problem,
    edited_rows,
    read_description,
    read_session,
)
from console.identities import ROLE, Identities, Kind, document
from console.pages import page
from console.policy_text import check
from console.requests import ConsoleRequest, signed_in
from console.views.identities.frame import Question, address, ask, crumbs, failure, kind_of
from kmsapp.errors import KmsError
from kmsapp.policy.documents import Kind as PolicyKind

LONGEST_POLICY = 150_000  # characters that the check reads; no policy may be that long
GRAMMARS = {kind.name: kind for kind in PolicyKind}
GONE = {
    "users": "Whatever policies say of the user no longer counts, also for a user of the same name made later.",
    "roles": "Sessions of the role end. A role of the same name made later is another one.",
    "groups": "Users stay; the permissions that the group gave them end.",
}


@require_POST
@signed_in
def policy_check(request: ConsoleRequest, grammar: str) -> HttpResponse:
    """The status line below a policy editor."""
    if grammar not in GRAMMARS:
        raise Http404("No such kind of policy")
    status = check(request.POST.get("policy", "")[:LONGEST_POLICY], GRAMMARS[grammar])
    return render(request, "console/create_key/_policy_status.html", {"policy_status": status})


@sensitive_post_parameters(reauthentication.FIELD)
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def delete(request: ConsoleRequest, slug: str, name: str) -> HttpResponse:
    """IAM deletes only what has nothing left, and says what is left."""
    kind = kind_of(slug)
    question = Question(
        f"Delete {kind.noun}",
        f"Delete {kind.noun}",
        name,
        f"{GONE[slug]} You can't undo this action.",
        "Delete",
        needs_word=True,
        is_refused=f"The {kind.noun} wasn't deleted",
    )
    return ask(
        request,
        question,
        lambda iam: iam.ask(f"Delete{kind.title}", **{kind.name: name}),
        crumbs=crumbs(kind, name, question.title),
        section=kind.slug,
        back=address(kind, name),
        done=f"{kind.title} {name} was deleted.",
        then=reverse(f"console:{kind.slug}"),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def tags(request: ConsoleRequest, slug: str, name: str) -> HttpResponse:
    """Rows are added and removed by posts that change nothing in IAM; Save changes tags and untags what differs."""
    kind, iam = kind_of(slug), Identities(request.caller)
    if not kind.has_tags:
        raise Http404("Groups have no tags")
    found = iam.get(kind, name)
    before = {tag["Key"]: tag["Value"] for tag in found["Tags"]}
    if request.method != "POST":
        return _show_tags(request, kind, name, Tags(list(before.items()) or [("", "")]))
    entered, go = Tags.of(request.POST), request.POST.get("go", "")
    rows = edited_rows(entered.rows, go, ("", ""), MOST_TAGS)
    if rows is not None:
        return _show_tags(request, kind, name, Tags(rows), focus="last" if go == "add" else "add")
    problems = entered.problems()
    error = None if problems else _save_tags(iam, kind, name, entered, before)
    if problems or error:
        return _show_tags(request, kind, name, entered, error, problems)
    messages.success(request, f"The tags of {kind.noun} {name} were saved.")
    return HttpResponseRedirect(address(kind, name, "tags"))


def _save_tags(iam: Identities, kind: Kind, name: str, entered: Tags, before: dict[str, str]) -> KmsError | None:
    tagged, untagged = entered.changes(before)
    try:
        # First away with what is not wanted, so that there is room for what is.
        if untagged:
            iam.ask(f"Untag{kind.title}", **{kind.name: name}, TagKeys=untagged)
        if tagged:
            iam.ask(f"Tag{kind.title}", **{kind.name: name}, Tags=tagged)
    except KmsError as error:
        return error
    return None


def _show_tags(
    request: ConsoleRequest,
    kind: Kind,
    name: str,
    entered: Tags,
    error: KmsError | None = None,
    problems: Problems | None = None,
    *,
    focus: str = "",
) -> HttpResponse:
    return page(
        request,
        "identities/tags.html",
        title="Edit tags",
        crumbs=crumbs(kind, name, "Edit tags"),
        section=kind.slug,
        kind=kind,
        name=name,
        rows=entered.rows,
        left=MOST_TAGS - len(entered.rows),
        focus=focus,
        back=address(kind, name, "tags"),
        **failure(error, problems),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def trust(request: ConsoleRequest, name: str) -> HttpResponse:
    """Edit a role's trust policy."""
    iam = Identities(request.caller)
    error: KmsError | None = None
    problems: Problems = {}
    if request.method == "POST":
        text = clean(request.POST.get("policy", "")).replace("\r\n", "\n")
        status = check(text, PolicyKind.TRUST)
        if not status.is_valid:
            problems = {"id_policy": status.text}
        else:
            try:
                iam.ask("UpdateAssumeRolePolicy", RoleName=name, PolicyDocument=text)
            except KmsError as refused:
                error = refused
            else:
                messages.success(request, f"The trust policy of role {name} was saved.")
                return HttpResponseRedirect(address(ROLE, name, "trust"))
    else:
        text = document(iam.get(ROLE, name)["AssumeRolePolicyDocument"])
    return page(
        request,
        "identities/trust.html",
        title="Edit trust policy",
        crumbs=crumbs(ROLE, name, "Edit trust policy"),
        section=ROLE.slug,
        name=name,
        policy=text,
        policy_status=check(text, PolicyKind.TRUST),
        grammar="TRUST",
        back=address(ROLE, name, "trust"),
        **failure(error, problems),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def role_edit(request: ConsoleRequest, name: str) -> HttpResponse:
    """Edit a role's description and its longest session."""
    iam, post = Identities(request.caller), request.POST
    error: KmsError | None = None
    problems: Problems = {}
    if request.method == "POST":
        description, seconds = read_description(post), read_session(post)
        problems = {
            "id_description": description_problem(description),
            "id_max_session": "" if seconds else "Choose a duration from 1 hour to 12 hours.",
        }
        problems = {field: sentence for field, sentence in problems.items() if sentence}
        if not problems:
            try:
                iam.ask("UpdateRole", RoleName=name, Description=description, MaxSessionDuration=seconds)
            except KmsError as refused:
                error = refused
            else:
                messages.success(request, f"Role {name} was saved.")
                return HttpResponseRedirect(address(ROLE, name))
    else:
        found = iam.get(ROLE, name)
        description, seconds = found.get("Description") or "", found["MaxSessionDuration"]
    return page(
        request,
        "identities/role_edit.html",
        title="Edit role",
        crumbs=crumbs(ROLE, name, "Edit role"),
        section=ROLE.slug,
        name=name,
        description=description,
        max_session=seconds,
        # A length that was set by the API stays among the choices.
        sessions=SESSIONS if seconds in SESSIONS or not seconds else {**SESSIONS, seconds: f"{seconds} seconds"},
        back=address(ROLE, name),
        **failure(error, problems),
    )
