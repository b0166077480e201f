"""Signing in and out."""

from __future__ import annotations

from django.contrib import auth
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from console import known_browsers, roles, sessions
from console.forms.sign_in import RootSignInForm, SignInForm
from console.pages import safe_next
from console.requests import browser_of
from console.sign_in_limits import Try
from kmsapp import sign_in_events

# One sentence whatever was wrong, so that nobody learns which accounts and users exist.
REFUSED = "Account ID, user name or password is wrong. Check them and try again."
REFUSED_ROOT = "Account ID or password is wrong. Check them and try again."
TOO_MANY = "Too many tries. Wait five minutes, and then try again."


@sensitive_post_parameters("password")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest, *, as_root: bool = False) -> HttpResponse:
    """as_root: of an account's root user, who has no user name to give."""
    kind = RootSignInForm if as_root else SignInForm
    refusal = REFUSED_ROOT if as_root else REFUSED
    if request.method != "POST":
        return _show(request, kind())
    form = kind(request.POST)
    if not form.is_valid():
        return _show(request, form, refused=refusal if "account" not in form.errors else "", status=422)
    account, user_name = form.cleaned_data["account"], form.cleaned_data.get("user_name", "")
    attempt = Try.of(request, account, user_name)
    if not attempt.take():
        return _show(request, form, refused=TOO_MANY, status=429)
    user = auth.authenticate(request, account=account, user_name=user_name, password=form.cleaned_data["password"])
    sign_in_events.record_login(browser_of(request, _next(request)), account, user_name, succeeded=user is not None)
    if user is None:
        return _show(request, form, refused=refusal, status=422)
    attempt.give_back()
    sessions.begin(request, user)
    roles.switch_back(request)
    response = HttpResponseRedirect(_next(request))
    known_browsers.remember(request, response, account, user_name)
    return response


def _show(request: HttpRequest, form: RootSignInForm, *, refused: str = "", status: int = 200) -> HttpResponse:
    as_root = not isinstance(form, SignInForm)
    title = "Sign in as root user" if as_root else "Sign in"
    context = {"title": title, "form": form, "next": _next(request), "refused": refused, "as_root": as_root}
    return render(request, "console/sign_in.html", context, status=status)


def _next(request: HttpRequest) -> str:
    # No field of the form: whatever an address has there, the person signs in.
    return safe_next(request.POST.get("next") or request.GET.get("next", ""), reverse("console:keys"))


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    auth.logout(request)
    return redirect("console:sign-in")
