"""Changing one's own password. Every other session of the person ends with it; this one goes on under a new id."""

from __future__ import annotations

from django.contrib import auth, messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from console import reauthentication
from console.forms.password import PasswordForm
from console.pages import page
from console.requests import ConsoleRequest, signed_in
from kmsapp import dispatch
from kmsapp.errors import KmsError
from kmsapp.iam.passwords import KINDS_NEEDED, LONGEST_PASSWORD, SHORTEST_PASSWORD, SYMBOLS

TITLE = "Change password"
LABELS = {"old_password": "Current password", "new_password": "New password", "again": "Confirm new password"}
CHANGED = "Your password was changed. Wherever else you were signed in, you no longer are."


@sensitive_post_parameters("old_password", "new_password", "again")
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def password_change(request: ConsoleRequest) -> HttpResponse:
    if request.method != "POST":
        return _show(request, {})
    form = PasswordForm(request.POST)
    if not form.is_valid():
        return _show(request, {name: str(errors[0]) for name, errors in form.errors.items()}, status=422)
    old, new = form.cleaned_data["old_password"], form.cleaned_data["new_password"]
    proof = reauthentication.check(request, old)
    if proof.is_asked:
        return _show(request, {"old_password": proof.problem}, status=proof.status)
    try:
        dispatch.call(request.own_caller, "console:ChangePassword", {"OldPassword": old, "NewPassword": new})
    except KmsError as error:
        return _show(request, {"new_password": error.message}, status=422)
    request.user.refresh_from_db()
    auth.update_session_auth_hash(request, request.user)
    messages.success(request, CHANGED)
    return redirect("console:keys")


def _show(request: ConsoleRequest, problems: dict[str, str], *, status: int = 200) -> HttpResponse:
    return page(
        request,
        "password.html",
        title=TITLE,
        crumbs=[(TITLE, "")],
        section="",
        status=status,
        problems=problems,
        wrong=[(f"id_{name}", label) for name, label in LABELS.items() if name in problems],
        shortest=SHORTEST_PASSWORD,
        longest=LONGEST_PASSWORD,
        kinds=KINDS_NEEDED,
        symbols=SYMBOLS,
    )
