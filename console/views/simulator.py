"""The policy simulator of a key: who may do what with it, and which statement says so. Looking changes nothing."""

from __future__ import annotations

import contextlib
from typing import Any

from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from console import decision_picture, policy_text, simulation
from console.lookups import Lookups
from console.pages import page
from console.refusals import status_of
from console.requests import ConsoleRequest, signed_in
from console.simulation import MOST_PAIRS, Question
from kmsapp import dispatch
from kmsapp.errors import AccessDeniedException, KmsError, NotFoundException

TITLE = "Policy simulator"
OUTCOMES = {
    "allow": "would be allowed to",
    "explicitDeny": "would be explicitly denied to",
    "implicitDeny": "would not be allowed to",
}
# The buttons that add an empty row of fields.
ROWS = {"context": "encryption context", "condition": "condition"}


@require_safe
@signed_in
def simulator(request: ConsoleRequest, key_id: str) -> HttpResponse:
    """The form, and below it the answer where the address asks for one."""
    question, add = Question.of(request.GET, is_secure=request.is_secure()), request.GET.get("add", "")
    is_asked = bool(question.principal or request.GET.get("ask")) and add not in ROWS
    problems = question.problems() if is_asked else {}
    answer: dict[str, Any] = {}
    error: KmsError | None = None
    if is_asked and not problems:
        try:
            answer = dispatch.call(request.caller, simulation.OPERATION, question.parameters(key_id))
        except NotFoundException:
            raise
        except KmsError as refused:
            error = refused
    else:
        _require_key(request, key_id)
    return page(
        request,
        "keys/simulator.html",
        title=TITLE,
        crumbs=[
            ("Customer managed keys", reverse("console:keys")),
            (key_id, reverse("console:key", args=[key_id])),
            (TITLE, ""),
        ],
        section="keys",
        status=status_of(error) if error else 422 if problems else 200,
        key_id=key_id,
        question=question,
        context_rows=_rows(question.encryption_context, wants_more=add == "context"),
        condition_rows=_rows(question.conditions, wants_more=add == "condition"),
        focus=add if add in ROWS else "",
        actions=simulation.actions(),
        problems=problems,
        error=error,
        is_denied=isinstance(error, AccessDeniedException),
        here_absolute=request.build_absolute_uri(),
        **_principals(request, question),
        **_shown(answer),
    )


def _require_key(request: ConsoleRequest, key_id: str) -> None:
    """Raises: NotFoundException. Who may not look at a key that is there may ask about it all the same."""
    with contextlib.suppress(AccessDeniedException):
        dispatch.call(request.caller, "kms:DescribeKey", {"KeyId": key_id})


def _rows(pairs: simulation.Pairs, *, wants_more: bool) -> list[tuple[str, str]]:
    """What was entered, and an empty row to enter more in."""
    rows = [*pairs, *([("", "")] if wants_more or not pairs else [])]
    return rows[:MOST_PAIRS]


def _principals(request: ConsoleRequest, question: Question) -> dict[str, Any]:
    """Whom the list offers; a principal that is not in it stands in the field for others."""
    lookups = Lookups(request.caller)
    known = [f"arn:aws:iam::{request.caller.account}:root", *(person["Arn"] for person in lookups.principals)]
    return {
        "users": [person for person in lookups.principals if person["Type"] == "User"],
        "roles": [person for person in lookups.principals if person["Type"] == "Role"],
        "principals_denied": lookups.principals_denied,
        "root": known[0],
        "other_arn": "" if question.principal in known else question.principal,
    }


def _shown(answer: dict[str, Any]) -> dict[str, Any]:
    if not answer:
        return {"answer": None}
    steps = [
        {"shown": one, "json": policy_text.highlighted(one.step["Statement"]) if one.step["Statement"] else ""}
        for one in decision_picture.shown(answer)
    ]
    return {
        "answer": answer,
        "verdict": OUTCOMES[answer["Outcome"]],
        "steps": steps,
        "pictures": [decision_picture.wide(answer), decision_picture.tall(answer)],
        "in_words": decision_picture.in_words(answer),
    }
