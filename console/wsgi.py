"""The one address of Casemate: the AWS wire in front, Django for everything else."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "console.settings")

from django.core.wsgi import get_wsgi_application

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PR_SET_PDEATHSIG = 1


def die_with_server() -> None:
    """Let the kernel end this worker when the server that started it is gone.

    A worker whose server was killed would go on serving the port, beside the workers of the next server.
    """
    server = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(1)  # it was gone before the kernel knew


if "granian" in sys.modules:  # a worker process; a test or a shell that imports this module must outlive its parent
    die_with_server()

django_application = get_wsgi_application()

from kmsapp.wire.handler import handle, is_wire  # noqa: E402  needs Django to be set up


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer one request: calls of AWS clients never meet Django's middleware, cookies or pages."""
    if is_wire(environ):
        return handle(environ, start_response)
    return django_application(environ, start_response)
