"""The password is asked for again before what can't be undone or stops others, if its last proof is some minutes old.

The page's own form asks, so what was entered in it stays. In a view that takes GET and POST:

    proof = reauthentication.proof_of(request)
    if request.method == "POST" and not proof.is_asked:
        …do it…
    return page(…, status=proof.status, proof=proof)

and in the form, above its buttons: {% include "console/_password_again.html" %}. Mark the view with
sensitive_post_parameters(reauthentication.FIELD).
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest

from console import sessions
from console.sign_in_limits import Try
from kmsapp.models import User

FIELD = "current_password"
ENTER, WRONG = "Enter your password to go on.", "The password is wrong."
TOO_MANY = "Too many tries. Wait five minutes, and then try again."


@dataclass(frozen=True)
class Proof:
    """Whether the form has to ask for the password."""

    is_asked: bool
    problem: str = ""  # what was wrong with what was entered
    status: int = 200


NOT_NEEDED, NEEDED = Proof(is_asked=False), Proof(is_asked=True)


def proof_of(request: HttpRequest, *, is_submitted: bool = True) -> Proof:
    """Look at the password that was posted, if one is needed. A right one is a proof for the next minutes.

    is_submitted: False for a post that leads to the form instead of coming from it.
    """
    if _is_fresh(request):
        return NOT_NEEDED
    if request.method != "POST" or not is_submitted:
        return NEEDED
    password = request.POST.get(FIELD, "")
    if not password:
        return Proof(is_asked=True, problem=ENTER, status=422)
    return check(request, password)


def check(request: HttpRequest, password: str) -> Proof:
    """Whether it is the signed-in person's password; tries are limited as those to sign in are."""
    user = request.user
    if not isinstance(user, User):
        raise TypeError("only somebody who has signed in has a password to prove")
    attempt = Try.of(request, user.account_id, user.user_name)
    if not attempt.take():
        return Proof(is_asked=True, problem=TOO_MANY, status=429)
    if not user.check_password(password):
        return Proof(is_asked=True, problem=WRONG, status=422)
    attempt.give_back()
    request.session[sessions.PROVED_AT] = sessions.now()
    return NOT_NEEDED


def _is_fresh(request: HttpRequest) -> bool:
    age = sessions.now() - request.session.get(sessions.PROVED_AT, 0)
    return bool(0 <= age < settings.PROOF_MINUTES * 60)
