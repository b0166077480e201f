"""Grants by the real AWS CLI: made, listed, used with and without a token, retired, revoked, refused."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from kmsapp.testing import Casemate

STORE = "cks-1234567890abcdef0"
ACCOUNT = "arn:aws:iam::111122223333"
CONTEXT = ("--encryption-context", "Department=IT,Purpose=Test")


class Cli:
    """One person's `aws kms`."""

    def __init__(self, casemate: Casemate, person: str):
        self._casemate, self._person = casemate, person

    def run(self, *arguments: str) -> dict[str, Any]:
        done = self._casemate.cli("kms", *arguments, person=self._person)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout)) if done.stdout.strip() else {}

    def refused(self, code: str, *arguments: str) -> None:
        done = self._casemate.cli("kms", *arguments, person=self._person)
        assert done.returncode != 0 and f"({code})" in done.stderr, done.stderr


def test_the_life_of_grants_by_cli(casemate: Casemate, tmp_path: Path) -> None:
    alice, bob, mallory = (Cli(casemate, person) for person in ("alice", "bob", "mallory"))
    arn = alice.run("create-key", "--origin", "AWS_CLOUDHSM", "--custom-key-store-id", STORE)["KeyMetadata"]["Arn"]
    key = ("--key-id", arn)
    to_mallory = ("--grantee-principal", f"{ACCOUNT}:user/mallory", "--retiring-principal", f"{ACCOUNT}:user/bob")
    operations = ("--operations", "Encrypt", "Decrypt", "RetireGrant")
    constraints = ("--constraints", "EncryptionContextSubset={Department=IT}")
    creation = ("create-grant", *key, *to_mallory, *operations, *constraints, "--name", "story")
    alice.refused("DryRunOperationException", *creation, "--dry-run")
    made, again = alice.run(*creation), alice.run(*creation)
    assert made["GrantId"] == again["GrantId"] and made["GrantToken"] != again["GrantToken"]

    (entry,) = alice.run("list-grants", *key, "--grantee-principal", f"{ACCOUNT}:user/mallory")["Grants"]
    assert (entry["GrantId"], entry["Name"], entry["IssuingAccount"]) == (made["GrantId"], "story", f"{ACCOUNT}:root")
    assert entry["Constraints"] == {"EncryptionContextSubset": {"Department": "IT"}}
    retirable = alice.run("list-retirable-grants", "--retiring-principal", f"{ACCOUNT}:user/bob")["Grants"]
    assert entry in retirable

    # Files: the two major versions of the CLI differ in how they read a blob given as an argument.
    plaintext, ciphertext = tmp_path / "plaintext", tmp_path / "ciphertext"
    plaintext.write_bytes(b"hello")
    plain = ("encrypt", *key, "--plaintext", f"fileb://{plaintext}", *CONTEXT)
    ciphertext.write_bytes(base64.b64decode(mallory.run(*plain)["CiphertextBlob"]))
    assert mallory.run(*plain, "--grant-tokens", made["GrantToken"], again["GrantToken"])["KeyId"] == arn
    sealed = ("decrypt", "--ciphertext-blob", f"fileb://{ciphertext}", *CONTEXT)
    opened = mallory.run(*sealed, "--grant-tokens", made["GrantToken"])
    assert base64.b64decode(opened["Plaintext"]) == b"hello"
    mallory.refused("InvalidGrantTokenException", *plain, "--grant-tokens", made["GrantToken"], "bm8gdG9rZW4=")

    assert bob.run("retire-grant", *key, "--grant-id", made["GrantId"]) == {}
    mallory.refused("InvalidGrantTokenException", *plain, "--grant-tokens", made["GrantToken"])
    mallory.refused("InvalidGrantTokenException", "retire-grant", "--grant-token", again["GrantToken"])
    assert mallory.run("retire-grant", "--grant-token", alice.run(*creation)["GrantToken"]) == {}

    revoked = ("revoke-grant", *key, "--grant-id", alice.run(*creation)["GrantId"])
    alice.refused("DryRunOperationException", *revoked, "--dry-run")
    assert alice.run(*revoked) == {}
    alice.refused("NotFoundException", *revoked)
    alice.refused("InvalidGrantIdException", "revoke-grant", *key, "--grant-id", "none")
    assert alice.run("list-grants", *key)["Grants"] == []

    nobody = ("--grantee-principal", f"{ACCOUNT}:user/nobody", "--operations", "Encrypt")
    alice.refused("InvalidArnException", "create-grant", *key, *nobody)
    alice.refused("ValidationException", "create-grant", *key, *to_mallory, "--operations", "Sign")
