"""Grant tokens: which are taken, where, and that they tell nothing."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from hsmapp import sealing
from kmsapp import demo, dispatch, grants, ids, service_models
from kmsapp.errors import InvalidGrantTokenException
from kmsapp.errors import ValidationException as Invalid
from kmsapp.tests.grant_world import ARN, KEY, create, listed, rows
from kmsapp.tests.people import BOB, call

__all__ = ["rows"]
pytestmark = pytest.mark.usefixtures("rows")


def takes_tokens() -> dict[str, dict[str, Any]]:
    """Every operation that is built and takes grant tokens, with parameters that are enough for it to be asked."""
    kms = service_models.service("kms")
    return {
        name: {member: least(kms.operation(name).input.parts[member]) for member in kms.operation(name).input.required}
        for name in kms.operation_names
        if "GrantTokens" in kms.operation(name).input.parts and dispatch.is_built(f"kms:{name}")
    }


def least(shape: service_models.Shape) -> Any:
    """A value that such a member can have."""
    if shape.kind == "list":
        return [least(shape.parts["member"])]
    return b"x" if shape.kind == "blob" else (shape.enum or (KEY,))[0]


def bad_tokens() -> dict[str, str]:
    good = create()["GrantToken"]
    sealed = bytearray(base64.b64decode(good))
    sealed[-1] ^= 1
    revoked, retired = create(), create(RetiringPrincipal=BOB.principal_arn)
    call("RevokeGrant", KeyId=KEY, GrantId=revoked["GrantId"])
    call("RetireGrant", BOB, GrantToken=retired["GrantToken"])
    return {
        "no base64": "never a token",
        "no ASCII": "Schlüssel",
        "base64 of nothing of ours": base64.b64encode(b"nothing of ours").decode(),
        "a part": good[: len(good) // 8 * 4],
        "one bit changed": base64.b64encode(sealed).decode(),
        "revoked": revoked["GrantToken"],
        "retired": retired["GrantToken"],
        "of another Region": grants.new_token(demo.ACCOUNT, "eu-west-1", listed()[0]["GrantId"]),
        "of no grant": grants.new_token(demo.ACCOUNT, demo.REGION, ids.new_grant_id()),
        "sealed for something else": base64.b64encode(
            sealing.keyring().seal(b"x", purpose=sealing.ACCESS_KEY, table="", row="")
        ).decode(),
    }


def test_a_bad_token_is_refused_by_every_operation_that_takes_tokens() -> None:
    bad, good = bad_tokens(), create()["GrantToken"]
    operations = takes_tokens()
    assert {"Encrypt", "Decrypt", "GenerateDataKey", "DescribeKey", "CreateGrant"} <= set(operations)
    for operation, params in operations.items():
        for sentence, token in bad.items():
            with pytest.raises(InvalidGrantTokenException):
                call(operation, **params, GrantTokens=[good, token])
                pytest.fail(f"{operation}: {sentence}")
    for sentence, token in bad.items():
        with pytest.raises(InvalidGrantTokenException):
            call("RetireGrant", BOB, GrantToken=token)
            pytest.fail(sentence)
    print(f"{len(bad)} bad tokens, {len(operations) + 1} operations")


def test_ten_good_tokens_are_taken_eleven_are_not() -> None:
    tokens = [create()["GrantToken"] for _ in range(11)]
    assert call("DescribeKey", KeyId=KEY, GrantTokens=tokens[:10])["KeyMetadata"]["Arn"] == ARN
    with pytest.raises(Invalid):
        call("DescribeKey", KeyId=KEY, GrantTokens=tokens)


def test_an_operation_without_grant_tokens_ignores_them() -> None:
    made = create()
    assert call("RevokeGrant", KeyId=KEY, GrantId=made["GrantId"], GrantTokens=["x"]) == {}


def test_a_token_tells_nothing_and_is_another_each_time() -> None:
    first, again = create(Name="once"), create(Name="once")
    for made in (first, again):
        raw = base64.b64decode(made["GrantToken"], validate=True)
        for secret in (made["GrantId"].encode(), bytes.fromhex(made["GrantId"]), KEY.encode(), demo.ACCOUNT.encode()):
            assert secret not in raw
    assert first["GrantToken"] != again["GrantToken"]
    call("RetireGrant", GrantToken=first["GrantToken"])
    with pytest.raises(InvalidGrantTokenException):
        call("RetireGrant", GrantToken=again["GrantToken"])
