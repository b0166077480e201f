"""A key that is pending deletion: cancelling that, and saying that its time has come although a clock may be wrong."""

from __future__ import annotations

from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from console import reauthentication
from console.requests import ConsoleRequest, signed_in
from console.views.identities.frame import Question, ask
from console.views.keys import CRUMB
from kmsapp import dispatch


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def cancel(request: ConsoleRequest, key_id: str) -> HttpResponse:
    question = Question(
        title="Cancel key deletion",
        asks="Cancel the deletion of",
        subject=key_id,
        consequence="The key is disabled then. Enable it to use it again.",
        button="Cancel deletion",
        is_refused="The deletion wasn't cancelled",
    )
    return _ask(request, key_id, question, "kms:CancelKeyDeletion", "The deletion was cancelled. The key is disabled.")


@sensitive_post_parameters(reauthentication.FIELD)
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def confirm(request: ConsoleRequest, key_id: str) -> HttpResponse:
    question = Question(
        title="Confirm key deletion",
        asks="Is it time to delete",
        subject=key_id,
        consequence=(
            "Look whether today's date is right. If you confirm, the key and its key material are deleted at once, "
            "and nothing that it encrypted can be decrypted again."
        ),
        button="Confirm deletion",
        needs_word=True,
        is_refused="The deletion wasn't confirmed",
    )
    return _ask(request, key_id, question, "console:ConfirmKeyDeletion", f"The key {key_id} is being deleted.")


def _ask(request: ConsoleRequest, key_id: str, question: Question, operation: str, done: str) -> HttpResponse:
    # Whoever may not see the key is told so, and nobody is asked about a key that is not there.
    dispatch.call(request.caller, "console:DescribeKey", {"KeyId": key_id})
    keys, back = reverse("console:keys"), reverse("console:key", args=[key_id])
    return ask(
        request,
        question,
        lambda _: dispatch.call(request.caller, operation, {"KeyId": key_id}),
        crumbs=[(CRUMB, keys), (key_id, back), (question.title, "")],
        section="keys",
        back=back,
        done=done,
        then=keys if operation == "console:ConfirmKeyDeletion" else back,
    )
