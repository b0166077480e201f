"""What the identities pages share: breadcrumbs, the kind that an address names, and pages that ask before they act."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from console import reauthentication
from console.identities import KINDS, Identities, Kind
from console.pages import Crumb, page
from console.reauthentication import NOT_NEEDED, Proof
from console.requests import ConsoleRequest
from kmsapp.errors import KmsError

IDENTITIES = "Identities"
CONFIRM = "confirm"


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
        "status": error.status if error else 422 if problems else proof.status,
    }


@dataclass(frozen=True)
class Question:
    """What a page asks before something is done."""

    title: str
    asks: str  # "Delete", in front of what it is about
    subject: str
    consequence: str
    button: str
    # What is done can't be undone: the word confirm must be typed, and the person's password where that is long ago.
    needs_word: bool = False
    is_refused: str = "The change wasn't made"


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
) -> HttpResponse:
    """Show the question; on POST act, say `done` and go to `then`, else back. A refusal is shown in AWS's words."""
    error: KmsError | None = None
    problems: dict[str, str] = {}
    proof = reauthentication.proof_of(request) if question.needs_word else NOT_NEEDED
    if request.method == "POST" and not proof.is_asked:
        if question.needs_word and request.POST.get("confirm", "").strip().lower() != CONFIRM:
            problems = {"id_confirm": "Enter confirm."}
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
        **failure(error, problems, proof),
    )
