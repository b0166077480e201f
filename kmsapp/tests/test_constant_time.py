"""Secrets are compared by hmac.compare_digest; the comparisons of Python's that look at one are named here."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from kmsapp.tests.test_layout import ROOT, is_test, modules

SECRET = {"password", "secret", "signature", "signatures", "token", "pin", "mac", "hmac", "digest", "sha256", "hashed"}
# (module, comparison) -> why nobody learns anything from the time it takes.
HARMLESS = {
    ("hsmapp/device/operations/sessions.py", "now.hashed != hashed"): "two hashes the HSM has made, of no guess",
    (
        "hsmapp/device/operations/users.py",
        "hsm.users.get(name).hashed != session.password_hash",
    ): "two hashes the HSM has made, of no guess",
    (
        "hsmapp/replication.py",
        "trusted.get(transport_label(peer.hsm.hsm_id)) == hashlib.sha256(public).digest()",
    ): "of a public key",
    ("hsmapp/restore.py", "restore_journal.digest_of(database) == journal.database"): "of a file that is read anyway",
    (
        "hsmapp/resync.py",
        "bytes(now.password_sealed) == bytes(credential.password_sealed)",
    ): "whether a row has changed; both are ciphertexts",
    ("kmsapp/iam/passwords.py", "password.casefold() in {account, user_name.casefold()}"): "public names",
    ("kmsapp/policy/json_text.py", "path[-1] == error.token"): "a piece of JSON",
    ("kmsapp/wire/sigv4.py", "claimed != authorization.signature"): "both are the client's own, already proved",
    ("console/forms/password.py", "new == self.cleaned_data.get('old_password')"): "both are what was just entered",
    ("console/forms/password.py", "again != self.cleaned_data['new_password']"): "both are what was just entered",
}


def comparisons() -> Iterator[tuple[str, str]]:
    """Every comparison by value in which something is called a secret."""
    for module in modules("hsmapp", "kmsapp", "console"):
        if is_test(module) or "migrations" in module.parts:
            continue
        for node in ast.walk(ast.parse((ROOT / module).read_text())):
            if isinstance(node, ast.Compare) and any(map(_is_by_value, node.ops)):
                sides = [node.left, *node.comparators]
                if any(map(_is_secret, sides)) and not any(map(_is_known, sides)):
                    yield str(module), ast.unparse(node)


def _is_by_value(op: ast.cmpop) -> bool:
    return isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn)


def _is_secret(side: ast.expr) -> bool:
    return any(SECRET & set(re.split("_+", name.lower())) for name in _names(side))


def _names(side: ast.expr) -> Iterator[str]:
    for node in ast.walk(side):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _is_known(side: ast.expr) -> bool:
    """Constants of the source, a length, or whether something is so: not the secret itself."""
    if isinstance(side, ast.Compare):
        return True
    if isinstance(side, ast.Set):
        return all(map(_is_known, side.elts))
    if isinstance(side, ast.Call):
        is_given = bool(side.args) and all(map(_is_known, side.args))
        return isinstance(side.func, ast.Name) and (side.func.id in {"len", "bool"} or is_given)
    name = side.attr if isinstance(side, ast.Attribute) else side.id if isinstance(side, ast.Name) else ""
    return isinstance(side, ast.Constant) or name.isupper()


def test_secrets_are_compared_in_constant_time() -> None:
    found = set(comparisons())
    assert found - HARMLESS.keys() == set(), "use hmac.compare_digest"
    assert HARMLESS.keys() - found == set(), "these are gone: take them off the list"
    print(f"{len(found)} comparisons of something called a secret, each with its reason")


def test_what_decides_by_a_secret_uses_compare_digest() -> None:
    uses = {
        str(module)
        for module in modules("hsmapp", "kmsapp", "console")
        if not is_test(module) and "compare_digest(" in (ROOT / module).read_text()
    }
    assert uses >= {
        "hsmapp/backup_file.py",
        "hsmapp/device/hsm_users.py",
        "hsmapp/device/operations/sessions.py",
        "kmsapp/paging.py",
        "kmsapp/wire/sigv4.py",
    }
