"""A browser without JavaScript, as far as forms go: cookies, CSRF tokens; redirects are shown, not followed."""

from __future__ import annotations

import http.client
import http.cookies
import re
from dataclasses import dataclass, field
from html import unescape
from urllib.parse import urlencode

from kmsapp.testing import Casemate

_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


@dataclass(frozen=True)
class Page:
    status: int
    location: str
    text: str = field(repr=False)

    @property
    def words(self) -> str:
        """What a reader sees: no tags, one space between words."""
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", self.text)).split())


class BrowserClient:
    """Somebody at the console."""

    def __init__(self, casemate: Casemate):
        self._casemate = casemate
        self.cookies: dict[str, str] = {}

    def sign_in(self, user_name: str, path: str = "/sign-in/") -> None:
        who = self._casemate.person(user_name)
        page = self.post(path, account=who.account, user_name=user_name, password=who.password)
        assert page.status == 302, page.words

    def get(self, path: str) -> Page:
        return self._send("GET", path, "")

    def post(self, path: str, page: str = "", **fields: str | list[str]) -> Page:
        """Post a form of a page (the path itself, if none is named)."""
        return self._send("POST", path, self.form(page or path, **fields))

    def form(self, page: str, **fields: str | list[str]) -> str:
        """The body that `post` sends."""
        found = _TOKEN.search(self.get(page).text)
        assert found, f"{page} has no form"
        return urlencode({"csrfmiddlewaretoken": found.group(1), **fields}, doseq=True)

    def headers(self, method: str) -> dict[str, str]:
        """What tells the server who it is, and where a form comes from."""
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if method == "POST":
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": self._casemate.url}
        return headers

    def _send(self, method: str, path: str, body: str) -> Page:
        connection = http.client.HTTPConnection("127.0.0.1", self._casemate.server.port, timeout=30)
        try:
            connection.request(method, path, body=body.encode(), headers=self.headers(method))
            answer = connection.getresponse()
            for line in answer.headers.get_all("Set-Cookie", []):
                self.cookies |= {name: morsel.value for name, morsel in http.cookies.SimpleCookie(line).items()}
            return Page(answer.status, answer.headers.get("Location", ""), answer.read().decode())
        finally:
            connection.close()
