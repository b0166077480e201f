"""Limits against guessing passwords.

A try is taken before the password is hashed, and given back when it was right; so parallel guesses are counted too, and
a refused one costs no hash. Three counters: of the user name from this address, of the user name from anywhere, and of
the address for all user names. The last is wide: a class behind one address must not be locked out by one of its
members. A browser in which this user has signed in before has one counter of its own instead of the three, so nobody
who guesses from elsewhere can lock its user out.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
from dataclasses import dataclass

from django.db.models import F
from django.http import HttpRequest

from console import known_browsers
from console.models import SignInAttempts
from hsmapp import clock

TRIES_FROM_ONE_ADDRESS = 5
TRIES_FROM_ANYWHERE = 50
TRIES_OF_ONE_ADDRESS = 100
WINDOW = datetime.timedelta(minutes=5)
# Whoever has one IPv6 address has this network of them.
IPV6_PREFIX = 64

Counters = dict[str, int]  # hashed name -> tries in a window


@dataclass(frozen=True)
class Try:
    """Somebody who says who they are and has yet to prove it."""

    account: str
    user_name: str
    address: str
    browser: str = ""  # name of the browser, if that user has signed in with it before

    @classmethod
    def of(cls, request: HttpRequest, account: str, user_name: str) -> Try:
        browser = known_browsers.name_of(request, account, user_name)
        return cls(account, user_name.casefold(), _network(request.META.get("REMOTE_ADDR", "")), browser)

    def take(self) -> bool:
        """Count the try. False: a limit is reached, don't look at the password."""
        now, counters = clock.now(), self._counters()
        # A look costs less than a write, which a flood of tries would keep others waiting for.
        counted = dict(
            SignInAttempts.objects.filter(counter__in=counters, window_ends_at__gt=now).values_list("counter", "tries")
        )
        if any(counted.get(counter, 0) >= limit for counter, limit in counters.items()):
            return False
        SignInAttempts.objects.filter(window_ends_at__lte=now).delete()
        return all(_take(counter, limit, now) for counter, limit in counters.items())

    def give_back(self) -> None:
        """The password was right: its own counter starts afresh, and the try is taken off the counters of many."""
        own, *of_many = self._counters()
        SignInAttempts.objects.filter(counter=own).delete()
        SignInAttempts.objects.filter(counter__in=of_many, tries__gt=0).update(tries=F("tries") - 1)

    def _counters(self) -> Counters:
        """The narrowest first."""
        if self.browser:
            return {_name("browser", self.account, self.user_name, self.browser): TRIES_FROM_ONE_ADDRESS}
        return {
            _name("here", self.account, self.user_name, self.address): TRIES_FROM_ONE_ADDRESS,
            _name("anywhere", self.account, self.user_name): TRIES_FROM_ANYWHERE,
            _name("address", self.address): TRIES_OF_ONE_ADDRESS,
        }


def _take(counter: str, limit: int, now: datetime.datetime) -> bool:
    SignInAttempts.objects.get_or_create(counter=counter, defaults={"window_ends_at": now + WINDOW})
    return SignInAttempts.objects.filter(counter=counter, tries__lt=limit).update(tries=F("tries") + 1) == 1


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))


def _name(*parts: str) -> str:
    # Names are hashed: what people type as a user name may be their password.
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
