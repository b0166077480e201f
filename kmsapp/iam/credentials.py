"""Access keys: made for a user, looked up by every signed call; and the temporary keys of sessions (sessions.py).

A credential is cached for as long as its account's epoch stands, so whatever ends it (a user deactivated, a role
deleted) is seen by every worker at its next call. That a session has expired is no change of any row: whoever uses a
credential compares `expires_at` with the clock.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
from dataclasses import dataclass, field

from django.db import transaction

from hsmapp import clock, epochs, sealing
from kmsapp import arns, ids
from kmsapp.caller import PrincipalType
from kmsapp.models import AccessKey, Role, TemporaryCredential, User

_TABLE = "kmsapp_accesskey"
SESSION_TABLE = "kmsapp_temporarycredential"
TEMPORARY = "ASIA"  # how the ids of temporary keys begin


@dataclass(frozen=True)
class Credential:
    """An access key and whose it is."""

    access_key_id: str
    secret: bytes = field(repr=False)
    active: bool
    account: str
    principal_arn: str
    principal_id: str
    user_name: str
    principal_type: PrincipalType = "User"
    role_arn: str = ""  # of an assumed role
    session: int = 0  # primary key of the TemporaryCredential
    session_began_at: datetime.datetime | None = None
    expires_at: datetime.datetime | None = None
    source_identity: str = ""
    token_sha256: str = field(default="", repr=False)  # hex; empty for a long-term key, which has no token

    def accepts(self, session_token: str | None) -> bool:
        """Whether this may sign together with that token, or with none. Its end is asked for by `has_expired`."""
        if not self.active or (session_token is None) != (self.session == 0):
            return False
        if session_token is None:
            return True
        digest = hashlib.sha256(session_token.encode(errors="surrogatepass")).hexdigest()
        return hmac.compare_digest(digest, self.token_sha256)

    def has_expired(self, now: datetime.datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


# Which account an access key belongs to never changes, so this needs no epoch; the credential itself does.
_accounts: dict[str, str] = {}
_credentials: epochs.Cached[Credential | None] = epochs.Cached()


def find(access_key_id: str) -> Credential | None:
    """The credential of an access key id, or None; a key or user that was deactivated is not `active`."""
    account = account_of(access_key_id)
    if account is None:
        return None
    found = _credentials.get(account, access_key_id, lambda: _read(access_key_id))
    if found is None or not found.active:
        # It is answered as an unknown one is, so it is to take as long: nobody learns which keys are switched off.
        _account_of(access_key_id)
    return found


def find_session(account: str, session: int) -> Credential | None:
    """The credential of a session by its primary key, for the browser, which is shown neither secret nor token."""
    return _credentials.get(account, session, lambda: _read_session(pk=session))


def account_of(access_key_id: str) -> str | None:
    """The account that an access key belongs to, whatever its state; None if there is no such key."""
    return _accounts.get(access_key_id) or _account_of(access_key_id)


def _account_of(access_key_id: str) -> str | None:
    if access_key_id.startswith(TEMPORARY):
        row = _session_account(access_key_id)
    else:
        keys = AccessKey.objects.filter(access_key_id=access_key_id)
        row = keys.values_list("user__account_id", flat=True).first()
    if row is not None:
        if len(_accounts) > 100_000:
            _accounts.clear()
        _accounts[access_key_id] = row
    return row


def _session_account(access_key_id: str) -> str | None:
    sessions = TemporaryCredential.objects.filter(access_key_id=access_key_id)
    of_role, of_user = sessions.values_list("role__account_id", "user__account_id").first() or (None, None)
    return of_role or of_user


def _read(access_key_id: str) -> Credential | None:
    if access_key_id.startswith(TEMPORARY):
        return _read_session(access_key_id=access_key_id)
    row = AccessKey.objects.select_related("user").filter(access_key_id=access_key_id).first()
    if row is None:
        return None
    user = row.user
    return Credential(
        access_key_id=access_key_id,
        secret=sealing.keyring().open(row.secret_sealed, purpose=sealing.ACCESS_KEY, table=_TABLE, row=access_key_id),
        active=row.status == "Active" and user.is_active,
        account=user.account_id,
        principal_arn=user.arn,
        principal_id=user.user_id,
        user_name=user.user_name,
        principal_type="Root" if user.is_root else "User",
    )


def _read_session(**which: str | int) -> Credential | None:
    row = TemporaryCredential.objects.select_related("user", "role").filter(**which).first()
    if row is None:
        return None
    secret = sealing.keyring().open(
        row.secret_sealed, purpose=sealing.ACCESS_KEY, table=SESSION_TABLE, row=row.access_key_id
    )
    if row.role is not None:
        return _of_role(row, row.role, secret)
    if row.user is not None:
        return _of_user(row, row.user, secret)
    raise TypeError("a session is of a role or a user")


def _of_role(row: TemporaryCredential, role: Role, secret: bytes) -> Credential:
    return Credential(
        access_key_id=row.access_key_id,
        secret=secret,
        active=True,
        account=role.account_id,
        principal_arn=arns.assumed_role_arn(role.account_id, role.name, row.session_name),
        principal_id=f"{role.role_id}:{row.session_name}",
        user_name="",
        principal_type="AssumedRole",
        role_arn=role.arn,
        session=row.pk,
        session_began_at=row.created_at,
        expires_at=row.expires_at,
        source_identity=row.source_identity,
        token_sha256=row.token_sha256,
    )


def _of_user(row: TemporaryCredential, user: User, secret: bytes) -> Credential:
    return Credential(
        access_key_id=row.access_key_id,
        secret=secret,
        active=user.is_active,
        account=user.account_id,
        principal_arn=user.arn,
        principal_id=user.user_id,
        user_name=user.user_name,
        principal_type="Root" if user.is_root else "User",
        session=row.pk,
        session_began_at=row.created_at,
        expires_at=row.expires_at,
        token_sha256=row.token_sha256,
    )


def create_access_key(user: User, access_key_id: str = "", secret: str = "") -> tuple[str, str]:
    """Make an access key, id and secret drawn unless given; return both. The secret is shown this once."""
    access_key_id, secret = access_key_id or ids.new_access_key_id(), secret or ids.new_secret_access_key()
    with transaction.atomic():
        AccessKey.objects.create(
            access_key_id=access_key_id,
            user=user,
            secret_sealed=sealing.keyring().seal(
                secret.encode(), purpose=sealing.ACCESS_KEY, table=_TABLE, row=access_key_id
            ),
            created_at=clock.now(),
        )
        epochs.raise_epoch(user.account_id)
    return access_key_id, secret
