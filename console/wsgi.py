"""The one address of Casemate: the AWS wire in front, Django for everything else."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from hsmapp.parent import die_with_parent

# The process that made this one a granian worker; None where a test or a shell imports this module.
SERVER = multiprocessing.parent_process() if "granian" in sys.modules else None
IS_WORKER = SERVER is not None
if SERVER is not None and SERVER.pid is not None:
    # A worker whose server was killed would go on serving the port, beside the workers of the next server. The server
    # may be dead by now, so this asks who it was when the worker was made, not who the parent is.
    die_with_parent(SERVER.pid)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")

from django.conf import settings  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

django_application = get_wsgi_application()

from console import proxies, silent_connections  # noqa: E402  needs Django to be set up, as the next ones do
from console.bodies import whole  # noqa: E402
from hsmapp import connections, heartbeat, steps  # noqa: E402
from kmsapp import audit  # noqa: E402
from kmsapp.wire.handler import content_length, handle, is_wire  # noqa: E402

if IS_WORKER:
    # Before the first call comes, so that it waits neither for a login at an HSM nor for a file.
    audit.open_file()
    connections.warm()
    heartbeat.begin("web worker")
    silent_connections.watch()


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer one request: calls of AWS clients never meet Django's middleware, cookies or pages."""
    # Everything behind this, the limits on signing in and the audit record too, reads REMOTE_ADDR alone.
    environ["REMOTE_ADDR"] = proxies.client_address(
        environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", ""), settings.TRUSTED_PROXIES
    )
    try:
        if is_wire(environ):
            return handle(environ, start_response)
        if (length := content_length(environ)) is not None:
            environ["wsgi.input"] = whole(environ["wsgi.input"], length)
        return django_application(environ, start_response)
    finally:
        steps.leave()
