"""Editing a key's policy."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from console import policy_text, reauthentication
from console.pages import page
from console.requests import ConsoleRequest, signed_in
from console.views.identities.frame import failure
from kmsapp import dispatch
from kmsapp.errors import KmsError

TITLE = "Edit key policy"


@sensitive_post_parameters(reauthentication.FIELD)
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def edit(request: ConsoleRequest, key_id: str) -> HttpResponse:
    """A policy that locks the person out is refused, unless they say that it is meant so and prove who they are."""
    back = reverse("console:key", args=[key_id])
    error: KmsError | None = None
    problems: dict[str, str] = {}
    proof = reauthentication.NOT_NEEDED
    bypass = request.POST.get("bypass") == "on"
    if request.method == "POST":
        proof = reauthentication.proof_of(request) if bypass else proof
        text = request.POST.get("policy", "").replace("\0", "").replace("\r\n", "\n")
        status = policy_text.check(text)
        if not status.is_valid:
            problems = {"id_policy": status.text}
        elif not proof.is_asked:
            error = _put(request, key_id, text, bypass=bypass)
            if error is None:
                messages.success(request, "The key policy was saved.")
                return HttpResponseRedirect(back)
    else:
        text = dispatch.call(request.caller, "kms:GetKeyPolicy", {"KeyId": key_id})["Policy"]
    return page(
        request,
        "keys/policy_edit.html",
        title=TITLE,
        crumbs=[("Customer managed keys", reverse("console:keys")), (key_id, back), (TITLE, "")],
        section="keys",
        key_id=key_id,
        policy=text,
        policy_status=policy_text.check(text),
        grammar="KEY",
        bypass=bypass,
        back=back,
        **failure(error, problems, proof),
    )


def _put(request: ConsoleRequest, key_id: str, text: str, *, bypass: bool) -> KmsError | None:
    """Return why it was not put."""
    params = {"KeyId": key_id, "Policy": text, "BypassPolicyLockoutSafetyCheck": bypass}
    try:
        dispatch.call(request.caller, "kms:PutKeyPolicy", params)
    except KmsError as error:
        return error
    return None
