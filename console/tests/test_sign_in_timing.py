"""C11: a sign-in that fails takes the same time whatever was wrong.

CASEMATE_TIMED_SIGN_INS is how many of each are timed.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from django.test import Client
from pytest_django import Settings

from console.models import SignInAttempts
from console.testing import ACCOUNT, PASSWORD, person
from kmsapp.tests.timing import compare, measure, report

pytestmark = [pytest.mark.django_db, pytest.mark.alone]
ROUNDS = int(os.environ.get("CASEMATE_TIMED_SIGN_INS", "20"))


def way(**fields: str) -> Callable[[], Callable[[], object]]:
    form = {"account": ACCOUNT, "user_name": "alice", "password": "wrong password"} | fields

    def prepare() -> Callable[[], object]:
        SignInAttempts.objects.all().delete()
        client = Client()
        return lambda: client.post("/sign-in/", form)

    return prepare


def test_who_does_not_exist_is_refused_in_the_time_of_who_does(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]  # at its full cost
    person("alice", password=PASSWORD)
    person("erin")  # has no password: an access key alone
    dave = person("dave", password=PASSWORD)
    dave.is_active = False
    dave.save()
    ways = {
        "wrong password": way(),
        "unknown user": way(user_name="nobody"),
        "unknown account": way(account="999999999999"),
        "disabled, wrong password": way(user_name="dave"),
        "disabled, right password": way(user_name="dave", password=PASSWORD),
        "no password": way(user_name="erin"),
    }
    times = measure(ways, ROUNDS)
    print(f"{ROUNDS} sign-ins each: {report(times)}")
    for name in times.keys() - {"wrong password"}:
        verdict = compare(times["wrong password"], times[name])
        assert not verdict.tells_them_apart(0.001), f"{name}: {verdict}"
