"""What the identities pages share: breadcrumbs, the kind that an address names, and pages that ask before they act."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from console import identity_deletion, reauthentication
from console.identities import KINDS, Identities, Kind, Part
from console.identity_deletion import Belonging
from console.pages import Crumb, page
from console.reauthentication import NOT_NEEDED, Proof
from console.refusals import status_of
from console.requests import ConsoleRequest
from kmsapp.errors import AccessDeniedException, DeleteConflictException, KmsError

Belongings = Callable[[Identities], list[Belonging]]

IDENTITIES = "Identities"


def kind_of(slug: str) -> Kind:
    """Raises Http404 for what is neither users, roles nor groups."""
    if slug not in KINDS:
        raise Http404("No such kind of identity")
    return KINDS[slug]


def address(kind: Kind, name: str, tab: str = "") -> str:
    """The page of one identity."""
    return reverse(f"console:{kind.noun}", args=[name], query={"tab": tab} if tab else None)


def list_crumbs(kind: Kind, title: str = "") -> list[Crumb]:
    """To a list, or to a page below it."""
    above: list[Crumb] = [(IDENTITIES, "")]
    if not title:
        return [*above, (kind.plural, "")]
    return [*above, (kind.plural, reverse(f"console:{kind.slug}")), (title, "")]


def crumbs(kind: Kind, name: str, title: str) -> list[Crumb]:
    """To a page of one identity's."""
    return [*list_crumbs(kind, name)[:-1], (name, address(kind, name)), (title, "")]


def failure(
    error: KmsError | None, problems: dict[str, str] | None = None, proof: Proof = NOT_NEEDED
) -> dict[str, Any]:
    """Context of a form that was refused: by AWS, for what is wrong in its fields, or for want of the password."""
    return {
        "error": error,
        "problems": problems or {},
        "proof": proof,
        "status": status_of(error) if error else 422 if problems else proof.status,
    }


@dataclass(frozen=True)
class Question:
    """What a page asks before something is done."""

    title: str
    asks: str  # "Delete", in front of what it is about
    subject: str
    consequence: str
    button: str
    # What is done can't be undone: as in AWS's console, the subject must be typed.
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/id_groups_manage_delete.html
    is_deletion: bool = False
    stops_others: bool = False
    is_refused: str = "The change wasn't made"

    @property
    def needs_proof(self) -> bool:
        """Whether the person's password is asked for, where they gave it long ago."""
        return self.is_deletion or self.stops_others


def ask(
    request: ConsoleRequest,
    question: Question,
    act: Callable[[Identities], object],
    *,
    crumbs: list[Crumb],
    section: str,
    back: str,
    done: str,
    then: str = "",
    belongings: Belongings | None = None,
) -> HttpResponse:
    """Show the question; on POST act, say `done` and go to `then`, else back. A refusal is shown in AWS's words.

    belongings: what goes with the subject of a deletion.
    """
    error: KmsError | None = None
    problems: dict[str, str] = {}
    proof = reauthentication.proof_of(request) if question.needs_proof else NOT_NEEDED
    if request.method == "POST" and not proof.is_asked:
        if question.is_deletion and request.POST.get("confirm", "").strip() != question.subject:
            problems = {"id_confirm": f"Enter {question.subject} to confirm."}
        else:
            try:
                act(Identities(request.caller))
            except KmsError as refused:
                error = refused
            else:
                messages.success(request, done)
                return HttpResponseRedirect(then or back)
    return page(
        request,
        "identities/confirm.html",
        title=question.title,
        crumbs=crumbs,
        section=section,
        question=question,
        back=back,
        with_it=_in_words(belongings, Identities(request.caller)) if belongings else Part(),
        **failure(error, problems, proof),
    )


def _in_words(belongings: Belongings, iam: Identities) -> Part:
    try:
        return Part([belonging.words for belonging in belongings(iam)])
    except (AccessDeniedException, DeleteConflictException) as error:
        return Part(denied=error.message)


def delete_with_all(
    request: ConsoleRequest, iam: Identities, operation: str, params: dict[str, Any], belongings: Belongings
) -> None:
    """Delete something with what it has. Raises: KmsError, having told what is gone nevertheless."""
    gone: list[str] = []
    try:
        identity_deletion.delete(iam, operation, params, belongings, gone)
    except KmsError:
        if gone:
            messages.warning(request, f"Taken away before the refusal: {', '.join(gone)}.")
        raise
