"""Sessions: temporary credentials that stand for a user, or for a role that somebody has assumed, until they expire.

The secret is sealed like every access key's; of the token only a digest is kept, so both are known to nobody after the
answer. A session ends with its user or role (their rows take it along and raise the account's epoch) and at its time;
a day later its row goes.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hsmapp import clock, epochs, jobs, sealing
from kmsapp import ids
from kmsapp.caller import Caller
from kmsapp.iam.credentials import SESSION_TABLE
from kmsapp.models import Role, TemporaryCredential, User

DENY_ALL = '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}'
KEPT = datetime.timedelta(days=1)  # after its end, for whoever wants to know what it was
DELETE_AT_ONCE = 500


@dataclass(frozen=True)
class Issued:
    """A session that has just begun, with what its holder is told this once."""

    row: TemporaryCredential
    secret: str = field(repr=False)
    token: str = field(repr=False)

    @property
    def credentials(self) -> dict[str, Any]:
        """https://docs.aws.amazon.com/STS/latest/APIReference/API_Credentials.html"""
        return {
            "AccessKeyId": self.row.access_key_id,
            "SecretAccessKey": self.secret,
            "SessionToken": self.token,
            "Expiration": self.row.expires_at,
        }

    @property
    def recorded_credentials(self) -> dict[str, Any]:
        """What the audit record says of them. CloudTrail has the token, too; here no record holds a secret."""
        return {
            "accessKeyId": self.row.access_key_id,
            "expiration": f"{self.row.expires_at:%b} {self.row.expires_at.day}, {self.row.expires_at:%Y, %I:%M:%S %p}",
        }


@dataclass(frozen=True)
class SessionFacts:
    """What a session adds to, and takes from, the role or user it stands for."""

    tags: Mapping[str, str]  # session tags; they go before tags of the role
    transitive_tag_keys: tuple[str, ...]  # of those tags that a role assumed from here inherits
    policies: tuple[str, ...]  # documents of session policies: what they don't allow is not allowed


NO_SESSION = SessionFacts({}, (), ())
# It ended after its request was let in.
ENDED = SessionFacts({}, (), (DENY_ALL,))
_facts: epochs.Cached[SessionFacts] = epochs.Cached()


def begin(owner: Role | User, *, seconds: int, assumed_by: str, minimum_token_bytes: int = 0, **fields: Any) -> Issued:
    """Begin a session of the role or user. Call inside a transaction.

    minimum_token_bytes: at most 4,096.  fields: further columns of TemporaryCredential.
    """
    now = clock.now().replace(microsecond=0)  # its end is answered in whole seconds
    access_key_id, secret = ids.new_temporary_access_key_id(), ids.new_secret_access_key()
    token = ids.new_session_token(minimum_token_bytes)
    row = TemporaryCredential.objects.create(
        access_key_id=access_key_id,
        secret_sealed=sealing.keyring().seal(
            secret.encode(), purpose=sealing.ACCESS_KEY, table=SESSION_TABLE, row=access_key_id
        ),
        token_sha256=hashlib.sha256(token.encode()).hexdigest(),
        role=owner if isinstance(owner, Role) else None,
        user=owner if isinstance(owner, User) else None,
        assumed_by=assumed_by,
        created_at=now,
        expires_at=now + datetime.timedelta(seconds=seconds),
        **fields,
    )
    return Issued(row, secret, token)


def facts(caller: Caller) -> SessionFacts:
    """The facts of the caller's session; NO_SESSION without one."""
    if not caller.session:
        return NO_SESSION
    return _facts.get(caller.account, caller.session, lambda: _read(caller.session))


def _read(session: int) -> SessionFacts:
    row = TemporaryCredential.objects.filter(pk=session).first()
    if row is None:
        return ENDED
    documents = tuple(policy["document"] for policy in row.session_policies)
    return SessionFacts(row.tags, tuple(row.transitive_tag_keys), documents)


@jobs.handler("delete expired sessions")
def delete_expired(now: datetime.datetime) -> int:
    """Delete what expired more than a day ago. Nothing cached can be of use any more, so no epoch is raised."""
    expired = TemporaryCredential.objects.filter(expires_at__lt=now - KEPT).order_by("expires_at")
    # Looked for first: there is mostly nothing, and a DELETE would take the database's one writer's place.
    found = list(expired.values_list("pk", flat=True)[:DELETE_AT_ONCE])
    if not found:
        return 0
    deleted, _ = TemporaryCredential.objects.filter(pk__in=found).delete()
    return deleted
