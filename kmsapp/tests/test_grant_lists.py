"""ListGrants and ListRetirableGrants: pages, filters and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from kmsapp import ids
from kmsapp.errors import AccessDeniedException, InvalidArnException, InvalidGrantIdException, KmsError
from kmsapp.errors import ValidationException as Invalid
from kmsapp.tests.grant_world import ACCOUNT, KEY, ROLE, create, listed, rows
from kmsapp.tests.people import BOB, CAROL, call

__all__ = ["rows"]
pytestmark = pytest.mark.usefixtures("rows")


def test_pages_have_each_grant_once_and_a_hundred_at_most() -> None:
    made = sorted(create()["GrantId"] for _ in range(103))
    assert [len(listed()), len(listed(Limit=1000)), len(listed(Limit=7))] == [50, 100, 7]
    found: list[str] = []
    asked: dict[str, Any] = {"KeyId": KEY, "Limit": 40}
    while True:
        page = call("ListGrants", **asked)
        found += [entry["GrantId"] for entry in page["Grants"]]
        assert page["Truncated"] is ("NextMarker" in page)
        if not page["Truncated"]:
            break
        asked["Marker"] = page["NextMarker"]
    assert found == made


def test_filters() -> None:
    mine, theirs = create(), create(GranteePrincipal=ROLE, RetiringPrincipal=BOB.principal_arn)
    assert [entry["GrantId"] for entry in listed(GrantId=mine["GrantId"])] == [mine["GrantId"]]
    assert [entry["GrantId"] for entry in listed(GranteePrincipal=ROLE)] == [theirs["GrantId"]]
    assert listed(GrantId=mine["GrantId"], GranteePrincipal=ROLE) == []
    assert listed(GrantId=ids.new_grant_id()) == []
    retirable = call("ListRetirableGrants", RetiringPrincipal=BOB.principal_arn)
    assert [entry["GrantId"] for entry in retirable["Grants"]] == [theirs["GrantId"]]
    assert call("ListRetirableGrants", RetiringPrincipal=ROLE) == {"Grants": [], "Truncated": False}


REFUSED_LISTS: dict[str, tuple[str, dict[str, Any], type[KmsError]]] = {
    "no grant id": ("ListGrants", {"KeyId": KEY, "GrantId": "x"}, InvalidGrantIdException),
    "nobody": ("ListGrants", {"KeyId": KEY, "GranteePrincipal": f"{ACCOUNT}:user/nobody"}, InvalidArnException),
    "two filters": (
        "ListGrants",
        {"KeyId": KEY, "GranteePrincipal": ROLE, "GranteeServicePrincipal": "sns.amazonaws.com"},
        Invalid,
    ),
    "a service's filter": ("ListGrants", {"KeyId": KEY, "GranteeServicePrincipal": "sns.amazonaws.com"}, Invalid),
    "no key": ("ListGrants", {}, Invalid),
    "nobody who retires": ("ListRetirableGrants", {}, Invalid),
    "no such user": ("ListRetirableGrants", {"RetiringPrincipal": f"{ACCOUNT}:user/nobody"}, InvalidArnException),
    "another account's user": (
        "ListRetirableGrants",
        {"RetiringPrincipal": CAROL.principal_arn},
        AccessDeniedException,
    ),
    "another account's nobody": (
        "ListRetirableGrants",
        {"RetiringPrincipal": CAROL.principal_arn.replace("carol", "nobody")},
        AccessDeniedException,
    ),
    "a service": ("ListRetirableGrants", {"RetiringServicePrincipal": "sns.amazonaws.com"}, Invalid),
}


@pytest.mark.parametrize(("operation", "asked", "error"), REFUSED_LISTS.values(), ids=REFUSED_LISTS)
def test_lists_that_are_refused(operation: str, asked: dict[str, Any], error: type[KmsError]) -> None:
    with pytest.raises(error):
        call(operation, **asked)


def test_a_marker_is_of_one_list() -> None:
    for _ in range(3):
        create(RetiringPrincipal=BOB.principal_arn)
    marker = call("ListGrants", KeyId=KEY, Limit=1)["NextMarker"]
    with pytest.raises(KmsError, match="marker"):
        call("ListGrants", KeyId=KEY, Limit=1, Marker=marker, GranteePrincipal=BOB.principal_arn)
    with pytest.raises(KmsError, match="marker"):
        call("ListRetirableGrants", RetiringPrincipal=BOB.principal_arn, Marker=marker)
