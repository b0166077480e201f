"""A user's access keys and console password, and disabling the user, which stops both.

A secret access key is shown by the answer that made it and nowhere else: it is not kept for a page that follows.
"""

from __future__ import annotations

import csv
import io
from urllib.parse import quote

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from console import reauthentication
from console.identities import USER, Identities
from console.pages import page
from console.requests import ConsoleRequest, signed_in
from console.views.identities.frame import Question, address, ask, crumbs, failure
from kmsapp.errors import KmsError, NoSuchEntityException

TAB = "security-credentials"
STATUSES = {"activate": ("Active", "activated"), "deactivate": ("Inactive", "deactivated")}


@sensitive_variables()
@sensitive_post_parameters(reauthentication.FIELD)
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def access_key_create(request: ConsoleRequest, name: str) -> HttpResponse:
    """Ask, then show the new key with its secret, this once."""
    title = "Create access key"
    error: KmsError | None = None
    made: dict[str, str] = {}
    proof = reauthentication.proof_of(request)
    if request.method == "POST" and not proof.is_asked:
        try:
            made = Identities(request.caller).ask("CreateAccessKey", UserName=name)["AccessKey"]
        except KmsError as refused:
            error = refused
    return page(
        request,
        "identities/access_key_created.html" if made else "identities/access_key_create.html",
        title="Access key" if made else title,
        crumbs=crumbs(USER, name, title),
        section=USER.slug,
        name=name,
        made=made,
        file=_csv_address(made) if made else "",
        back=address(USER, name, TAB),
        **failure(error, None, proof),
    )


def _csv_address(made: dict[str, str]) -> str:
    """The key as a file that is in its own address, so that the server need not keep the secret for a download."""
    file = io.StringIO()
    rows = csv.writer(file)
    rows.writerow(["Access key ID", "Secret access key"])
    rows.writerow([made["AccessKeyId"], made["SecretAccessKey"]])
    return f"data:text/csv;charset=utf-8,{quote(file.getvalue())}"


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def access_key_status(request: ConsoleRequest, name: str, access_key_id: str, change: str) -> HttpResponse:
    """Activate or deactivate."""
    status, past = STATUSES[change]
    goes_on = "Calls that are signed with it are answered again."
    ends = "Calls that are signed with it are refused from then on. You can activate it again."
    question = Question(
        f"{change.capitalize()} access key",
        f"{change.capitalize()} access key",
        access_key_id,
        goes_on if change == "activate" else ends,
        change.capitalize(),
    )
    return ask(
        request,
        question,
        lambda iam: iam.ask("UpdateAccessKey", UserName=name, AccessKeyId=access_key_id, Status=status),
        crumbs=crumbs(USER, name, question.title),
        section=USER.slug,
        back=address(USER, name, TAB),
        done=f"Access key {access_key_id} was {past}.",
    )


@sensitive_post_parameters(reauthentication.FIELD)
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def access_key_delete(request: ConsoleRequest, name: str, access_key_id: str) -> HttpResponse:
    question = Question(
        "Delete access key",
        "Delete access key",
        access_key_id,
        "Programs that use it stop working. You can't undo this action; to stop them for a while, deactivate the key.",
        "Delete",
        is_deletion=True,
        is_refused="The access key wasn't deleted",
    )
    return ask(
        request,
        question,
        lambda iam: iam.ask("DeleteAccessKey", UserName=name, AccessKeyId=access_key_id),
        crumbs=crumbs(USER, name, question.title),
        section=USER.slug,
        back=address(USER, name, TAB),
        done=f"Access key {access_key_id} was deleted.",
    )


@sensitive_variables("password")
@sensitive_post_parameters("password", "password_again", reauthentication.FIELD)
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def password(request: ConsoleRequest, name: str) -> HttpResponse:
    """Set a user's console password, the first or another one."""
    title = "Set console password"
    error: KmsError | None = None
    problems: dict[str, str] = {}
    must_change = request.POST.get("must_change") == "on" if request.method == "POST" else True
    proof = reauthentication.proof_of(request)
    if request.method == "POST":
        problems = password_problems(request)
        if not problems and not proof.is_asked:
            error = set_password(Identities(request.caller), name, request.POST["password"], must_change=must_change)
            if error is None:
                messages.success(request, f"The console password of {name} was set.")
                return HttpResponseRedirect(address(USER, name, TAB))
    return page(
        request,
        "identities/password.html",
        title=title,
        crumbs=crumbs(USER, name, title),
        section=USER.slug,
        name=name,
        must_change=must_change,
        back=address(USER, name, TAB),
        **failure(error, problems, proof),
    )


def password_problems(request: ConsoleRequest) -> dict[str, str]:
    """What is wrong in the two fields; whether the password is good enough is IAM's to say."""
    entered, again = request.POST.get("password", ""), request.POST.get("password_again", "")
    if not entered:
        return {"id_password": "Enter a password."}
    return {} if entered == again else {"id_password_again": "The two passwords differ. Enter the same one twice."}


def set_password(iam: Identities, name: str, password: str, *, must_change: bool) -> KmsError | None:
    """Return why it was not set."""
    params = {"UserName": name, "Password": password, "PasswordResetRequired": must_change}
    try:
        try:
            iam.ask("UpdateLoginProfile", **params)
        except NoSuchEntityException:
            # The user has no password yet, or does not exist, which this answers.
            iam.ask("CreateLoginProfile", **params)
    except KmsError as error:
        return error
    return None


@sensitive_post_parameters(reauthentication.FIELD)
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def password_remove(request: ConsoleRequest, name: str) -> HttpResponse:
    question = Question(
        "Remove console password",
        "Remove the console password of user",
        name,
        f"{name} is signed out and can't sign in to the console until a new password is set. Access keys go on.",
        "Remove",
        stops_others=True,
    )
    return ask(
        request,
        question,
        lambda iam: iam.ask("DeleteLoginProfile", UserName=name),
        crumbs=crumbs(USER, name, question.title),
        section=USER.slug,
        back=address(USER, name, TAB),
        done=f"The console password of {name} was removed.",
    )


@sensitive_post_parameters(reauthentication.FIELD)
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def user_disable(request: ConsoleRequest, name: str) -> HttpResponse:
    question = Question(
        "Disable user",
        "Disable user",
        name,
        f"{name} is signed out, and can neither sign in nor sign calls with access keys until enabled again. Sessions "
        "of roles end in their own time. Nothing is deleted.",
        "Disable",
        stops_others=True,
        is_refused="The user wasn't disabled",
    )
    return _enabled(request, question, name, "DisableUser", f"User {name} was disabled.")


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def user_enable(request: ConsoleRequest, name: str) -> HttpResponse:
    question = Question(
        "Enable user",
        "Enable user",
        name,
        f"{name} can sign in and sign calls again, with the password and the access keys from before. Sessions from "
        "before do not come back.",
        "Enable",
        is_refused="The user wasn't enabled",
    )
    return _enabled(request, question, name, "EnableUser", f"User {name} was enabled.")


def _enabled(request: ConsoleRequest, question: Question, name: str, operation: str, done: str) -> HttpResponse:
    return ask(
        request,
        question,
        lambda iam: iam.ask(operation, UserName=name),
        crumbs=crumbs(USER, name, question.title),
        section=USER.slug,
        back=address(USER, name),
        done=done,
    )
