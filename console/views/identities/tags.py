"""The tags of users, roles and managed policies."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.views.decorators.http import require_http_methods

from console.forms.identities import MOST_TAGS, Problems, Tags, edited_rows
from console.identities import Identities
from console.pages import Crumb, page
from console.requests import ConsoleRequest, signed_in
from console.views.identities import policies
from console.views.identities.frame import address, crumbs, failure, kind_of
from kmsapp.errors import KmsError

TITLE = "Edit tags"


@dataclass(frozen=True)
class Tagged:
    """What has the tags."""

    title: str  # as IAM's operations call it: User, Role, Policy
    named: dict[str, str]  # the member that names it
    name: str
    crumbs: list[Crumb]
    section: str
    back: str


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def of_identity(request: ConsoleRequest, slug: str, name: str) -> HttpResponse:
    kind = kind_of(slug)
    if not kind.has_tags:
        raise Http404("Groups have no tags")
    named, back = {kind.name: name}, address(kind, name, "tags")
    return _edit(request, Tagged(kind.title, named, name, crumbs(kind, name, TITLE), kind.slug, back))


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def of_policy(request: ConsoleRequest, arn: str) -> HttpResponse:
    named, name = {"PolicyArn": arn}, policies.name_of(arn)
    return _edit(
        request,
        Tagged(
            "Policy", named, name, policies.crumbs(name, arn, TITLE), policies.SECTION, policies.address(arn, "tags")
        ),
    )


def _edit(request: ConsoleRequest, tagged: Tagged) -> HttpResponse:
    """Rows are added and removed by posts that change nothing in IAM; Save changes tags and untags what differs."""
    iam = Identities(request.caller)
    found = iam.ask(f"Get{tagged.title}", **tagged.named)[tagged.title]
    before = {tag["Key"]: tag["Value"] for tag in found.get("Tags") or []}
    if request.method != "POST":
        return _show(request, tagged, Tags(list(before.items()) or [("", "")]))
    entered, go = Tags.of(request.POST), request.POST.get("go", "")
    rows = edited_rows(entered.rows, go, ("", ""), MOST_TAGS)
    if rows is not None:
        return _show(request, tagged, Tags(rows), focus="last" if go == "add" else "add")
    problems = entered.problems()
    error = None if problems else _save(iam, tagged, entered, before)
    if problems or error:
        return _show(request, tagged, entered, error, problems)
    messages.success(request, f"The tags of {tagged.title.lower()} {tagged.name} were saved.")
    return HttpResponseRedirect(tagged.back)


def _save(iam: Identities, tagged: Tagged, entered: Tags, before: dict[str, str]) -> KmsError | None:
    added, removed = entered.changes(before)
    try:
        # First away with what is not wanted, so that there is room for what is.
        if removed:
            iam.ask(f"Untag{tagged.title}", **tagged.named, TagKeys=removed)
        if added:
            iam.ask(f"Tag{tagged.title}", **tagged.named, Tags=added)
    except KmsError as error:
        return error
    return None


def _show(
    request: ConsoleRequest,
    tagged: Tagged,
    entered: Tags,
    error: KmsError | None = None,
    problems: Problems | None = None,
    *,
    focus: str = "",
) -> HttpResponse:
    return page(
        request,
        "identities/tags.html",
        title=TITLE,
        crumbs=tagged.crumbs,
        section=tagged.section,
        noun=tagged.title.lower(),
        name=tagged.name,
        rows=entered.rows,
        left=MOST_TAGS - len(entered.rows),
        focus=focus,
        back=tagged.back,
        **failure(error, problems),
    )
