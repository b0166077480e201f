"""Put an account back to what it was when the server started: for tests, where bin/serve was told --resettable."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from console.serving import resets
from kmsapp import account_snapshots

_BEARER = "Bearer "


@csrf_exempt  # no browser's: it is asked with a token that stands in a file of the data folder
@never_cache
def reset(request: HttpRequest) -> HttpResponse:
    """204 when the account is what it was; 409 with the reason, and nothing changed, when rows can't do that."""
    if not settings.RESETTABLE or not _has_token(request):
        raise Http404  # as if there were no such address
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    account = request.POST.get("account", "")
    path = resets.snapshot_path(settings.DATA, account)
    if not (account.isascii() and account.isdecimal() and path.is_file()):
        unknown = f"Account {account!r} was not there when the server started."
        return HttpResponse(unknown, status=409, content_type="text/plain")
    try:
        account_snapshots.put_back(account, path.read_text())
    except account_snapshots.CannotPutBackError as error:
        return HttpResponse(str(error), status=409, content_type="text/plain")
    return HttpResponse(status=204)


def _has_token(request: HttpRequest) -> bool:
    given = request.headers.get("Authorization", "").removeprefix(_BEARER)
    return secrets.compare_digest(given.encode(), resets.token_path(settings.DATA).read_bytes())
