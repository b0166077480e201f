"""The page of a managed policy, its versions, and where it is attached."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from console import identity_deletion, policy_text, reauthentication
from console.forms.identities import Problems, clean
from console.identities import Identities, document, policy_type
from console.identity_deletion import Belonging
from console.pages import Crumb, page
from console.requests import ConsoleRequest, signed_in
from console.views.identities.frame import IDENTITIES, Question, ask, delete_with_all, failure
from kmsapp.errors import AccessDeniedException, KmsError
from kmsapp.policy.documents import Kind as PolicyKind

SECTION = "policies"
TABS = {
    "permissions": "Permissions",
    "entities": "Entities attached",
    "versions": "Policy versions",
    "tags": "Tags",
}
MOST_VERSIONS = 5
ATTACHED = {
    "PolicyUsers": ("User", "UserName"),
    "PolicyRoles": ("Role", "RoleName"),
    "PolicyGroups": ("Group", "GroupName"),
}
USAGES = {"PermissionsPolicy": "Permissions policy", "PermissionsBoundary": "Permissions boundary"}


@require_safe
@signed_in
def policy(request: ConsoleRequest, arn: str) -> HttpResponse:
    iam = Identities(request.caller)
    found = iam.ask("GetPolicy", PolicyArn=arn)["Policy"]
    tab = request.GET.get("tab", "")
    is_aws = arn.startswith("arn:aws:iam::aws:")
    # AWS's own policies have no tags, and take none.
    tabs = {slug: words for slug, words in TABS.items() if slug != "tags" or not is_aws}
    tab = tab if tab in tabs else "permissions"
    return page(
        request,
        "identities/policy.html",
        title=found["PolicyName"],
        crumbs=crumbs(found["PolicyName"]),
        section=SECTION,
        found=found | {"Type": policy_type(arn), "Tags": found.get("Tags") or []},
        is_aws=is_aws,
        tabs=tabs,
        tab=tab,
        **_tab(request, iam, found, tab),
    )


def _tab(request: ConsoleRequest, iam: Identities, found: dict[str, Any], tab: str) -> dict[str, Any]:
    arn = found["Arn"]
    if tab == "entities":
        return _entities(iam, arn)
    if tab == "tags":
        return {"edit_tags": reverse("console:policy-tags", args=[arn])}
    if tab == "versions":
        return {"part": iam.part("ListPolicyVersions", "Versions", PolicyArn=arn), "most": MOST_VERSIONS}
    asked = clean(request.GET.get("version", ""))[:20] or found["DefaultVersionId"]
    try:
        version = iam.ask("GetPolicyVersion", PolicyArn=arn, VersionId=asked)["PolicyVersion"]
    except AccessDeniedException as error:
        return {"denied": error.message, "version": asked}
    shown = policy_text.highlighted(document(version["Document"]))
    return {"policy": shown, "version": version["VersionId"], "is_default": version["IsDefaultVersion"]}


def _entities(iam: Identities, arn: str) -> dict[str, Any]:
    entities: list[dict[str, str]] = []
    try:
        for usage, words in USAGES.items():
            for member, (title, name) in ATTACHED.items():
                found = iam.all(
                    "ListEntitiesForPolicy", member, PolicyArn=arn, PolicyUsageFilter=usage, EntityFilter=title
                )
                entities += [
                    {
                        "Name": row[name],
                        "Type": title,
                        "Usage": words,
                        "Address": reverse(f"console:{title.lower()}", args=[row[name]]),
                    }
                    for row in found
                ]
    except AccessDeniedException as error:
        return {"entities": [], "denied": error.message}
    return {"entities": entities, "denied": ""}


def crumbs(name: str, arn: str = "", title: str = "") -> list[Crumb]:
    above: list[Crumb] = [(IDENTITIES, ""), ("Policies", reverse("console:policies"))]
    return [*above, (name, address(arn)), (title, "")] if title else [*above, (name, "")]


def name_of(arn: str) -> str:
    return arn.rpartition("/")[2]


def address(arn: str, tab: str = "") -> str:
    """The page of a policy."""
    return reverse("console:policy", args=[arn], query={"tab": tab} if tab else None)


def _versions(arn: str) -> str:
    return address(arn, "versions")


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def edit(request: ConsoleRequest, arn: str) -> HttpResponse:
    """What is edited becomes a new version; older ones stay, up to five."""
    iam = Identities(request.caller)
    error: KmsError | None = None
    problems: Problems = {}
    is_default = request.method != "POST" or request.POST.get("is_default") == "on"
    if request.method == "POST":
        text = clean(request.POST.get("policy", "")).replace("\r\n", "\n")
        status = policy_text.check(text, PolicyKind.IDENTITY)
        if not status.is_valid:
            problems = {"id_policy": status.text}
        else:
            try:
                made = iam.ask("CreatePolicyVersion", PolicyArn=arn, PolicyDocument=text, SetAsDefault=is_default)
            except KmsError as refused:
                error = refused
            else:
                version = made["PolicyVersion"]["VersionId"]
                messages.success(request, f"Version {version} of policy {name_of(arn)} was created.")
                return HttpResponseRedirect(address(arn) if is_default else _versions(arn))
    else:
        found = iam.ask("GetPolicy", PolicyArn=arn)["Policy"]
        version = iam.ask("GetPolicyVersion", PolicyArn=arn, VersionId=found["DefaultVersionId"])["PolicyVersion"]
        text = document(version["Document"])
    return page(
        request,
        "identities/policy_edit.html",
        title="Edit policy",
        crumbs=crumbs(name_of(arn), arn, "Edit policy"),
        section=SECTION,
        name=name_of(arn),
        versions=_versions(arn),
        policy=text,
        policy_status=policy_text.check(text, PolicyKind.IDENTITY),
        grammar="IDENTITY",
        is_default=is_default,
        most=MOST_VERSIONS,
        back=address(arn),
        **failure(error, problems),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def version_default(request: ConsoleRequest, arn: str, version: str) -> HttpResponse:
    question = Question(
        "Set default version",
        f"Make {version} the default version of policy",
        name_of(arn),
        "It takes effect at once, wherever the policy is attached.",
        "Set as default",
    )
    return ask(
        request,
        question,
        lambda iam: iam.ask("SetDefaultPolicyVersion", PolicyArn=arn, VersionId=version),
        crumbs=crumbs(name_of(arn), arn, question.title),
        section=SECTION,
        back=_versions(arn),
        done=f"Version {version} is the default version of policy {name_of(arn)}.",
    )


@sensitive_post_parameters(reauthentication.FIELD)
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def version_delete(request: ConsoleRequest, arn: str, version: str) -> HttpResponse:
    question = Question(
        "Delete policy version",
        f"Delete version {version} of policy",
        name_of(arn),
        "Its document is gone with it. You can't undo this action.",
        "Delete",
        is_deletion=True,
        is_refused="The version wasn't deleted",
    )
    return ask(
        request,
        question,
        lambda iam: iam.ask("DeletePolicyVersion", PolicyArn=arn, VersionId=version),
        crumbs=crumbs(name_of(arn), arn, question.title),
        section=SECTION,
        back=_versions(arn),
        done=f"Version {version} of policy {name_of(arn)} was deleted.",
    )


@sensitive_post_parameters(reauthentication.FIELD)
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def delete(request: ConsoleRequest, arn: str) -> HttpResponse:
    """With its attachments and its other versions, as in AWS's console."""

    def belongings(iam: Identities) -> list[Belonging]:
        return identity_deletion.of_policy(iam, arn)

    question = Question(
        "Delete policy",
        "Delete policy",
        name_of(arn),
        "The permissions that it gives end at once, wherever it is attached. You can't undo this action.",
        "Delete",
        is_deletion=True,
        is_refused="The policy wasn't deleted",
    )
    return ask(
        request,
        question,
        lambda iam: delete_with_all(request, iam, "DeletePolicy", {"PolicyArn": arn}, belongings),
        crumbs=crumbs(name_of(arn), arn, question.title),
        section=SECTION,
        back=address(arn),
        done=f"Policy {name_of(arn)} was deleted.",
        then=reverse("console:policies"),
        belongings=belongings,
    )
