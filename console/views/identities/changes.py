"""What can be changed of users, roles and groups beside permissions and tags: names, settings, trust, deletion."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from console import identity_deletion, reauthentication
from console.forms.identities import (
    LONGEST_NAMES,
    SESSIONS,
    Problems,
    clean,
    description_problem,
    name_problem,
    path_problem,
    read_description,
    read_path,
    read_session,
)
from console.identities import ROLE, USER, Identities, document
from console.identity_deletion import Belonging
from console.pages import page
from console.policy_text import check
from console.requests import ConsoleRequest, signed_in
from console.views.identities.frame import Question, address, ask, crumbs, delete_with_all, failure, kind_of
from kmsapp.errors import InvalidInputException, KmsError
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
    """IAM deletes only what has nothing left; what is left goes before, as in AWS's console."""
    kind = kind_of(slug)

    def belongings(iam: Identities) -> list[Belonging]:
        return identity_deletion.of_identity(iam, kind, name)

    def act(iam: Identities) -> None:
        if kind is USER and _is_own(request, name):
            raise InvalidInputException(f"You can't delete {name}: that is you. Ask another administrator.")
        delete_with_all(request, iam, f"Delete{kind.title}", {kind.name: name}, belongings)

    question = Question(
        f"Delete {kind.noun}",
        f"Delete {kind.noun}",
        name,
        f"{GONE[slug]} You can't undo this action.",
        "Delete",
        is_deletion=True,
        is_refused=f"The {kind.noun} wasn't deleted",
    )
    return ask(
        request,
        question,
        act,
        crumbs=crumbs(kind, name, question.title),
        section=kind.slug,
        back=address(kind, name),
        done=f"{kind.title} {name} was deleted.",
        then=reverse(f"console:{kind.slug}"),
        belongings=belongings,
    )


def _is_own(request: ConsoleRequest, name: str) -> bool:
    """Whether it is who has signed in: with their policies would go the permission to finish the deletion."""
    own = request.own_caller
    return own.account == request.caller.account and own.user_name.casefold() == name.casefold()


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


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def edit(request: ConsoleRequest, slug: str, name: str) -> HttpResponse:
    """Another name, another path. AWS's console renames groups, its API also users; neither renames roles."""
    kind, iam, post = kind_of(slug), Identities(request.caller), request.POST
    if kind is ROLE:
        raise Http404("Roles have a page of their own to edit them")
    error: KmsError | None = None
    problems: Problems = {}
    if request.method == "POST":
        wanted, path = clean(post.get("name", "")).strip(), read_path(post)
        problems = {"id_name": name_problem(kind, wanted), "id_path": path_problem(path)}
        problems = {field: sentence for field, sentence in problems.items() if sentence}
        if not problems:
            new = {f"New{kind.name}": wanted, "NewPath": path}
            try:
                iam.ask(f"Update{kind.title}", **{kind.name: name}, **new)
            except KmsError as refused:
                error = refused
            else:
                messages.success(request, f"{kind.title} {wanted} was saved.")
                return HttpResponseRedirect(address(kind, wanted))
    else:
        found = iam.get(kind, name)
        wanted, path = found["Name"], found["Path"]
    title = f"Edit {kind.noun}"
    return page(
        request,
        "identities/edit.html",
        title=title,
        crumbs=crumbs(kind, name, title),
        section=kind.slug,
        kind=kind,
        name=name,
        entered={"name": wanted, "path": path},
        longest=LONGEST_NAMES[kind.slug],
        back=address(kind, name),
        **failure(error, problems),
    )
