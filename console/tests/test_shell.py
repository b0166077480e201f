"""Sign-in, headers, Region, colour mode and /healthz."""

from __future__ import annotations

import io
import logging
import re

import pytest
from django.test import Client
from django.urls import reverse

from console import sign_in_limits
from console.testing import ACCOUNT, PASSWORD, person, signed_in_client
from kmsapp.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return person("alice", password=PASSWORD)


def sign_in(client: Client, **fields: str) -> int:
    form = {"account": ACCOUNT, "user_name": "alice", "password": PASSWORD} | fields
    return client.post(reverse("console:sign-in"), form).status_code


def test_signing_in_needs_account_user_name_and_password(alice: User) -> None:
    person("alice", account="444455556666", password=PASSWORD + "x")
    wrong = {
        "another account's alice has her own password": {"account": "444455556666"},
        "unknown user": {"user_name": "nobody"},
        "wrong password": {"password": "wrong"},
        "account too short": {"account": "1111"},
        "no password": {"password": ""},
    }
    for case, fields in wrong.items():
        client = Client()
        assert sign_in(client, **fields) == 422, case
        assert "_auth_user_id" not in client.session, case
    assert sign_in(Client(), account="1111-2222-3333") == 302


def test_the_refusal_does_not_tell_an_unknown_user_from_a_wrong_password(alice: User) -> None:
    def answer(**fields: str) -> str:
        form = {"account": ACCOUNT, "password": "wrong password"} | fields
        page = Client().post(reverse("console:sign-in"), form).content.decode()
        return page[page.index('role="alert" tabindex') : page.index('id="id_account"')]

    assert answer(user_name="alice") == answer(user_name="nobody")


def test_five_wrong_passwords_from_one_address_stop_that_user_there_and_nobody_else(alice: User) -> None:
    person("bob", password=PASSWORD)
    codes = [sign_in(Client(), password="wrong") for _ in range(sign_in_limits.TRIES_FROM_ONE_ADDRESS + 1)]
    assert codes == [422] * sign_in_limits.TRIES_FROM_ONE_ADDRESS + [429]
    assert sign_in(Client()) == 429, "also with the right password"
    assert sign_in(Client(), user_name="ALICE") == 429, "however the name is written"
    assert sign_in(Client(), user_name="bob") == 302, "another user of the same address"
    assert sign_in(Client(REMOTE_ADDR="192.0.2.7")) == 302, "the same user from elsewhere"


def test_the_right_password_gives_the_tries_back(alice: User) -> None:
    for _ in range(3):
        for _ in range(sign_in_limits.TRIES_FROM_ONE_ADDRESS - 1):
            assert sign_in(Client(), password="wrong") == 422
        assert sign_in(Client()) == 302


FORMS_WITH_NEXT = {
    "/sign-in/": {"account": ACCOUNT, "user_name": "alice", "password": PASSWORD},
    "/theme/": {"theme": "dark"},
    "/region/": {"region": "eu-west-1"},
    "/navigation/": {"navigation": "closed"},
    "/keys/preferences/": {"page_size": "20"},
}
OWN = ["/clusters/", "/keys/?q=a%20b&page=2", "/keys/%2f%2fevil/"]
# What leads away, or might in some browser; and what is no address of this site.
NOT_OWN = [
    *("", ".", "./", "..", "../keys/", "foo", "console:keys", "a b", "?x=1", "#x", "keys/", " /keys/", "%2f%2fevil"),
    *(
        "https://evil.example/",
        "http://testserver/keys/",
        "HTTPS://evil.example",
        "https:evil.example",
        "https:/evil.example",
    ),
    *(
        "https:///evil.example",
        "https:\\\\evil.example",
        "http://127.0.0.1@evil.example/",
        "http://testserver.evil.example",
    ),
    *("//evil.example", "///evil.example", "////evil.example", "//", "//evil.example/..", "//testserver@evil.example"),
    *(
        "//evil%E3%80%82example",
        "//\u3002evil.example",
        "//1113982867",
        "//[::ffff:7f00:1]",
        "//[",
        "//evil.example\\@testserver",
    ),
    *(
        "/\\",
        "/\\evil.example",
        "/\\/evil.example",
        "\\/evil.example",
        "\\\\evil.example",
        "\\evil.example",
        "/\\\\evil.example",
    ),
    *(
        "/\t/evil.example",
        "/\n/evil.example",
        "/\r/evil.example",
        "\t//evil.example",
        "\n//evil.example",
        "/\r\n//evil.example",
    ),
    *(
        " //evil.example",
        "\u00a0//evil.example",
        "\u200b//evil.example",
        "\ufeff//evil.example",
        "\0",
        "\0//evil.example",
    ),
    *("%09//evil.example", "%2f%2fevil.example", "%5c%5cevil.example", "%0a//evil.example", "\uff0f\uff0fevil.example"),
    *("javascript:1", "javascript://testserver/%0aalert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x"),
    *("blob:https://evil.example/x", "file:///etc/passwd", "ftp://evil.example", "x://evil.example", "/" + "a" * 3000),
]


@pytest.mark.parametrize("path", FORMS_WITH_NEXT)
def test_next_leads_to_this_site_only(alice: User, path: str) -> None:
    client = Client() if path == "/sign-in/" else signed_in_client(alice)
    assert len(NOT_OWN) >= 60
    for wanted in [*OWN, *NOT_OWN]:
        answer = client.post(path, FORMS_WITH_NEXT[path] | {"next": wanted})
        lands_on = wanted if wanted in OWN else "/keys/"
        assert (answer.status_code, answer.headers.get("Location")) == (302, lands_on), wanted
    print(f"{len(OWN)} own and {len(NOT_OWN)} other values of next")


@pytest.mark.parametrize("path", ["/sign-in/", "/keys/preferences/", "/admin/login/"])
def test_next_in_an_address_leads_to_this_site_only(alice: User, path: str) -> None:
    User.objects.filter(pk=alice.pk).update(is_staff=True)
    client = signed_in_client(alice)
    for wanted in NOT_OWN:
        answer = client.get(path, {"next": wanted})
        if path == "/admin/login/":
            assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/"), wanted
        else:
            assert 'name="next" value="/keys/"' in answer.content.decode(), wanted


def test_every_page_but_sign_in_and_help_asks_for_sign_in() -> None:
    client = Client()
    for path in (
        "/keys/",
        "/keys/create/",
        "/key-stores/",
        "/clusters/",
        "/keys/preferences/",
        "/key-stores/x/connect/",
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (302, f"/sign-in/?next={path}"), path
    assert client.get("/help/").status_code == 200
    assert client.post("/region/", {"region": "eu-west-1"}).headers["Location"].startswith("/sign-in/")


def test_somebody_who_may_not_open_django_admin_is_told_who_is_signed_in(alice: User) -> None:
    client = signed_in_client(alice)
    answer = client.get("/admin/")
    assert answer.status_code == 403
    for page in (answer, client.get("/sign-in/")):
        assert "You are signed in as alice" in page.content.decode()
    assert Client().get("/favicon.ico").headers["Location"].endswith(".svg")


def test_signing_out_is_a_post_and_ends_the_session(alice: User) -> None:
    client = signed_in_client(alice)
    assert client.get("/sign-out/").status_code == 405
    assert client.post("/sign-out/").status_code == 302
    assert client.get("/keys/").status_code == 302


def test_a_form_without_csrf_token_is_refused_with_a_page(alice: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    for path in ("/region/", "/theme/", "/sign-out/", "/keys/create/", "/keys/preferences/"):
        answer = client.post(path, {})
        assert answer.status_code == 403, path
        assert "Form expired" in answer.content.decode()


def test_every_answer_has_the_strict_headers(alice: User) -> None:
    client = signed_in_client(alice)
    for path in ("/keys/", "/help/", "/nothing-here/", "/sign-in/", "/healthz", "/admin/"):
        headers = client.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'"), path
        assert "unsafe" not in policy, path
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    for path in ("/keys/", "/help/", "/keys/create/"):
        assert "no-store" in client.get(path).headers["Cache-Control"], path


def test_the_region_selector_keeps_the_page_and_refuses_unknown_regions(alice: User) -> None:
    client = signed_in_client(alice)
    assert client.post("/region/", {"region": "eu-west-1", "next": "/clusters/"}).headers["Location"] == "/clusters/"
    assert client.session["region"] == "eu-west-1"
    client.post("/region/", {"region": "mars-north-1", "next": "/clusters/"})
    assert client.session["region"] == "eu-west-1"
    assert (
        client.post("/region/", {"region": "us-west-2", "next": "https://evil.example/"}).headers["Location"]
        == "/keys/"
    )
    # A wizard belongs to the Region it was begun in.
    assert client.post("/region/", {"region": "us-west-2", "next": "/keys/create/"}).headers["Location"] == "/keys/"


def test_colour_mode_and_navigation_are_kept_in_cookies(alice: User) -> None:
    client = signed_in_client(alice)
    client.post("/theme/", {"theme": "dark"})
    assert 'data-theme="dark"' in client.get("/keys/").content.decode()
    client.post("/theme/", {"theme": '"><script>'})
    assert 'data-theme="dark"' in client.get("/keys/").content.decode()
    client.post("/navigation/", {"navigation": "closed"})
    assert "navigation-closed" in client.get("/keys/").content.decode()


def test_the_navigation_pane_has_the_key_stores_below_their_kind(alice: User) -> None:
    page = signed_in_client(alice).get("/key-stores/").content.decode()
    pane = page[page.index('<nav id="navigation"') :].split("</nav>")[0]
    texts = [text for text in re.sub(r"<[^>]+>", "\n", pane).split("\n") if text.strip()]
    assert texts[2:] == [
        "Customer managed keys",
        *("Custom key stores", "AWS CloudHSM key stores"),
        *("CloudHSM", "Clusters"),
        *("Identities", "Users", "Roles", "Groups", "Policies"),
        "Help",
    ]
    assert '<a href="/key-stores/" aria-current="page">AWS CloudHSM key stores</a>' in pane


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:1:2", "[", "a b", "x" * 300, "evil.example\\", "_"])
def test_a_wrong_host_gets_a_page_and_one_line_in_the_log(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    log = io.StringIO()
    handler = next(handler for handler in logging.getLogger().handlers if handler.get_name() == "stderr")
    assert isinstance(handler, logging.StreamHandler)
    monkeypatch.setattr(handler, "stream", log)
    answer = Client().get("/keys/", headers={"host": host})
    assert answer.status_code == 400
    assert "CASEMATE_ALLOWED_HOSTS" in answer.content.decode()
    assert host not in answer.content.decode() or host == "_"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert [line.split()[2:4] for line in log.getvalue().splitlines()] == [
        ["WARNING", "django.security.DisallowedHost"]
    ]


def test_error_pages_show_nothing_of_the_fault(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    client = signed_in_client(alice)
    client.raise_request_exception = False
    monkeypatch.setattr("console.views.keys.TableState.of", lambda request: 1 / 0)
    answer = client.get("/keys/")
    assert answer.status_code == 500
    assert "division" not in answer.content.decode()
    assert "Something failed" in answer.content.decode()
    missing = client.get("/keys/no-such-key/")
    assert missing.status_code == 404
    assert "NotFoundException" in missing.content.decode()
    assert client.get("/nothing/").status_code == 404
