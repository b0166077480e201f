"""The wire's WSGI application: `is_wire` tells a request of AWS's API from a browser's, `handle` answers it.

It is mounted in front of Django's own handler and does what that does around a request: old database connections are
closed before and after, an open transaction is rolled back. A request passes `STAGES` top to bottom; the first that
raises ends it. Order of AWS's: target, signature, body, then everything that knows keys (in `kmsapp.dispatch`). Cookies
are ignored.

About header names: WSGI gives `X-Amz-Target` and `X_Amz_Target` the same key, and granian 2.8.7 passes both and keeps
the one that came last, so a name with an underscore can't be dropped here. It can't do harm either: the value that is
acted on is the value that must have been signed. granian also joins repeated headers with a comma and makes a value
that isn't printable ASCII an empty one; both fail as signatures do. granian's `wsgi.input` loses data with readline()
and iteration, so the body is read with read(n) alone.
"""

from __future__ import annotations

import dataclasses
import datetime
import io
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qsl

from django.db import DEFAULT_DB_ALIAS, connections

from hsmapp import clock, epochs
from kmsapp import dispatch, ids, service_models
from kmsapp.caller import Caller
from kmsapp.errors import (
    ExpiredTokenException,
    KmsError,
    KMSInternalException,
    RequestEntityTooLargeException,
    UnknownOperationException,
)
from kmsapp.iam import credentials
from kmsapp.iam.credentials import Credential
from kmsapp.service_models import Operation
from kmsapp.wire import awsjson, query, sigv4

# The largest request of the API holds a 128 KiB policy; JSON may write each character as six.
MAX_BODY_BYTES = 1024 * 1024
# A client that is refused while it still sends sees a broken connection instead of the answer, so a body that is too
# large is read to its end, up to here, and thrown away.
MAX_DISCARDED_BYTES = 16 * 1024 * 1024
READ_BYTES = 64 * 1024

JSON_WINDOW_SECONDS = 5 * 60
QUERY_WINDOW_SECONDS = 15 * 60

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]

# The model's accessKeyIdType (IAM).
_ACCESS_KEY_ID = re.compile("[A-Za-z0-9_]{1,128}")

EXPIRED = "The security token included in the request is expired"  # without a full stop, as AWS has it

_OF_A_PAGE = "csrfmiddlewaretoken"  # the field that every form of the console's has

_log = logging.getLogger(__name__)


class Call(Protocol):
    """`dispatch.call`: runs one named operation for a caller, or raises a KmsError."""

    def __call__(
        self, caller: Caller, name: str, params: dict[str, Any], *, request_id: str
    ) -> Mapping[str, Any] | None: ...


class Refuse(Protocol):
    """`dispatch.refuse`: records that a caller's request was refused before its operation could run."""

    def __call__(self, caller: Caller, name: str, error: KmsError, *, request_id: str) -> None: ...


@dataclasses.dataclass(frozen=True)
class Seams:
    """What the stages need from outside, so that a test can stand in for the database and the clock."""

    call: Call
    refuse: Refuse
    find_credential: Callable[[str], Credential | None]
    now: Callable[[], datetime.datetime]


@dataclasses.dataclass
class Exchange:
    """One request on its way through the stages; each fills in what the next ones read."""

    environ: Environ
    seams: Seams
    request_id: str
    is_query: bool  # the query protocol (STS, IAM) instead of awsJson
    service: str = ""  # IAM prefix, once the target is known
    operation: Operation | None = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""
    fields: dict[str, str] = dataclasses.field(default_factory=dict)  # of a form body
    caller: Caller | None = None
    params: dict[str, Any] = dataclasses.field(default_factory=dict)
    result: Mapping[str, Any] | None = None

    @property
    def is_get(self) -> bool:
        """The query protocol by GET: the form is the query string, which alone may be presigned."""
        return self.is_query and self.environ["REQUEST_METHOD"] == "GET"

    @property
    def known_operation(self) -> Operation:
        if self.operation is None:
            raise RuntimeError("a stage ran before the operation was known")
        return self.operation

    @property
    def name(self) -> str:
        return f"{self.service}:{self.known_operation.name}"

    @property
    def known_caller(self) -> Caller:
        if self.caller is None:
            raise RuntimeError("a stage ran before the caller was known")
        return self.caller


# Whose request is it?


def is_wire(environ: Environ) -> bool:
    """Whether this is a request of AWS's API: by its target, its signature, or a form with an Action.

    A form that lacks a Version, or has something twice, is the API's too, which says so. The query string of / can be
    signed (presigned), and hold the form. One in a body has to be read to know; what was read is put back for Django.
    A page of another site could post such a form, and would get no further than its missing signature.
    """
    if environ.get("HTTP_X_AMZ_TARGET") is not None or environ.get("HTTP_AUTHORIZATION", "").startswith("AWS4-"):
        return True
    if environ.get("PATH_INFO") != "/":
        return False
    if sigv4.is_presigned(environ.get("QUERY_STRING", "")) or _has_form_in_query(environ):
        return True
    return environ["REQUEST_METHOD"] == "POST" and _has_form(environ) and _is_query_form(environ)


def _has_form_in_query(environ: Environ) -> bool:
    if environ["REQUEST_METHOD"] != "GET" or "Action=" not in environ.get("QUERY_STRING", ""):
        return False
    return _has_action(_query_string(environ))


def _query_string(environ: Environ) -> bytes:
    # WSGI strings have one character for each byte.
    return str(environ.get("QUERY_STRING", "")).encode("latin-1")


def _has_form(environ: Environ) -> bool:
    content_type: str = environ.get("CONTENT_TYPE", "")
    return content_type.partition(";")[0].strip().lower() == query.FORM_CONTENT_TYPE


def _is_query_form(environ: Environ) -> bool:
    if (content_length(environ) or 0) > MAX_BODY_BYTES:
        return False
    body = _read(environ, MAX_BODY_BYTES)
    if len(body) > MAX_BODY_BYTES:
        # Only a chunked body gets here, and Django reads nothing of a body without a length.
        return False
    environ["wsgi.input"] = io.BytesIO(body)
    if content_length(environ) is None:
        environ["CONTENT_LENGTH"] = str(len(body))
    return _has_action(body)


def _has_action(form: bytes) -> bool:
    # Whatever the bytes are: that they are no UTF-8 is said later.
    names = {name for name, _ in parse_qsl(form.decode("latin-1"), keep_blank_values=True, encoding="latin-1")}
    return "Action" in names and _OF_A_PAGE not in names


# Stages


def _check_method_and_path(exchange: Exchange) -> None:
    methods = ("GET", "POST") if exchange.is_query else ("POST",)
    if exchange.environ["REQUEST_METHOD"] not in methods or exchange.environ.get("PATH_INFO") != "/":
        raise UnknownOperationException


def _read_body(exchange: Exchange) -> None:
    exchange.body = _read(exchange.environ, MAX_BODY_BYTES)
    if len(exchange.body) > MAX_BODY_BYTES:
        _discard(exchange.environ["wsgi.input"])
        raise RequestEntityTooLargeException(f"The request body is larger than {MAX_BODY_BYTES} bytes.")


def _read(environ: Environ, limit: int) -> bytes:
    """The body, or its first bytes, more than `limit`, if it is longer than that."""
    declared = content_length(environ)
    # Without a length the body ends where the server says so (chunked); a server that doesn't say has sent none.
    if declared is None and not environ.get("wsgi.input_terminated"):
        return b""
    wanted = limit + 1 if declared is None else min(declared, limit + 1)
    chunks = []
    while wanted > 0 and (chunk := environ["wsgi.input"].read(wanted)):
        chunks.append(chunk)
        wanted -= len(chunk)
    return b"".join(chunks)


def content_length(environ: Environ) -> int | None:
    """The length that the request declares; None if it declares none that can be read."""
    text = environ.get("CONTENT_LENGTH", "")
    # Python refuses to read numbers of thousands of digits; eighteen are more than any body has.
    return int(text[:18]) if text.isascii() and text.isdecimal() else None


def _discard(body: Any) -> None:
    left = MAX_DISCARDED_BYTES
    while left > 0 and (chunk := body.read(READ_BYTES)):
        left -= len(chunk)


def _choose_operation(exchange: Exchange) -> None:
    if exchange.is_query:
        exchange.fields = query.parse_form(_query_string(exchange.environ) if exchange.is_get else exchange.body)
        version = exchange.fields.get("Version") or "NO_VERSION_SPECIFIED"
        service, name = service_models.QUERY_VERSIONS.get(version), exchange.fields.get("Action", "")
        unknown = f"Could not find operation {name} for version {version}"
    else:
        prefix, _, name = exchange.environ.get("HTTP_X_AMZ_TARGET", "").partition(".")
        service, unknown = service_models.TARGET_PREFIXES.get(prefix), ""
    if service is None:
        raise UnknownOperationException(unknown)
    exchange.service = service
    model = service_models.service(service)
    if name not in model:
        raise UnknownOperationException(unknown)
    exchange.operation = model.operation(name)


def _authenticate(exchange: Exchange) -> None:
    environ = exchange.environ
    exchange.headers = _headers(environ)

    def lookup(access_key_id: str, session_token: str | None) -> Credential | None:
        # What can't be an access key id is not looked up: a database refuses some characters.
        if not _ACCESS_KEY_ID.fullmatch(access_key_id):
            return None
        found = exchange.seams.find_credential(access_key_id)
        if found is None or not found.accepts(session_token):
            return None
        if found.has_expired(exchange.seams.now()):
            raise ExpiredTokenException(EXPIRED)
        return found

    verified = sigv4.verify(
        sigv4.Request(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            environ.get("QUERY_STRING", ""),
            exchange.headers,
            exchange.body,
        ),
        lookup_secret=lookup,
        now=exchange.seams.now(),
        window_seconds=QUERY_WINDOW_SECONDS if exchange.is_query else JSON_WINDOW_SECONDS,
        service=exchange.service,
        # A presigned call of KMS would need its target in a header that a bare GET has not; of STS it is how people
        # prove to others who they are.
        allow_presigned=exchange.is_get and exchange.service == "sts",
    )
    credential = verified.credential
    exchange.caller = Caller(
        account=credential.account,
        region=verified.region,
        principal_arn=credential.principal_arn,
        principal_id=credential.principal_id,
        user_name=credential.user_name,
        access_key_id=verified.access_key_id,
        via="wire",
        source_ip=environ.get("REMOTE_ADDR", ""),
        user_agent=exchange.headers.get("user-agent", ""),
        principal_type=credential.principal_type,
        role_arn=credential.role_arn,
        session=credential.session,
        session_began_at=credential.session_began_at,
        source_identity=credential.source_identity,
        is_secure=environ.get("wsgi.url_scheme") == "https",
    )


def _headers(environ: Environ) -> dict[str, str]:
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name[:5] == "HTTP_"}
    for name, key in (("content-type", "CONTENT_TYPE"), ("content-length", "CONTENT_LENGTH")):
        if environ.get(key):
            headers[name] = environ[key]
    return headers


def _parse(exchange: Exchange) -> None:
    shape = exchange.known_operation.input
    try:
        if exchange.is_query:
            exchange.params = query.parse(exchange.fields, shape)
        else:
            exchange.params = awsjson.parse(exchange.body, shape)
    except KmsError as error:
        exchange.seams.refuse(exchange.known_caller, exchange.name, error, request_id=exchange.request_id)
        raise


def _dispatch(exchange: Exchange) -> None:
    exchange.result = exchange.seams.call(
        exchange.known_caller, exchange.name, exchange.params, request_id=exchange.request_id
    )


STAGES: tuple[Callable[[Exchange], None], ...] = (
    _check_method_and_path,
    _read_body,
    _choose_operation,
    _authenticate,
    _parse,
    _dispatch,
)


# The answer


def answer(environ: Environ, start_response: StartResponse, seams: Seams) -> Iterable[bytes]:
    """Take the request through the stages and send what they give, or the error that ended them."""
    is_query = environ.get("HTTP_X_AMZ_TARGET") is None and (_has_form(environ) or _has_form_in_query(environ))
    exchange = Exchange(environ, seams, ids.new_request_id(), is_query)
    try:
        for stage in STAGES:
            stage(exchange)
        status, body = 200, _success(exchange)
    except KmsError as error:
        status, body = _failure(exchange, error)
    except Exception:
        # A bug of ours. Its text may hold anything, so the wire gets the request id and the log gets the traceback.
        _log.exception("request %s failed", exchange.request_id)
        _roll_back()
        text = f"An internal error occurred. Request ID: {exchange.request_id}"
        status, body = _failure(exchange, KMSInternalException(text))
    start_response(f"{status} {HTTPStatus(status).phrase}", _response_headers(exchange, body))
    return [body]


def _success(exchange: Exchange) -> bytes:
    operation = exchange.known_operation
    if not exchange.is_query:
        return awsjson.serialize(exchange.result, operation.output)
    return query.serialize(exchange.result, operation, namespace=_namespace(exchange), request_id=exchange.request_id)


def _failure(exchange: Exchange, error: KmsError) -> tuple[int, bytes]:
    if not exchange.is_query:
        return error.status, awsjson.error_body(exchange.service, error)
    code, status, message = query.translated(error, service_models.service(exchange.service or "sts"))
    body = query.error_body(code, status, message, namespace=_namespace(exchange), request_id=exchange.request_id)
    return status, body


def _namespace(exchange: Exchange) -> str:
    namespace: str = service_models.service(exchange.service or "sts").metadata["xmlNamespace"]
    return namespace


def _response_headers(exchange: Exchange, body: bytes) -> list[tuple[str, str]]:
    return [
        ("x-amzn-RequestId", exchange.request_id),
        ("Content-Type", query.CONTENT_TYPE if exchange.is_query else awsjson.CONTENT_TYPE),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-cache, no-store, must-revalidate, private"),
    ]


def _roll_back() -> None:
    for connection in connections.all(initialized_only=True):
        # Inside an atomic block Django itself rolls back; this is for a transaction opened by hand.
        if connection.connection is not None and not connection.in_atomic_block and not connection.get_autocommit():
            connection.rollback()


INSTALLED = Seams(call=dispatch.call, refuse=dispatch.refuse, find_credential=credentials.find, now=clock.now)


def handle(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The WSGI callable for requests that `is_wire` names."""
    database = connections[DEFAULT_DB_ALIAS]  # the only one; Django's close_old_connections looks for more
    database.close_if_unusable_or_obsolete()
    try:
        with epochs.one_reading():
            return answer(environ, start_response, INSTALLED)
    finally:
        database.close_if_unusable_or_obsolete()
