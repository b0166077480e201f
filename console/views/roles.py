"""Switching role and back."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST

from console import roles
from console.forms.role_switch import RoleSwitchForm
from console.pages import page
from console.refusals import status_of
from console.requests import ConsoleRequest, signed_in
from kmsapp.errors import KmsError

TITLE = "Switch role"
# As AWS's links for switching have them: /switchrole?account=…&roleName=…&displayName=…
_LINK_NAMES = {"account": "account", "role": "roleName", "display_name": "displayName"}


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def role_switch(request: ConsoleRequest) -> HttpResponse:
    if request.method != "POST":
        given = {field: request.GET.get(name, "") for field, name in _LINK_NAMES.items()}
        return _show(request, RoleSwitchForm(initial=given))
    form = RoleSwitchForm(request.POST)
    if not form.is_valid():
        return _show(request, form, status=422)
    try:
        roles.switch(request, form.choice())
    except KmsError as error:
        return _show(request, form, error=error, status=status_of(error))
    # Where the person was may be of the other account, or not for the role to see.
    return redirect("console:keys")


@require_POST
@signed_in
def role_switch_back(request: ConsoleRequest) -> HttpResponse:
    roles.switch_back(request)
    return redirect("console:keys")


def _show(
    request: ConsoleRequest, form: RoleSwitchForm, *, error: KmsError | None = None, status: int = 200
) -> HttpResponse:
    return page(
        request,
        "role_switch.html",
        title=TITLE,
        crumbs=[(TITLE, "")],
        section="",
        status=status,
        form=form,
        error=error,
        colours=roles.COLOURS,
        is_root=request.own_caller.principal_type == "Root",
    )
