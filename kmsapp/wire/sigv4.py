"""AWS Signature Version 4, checked as AWS checks it: one function per stage of the published procedure.

Pure: clock, secrets, service and window are arguments. A request is signed in its Authorization header or, where the
caller of `verify` allows it, in its query string (presigned), never in both; SigV4a, UNSIGNED-PAYLOAD and streaming
payloads are refused.
The order of `verify` is: is there a signature, can it be read, is its scope ours, is its date now, whose key is it, and
does the signature fit. What the handler goes on to use (X-Amz-Target, Host, the token, the body) is what was signed:
host and every x-amz-* header must be among the signed ones, and values are taken from the same mapping. Content-Type
need not be, though the procedure says so: version 2 of AWS's SDK for JavaScript never signs it, and AWS answers. It
decides nothing that is not signed: the operation stands in X-Amz-Target or in the body.
SigV4 has no nonce: whoever records a signed request can send it again inside the window, at AWS as here.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import collections
import datetime
import email.utils
import functools
import hashlib
import hmac
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar
from urllib.parse import parse_qsl, quote, unquote, unquote_to_bytes

from kmsapp.errors import (
    IncompleteSignatureException,
    InvalidSignatureException,
    MissingAuthenticationTokenException,
    UnrecognizedClientException,
)

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key"
    " and signing method. Consult the service documentation for details."
)
UNKNOWN_KEY = "The security token included in the request is invalid."

# What a presigned request says in its query string. Beside a signed header none of it may stand there: credentials are
# read in one place.
_IN_QUERY = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
)
_TOKEN_IN_QUERY = "X-Amz-Security-Token"  # noqa: S105  the name of a parameter
_CREDENTIALS_IN_QUERY = frozenset(name.lower() for name in (*_IN_QUERY, _TOKEN_IN_QUERY))
LONGEST_EXPIRY_SECONDS = 7 * 24 * 3600
# Stands in for the secret of an access key that nobody has.
_NOBODYS_SECRET = os.urandom(30).hex().encode()[:40]

_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]+")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,6}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class SigningCredential(Protocol):
    """What a lookup gives: an access key that may be used now."""

    @property
    def secret(self) -> bytes: ...


C = TypeVar("C", bound=SigningCredential)


class Request(NamedTuple):
    """A request as it was received.

    path: percent-decoded, each character one byte (as WSGI gives it).  query: as sent, without the question mark.
    headers: lower-case names; several headers of one name are joined by commas in their order.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


class Presigned(NamedTuple):
    """What a query string says beyond an Authorization header."""

    timestamp: str
    expires_seconds: int
    session_token: str | None


class Authorization(NamedTuple):
    """The parts of an Authorization header, or of a presigned query string; none of them proved yet."""

    access_key_id: str
    date: str  # YYYYMMDD of the scope
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    header: str  # the whole header, which some of AWS's messages repeat; empty in a presigned request
    presigned: Presigned | None = None

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/{TERMINATOR}"


@dataclass(frozen=True)
class Verified(Generic[C]):
    """Who signed, and the Region they signed for."""

    credential: C
    access_key_id: str
    region: str


# Verification


def verify(
    request: Request,
    *,
    lookup_secret: Callable[[str, str | None], C | None],
    now: datetime.datetime,
    window_seconds: int,
    service: str,
    allow_presigned: bool = False,
    normalize_path: bool = True,
) -> Verified[C]:
    """Return who signed `request` for `service`, or raise the AWS error that says what is wrong.

    lookup_secret: (access key id, session token or None) -> credential, or None if there is none, it isn't active or
    the token isn't its own. All three give the same answer, so nobody learns which keys exist but are switched off.
    window_seconds: allowed distance from `now` (aware UTC), both ways. What a presigned request says of its own life
    can shorten it and not lengthen it.
    An access key that nobody has costs as much as a wrong secret.
    Raises: MissingAuthenticationTokenException, IncompleteSignatureException, InvalidSignatureException,
    UnrecognizedClientException.
    """
    authorization = parse_authorization(request, allow_presigned=allow_presigned)
    presigned = authorization.presigned
    timestamp = presigned.timestamp if presigned else _timestamp(request, authorization)
    _require_signed(request, authorization)
    _require_scope(authorization, timestamp, service)
    _require_fresh(timestamp, now, window_seconds, presigned.expires_seconds if presigned else window_seconds)
    token = presigned.session_token if presigned else request.headers.get("x-amz-security-token")
    credential = lookup_secret(authorization.access_key_id, token)
    canonical = canonical_request(
        request, authorization.signed_headers, _payload_hash(request), normalize_path=normalize_path
    )
    key, remember = SIGNING_KEYS.get(authorization, _NOBODYS_SECRET if credential is None else credential.secret)
    expected = signature(key, string_to_sign(timestamp, authorization.scope, canonical))
    is_right = bool(_SIGNATURE.fullmatch(authorization.signature)) and hmac.compare_digest(
        expected, authorization.signature
    )
    if credential is None:
        raise UnrecognizedClientException(UNKNOWN_KEY)
    if not is_right:
        raise InvalidSignatureException(MISMATCH)
    remember()
    if presigned is None:
        PROVED_HEADERS.remember(authorization)
    return Verified(credential, authorization.access_key_id, authorization.region)


def parse_authorization(request: Request, *, allow_presigned: bool = False) -> Authorization:
    """Read the Authorization header, or the query string that stands for it.

    Raises: MissingAuthenticationTokenException, IncompleteSignatureException, InvalidSignatureException (terminator).
    """
    header = request.headers.get("authorization", "").strip()
    if is_presigned(request.query):
        _refuse_presigned(request, header, allowed=allow_presigned)
        return _parse_presigned(request)
    if not header:
        raise MissingAuthenticationTokenException("Missing Authentication Token")
    known = PROVED_HEADERS.find(header)
    return known if known is not None and request.headers.get("x-amz-date") else _parse(request, header)


def _parse(request: Request, header: str) -> Authorization:
    algorithm, _, rest = header.partition(" ")
    parts = _key_value_pairs(rest, header)
    if algorithm != ALGORITHM:
        raise IncompleteSignatureException(f"Unsupported AWS 'algorithm': '{algorithm}'.")
    _require_pieces(parts, request.headers, header)
    signed_headers = _signed_headers(parts["SignedHeaders"], header)
    return Authorization(*_credential(parts["Credential"]), signed_headers, parts["Signature"], header)


def _signed_headers(text: str, header: str) -> tuple[str, ...]:
    names = tuple(text.split(";"))
    if list(names) != sorted(set(names)) or text != text.lower():
        raise IncompleteSignatureException(
            f"'SignedHeaders' must be lower-case, sorted and without repetition. Authorization={header}"
        )
    return names


def is_presigned(query: str) -> bool:
    """Whether a query string (as sent) holds any of what a presigned request is signed with, however it is spelt."""
    if not query or "x-amz-" not in unquote(query).lower():
        return False
    return any(name.lower() in _CREDENTIALS_IN_QUERY for name, _ in _query_pairs(query))


def _query_pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True, encoding="latin-1")


def _refuse_presigned(request: Request, header: str, *, allowed: bool) -> None:
    if header:
        raise IncompleteSignatureException(
            "The request is signed in its query string and in its Authorization header. Sign it in the header alone."
        )
    if not allowed:
        raise IncompleteSignatureException(
            "Presigned requests are not accepted. Sign the request in its Authorization header."
        )
    for name in ("x-amz-date", "x-amz-security-token"):
        if name in request.headers:
            raise IncompleteSignatureException(
                f"The request is signed in its query string. '{name}' can't stand in a header beside it."
            )


def _parse_presigned(request: Request) -> Authorization:
    parts: dict[str, str] = {}
    for name, value in _query_pairs(request.query):
        if name in parts and name.lower() in _CREDENTIALS_IN_QUERY:
            raise IncompleteSignatureException(f"'{name}' appears more than once in the query string.")
        parts[name] = value
    if missing := [name for name in _IN_QUERY if not parts.get(name)]:
        raise IncompleteSignatureException(
            " ".join(f"AWS query-string parameters must include '{name}'." for name in missing)
            + " Re-examine the query-string parameters."
        )
    if parts["X-Amz-Algorithm"] != ALGORITHM:
        raise IncompleteSignatureException(f"Unsupported AWS 'algorithm': '{parts['X-Amz-Algorithm']}'.")
    if not _DATE.fullmatch(parts["X-Amz-Date"]):
        raise _bad_date(parts["X-Amz-Date"])
    presigned = Presigned(parts["X-Amz-Date"], _expiry(parts["X-Amz-Expires"]), parts.get(_TOKEN_IN_QUERY))
    signed_headers = _signed_headers(parts["X-Amz-SignedHeaders"], "")
    credential = _credential(parts["X-Amz-Credential"])
    return Authorization(*credential, signed_headers, parts["X-Amz-Signature"], "", presigned)


def _expiry(text: str) -> int:
    if not _WHOLE_NUMBER.fullmatch(text) or not 1 <= int(text) <= LONGEST_EXPIRY_SECONDS:
        raise IncompleteSignatureException(
            f"'X-Amz-Expires' must be a whole number of seconds from 1 to {LONGEST_EXPIRY_SECONDS}, got '{text}'."
        )
    return int(text)


def _key_value_pairs(rest: str, header: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in rest.split(","))):
        name, equal_sign, value = part.partition("=")
        if not equal_sign:
            raise IncompleteSignatureException(
                f"'{part}' not a valid key=value pair (missing equal-sign) in Authorization header: '{header}'."
            )
        # Two Authorization headers arrive joined by a comma. Neither may be the one that counts.
        if name in parts:
            raise IncompleteSignatureException(f"'{name}' appears more than once in Authorization header: '{header}'.")
        parts[name] = value
    return parts


def _require_pieces(parts: Mapping[str, str], headers: Mapping[str, str], header: str) -> None:
    missing = [
        f"Authorization header requires '{name}' parameter."
        for name in ("Credential", "Signature", "SignedHeaders")
        if not parts.get(name)
    ]
    if not headers.get("x-amz-date") and not headers.get("date"):
        missing.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if missing:
        raise IncompleteSignatureException(f"{' '.join(missing)} Authorization={header}")


def _credential(credential: str) -> tuple[str, str, str, str]:
    elements = credential.split("/")
    if len(elements) != 5:
        raise IncompleteSignatureException(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term,"
            f" got '{credential}'"
        )
    access_key_id, date, region, service, terminator = elements
    if terminator != TERMINATOR:
        raise InvalidSignatureException(
            f"Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{terminator}'."
        )
    return access_key_id, date, region, service


def _timestamp(request: Request, authorization: Authorization) -> str:
    """The request's time in ISO basic form. X-Amz-Date wins over Date; whichever counts must be signed."""
    name = "x-amz-date" if request.headers.get("x-amz-date") else "date"
    _require_among_signed(name, authorization)
    text = request.headers[name]
    if name == "date" and not _DATE.fullmatch(text):
        text = _basic_form(text)
    if not _DATE.fullmatch(text):
        raise _bad_date(text)
    return text


def _basic_form(http_date: str) -> str:
    try:
        moment = email.utils.parsedate_to_datetime(http_date)
        return _basic(moment.astimezone(datetime.UTC) if moment.tzinfo else moment)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise _bad_date(http_date) from error


def _bad_date(text: str) -> IncompleteSignatureException:
    return IncompleteSignatureException(
        f"Date must be in ISO-8601 'basic format'. Got '{text}'. See http://en.wikipedia.org/wiki/ISO_8601"
    )


def _require_signed(request: Request, authorization: Authorization) -> None:
    # An operation of the JSON protocol is a header: were X-Amz-Target left unsigned, a recorded Encrypt could be sent
    # again as ScheduleKeyDeletion.
    _require_among_signed("host", authorization)
    for name in request.headers:
        if name.startswith("x-amz-"):
            _require_among_signed(name, authorization)


def _require_among_signed(name: str, authorization: Authorization) -> None:
    if name not in authorization.signed_headers:
        raise InvalidSignatureException(f"'{name}' must be a 'SignedHeader' in the AWS Authorization.")


def _require_scope(authorization: Authorization, timestamp: str, service: str) -> None:
    if authorization.date != timestamp[:8]:
        # (unconfirmed) The end of this sentence, and of the one about the terminator.
        raise InvalidSignatureException(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP:"
            f" '{authorization.date}' != '{timestamp[:8]}', from '{timestamp}'."
        )
    if not _REGION.fullmatch(authorization.region):
        raise InvalidSignatureException(f"Credential should be scoped to a valid region, not '{authorization.region}'.")
    if authorization.service != service:
        raise InvalidSignatureException(f"Credential should be scoped to correct service: '{service}'.")


def _require_fresh(timestamp: str, now: datetime.datetime, window_seconds: int, life_seconds: int) -> None:
    """life_seconds: how long after its time a request lives, if that is less than the window."""
    distance = (_moment(timestamp) - now).total_seconds()
    life_seconds = min(life_seconds, window_seconds)
    if -life_seconds <= distance <= window_seconds:
        return
    if distance < 0:
        life = datetime.timedelta(seconds=life_seconds)
        raise InvalidSignatureException(
            f"Signature expired: {timestamp} is now earlier than {_basic(now - life)}"
            f" ({_basic(now)} - {_minutes(life_seconds)})"
        )
    window = datetime.timedelta(seconds=window_seconds)
    raise InvalidSignatureException(
        f"Signature not yet current: {timestamp} is still later than {_basic(now + window)}"
        f" ({_basic(now)} + {_minutes(window_seconds)})"
    )


def _minutes(seconds: int) -> str:
    return f"{seconds} sec." if seconds % 60 else f"{seconds // 60} min."


@functools.lru_cache(maxsize=64)  # a busy client's requests of one second have one timestamp
def _moment(timestamp: str) -> datetime.datetime:
    year, month, day = int(timestamp[:4]), int(timestamp[4:6]), int(timestamp[6:8])
    hour, minute, second = int(timestamp[9:11]), int(timestamp[11:13]), int(timestamp[13:15])
    try:
        return datetime.datetime(year, month, day, hour, minute, second, tzinfo=datetime.UTC)
    except ValueError as error:
        raise _bad_date(timestamp) from error


def _basic(moment: datetime.datetime) -> str:
    return moment.strftime("%Y%m%dT%H%M%SZ")


def _payload_hash(request: Request) -> str:
    """The hash of the bytes that arrived. A claimed one must equal it: unsigned and streamed payloads are refused."""
    actual = hashlib.sha256(request.body).hexdigest()
    claimed = request.headers.get("x-amz-content-sha256")
    if claimed is not None and claimed != actual:
        raise InvalidSignatureException("The X-Amz-Content-Sha256 header is not the SHA-256 of the body that arrived.")
    return actual


# The stages of the procedure


def canonical_request(
    request: Request, signed_headers: tuple[str, ...], payload_hash: str, *, normalize_path: bool = True
) -> str:
    """Step 1: the request in its one canonical spelling."""
    headers = canonical_headers(request.headers, signed_headers)
    path = canonical_path(request.path, normalize=normalize_path)
    query = canonical_query(request.query)
    return f"{request.method}\n{path}\n{query}\n{headers}\n{';'.join(signed_headers)}\n{payload_hash}"


def canonical_path(path: str, *, normalize: bool = True) -> str:
    """Step 1.2: the encoded path; with `normalize`, empty and dot segments are resolved first."""
    if path in ("/", ""):
        return "/"
    if normalize:
        path = _without_dot_segments(path)
    return quote(path.encode("latin-1"), safe="/-._~")


def _without_dot_segments(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    return "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")


def canonical_query(query: str) -> str:
    """Step 1.3: names and values encoded one by one and sorted, each with its equal sign; no presigned signature."""
    if not query:
        return ""
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    encoded = sorted((_encoded(name), _encoded(value)) for name, _, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded if name != "X-Amz-Signature")


def _encoded(part: str) -> str:
    return quote(unquote_to_bytes(part.encode("latin-1")), safe="-._~")


def canonical_headers(headers: Mapping[str, str], signed_headers: tuple[str, ...]) -> str:
    """Step 1.4: each signed header on a line, ends trimmed, runs of spaces made one.

    Raises: InvalidSignatureException for a signed header that didn't arrive, or whose value holds a control character
    (a line break would forge further lines).
    """
    lines = []
    for name in signed_headers:
        value = headers.get(name)
        if value is None or (not value.isprintable() and _CONTROL.search(value)):
            raise InvalidSignatureException(MISMATCH)
        value = value.strip()
        if "  " in value:
            value = re.sub(" +", " ", value)
        lines.append(f"{name}:{value}\n")
    return "".join(lines)


def string_to_sign(timestamp: str, scope: str, canonical: str) -> str:
    """Step 3: algorithm, time, scope and the canonical request's hash."""
    # Header values are WSGI strings, one character for each byte that was signed.
    canonical_hash = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    return f"{ALGORITHM}\n{timestamp}\n{scope}\n{canonical_hash}"


def signing_key(secret: bytes, date: str, region: str, service: str) -> bytes:
    """Step 4: the key for one day, Region and service."""
    key = b"AWS4" + secret
    for part in (date, region, service, TERMINATOR):
        key = hmac.digest(key, part.encode("latin-1"), "sha256")
    return key


def signature(key: bytes, text: str) -> str:
    """Step 5: 64 lower-case hex digits."""
    return hmac.digest(key, text.encode("latin-1"), "sha256").hex()


class SigningKeys:
    """The signing keys used last, so that a busy caller's four HMACs are done once a day.

    A key is found by access key id, a fingerprint of its secret, date, Region and service, and is kept only after a
    signature was proved with it: nobody can fill the memory with made-up Regions. It grants nothing by itself: the
    credential is looked up on every call, and a changed secret has another fingerprint.
    """

    def __init__(self, size: int = 4096):
        self._size = size
        self._salt = os.urandom(16)
        self._keys: collections.OrderedDict[tuple[str, bytes, str, str, str], bytes] = collections.OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, authorization: Authorization, secret: bytes) -> tuple[bytes, Callable[[], None]]:
        """The signing key, and what to call once it has proved a signature."""
        date, region, service = authorization.date, authorization.region, authorization.service
        fingerprint = hashlib.blake2b(secret, digest_size=16, key=self._salt).digest()
        entry = (authorization.access_key_id, fingerprint, date, region, service)
        key = self._keys.get(entry)
        if key is None:
            key = signing_key(secret, date, region, service)
        return key, lambda: self._remember(entry, key)

    def _remember(self, entry: tuple[str, bytes, str, str, str], key: bytes) -> None:
        with self._lock:
            self._keys[entry] = key
            self._keys.move_to_end(entry)
            if len(self._keys) > self._size:
                self._keys.popitem(last=False)


SIGNING_KEYS = SigningKeys()


class ProvedHeaders:
    """What Authorization headers say that differ in nothing but the signature, as a client's do for a day.

    Kept only after a signature under such a header was proved. It saves the reading alone: everything that the header
    says is judged anew, and the signature is checked.
    """

    _MARK = "Signature="

    def __init__(self, size: int = 4096):
        self._size = size
        self._known: dict[str, Authorization] = {}

    def __len__(self) -> int:
        return len(self._known)

    def find(self, header: str) -> Authorization | None:
        """What the header says, its own signature included; None if it has to be read."""
        claims, _, claimed = header.rpartition(self._MARK)
        known = self._known.get(claims)
        if known is None or not _SIGNATURE.fullmatch(claimed):
            return None
        return Authorization(*known[:5], claimed, header)

    def remember(self, authorization: Authorization) -> None:
        claims, _, claimed = authorization.header.rpartition(self._MARK)
        # Some clients don't put the signature last; theirs are read each time.
        if claims in self._known or claimed != authorization.signature:
            return
        if len(self._known) >= self._size:
            self._known.clear()
        self._known[claims] = authorization


PROVED_HEADERS = ProvedHeaders()
