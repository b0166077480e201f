"""Creating a user, a role, a group or a managed policy; each leads to the new one's page."""

from __future__ import annotations

import json
import re
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from console.forms.identities import (
    LONGEST_NAMES,
    SESSIONS,
    Problems,
    clean,
    description_problem,
    name_problem,
    path_problem,
    policy_name_problem,
    read_description,
    read_path,
    read_session,
)
from console.identities import GROUP, ROLE, USER, Identities, Kind
from console.pages import page
from console.policy_text import check
from console.requests import ConsoleRequest, signed_in
from console.views.identities.credentials import password_problems, set_password
from console.views.identities.frame import IDENTITIES, address, failure, list_crumbs
from console.views.identities.membership import add
from console.views.identities.permissions import EMPTY_POLICY
from kmsapp.errors import KmsError
from kmsapp.iam import passwords
from kmsapp.policy.documents import Kind as PolicyKind

MOST_GROUPS = 10  # of a user
TRUSTED = {"account": "This account", "other": "Another AWS account", "policy": "Custom trust policy"}


@sensitive_post_parameters("password", "password_again")
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def user(request: ConsoleRequest) -> HttpResponse:
    """Name and path; a console password and groups, where they are wanted."""
    iam = Identities(request.caller)
    error, name, problems = _create_plain(request, USER, _user_problems)
    if name:
        _complete_user(request, iam, name)
        return HttpResponseRedirect(address(USER, name))
    groups = iam.part("ListGroups", "Groups")
    return _show(
        request,
        USER,
        error,
        problems,
        groups=groups,
        chosen=request.POST.getlist("group"),
        has_password=request.POST.get("has_password") == "on",
        must_change=request.method != "POST" or request.POST.get("must_change") == "on",
    )


def _user_problems(request: ConsoleRequest) -> Problems:
    problems: Problems = {}
    if request.POST.get("has_password") == "on":
        # All of it before the user is made: the password is a call of its own, which would come too late to refuse.
        problems = password_problems(request)
        name, password = clean(request.POST.get("name", "")).strip(), request.POST.get("password", "")
        weak = passwords.problem(password, account=request.caller.account, user_name=name)
        if weak and not problems:
            problems = {"id_password": weak}
    if len(request.POST.getlist("group")) > MOST_GROUPS:
        problems["id_groups"] = f"A user can be in up to {MOST_GROUPS} groups. Select fewer."
    return problems


def _complete_user(request: ConsoleRequest, iam: Identities, name: str) -> None:
    """Password and groups are calls of their own: one that is refused leaves the user without, and is told."""
    if request.POST.get("has_password") == "on":
        must_change = request.POST.get("must_change") == "on"
        refused = set_password(iam, name, request.POST["password"], must_change=must_change)
        if refused is not None:
            messages.error(request, f"The console password of {name} was not set. {refused.message} ({refused.code})")
    pairs = [(name, clean(group)) for group in request.POST.getlist("group")]
    refused = add(request, iam, pairs)
    if refused is not None:
        messages.error(request, f"User {name} was not added to a group. {refused.message} ({refused.code})")


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def group(request: ConsoleRequest) -> HttpResponse:
    error, name, problems = _create_plain(request, GROUP)
    return HttpResponseRedirect(address(GROUP, name)) if name else _show(request, GROUP, error, problems)


def _create_plain(
    request: ConsoleRequest, kind: Kind, more_problems: Any = None
) -> tuple[KmsError | None, str, Problems]:
    """Create by name and path. Return why not, the name of what was made, and what to correct."""
    if request.method != "POST":
        return None, "", {}
    name, path = clean(request.POST.get("name", "")).strip(), read_path(request.POST)
    problems = {"id_name": name_problem(kind, name), "id_path": path_problem(path)}
    problems = {field: sentence for field, sentence in problems.items() if sentence}
    problems |= more_problems(request) if more_problems else {}
    if problems:
        return None, "", problems
    return (*_created(request, kind, name, {kind.name: name, "Path": path}), {})


def _created(request: ConsoleRequest, kind: Kind, name: str, params: dict[str, Any]) -> tuple[KmsError | None, str]:
    try:
        Identities(request.caller).ask(f"Create{kind.title}", **params)
    except KmsError as error:
        return error, ""
    messages.success(request, f"{kind.title} {name} was created.")
    return None, name


def _show(
    request: ConsoleRequest, kind: Kind, error: KmsError | None, problems: Problems, **context: Any
) -> HttpResponse:
    title = f"Create {kind.noun}"
    return page(
        request,
        f"identities/create_{kind.noun}.html",
        title=title,
        crumbs=list_crumbs(kind, title),
        section=kind.slug,
        kind=kind,
        entered=request.POST,
        longest=LONGEST_NAMES[kind.slug],
        back=reverse(f"console:{kind.slug}"),
        **context,
        **failure(error, problems),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def role(request: ConsoleRequest) -> HttpResponse:
    """Who may assume it is chosen from two common trust policies, or written."""
    error: KmsError | None = None
    problems: Problems = {}
    post = request.POST
    trust = post.get("trust", "account")
    written = clean(post.get("policy", "")).replace("\r\n", "\n") or trust_policy(request.caller.account)
    if request.method == "POST":
        params, problems = _role_params(request, trust, written)
        if not problems:
            error, name = _created(request, ROLE, params["RoleName"], params)
            if name:
                return HttpResponseRedirect(address(ROLE, name))
    return _show(
        request,
        ROLE,
        error,
        problems,
        trust=trust if trust in TRUSTED else "account",
        trusted=TRUSTED,
        sessions=SESSIONS,
        max_session=read_session(post) or 3600,
        policy=written,
        policy_status=check(written, PolicyKind.TRUST),
        grammar="TRUST",
    )


def _role_params(request: ConsoleRequest, trust: str, written: str) -> tuple[dict[str, Any], Problems]:
    post = request.POST
    name, path, description = clean(post.get("name", "")).strip(), read_path(post), read_description(post)
    other = re.sub(r"[\s-]", "", clean(post.get("account", "")))
    problems = {
        "id_name": name_problem(ROLE, name),
        "id_path": path_problem(path),
        "id_description": description_problem(description),
        "id_max_session": "" if read_session(post) else "Choose a duration from 1 hour to 12 hours.",
        "id_account": _account_problem(other) if trust == "other" else "",
        "id_policy": _trust_problem(written) if trust == "policy" else "",
    }
    document = {"other": trust_policy(other), "policy": written}.get(trust, trust_policy(request.caller.account))
    params = {
        "RoleName": name,
        "Path": path,
        "AssumeRolePolicyDocument": document,
        "MaxSessionDuration": read_session(post),
        **({"Description": description} if description else {}),
    }
    return params, {field: sentence for field, sentence in problems.items() if sentence}


def _account_problem(number: str) -> str:
    return "" if re.fullmatch(r"[0-9]{12}", number) else "Enter a valid account ID. It has 12 digits."


def _trust_problem(text: str) -> str:
    status = check(text, PolicyKind.TRUST)
    return "" if status.is_valid else status.text


def trust_policy(account: str) -> str:
    """Lets an account decide by its own policies which of its users may assume the role."""
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": "sts:AssumeRole",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def policy(request: ConsoleRequest) -> HttpResponse:
    error: KmsError | None = None
    problems: Problems = {}
    text = clean(request.POST.get("policy", "")).replace("\r\n", "\n") or EMPTY_POLICY
    status = check(text, PolicyKind.IDENTITY)
    if request.method == "POST":
        params, problems = _policy_params(request, text)
        if not problems:
            try:
                made = Identities(request.caller).ask("CreatePolicy", **params)["Policy"]
            except KmsError as refused:
                error = refused
            else:
                messages.success(request, f"Policy {made['PolicyName']} was created.")
                return HttpResponseRedirect(reverse("console:policy", args=[made["Arn"]]))
    return page(
        request,
        "identities/create_policy.html",
        title="Create policy",
        crumbs=[(IDENTITIES, ""), ("Policies", reverse("console:policies")), ("Create policy", "")],
        section="policies",
        entered=request.POST,
        policy=text,
        policy_status=status,
        grammar="IDENTITY",
        back=reverse("console:policies"),
        **failure(error, problems),
    )


def _policy_params(request: ConsoleRequest, text: str) -> tuple[dict[str, Any], Problems]:
    post, status = request.POST, check(text, PolicyKind.IDENTITY)
    name, path, description = clean(post.get("name", "")).strip(), read_path(post), read_description(post)
    problems = {
        "id_name": policy_name_problem(name),
        "id_path": path_problem(path),
        "id_description": description_problem(description),
        "id_policy": "" if status.is_valid else status.text,
    }
    params = {"PolicyName": name, "Path": path, "PolicyDocument": text}
    if description:
        params["Description"] = description
    return params, {field: sentence for field, sentence in problems.items() if sentence}
