"""The table of grants by real calls: CreateGrant makes the grants, the caller of each cell calls its operation."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from hsmapp import clock
from hsmapp.testing import wait_until
from kmsapp import demo, ids
from kmsapp.caller import Caller
from kmsapp.errors import AccessDeniedException, DryRunOperationException, InvalidGrantTokenException
from kmsapp.models import Grant, User
from kmsapp.tests.grant_table import ALLOWED, CONSTRAINED, CONSTRAINTS, CONTEXTS, DENIED, INVALID_TOKEN, Cell, cells
from kmsapp.tests.grant_table import expected as expected_of
from kmsapp.tests.people import call

ROOT = Caller(demo.ACCOUNT, demo.REGION, f"arn:aws:iam::{demo.ACCOUNT}:root", demo.ACCOUNT, principal_type="Root")
OPERATIONS = (
    "Encrypt",
    "Decrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "DescribeKey",
    "CreateGrant",
    "RetireGrant",
)


def new_user(name: str) -> Caller:
    """A user whom no policy allows anything."""
    user = User.objects.create(
        account_id=demo.ACCOUNT, user_name=name, user_id=ids.new_user_id(), created_at=clock.now()
    )
    return Caller(demo.ACCOUNT, demo.REGION, user.arn, user.user_id, name)


class World:
    """A key, a grant on it for each constraint and each fate of its token, and who calls."""

    def __init__(self) -> None:
        made = call("CreateKey", ROOT, Origin="AWS_CLOUDHSM", CustomKeyStoreId=demo.KEY_STORE_ID)
        self.arn = str(made["KeyMetadata"]["Arn"])
        self.callers = {
            "grantee": new_user("app"),
            "other": new_user("other"),
            "retiring": new_user("cleaner"),
            "child": new_user("child"),
        }
        self.blobs = {
            name: call("Encrypt", ROOT, KeyId=self.arn, Plaintext=b"x", EncryptionContext=context)["CiphertextBlob"]
            for name, context in CONTEXTS.items()
        }
        # Made and ended first: later there is one grant on the key at a time.
        self.ended = {(kind, fate): self._ended(kind, fate) for kind in CONSTRAINTS for fate in ("retired", "revoked")}

    def new_grant(self, constraint: str) -> dict[str, Any]:
        return call(
            "CreateGrant",
            ROOT,
            KeyId=self.arn,
            GranteePrincipal=self.callers["grantee"].principal_arn,
            RetiringPrincipal=self.callers["retiring"].principal_arn,
            Operations=list(OPERATIONS),
            Constraints={} if constraint == "none" else {constraint: CONSTRAINED},
        )

    def _ended(self, constraint: str, fate: str) -> dict[str, Any]:
        grant = self.new_grant(constraint)
        if fate == "retired":
            call("RetireGrant", self.callers["retiring"], KeyId=self.arn, GrantId=grant["GrantId"])
        else:
            call("RevokeGrant", ROOT, KeyId=self.arn, GrantId=grant["GrantId"])
        return grant

    def outcome(self, cell: Cell, live: dict[str, Any]) -> str:
        """What comes of the call of a cell while `live` is the one grant on the key."""
        grant = self.ended.get((cell.constraint, cell.token), live)
        params = self._params(cell, grant)
        if cell.token != "not" and cell.operation != "RetireGrant":
            params["GrantTokens"] = [grant["GrantToken"]]
        try:
            call(cell.operation, self.callers[cell.caller], **params)
        except DryRunOperationException:
            return ALLOWED
        except AccessDeniedException:
            return DENIED
        except InvalidGrantTokenException:
            return INVALID_TOKEN
        return ALLOWED

    def _params(self, cell: Cell, grant: dict[str, Any]) -> dict[str, Any]:
        context = CONTEXTS[cell.context]
        if cell.operation == "RetireGrant":
            pair = {"KeyId": self.arn, "GrantId": grant["GrantId"]}
            return {"DryRun": True, **(pair if cell.token == "not" else {"GrantToken": grant["GrantToken"]})}
        if cell.operation == "Decrypt":
            return {"CiphertextBlob": self.blobs[cell.context], "EncryptionContext": context}
        params: dict[str, Any] = {"KeyId": self.arn}
        if cell.operation == "CreateGrant":
            child = self.callers["child"].principal_arn
            constraints = {"EncryptionContextEquals": context}
            return params | {
                "GranteePrincipal": child,
                "Operations": ["Decrypt"],
                "Constraints": constraints,
                "DryRun": True,
            }
        if cell.operation != "DescribeKey":
            params["EncryptionContext"] = context
        if cell.operation == "Encrypt":
            params["Plaintext"] = b"x"
        if cell.operation.startswith("GenerateDataKey"):
            params["KeySpec"] = "AES_256"
        return params


def test_calls_come_out_as_the_documents_say(installation: Path) -> None:
    world = World()
    counted: Counter[str] = Counter()
    for constraint in CONSTRAINTS:
        live = world.new_grant(constraint)
        for cell in cells(OPERATIONS):
            if cell.constraint == constraint and cell.caller != "namesake":
                assert world.outcome(cell, live) == expected_of(cell), cell
                counted[expected_of(cell)] += 1
        call("RevokeGrant", ROOT, KeyId=world.arn, GrantId=live["GrantId"])
    lives = {constraint: world.new_grant(constraint) for constraint in CONSTRAINTS}  # a namesake has none of them
    User.objects.get(user_name="app").delete()
    world.callers["namesake"] = new_user("app")
    assert world.callers["namesake"].principal_arn == world.callers["grantee"].principal_arn
    for cell in cells(OPERATIONS):
        if cell.caller == "namesake":
            assert world.outcome(cell, lives[cell.constraint]) == expected_of(cell), cell
            counted[expected_of(cell)] += 1
    assert counted.total() == len(OPERATIONS) * 4 * 3 * 5 * 4
    print(f"{counted.total()} calls: {dict(counted)}")


def test_who_has_create_grant_by_a_grant_gives_no_more_than_it_holds(installation: Path) -> None:
    world = World()
    key: dict[str, Any] = {"KeyId": world.arn}
    context: dict[str, Any] = {"EncryptionContext": CONSTRAINED}
    app, child = world.callers["grantee"], world.callers["child"]
    parent = world.new_grant("EncryptionContextSubset")

    def create(*operations: str, **constraints: Any) -> dict[str, Any]:
        to_child: dict[str, Any] = {"GranteePrincipal": child.principal_arn, "Operations": list(operations)}
        return call("CreateGrant", app, **key, **to_child, Constraints=constraints)

    refused: tuple[tuple[list[str], dict[str, Any]], ...] = (
        (["Decrypt", "ReEncryptTo"], {"EncryptionContextEquals": CONSTRAINED}),
        (["Decrypt"], {}),
        (["Decrypt"], {"EncryptionContextSubset": {"Department": "IT"}}),
    )
    for operations, constraints in refused:
        with pytest.raises(AccessDeniedException):
            create(*operations, **constraints)
    create("Encrypt", EncryptionContextEquals=CONSTRAINED)
    (entry,) = call("ListGrants", ROOT, **key, GranteePrincipal=child.principal_arn)["Grants"]
    assert entry["Operations"] == ["Encrypt"]
    call("Encrypt", child, **key, Plaintext=b"x", **context)
    call("RevokeGrant", ROOT, **key, GrantId=parent["GrantId"])
    with pytest.raises(AccessDeniedException):
        create("Encrypt", EncryptionContextEquals=CONSTRAINED)
    call("Encrypt", child, **key, Plaintext=b"x", **context)


def test_once_a_grant_is_revoked_nothing_more_is_granted_by_it(installation: Path) -> None:
    world = World()
    key: dict[str, Any] = {"KeyId": world.arn}
    app, child = world.callers["grantee"], world.callers["child"]
    ends: list[BaseException] = []

    def grant_on() -> None:
        try:
            while True:
                call("CreateGrant", app, **key, GranteePrincipal=child.principal_arn, Operations=["Decrypt"])
        except BaseException as error:
            ends.append(error)
        finally:
            connection.close()

    def children() -> int:
        return Grant.objects.filter(grantee_id=child.principal_id).count()

    rounds = 10
    for _ in range(rounds):
        parent, before = world.new_grant("none"), children()
        threads = [threading.Thread(target=grant_on) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda before=before: children() > before + 4, "grants by a grant")  # type: ignore[misc]
        call("RevokeGrant", ROOT, **key, GrantId=parent["GrantId"])
        at_the_end = children()
        for thread in threads:
            thread.join()
        assert children() == at_the_end
    assert len(ends) == 4 * rounds and all(isinstance(error, AccessDeniedException) for error in ends), set(ends)
    print(f"{rounds} grants revoked under 4 callers each, {children()} grants made by them before")
