"""Limits against guessing passwords.

A try is taken before the password is hashed, and given back when it was right; so parallel guesses are counted too, and
a refused one costs nothing. Two counters: of the user name from this address, and of the user name from anywhere. There
is none of the address alone: a class behind one address must not be locked out by one of its members.
"""

from __future__ import annotations

import datetime
import hashlib

from django.db.models import F

from console.models import SignInAttempts
from hsmapp import clock

TRIES_FROM_ONE_ADDRESS = 5
TRIES_FROM_ANYWHERE = 50
WINDOW = datetime.timedelta(minutes=5)


def take_try(account: str, user_name: str, address: str) -> bool:
    """Count a try. False: the limit is reached, don't look at the password."""
    now = clock.now()
    SignInAttempts.objects.filter(window_ends_at__lte=now).delete()
    return all(_take(counter, limit, now) for counter, limit in _counters(account, user_name, address))


def give_back(account: str, user_name: str, address: str) -> None:
    """The password was right: this address starts afresh, and the try is taken off the count of all addresses."""
    (from_here, _), (from_anywhere, _) = _counters(account, user_name, address)
    SignInAttempts.objects.filter(counter=from_here).delete()
    SignInAttempts.objects.filter(counter=from_anywhere, tries__gt=0).update(tries=F("tries") - 1)


def _take(counter: str, limit: int, now: datetime.datetime) -> bool:
    SignInAttempts.objects.get_or_create(counter=counter, defaults={"window_ends_at": now + WINDOW})
    return SignInAttempts.objects.filter(counter=counter, tries__lt=limit).update(tries=F("tries") + 1) == 1


def _counters(account: str, user_name: str, address: str) -> list[tuple[str, int]]:
    # Names are hashed: what people type as a user name may be their password.
    return [
        (_name(account, user_name.casefold(), address), TRIES_FROM_ONE_ADDRESS),
        (_name(account, user_name.casefold()), TRIES_FROM_ANYWHERE),
    ]


def _name(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
