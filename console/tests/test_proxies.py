"""Whose address a request has, behind proxies and behind none."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from django.conf import settings

from console import proxies, wsgi

TRUSTED = [ipaddress.ip_network(text) for text in ("127.0.0.1", "10.0.0.0/8", "2001:db8::/32")]
# case: (who connects, X-Forwarded-For, whose address it is)
CASES = {
    "nobody in front": ("192.0.2.7", "", "192.0.2.7"),
    "a client that says it is another": ("192.0.2.7", "198.51.100.1", "192.0.2.7"),
    "one proxy": ("127.0.0.1", "192.0.2.7", "192.0.2.7"),
    "a client that forges behind a proxy": ("127.0.0.1", "198.51.100.1, 192.0.2.7", "192.0.2.7"),
    "two proxies": ("127.0.0.1", "192.0.2.7, 10.1.2.3", "192.0.2.7"),
    "a client that forges behind two": ("127.0.0.1", "10.9.9.9,198.51.100.1,192.0.2.7,10.1.2.3", "192.0.2.7"),
    "a client that forges a trusted one": ("127.0.0.1", "10.9.9.9, 192.0.2.7", "192.0.2.7"),
    "a client inside": ("127.0.0.1", "10.1.2.3", "10.1.2.3"),
    "a proxy that names nobody": ("127.0.0.1", "", "127.0.0.1"),
    "what is no address": ("127.0.0.1", "192.0.2.7, unknown", "127.0.0.1"),
    "text before a proxy": ("127.0.0.1", "'; drop table, 10.1.2.3", "10.1.2.3"),
    "an IPv6 client": ("127.0.0.1", "2001:db9::1", "2001:db9::1"),
    "an IPv6 proxy": ("2001:db8::5", "192.0.2.7", "192.0.2.7"),
    "an IPv4 proxy on a socket for both": ("::ffff:127.0.0.1", "192.0.2.7", "192.0.2.7"),
    "no address at all": ("", "192.0.2.7", ""),
    "100,000 of them": ("127.0.0.1", "10.0.0.1," * 100_000 + "192.0.2.7", "192.0.2.7"),
}


@pytest.mark.parametrize(("peer", "forwarded_for", "expected"), CASES.values(), ids=CASES)
def test_the_last_address_that_no_trusted_proxy_has_is_the_clients(
    peer: str, forwarded_for: str, expected: str
) -> None:
    assert proxies.client_address(peer, forwarded_for, TRUSTED) == expected
    assert proxies.client_address(peer, forwarded_for, []) == peer, "and without the setting nobody is believed"


@pytest.mark.parametrize("is_wire", [True, False])
def test_wire_and_console_see_the_same_address(monkeypatch: pytest.MonkeyPatch, is_wire: bool) -> None:
    seen: list[str] = []

    def see(environ: dict[str, Any], start_response: object) -> list[bytes]:
        seen.append(environ["REMOTE_ADDR"])
        return []

    monkeypatch.setattr(wsgi, "handle" if is_wire else "django_application", see)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/keys/", "REMOTE_ADDR": "127.0.0.1"}
    environ |= {"HTTP_X_FORWARDED_FOR": "198.51.100.1, 192.0.2.7"} | ({"HTTP_X_AMZ_TARGET": "x"} if is_wire else {})
    for trusted in ([], TRUSTED):
        monkeypatch.setattr(settings, "TRUSTED_PROXIES", trusted)
        wsgi.application(dict(environ), lambda *answer: lambda data: None)
    assert seen == ["127.0.0.1", "192.0.2.7"]
