"""Guessing passwords: from one address, from many, and what of it the person feels whose password is guessed.

CASEMATE_SIGN_INS is how many tries the flood has (10,000 for docs/promises.md).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.test import Client

from console.sign_in_limits import TRIES_FROM_ANYWHERE, TRIES_FROM_ONE_ADDRESS, TRIES_OF_ONE_ADDRESS
from console.testing import ACCOUNT, PASSWORD, MovedClock, person
from hsmapp import clock
from kmsapp.models import User

pytestmark = pytest.mark.django_db
SIGN_INS = int(os.environ.get("CASEMATE_SIGN_INS", "220"))
ROUNDS = 2  # of a hundred tries each, five minutes apart
HOME = "203.0.113.9"
REFUSED, TOO_MANY, DONE = 422, 429, 302


@pytest.fixture(autouse=True)
def alice() -> User:
    return person("alice", password=PASSWORD)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    moved = MovedClock()
    monkeypatch.setattr(clock, "now", moved.now)
    return moved


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often argon2 was run. It still runs."""
    counts: Counter[str] = Counter()
    for name in ("verify", "encode"):
        real = getattr(Argon2PasswordHasher, name)

        def counted(*arguments: object, real: object = real) -> object:
            counts["argon2"] += 1
            assert callable(real)
            return real(*arguments)

        monkeypatch.setattr(Argon2PasswordHasher, name, counted)
    yield counts


def sign_in(client: Client, user_name: str = "alice", password: str = "", **headers: str) -> int:
    """The answer's status, with a wrong password if none is given."""
    form = {"account": ACCOUNT, "user_name": user_name, "password": password or "wrong"}
    return client.post("/sign-in/", form, headers=headers).status_code


def test_a_flood_from_one_address_is_refused_without_a_hash(hashed: Counter[str], time: MovedClock) -> None:
    """Half of the tries are at one user's password, half at as many users' as there are tries."""
    codes: Counter[int] = Counter()
    for number in range(SIGN_INS):
        forged = {"x-forwarded-for": f"198.51.100.{number % 256}"}
        name = "alice" if number % 2 else f"user-{number}"
        codes[sign_in(Client(REMOTE_ADDR=HOME), name, **forged)] += 1
    assert codes[DONE] == 0
    assert codes[REFUSED] == TRIES_OF_ONE_ADDRESS
    assert codes[TOO_MANY] == SIGN_INS - TRIES_OF_ONE_ADDRESS
    assert hashed["argon2"] == codes[REFUSED], "a refused try costs no hash"
    assert sign_in(Client(REMOTE_ADDR="192.0.2.77"), password=PASSWORD) == DONE, "from another address"
    time.forward(minutes=5)
    assert sign_in(Client(REMOTE_ADDR=HOME), password=PASSWORD) == DONE, "five minutes later"
    print(f"{SIGN_INS} tries from one address: {codes[REFUSED]} looked at, {codes[TOO_MANY]} refused without a hash")


def test_one_user_tried_from_a_hundred_addresses_keeps_the_browsers_of_before(
    hashed: Counter[str], time: MovedClock
) -> None:
    own = Client(REMOTE_ADDR=HOME)
    assert sign_in(own, password=PASSWORD) == DONE
    own.post("/sign-out/")
    hashed.clear()
    codes: Counter[int] = Counter()
    for _ in range(ROUNDS):  # the guesser does not tire
        for number in range(100):
            codes[sign_in(Client(REMOTE_ADDR=f"198.51.100.{number}"))] += 1
        assert sign_in(Client(REMOTE_ADDR="192.0.2.77"), password=PASSWORD) == TOO_MANY, "a browser nobody knows"
        assert sign_in(own, password=PASSWORD) == DONE, "the browser in which alice has signed in before"
        own.post("/sign-out/")
        time.forward(minutes=5)
    assert codes == {REFUSED: ROUNDS * TRIES_FROM_ANYWHERE, TOO_MANY: ROUNDS * (100 - TRIES_FROM_ANYWHERE)}
    assert hashed["argon2"] == codes[REFUSED] + ROUNDS
    assert sign_in(Client(REMOTE_ADDR="192.0.2.77"), password=PASSWORD) == DONE, "once it is over, anywhere"
    print(f"{ROUNDS * 100} tries at one user from 100 addresses: {codes[REFUSED]} looked at, {codes[TOO_MANY]} refused")


def test_a_known_browser_has_tries_of_its_own_and_no_more_than_others(time: MovedClock) -> None:
    own = Client(REMOTE_ADDR=HOME)
    sign_in(own, password=PASSWORD)
    for _ in range(TRIES_FROM_ONE_ADDRESS):
        assert sign_in(own) == REFUSED
    assert sign_in(own, password=PASSWORD) == TOO_MANY
    person("bob", password=PASSWORD)
    for _ in range(TRIES_FROM_ONE_ADDRESS):
        assert sign_in(own, "bob") == REFUSED, "it is no browser of bob's"
    assert sign_in(own, "bob") == TOO_MANY


@pytest.mark.parametrize("spoil", ["another value", "", "x:y:z"])
def test_a_cookie_that_was_not_signed_here_makes_no_browser_known(spoil: str) -> None:
    own = Client(REMOTE_ADDR=HOME)
    sign_in(own, password=PASSWORD)
    own.cookies["casemate_browser"] = f"{own.cookies['casemate_browser'].value[:-1]}" if spoil == "x:y:z" else spoil
    for _ in range(TRIES_FROM_ONE_ADDRESS):
        sign_in(Client(REMOTE_ADDR=HOME))
    assert sign_in(own, password=PASSWORD) == TOO_MANY


def test_a_forged_address_is_not_believed() -> None:
    client = Client(REMOTE_ADDR=HOME)
    for number in range(TRIES_FROM_ONE_ADDRESS):
        assert sign_in(client, **{"x-forwarded-for": f"198.51.100.{number}"}) == REFUSED
    for header in ("x-forwarded-for", "forwarded", "x-real-ip", "client-ip"):
        assert sign_in(client, password=PASSWORD, **{header: "198.51.100.200"}) == TOO_MANY, header


def test_the_addresses_of_one_ipv6_network_are_one() -> None:
    for number in range(TRIES_FROM_ONE_ADDRESS):
        assert sign_in(Client(REMOTE_ADDR=f"2001:db8:0:1::{number:x}")) == REFUSED
    assert sign_in(Client(REMOTE_ADDR="2001:db8:0:1:ffff::1"), password=PASSWORD) == TOO_MANY
    assert sign_in(Client(REMOTE_ADDR="2001:db8:0:2::1"), password=PASSWORD) == DONE
