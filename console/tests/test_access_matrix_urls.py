"""Every address by everybody, GET and POST, on what is theirs, what is another account's and what is not there.

What each cell should answer is computed by access_matrix_urls.py, which knows nothing of the product. Each cell is
rolled back, so all of them find the same world.
"""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode

import pytest
from django.conf import settings
from django.core.handlers.base import BaseHandler
from django.db import models, transaction
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from console.testing import MovedClock
from console.tests import access_matrix_urls as table
from console.tests.access_matrix_rows import Rows
from console.tests.access_matrix_urls import CALLERS, Address, Cell
from hsmapp import clock
from kmsapp.models import CustomKeyStore, KmsKey, User
from kmsapp.registry import OPERATIONS
from kmsapp.tests import admin_world
from kmsapp.tests.access_matrix_rules import OURS, PEOPLE, THEIRS, THINGS

TOKEN = "a" * 32
NAMELESS = {"admin/(?P<url>.*)$": "admin:(nothing)"}
_TOKENS = re.compile(r"[A-Za-z0-9]{64}")
# Kinds of what an address names, or a form that is shown again.
NAMES = ("user", "key id", "store", "cluster", "access key", "policy", "loose policy", "assumed role", "key policy")
ABSENT = {OURS: ("missing",), THEIRS: ("missing", "foreign missing")}  # account of a thing -> what it must be like
SIGN_IN_PAGES = ("/sign-in/", "/admin/login/")  # the second leads to the first
# The console's own operations, and an address whose cells call each.
CONSOLE_OPERATIONS = {
    "console:CreateKeyWithAlias": "console:create-key-step / review",
    "console:ListKeys": "console:keys",
    "console:DescribeKey": "console:key",
    "console:ConfirmKeyDeletion": "console:key-deletion-confirm",
    "console:ListKeyStores": "console:key-stores",
    "console:ListClusters": "console:clusters",
    "console:ListPrincipals": "console:key-simulator",
    "console:ListUsers": "console:users",
    "console:GetUser": "console:user",
    "console:DisableUser": "console:user-disable",
    "console:EnableUser": "console:user-enable",
    "console:ListClustersToBind": "console:key-store-create",
    "console:ListFindings": "console:cluster",
    "console:SimulateKeyAccess": "console:key-simulator / asked",
    "console:ChangePassword": "console:password-change",
}


def addresses() -> dict[str, Address]:
    models_shown = [f"{model._meta.app_label}_{model._meta.model_name}" for model in admin_world.pages()]
    return table.with_models(models_shown)


def _names(resolver: URLResolver, before: str = "", prefix: str = "") -> Iterator[str]:
    """The names of all addresses; of one without a name, what the table calls it."""
    for entry in resolver.url_patterns:
        path = before + str(entry.pattern)
        if isinstance(entry, URLPattern):
            yield prefix + entry.name if entry.name else NAMELESS.get(path) or _short(path)
        else:
            yield from _names(entry, path, prefix + (f"{entry.namespace}:" if entry.namespace else ""))


def _short(path: str) -> str:
    """Django's address of a row without a verb, which leads to the page of the row: admin/app/model/<…>/."""
    _, app, model, *_ = path.split("/")
    return f"admin:{app}_{model}_(short)"


def test_every_address_has_a_row_and_every_row_an_address() -> None:
    assert {table.name_of(row) for row in addresses()} == set(_names(get_resolver()))


def test_every_operation_of_the_console_has_an_address_that_calls_it() -> None:
    assert set(CONSOLE_OPERATIONS) == {name for name in OPERATIONS if name.startswith("console:")}
    assert set(CONSOLE_OPERATIONS.values()) <= set(addresses())


def test_the_table_knows_nothing_of_the_product() -> None:
    nodes = ast.walk(ast.parse(Path(table.__file__).read_text()))
    imported = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert imported == {"__future__", "collections.abc", "dataclasses", "kmsapp.tests.access_matrix_rules"}


# The cells


class Browsers:
    """Asks cells; each caller has signed in once."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._sessions = {name: self._signed_in(user) for name, user in rows.people.items()}
        self._sessions |= {"anonymous": "", "no token": self._sessions["root"]}
        disabled = rows.people["disabled"]
        User.objects.filter(pk=disabled.pk).update(is_active=False)
        self._factory, self._handler = RequestFactory(), BaseHandler()
        self._handler.load_middleware()
        self._found: dict[tuple[type[models.Model], str], str] = {}
        self._models = {
            f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}": model
            for model in admin_world.pages()
            for page in ("changelist", "change", "delete", "history", "(short)")
        }

    def _signed_in(self, user: User) -> str:
        client = Client()
        client.force_login(user)
        return client.cookies[settings.SESSION_COOKIE_NAME].value

    def ask(self, cell: Cell, address: Address) -> Any:
        """The answer. Django's test client would copy every context, which takes longer than the page."""
        stuff, name = self._stuff(cell), table.name_of(cell.row)
        cookies = {settings.CSRF_COOKIE_NAME: TOKEN, settings.SESSION_COOKIE_NAME: self._sessions[cell.caller]}
        self._factory.cookies = SimpleCookie({cookie: value for cookie, value in cookies.items() if value})
        path = _path(name, address, stuff) + _query(address, stuff)
        if cell.method == "GET":
            return self._handler.get_response(self._factory.get(path))
        fields = {name: _value(value, stuff) for name, value in address.fields.items()}
        token = {} if cell.caller == "no token" else {"csrfmiddlewaretoken": TOKEN}
        return self._handler.get_response(self._factory.post(path, fields | token))

    def _stuff(self, cell: Cell) -> dict[str, Any]:
        """Of every kind what the cell names."""
        stuff, name = self._rows.of(cell.caller, cell.thing), table.name_of(cell.row)
        if name in self._models and THINGS[cell.thing or "shared"].exists:
            return stuff | {"row": self._row(self._models[name], stuff["account"])}
        return stuff

    def without_ids(self, cell: Cell, answer: Any) -> str:
        """The page without what the address itself named, and without CSRF tokens, which differ in each."""
        stuff = self._stuff(cell)
        text = _TOKENS.sub("", unquote(unescape(answer.content.decode()))).replace(f"/{stuff['row']}/", "/<it>/")
        for name in sorted((stuff[kind] for kind in NAMES), key=len, reverse=True):
            text = text.replace(name, "<it>")
        for number in self._rows.accounts.values():
            text = text.replace(number, "<account>")
        return text

    def _row(self, model: type[models.Model], account: str) -> str:
        """The row of the account that a page of Django admin is about. The world stays, so it stays."""
        if (model, account) not in self._found:
            rows = admin_world.pages()[model].rows_of(model._default_manager.all(), account)
            self._found[model, account] = str(rows.values_list("pk", flat=True).first())
        return self._found[model, account]


def _path(name: str, address: Address, stuff: dict[str, Any]) -> str:
    args = {arg: kind[1:] if kind.startswith("=") else stuff[kind] for arg, kind in address.args.items()}
    if name == "admin:(nothing)":
        return reverse("admin:index") + args["url"]
    if name.endswith("_(short)"):
        return reverse(name.replace("(short)", "change"), kwargs=args).removesuffix("change/")
    return reverse(name, kwargs=args)


def _query(address: Address, stuff: dict[str, Any]) -> str:
    asked = {name: _value(value, stuff) for name, value in address.query.items()}
    return f"?{urlencode(asked)}" if asked else ""


def _value(value: Any, stuff: dict[str, Any]) -> Any:
    return stuff[value[1:-1]] if isinstance(value, str) and value.startswith("<") else value


def outcome(answer: Any) -> str:
    """What kind of answer it is, in the words of the table."""
    status, text = answer.status_code, answer.content.decode()
    if status == 302:
        return table.SIGN_IN if answer["Location"].startswith(SIGN_IN_PAGES) else table.DONE
    if status in (200, 204):
        return table.PAGE
    if status == 403 and "Form expired" in text:
        return table.NO_TOKEN
    if status == 403:
        return table.REFUSED
    if status == 404:
        return table.MISSING
    return {405: table.NO_METHOD}.get(status, table.CORRECT if 400 <= status < 500 else str(status))


def _digest(*tables: type[models.Model]) -> list[Any]:
    return [list(one._default_manager.order_by("pk").values_list()) for one in tables]


@pytest.mark.django_db
def test_every_address_of_the_console_answers_everybody_as_the_table_says(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {row: address for row, address in addresses().items() if not row.startswith("admin:")}
    count = _compare(known, Rows(monkeypatch, CALLERS))
    print(f"{count} cells: {len(known)} rows of the console for {len(CALLERS)} callers by GET and POST")


@pytest.mark.django_db
def test_django_admin_shows_staff_their_accounts_rows_and_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Staff have no permission of KMS: neither a post nor an action changes a key or a key store."""
    known = {row: address for row, address in addresses().items() if row.startswith("admin:")}
    count = _compare(known, Rows(monkeypatch, CALLERS))
    print(f"{count} cells: {len(known)} rows of Django admin for {len(CALLERS)} callers by GET and POST")


@pytest.fixture(autouse=True)
def no_log_of_refusals() -> Iterator[None]:
    """Django logs each refusal with its traceback, which takes longer than the refusal."""
    logger = logging.getLogger("django.request")
    logger.disabled = True
    yield
    logger.disabled = False


@pytest.fixture(autouse=True)
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the cells take longer than a password is good for that was given at sign-in."""
    monkeypatch.setattr(clock, "now", MovedClock().now)


def _compare(known: dict[str, Address], rows: Rows) -> int:
    """Ask every cell; return how many there were."""
    browsers, before = Browsers(rows), _digest(KmsKey, CustomKeyStore)
    differences, count = [], 0
    turned_away: dict[Cell, str] = {}
    for cell in table.cells(known):
        wanted = table.expected(cell, known[cell.row])
        with transaction.atomic():
            answer = browsers.ask(cell, known[cell.row])
            found = outcome(answer)
            if cell.row.startswith("admin:") and cell.caller == "staff":
                assert _digest(KmsKey, CustomKeyStore) == before, f"{cell} changed a key or a key store"
            if found in (table.MISSING, table.REFUSED):
                turned_away[cell] = browsers.without_ids(cell, answer)
            transaction.set_rollback(True)
        if found not in wanted:
            differences.append(f"{cell}: expected {' or '.join(wanted)}, got {found}")
        count += 1
    assert differences == []
    _require_alike(turned_away)
    return count


def _require_alike(turned_away: dict[Cell, str]) -> None:
    """What is not there and what is another account's have one page, letter by letter."""
    pairs = [(cell, replace(cell, thing=absent)) for cell in turned_away for absent in ABSENT.get(_side(cell), ())]
    pairs = [(cell, twin) for cell, twin in pairs if twin in turned_away]
    assert [str(cell) for cell, twin in pairs if turned_away[cell] != turned_away[twin]] == []
    assert len(pairs) > 50
    print(f"{len(pairs)} pairs of pages about what is foreign and what is missing are alike")


def _side(cell: Cell) -> str:
    """Which of ABSENT the thing of a cell is like, if it is of another account than the caller's."""
    if cell.caller not in PEOPLE or cell.thing not in THINGS or not THINGS[cell.thing].exists:
        return ""
    thing = THINGS[cell.thing]
    return thing.account if thing.account != PEOPLE[cell.caller].account else ""
