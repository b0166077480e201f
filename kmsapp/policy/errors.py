"""What is wrong with a policy document: AWS's sentence for the wire, and where and why for people."""

from __future__ import annotations

# AWS's own words, as recorded from the services. The first is all that IAM says about grammar.
# (unconfirmed) What KMS says of a key policy with bad grammar.
SYNTAX = "Syntax errors in policy."
NO_PRINCIPAL = "Policy contains a statement with no principal."
INVALID_PRINCIPALS = "Policy contains a statement with one or more invalid principals."
# https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-sets
OVERLY_PERMISSIVE = (
    "OverlyPermissiveCondition: Using the ForAllValues set operator with a single-valued condition key matches "
    "requests without the specified [encryption context or tag] or with an unspecified [encryption context or tag]. "
    "To fix, remove ForAllValues."
)

Path = tuple[str | int, ...]  # member names and list positions from the document down: ("Statement", 0, "Effect")


class PolicyError(Exception):
    """A text that is no valid policy of its kind.

    aws_message: what AWS answers. detail: a sentence that says more. line, column: from 1, where to look.
    code: AWS's error for it, MalformedPolicyDocumentException or LimitExceededException. path: of the part that is
    wrong; empty where it is the text as a whole, or no JSON.
    """

    def __init__(self, aws_message: str, detail: str, line: int, column: int, *, code: str, path: Path = ()):
        super().__init__(f"Line {line}, column {column}: {detail}")
        self.aws_message = aws_message
        self.detail = detail
        self.line = line
        self.column = column
        self.code = code
        self.path = path


class FaultError(Exception):
    """A fault at a place of the document that is still a path; documents.parse makes a PolicyError of it."""

    def __init__(self, path: Path, detail: str, aws_message: str = SYNTAX):
        super().__init__(detail)
        self.path = path
        self.detail = detail
        self.aws_message = aws_message
