"""What a server that was started with --resettable keeps: accounts as they were at the start, and a token for resets.

Both are files of the data folder that only its owner can read, so whoever may ask for a reset could as well take the
folder away.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from hsmapp.durable import write_durably

FOLDER = "reset"


def token_path(data: Path) -> Path:
    return data / FOLDER / "token"


def snapshot_path(data: Path, account: str) -> Path:
    return data / FOLDER / f"{account}.json"


def prepare(data: Path) -> None:
    """Write a new token, and each account as it is now."""
    from kmsapp import account_snapshots
    from kmsapp.models import Account

    (data / FOLDER).mkdir(mode=0o700, exist_ok=True)
    for account in Account.objects.values_list("account_id", flat=True):
        write_durably(snapshot_path(data, account), account_snapshots.take(account).encode())
    write_durably(token_path(data), secrets.token_urlsafe(32).encode())
