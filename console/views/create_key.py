"""The create-key wizard: which step is shown, what a post does, and Finish.

One address and one form per step; every post ends in a redirect or in the same form with what to correct. Finish posts
once and claims the draft, so a double click makes one key.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect

from console import drafts, policy_text, steps
from console.drafts import Choices
from console.forms.create_key import READERS, Problems, alias_problem
from console.lookups import Lookups
from console.models import KeyDraft
from console.pages import page
from console.refusals import status_of
from console.remedies import remedy
from console.requests import ConsoleRequest, signed_in
from console.views import create_key_store_step
from console.views.create_key_steps import context_of, edit
from console.views.drafts import address, opened
from kmsapp import dispatch
from kmsapp.errors import KmsError

CRUMBS = "Customer managed keys"
INTERRUPTED = ("KMSInternalException", "The key store did not answer as expected.")


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def create_key(request: ConsoleRequest) -> HttpResponse:
    """Step 1 before there is a draft: looking at it changes nothing, Next begins one."""
    choices = Choices()
    if request.method != "POST":
        return _show(request, "configure", choices, None)
    problems = READERS["configure"](request.POST, choices, Lookups(request.caller))
    if problems:
        return _show(request, "configure", choices, None, problems)
    choices.done.append("configure")
    draft = drafts.begin(request.caller, request.user, choices)
    return redirect("console:create-key-step", draft.pk, "key-store")


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def create_key_step(request: ConsoleRequest, draft_id: UUID, slug: str) -> HttpResponse:
    """A step of a draft. One that can't be reached yet leads to the first that is not complete."""
    draft = opened(request, draft_id)
    choices = Choices.of(draft)
    if request.method == "POST" and slug == "review" and steps.first_incomplete(choices) == "review":
        return _finish(request, draft)
    if draft.state != KeyDraft.State.DRAFT:
        return redirect("console:create-key-progress", draft.pk)
    if slug not in steps.BY_SLUG or not steps.is_reachable(slug, choices):
        return redirect("console:create-key-step", draft.pk, steps.first_incomplete(choices))
    if request.method == "POST":
        return _take(request, draft, slug, choices)
    return _show(request, slug, choices, draft)


def _take(request: ConsoleRequest, draft: KeyDraft, slug: str, choices: Choices) -> HttpResponse:
    """Keep what was posted on a step, and go where the button says."""
    go = request.POST.get("go", "next")
    problems = READERS[slug](request.POST, choices, Lookups(request.caller))
    if slug == "key-store" and create_key_store_step.is_own_button(go):
        return create_key_store_step.act(request, draft, choices, go)
    again = edit(slug, go, request.POST, choices)
    leaves = again is None and go in {"next", "review", "enter"}
    if slug in choices.done and problems:
        choices.done.remove(slug)
    if leaves and not problems:
        choices.done = [name for name in steps.ASKING if name in choices.done or name == slug]
        if go == "review":
            choices.done = list(steps.ASKING)
    if not drafts.save(draft, choices):
        return redirect("console:create-key-progress", draft.pk)
    if again is not None:
        return redirect(address(draft, slug) + again)
    if leaves and problems:
        return _show(request, slug, choices, draft, problems)
    return redirect(address(draft, _target(go, slug, choices, request.POST.get("return") == "review")))


def _target(go: str, slug: str, choices: Choices, to_review: bool) -> str:
    if go == "previous":
        return steps.preceding(slug)
    if go == "review" or (to_review and steps.first_incomplete(choices) == "review"):
        return "review"
    return steps.following(slug)


def _finish(request: ConsoleRequest, draft: KeyDraft) -> HttpResponse:
    """Create the key. Whatever fails, the draft stays and says why."""
    if request.POST.get("go") == "previous":
        return redirect(address(draft, "policy"))
    if not drafts.claim(draft):
        return redirect("console:create-key-progress", draft.pk)
    failure: tuple[str, str] | None = INTERRUPTED
    status = 400
    try:
        answer = dispatch.call(request.caller, "console:CreateKeyWithAlias", drafts.parameters(draft))
        drafts.made(draft, answer["KeyMetadata"]["KeyId"], answer["AliasName"].removeprefix("alias/"))
        failure = None
    except KmsError as error:
        failure, status = (error.code, error.message), status_of(error, is_of_address=False)
    finally:
        # Also when our own code fails: the claim must not outlive the call.
        if failure is not None:
            drafts.failed(draft, *failure)
    if failure is not None:
        return _show(request, "review", Choices.of(draft), draft, status=status)
    return _made(request, Choices.of(draft).alias, answer["KeyMetadata"]["KeyId"])


def _made(request: ConsoleRequest, alias: str, key_id: str) -> HttpResponse:
    """The newest key is first in the table, so that it is seen at once."""
    messages.success(
        request,
        format_html(
            "<span>Success: Your AWS KMS key was created with alias {} and key ID {}</span>"
            ' <a class="button" href="{}">View key</a>',
            alias,
            key_id,
            reverse("console:key", args=[key_id]),
        ),
    )
    return redirect(reverse("console:keys") + "?sort=-creation_date")


@require_safe
@signed_in
def create_key_progress(request: ConsoleRequest, draft_id: UUID) -> HttpResponse:
    """Where a second click on Finish waits for the first one's key."""
    draft = opened(request, draft_id)
    if draft.state == KeyDraft.State.DONE:
        return _made(request, Choices.of(draft).alias, draft.made_key_id)
    if draft.state == KeyDraft.State.DRAFT:
        return redirect(address(draft, "review"))
    return page(
        request,
        "create_key/progress.html",
        title="Create key",
        crumbs=_crumbs(),
        section="keys",
        draft=draft,
        stuck=drafts.is_stuck(draft),
    )


@require_safe
@signed_in
def create_key_progress_check(request: ConsoleRequest, draft_id: UUID) -> HttpResponse:
    """Asked by the page above: nothing while the key is being made, then where to go on."""
    draft = opened(request, draft_id)
    if draft.state == KeyDraft.State.CLAIMED and not drafts.is_stuck(draft):
        return HttpResponse(status=204)
    return HttpResponseClientRedirect(reverse("console:create-key-progress", args=[draft.pk]))


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def create_key_cancel(request: ConsoleRequest, draft_id: UUID) -> HttpResponse:
    """Ask before what was entered is thrown away."""
    draft = opened(request, draft_id)
    if request.method == "POST":
        drafts.discard(draft)
        return redirect("console:keys")
    first_open = steps.first_incomplete(Choices.of(draft))
    asked_from = request.GET.get("from", "")
    back = asked_from if asked_from in steps.BY_SLUG else first_open
    return page(
        request,
        "create_key/cancel.html",
        title="Leave the wizard",
        crumbs=_crumbs(),
        section="keys",
        draft=draft,
        back=address(draft, back),
    )


@require_safe
@signed_in
def alias_check(request: ConsoleRequest) -> HttpResponse:
    """The error below the alias field, while it is being typed. The step checks again."""
    problem = alias_problem(request.GET.get("alias", "").replace("\0", "").strip(), Lookups(request.caller))
    return render(request, "console/create_key/_problem.html", {"id": "id_alias", "problem": problem, "live": True})


@require_POST
@signed_in
def policy_check(request: ConsoleRequest) -> HttpResponse:
    """The status line below the policy editor."""
    status = policy_text.check(request.POST.get("policy", "")[:100_000])
    return render(request, "console/create_key/_policy_status.html", {"policy_status": status})


def _crumbs() -> list[tuple[str, str]]:
    return [(CRUMBS, reverse("console:keys")), ("Create key", "")]


def _show(
    request: ConsoleRequest,
    slug: str,
    choices: Choices,
    draft: KeyDraft | None,
    problems: Problems | None = None,
    status: int = 200,
) -> HttpResponse:
    step = steps.BY_SLUG[slug]
    failure: dict[str, Any] = draft.failure if draft and slug == "review" else {}
    return page(
        request,
        step.template,
        title=step.title,
        crumbs=_crumbs(),
        section="wizard",
        status=422 if problems else status,
        step=step,
        entries=steps.entries(slug, choices),
        number=steps.SLUGS.index(slug) + 1,
        choices=choices,
        draft=draft,
        problems=problems or {},
        failure=failure,
        remedy=remedy(failure["code"]) if failure else None,
        can_skip=steps.can_skip_to_review(slug) if slug != "review" else False,
        return_to=request.POST.get("return") or request.GET.get("return", ""),
        cancel=_cancel_address(draft, slug),
        **context_of(slug, request, choices, Lookups(request.caller)),
    )


def _cancel_address(draft: KeyDraft | None, slug: str) -> str:
    if draft is None:
        return reverse("console:keys")
    return reverse("console:create-key-cancel", args=[draft.pk]) + "?" + urlencode({"from": slug})
