"""An account with an administrator of its identities and somebody who may do nothing, for tests of pages."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from django.test import Client

from console.testing import new_account, person, policy_allowing, signed_in_client
from hsmapp import sealing

DENIED = "is not authorized to perform: "


def policy(*statements: dict[str, Any]) -> str:
    """A policy of these statements, or one that allows everything."""
    if not statements:
        return policy_allowing("*")
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, indent=2)


class World:
    """alice may do everything, mallory nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        keyring = sealing.Keyring.from_master_key(bytes(32))
        monkeypatch.setattr(sealing, "keyring", lambda: keyring)
        self.account = new_account()
        self.alice = person("alice", account=self.account)
        self.mallory = person("mallory", account=self.account, actions=())
        self.client = signed_in_client(self.alice)
        self.stranger = signed_in_client(self.mallory)

    def policy_arn(self, name: str, path: str = "/") -> str:
        return f"arn:aws:iam::{self.account}:policy{path}{name}"

    def get(self, path: str, /, client: Client | None = None) -> str:
        answer = (client or self.client).get(path)
        assert answer.status_code == 200, html(answer)
        return html(answer)

    def post(self, path: str, /, **fields: Any) -> Any:
        """Post a form that is right: it leads on to a page. Return that page's answer."""
        answer = self.client.post(path, fields, follow=True)
        assert answer.redirect_chain, html(answer)
        assert answer.status_code == 200, html(answer)
        return answer

    def refused(self, path: str, /, **fields: Any) -> tuple[int, str]:
        """Post a form that is refused. Return the status and the words of its alert."""
        answer = self.client.post(path, fields)
        return answer.status_code, alert(answer)


def html(answer: Any) -> str:
    return unescape(answer.content.decode())


def words(text: str) -> str:
    """Without tags, one space between words."""
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def alert(answer: Any) -> str:
    """The words of the page's error alerts."""
    found = re.findall(r'<div class="alert alert-error[^"]*"[^>]*>(.*?)</div>', html(answer), re.S)
    return words(" ".join(found))


def problem(answer: Any, field: str) -> str:
    """The sentence below a field."""
    found = re.search(rf'id="{field}_problem"[^>]*>(.*?)</div>', html(answer), re.S)
    assert found, field
    return words(found.group(1))
