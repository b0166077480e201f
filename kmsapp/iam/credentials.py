"""Access keys: made for a user, looked up by every signed call."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db import transaction

from hsmapp import clock, epochs, sealing
from kmsapp import ids
from kmsapp.models import AccessKey, User

_TABLE = "kmsapp_accesskey"


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


# Which account an access key belongs to never changes, so this needs no epoch; the credential itself does.
_accounts: dict[str, str] = {}
_credentials: epochs.Cached[Credential | None] = epochs.Cached()


def find(access_key_id: str) -> Credential | None:
    """The credential of an access key id, or None; a key or user that was deactivated is not `active`."""
    account = _accounts.get(access_key_id) or _account_of(access_key_id)
    if account is None:
        return None
    found = _credentials.get(account, access_key_id, lambda: _read(access_key_id))
    if found is None or not found.active:
        # It is answered as an unknown one is, so it is to take as long: nobody learns which keys are switched off.
        _account_of(access_key_id)
    return found


def _account_of(access_key_id: str) -> str | None:
    row = AccessKey.objects.filter(access_key_id=access_key_id).values_list("user__account_id", flat=True).first()
    if row is not None:
        if len(_accounts) > 100_000:
            _accounts.clear()
        _accounts[access_key_id] = row
    return row


def _read(access_key_id: str) -> Credential | None:
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
    )


def create_access_key(user: User) -> tuple[str, str]:
    """Make an access key; return its id and its secret, which is shown this once."""
    access_key_id, secret = ids.new_access_key_id(), ids.new_secret_access_key()
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
