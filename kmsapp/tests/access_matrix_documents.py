"""The key policies and trust policies of the access matrix as JSON."""

from __future__ import annotations

import json
from typing import Any

from kmsapp.tests.access_matrix_rules import Statement


def document(statements: tuple[Statement, ...], arns: dict[str, str], *, resource: bool = True) -> str:
    """The statements as a policy document. arns: of people and accounts."""
    return json.dumps({"Version": "2012-10-17", "Statement": [_statement(one, arns, resource) for one in statements]})


def _statement(statement: Statement, arns: dict[str, str], resource: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"AWS": [arns[name] for name in statement.principals]},
        "Action": list(statement.actions),
    }
    if resource:
        shown["Resource"] = "*"
    if statement.sid:
        shown["Sid"] = statement.sid
    if statement.for_services_only:
        shown["Condition"] = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    return shown
