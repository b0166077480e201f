"""A password that somebody else gave is good for choosing another one, and for nothing else."""

from __future__ import annotations

import pytest
from django.test import Client

from console.testing import PASSWORD, new_account, person, signed_in_client
from kmsapp.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    made = person("dora", account=new_account(), password=PASSWORD)
    made.password_reset_required = True
    made.save()
    return made


def test_every_page_leads_to_a_new_password_and_then_no_longer(user: User) -> None:
    user.is_staff = True
    user.save()
    client: Client = signed_in_client(user)
    page = client.get("/keys/", follow=True)
    address = page.redirect_chain[0][0]
    for path in ("/", "/keys/", "/identities/users/", "/admin/", "/nowhere/"):
        assert client.get(path).headers["Location"] == address, path
    fragment = client.get("/keys/", headers={"HX-Request": "true"})
    assert fragment.headers["HX-Redirect"] == address
    text = page.content.decode()
    assert "Choose a password of your own" in text and "Cancel" not in text
    fields = {"old_password": PASSWORD, "new_password": "Another-horse-8", "again": "Another-horse-8"}
    assert client.post(address, fields).headers["Location"] == "/keys/"
    assert client.get("/keys/").status_code == 200


def test_signing_out_needs_no_new_password(user: User) -> None:
    assert signed_in_client(user).post("/sign-out/").headers["Location"] == "/sign-in/"
