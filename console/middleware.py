"""Headers on every answer, the caller of every request, and pages for refusals."""

from __future__ import annotations

from collections.abc import Callable

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port
from django.http.response import HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect

from console import roles, sessions
from console.regions import DEFAULT_REGION
from console.views.errors import forbidden, refusal
from kmsapp.caller import Caller
from kmsapp.errors import KmsError
from kmsapp.models import User

GetResponse = Callable[[HttpRequest], HttpResponseBase]

# Everything a page needs is a file of our own, so nothing inline and nothing from elsewhere is allowed.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
# One day: the header holds for every port of the host name, and this server's TLS root may be trusted for a while only.
STRICT_TRANSPORT_SECURITY = "max-age=86400"
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})  # other programs serve HTTP there, too


class SecurityHeadersMiddleware:
    """Adds the headers above where a view has not set its own."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if request.is_secure() and _host_name(request) not in LOCAL_NAMES:
            response.headers.setdefault("Strict-Transport-Security", STRICT_TRANSPORT_SECURITY)
        if getattr(request, "caller", None) is not None:
            response.headers.setdefault("Cache-Control", "no-store")
        return response


def _host_name(request: HttpRequest) -> str:
    return split_domain_port(request.META.get("HTTP_HOST", ""))[0]


class CallerMiddleware:
    """Sets request.caller for signed-in people: their principal, or the role they switched to, in their Region."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.user.is_authenticated:
            if request.user.password_reset_required and request.path not in _open_until_it_is_changed():
                return _to_new_password(request)
            roles.act(request, caller_of(request, request.user))
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """A refusal that a view left alone becomes a page: AWS's with its error in it, Django's as it stands.

        Left to Django, the latter would be logged with a traceback, though nothing failed.
        """
        if isinstance(error, PermissionDenied):
            return forbidden(request, error)
        return refusal(request, error) if isinstance(error, KmsError) else None


def _open_until_it_is_changed() -> set[str]:
    return {reverse(f"console:{name}") for name in ("password-change", "sign-out", "theme")}


def _to_new_password(request: HttpRequest) -> HttpResponse:
    """Whose password was given by somebody else, and is for once, goes no further with it."""
    address = reverse("console:password-change")
    if "HX-Request" in request.headers:
        return HttpResponseClientRedirect(address)  # leaves the page instead of putting the answer into a part of it
    return HttpResponseRedirect(address)


def caller_of(request: HttpRequest, user: User) -> Caller:
    """Return who calls: the signed-in person, acting in the session's Region."""
    return Caller(
        account=user.account_id,
        region=request.session.get("region", DEFAULT_REGION),
        principal_arn=user.arn,
        principal_id=user.user_id,
        user_name=user.user_name,
        via="admin" if request.path.startswith("/admin/") else "console",
        source_ip=request.META.get("REMOTE_ADDR", ""),
        user_agent=request.META.get("HTTP_USER_AGENT", "")[:256],
        principal_type="Root" if user.is_root else "User",
        is_secure=request.is_secure(),
        session_began_at=sessions.began_at(request),
    )
