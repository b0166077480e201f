"""Permissions of a user, role or group: attached policies, inline policies, and the permissions boundary."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from console import reauthentication
from console.forms.identities import clean, policy_name_problem
from console.identities import Identities, Kind, policy_type
from console.pages import page
from console.policy_text import check
from console.requests import ConsoleRequest, signed_in
from console.views.identities.choosing import Choosing
from console.views.identities.frame import Question, address, ask, crumbs, failure, kind_of
from kmsapp.errors import KmsError
from kmsapp.policy.documents import Kind as PolicyKind

EMPTY_POLICY = """{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": ["kms:DescribeKey"],
      "Resource": "*"
    }
  ]
}"""
MOST_AT_ONCE = 20  # the most managed policies that AWS lets an identity have


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def attach(request: ConsoleRequest, slug: str, name: str) -> HttpResponse:
    """Choose managed policies from a table, and attach them one by one."""
    kind, choosing = kind_of(slug), Choosing.of(request, "policy")
    error: KmsError | None = None
    problems: dict[str, str] = {}
    if choosing.is_done and not choosing.ticked:
        problems = {"id_policies": "Select one or more policies."}
    elif choosing.is_done and len(choosing.ticked) > MOST_AT_ONCE:
        problems = {"id_policies": f"Select up to {MOST_AT_ONCE} policies. An identity can't have more."}
    elif choosing.is_done:
        error = _attached(request, Identities(request.caller), kind, name, choosing.ticked)
        if error is None:
            return HttpResponseRedirect(address(kind, name, "permissions"))
    return _choose_policy(request, kind, name, choosing, "attach", "Attach policies", error, problems)


def _attached(request: ConsoleRequest, iam: Identities, kind: Kind, name: str, arns: list[str]) -> KmsError | None:
    """Attach the policies; return why one could not be. Those before it stay attached, and are named."""
    for arn in arns:
        try:
            iam.ask(f"Attach{kind.title}Policy", **{kind.name: name}, PolicyArn=arn)
        except KmsError as error:
            return error
        messages.success(request, f"Policy {arn.rpartition('/')[2]} was attached to {kind.noun} {name}.")
    return None


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def boundary(request: ConsoleRequest, slug: str, name: str) -> HttpResponse:
    """Choose the policy that is the most that the identity may ever do."""
    kind, choosing = kind_of(slug), Choosing.of(request, "policy")
    error: KmsError | None = None
    problems: dict[str, str] = {}
    chosen = choosing.ticked[-1] if choosing.ticked else ""
    if choosing.is_done and not chosen:
        problems = {"id_policies": "Select a policy."}
    elif choosing.is_done:
        try:
            Identities(request.caller).ask(
                f"Put{kind.title}PermissionsBoundary", **{kind.name: name}, PermissionsBoundary=chosen
            )
        except KmsError as refused:
            error = refused
        else:
            messages.success(request, f"Policy {chosen.rpartition('/')[2]} is the permissions boundary of {name}.")
            return HttpResponseRedirect(address(kind, name, "permissions"))
    return _choose_policy(request, kind, name, choosing, "boundary", "Set permissions boundary", error, problems)


def _choose_policy(
    request: ConsoleRequest,
    kind: Kind,
    name: str,
    choosing: Choosing,
    purpose: str,
    title: str,
    error: KmsError | None,
    problems: dict[str, str],
) -> HttpResponse:
    part = Identities(request.caller).part("ListPolicies", "Policies", Scope="All")
    rows = [row | {"Type": policy_type(row["Arn"])} for row in part.items]
    return page(
        request,
        "identities/choose_policy.html",
        title=title,
        crumbs=crumbs(kind, name, title),
        section=kind.slug,
        kind=kind,
        name=name,
        purpose=purpose,
        box="checkbox" if purpose == "attach" else "radio",
        denied=part.denied,
        back=address(kind, name, "permissions"),
        **choosing.shown(rows, "Arn", lambda row: (row["PolicyName"], row["Path"])),
        **failure(error, problems),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def detach(request: ConsoleRequest, slug: str, name: str) -> HttpResponse:
    kind = kind_of(slug)
    arn = clean(request.GET.get("policy", ""))
    policy = arn.rpartition("/")[2]
    question = Question(
        "Detach policy",
        "Detach policy",
        policy,
        f"The permissions that it gives to {name} end at once. The policy itself stays.",
        "Detach",
    )
    return ask(
        request,
        question,
        lambda iam: iam.ask(f"Detach{kind.title}Policy", **{kind.name: name}, PolicyArn=arn),
        crumbs=crumbs(kind, name, question.title),
        section=kind.slug,
        back=address(kind, name, "permissions"),
        done=f"Policy {policy} was detached from {kind.noun} {name}.",
    )


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def boundary_remove(request: ConsoleRequest, slug: str, name: str) -> HttpResponse:
    kind = kind_of(slug)
    question = Question(
        "Remove permissions boundary",
        f"Remove the permissions boundary of {kind.noun}",
        name,
        "From then on everything counts that its policies allow.",
        "Remove",
    )
    return ask(
        request,
        question,
        lambda iam: iam.ask(f"Delete{kind.title}PermissionsBoundary", **{kind.name: name}),
        crumbs=crumbs(kind, name, question.title),
        section=kind.slug,
        back=address(kind, name, "permissions"),
        done=f"The permissions boundary of {name} was removed.",
    )


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def inline_create(request: ConsoleRequest, slug: str, name: str) -> HttpResponse:
    kind = kind_of(slug)
    if request.method != "POST":
        return _show_inline(request, kind, name, "", EMPTY_POLICY, is_new=True)
    policy_name = clean(request.POST.get("policy_name", "")).strip()
    problems = {}
    if wrong := policy_name_problem(policy_name):
        problems["id_policy_name"] = wrong
    return _put_inline(request, kind, name, policy_name, problems, is_new=True)


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def inline(request: ConsoleRequest, slug: str, name: str, policy_name: str) -> HttpResponse:
    """Edit an inline policy."""
    kind = kind_of(slug)
    if request.method == "POST":
        return _put_inline(request, kind, name, policy_name, {}, is_new=False)
    text = Identities(request.caller).inline_document(kind, name, policy_name)
    return _show_inline(request, kind, name, policy_name, text, is_new=False)


def _put_inline(
    request: ConsoleRequest, kind: Kind, name: str, policy_name: str, problems: dict[str, str], *, is_new: bool
) -> HttpResponse:
    text = clean(request.POST.get("policy", "")).replace("\r\n", "\n")
    status = check(text, PolicyKind.IDENTITY)
    if not status.is_valid:
        problems["id_policy"] = status.text
    error: KmsError | None = None
    if not problems:
        try:
            Identities(request.caller).ask(
                f"Put{kind.title}Policy", **{kind.name: name}, PolicyName=policy_name, PolicyDocument=text
            )
        except KmsError as refused:
            error = refused
        else:
            messages.success(request, f"Inline policy {policy_name} of {kind.noun} {name} was saved.")
            return HttpResponseRedirect(address(kind, name, "permissions"))
    return _show_inline(request, kind, name, policy_name, text, error, problems, is_new=is_new)


def _show_inline(
    request: ConsoleRequest,
    kind: Kind,
    name: str,
    policy_name: str,
    text: str,
    error: KmsError | None = None,
    problems: dict[str, str] | None = None,
    *,
    is_new: bool,
) -> HttpResponse:
    title = "Create inline policy" if is_new else policy_name
    context: dict[str, Any] = {"kind": kind, "name": name, "policy_name": policy_name, "is_new": is_new}
    return page(
        request,
        "identities/inline_policy.html",
        title=title,
        crumbs=crumbs(kind, name, title),
        section=kind.slug,
        policy=text,
        policy_status=check(text, PolicyKind.IDENTITY),
        grammar="IDENTITY",
        back=address(kind, name, "permissions"),
        **context,
        **failure(error, problems),
    )


@sensitive_post_parameters(reauthentication.FIELD)
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def inline_delete(request: ConsoleRequest, slug: str, name: str, policy_name: str) -> HttpResponse:
    kind = kind_of(slug)
    question = Question(
        "Delete inline policy",
        "Delete inline policy",
        policy_name,
        f"It belongs to {kind.noun} {name} alone, and its document is gone with it. You can't undo this action.",
        "Delete",
        is_deletion=True,
        is_refused="The policy wasn't deleted",
    )
    return ask(
        request,
        question,
        lambda iam: iam.ask(f"Delete{kind.title}Policy", **{kind.name: name}, PolicyName=policy_name),
        crumbs=crumbs(kind, name, question.title),
        section=kind.slug,
        back=address(kind, name, "permissions"),
        done=f"Inline policy {policy_name} of {kind.noun} {name} was deleted.",
    )
