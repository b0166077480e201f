"""Policy documents: read once, checked as AWS checks them, compiled for many decisions.

The four kinds differ in what a statement must have. A key policy may lack Action or Resource, which AWS takes: such a
statement has no effect. A trust policy has no Resource. Policies of identities and of sessions have no Principal.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from kmsapp.errors import LimitExceededException, MalformedPolicyDocumentException
from kmsapp.policy import json_text, wildcards
from kmsapp.policy.conditions import Condition, Holds, any_of, compile_condition, pattern
from kmsapp.policy.errors import NO_PRINCIPAL, FaultError, Path, PolicyError
from kmsapp.policy.principals import Principals, compile_principals
from kmsapp.policy.variables import Context, Template, template

MOST_BYTES = 32_768  # of a key policy
WITH_VARIABLES = "2012-10-17"
VERSIONS = ("2008-10-17", WITH_VARIABLES)
_MOST_ACTIONS_INDEXED = 256  # KMS has about 60; a file of cases may name any


class Kind(Enum):
    """What a policy is attached to. Its value is what people call it."""

    KEY = "key policy"
    IDENTITY = "identity-based policy"
    TRUST = "role trust policy"
    SESSION = "session policy"


# Whether the statement's Resource or NotResource covers an ARN; None: it covers all.
_Covers = Callable[[str, Context], bool] | None


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, compiled. `line` and `column` are where it begins."""

    index: int  # from 0
    sid: str  # "" if it has none
    effect: str  # Allow or Deny
    is_effective: bool  # False: a key policy's statement without Action or Resource
    principals: Principals | None  # None in policies of identities and sessions
    actions: tuple[str, ...]  # as written
    not_actions: bool  # they are those of a NotAction
    resources: tuple[str, ...]  # as written; () in a trust policy
    not_resources: bool  # they are those of a NotResource
    conditions: tuple[Condition, ...]
    tests: tuple[Holds, ...] = field(repr=False)  # those of the conditions
    covers: _Covers = field(repr=False)
    applies_to: Callable[[str], bool] = field(repr=False)  # to an action in lower case
    text: str = field(repr=False)  # the whole document, for the place
    path: Path = field(repr=False)

    @property
    def line(self) -> int:
        return self.place[0]

    @property
    def column(self) -> int:
        return self.place[1]

    @property
    def place(self) -> tuple[int, int]:
        """Line and column, from 1."""
        return json_text.line_and_column(self.text, json_text.offset_of(self.text, self.path))

    @property
    def as_json(self) -> str:
        """The statement alone, as JSON that people can read."""
        part: Any = json.loads(self.text)
        for step in self.path:
            part = part[step]
        return json.dumps(part, indent=2, ensure_ascii=False)

    def holds(self, resource: str, context: Context) -> bool:
        """Whether resource and conditions fit; action and principal are asked before."""
        if self.covers is not None and not self.covers(resource, context):
            return False
        for holds in self.tests:  # noqa: SIM110 # half the time of all()
            if not holds(context):
                return False
        return True


Statements = tuple[Statement, ...]


@dataclass(frozen=True)
class Document:
    """A valid policy. It is the same for every request, so keep it."""

    kind: Kind
    version: str
    id: str
    statements: Statements
    _by_action: dict[str, tuple[Statements, Statements]] = field(
        default_factory=dict, repr=False, compare=False, hash=False
    )

    def for_action(self, action: str) -> tuple[Statements, Statements]:
        """The Deny and the Allow statements that cover an action such as kms:Decrypt."""
        found = self._by_action.get(action)
        if found is None:
            found = self._index(action)
        return found

    def principal_arns(self) -> frozenset[str]:
        """Every user, role and session that a Principal or NotPrincipal names; they must exist when it is put."""
        named = [statement.principals.arns for statement in self.statements if statement.principals]
        return frozenset().union(*named)

    def ineffective(self) -> Statements:
        """Statements of a key policy without Action or Resource."""
        return tuple(statement for statement in self.statements if not statement.is_effective)

    def _index(self, action: str) -> tuple[Statements, Statements]:
        lower = action.lower()
        fitting = [one for one in self.statements if one.is_effective and one.applies_to(lower)]
        found = (
            tuple(one for one in fitting if one.effect == "Deny"),
            tuple(one for one in fitting if one.effect == "Allow"),
        )
        if len(self._by_action) < _MOST_ACTIONS_INDEXED:
            self._by_action[action] = found
        return found


def require_valid(policy: str) -> None:
    """Refuse a text that is no key policy, with AWS's own words.

    Raises: LimitExceededException over 32 KB; MalformedPolicyDocumentException.
    """
    try:
        parse(policy, Kind.KEY)
    except PolicyError as error:
        if error.code == "LimitExceededException":
            raise LimitExceededException(error.aws_message) from error
        raise MalformedPolicyDocumentException(error.aws_message) from error


def parse(text: str, kind: Kind) -> Document:
    """Read and compile a policy.

    Its size is checked for key policies alone: IAM's limits are of all policies of an identity together.
    Raises: PolicyError, and nothing else.
    """
    if kind is Kind.KEY and len(text.encode(errors="surrogatepass")) > MOST_BYTES:
        message = f"The key policy is larger than {MOST_BYTES} bytes."
        raise PolicyError(message, message, 1, 1, code="LimitExceededException")
    document = json_text.load(text)
    try:
        return _document(document, kind, text)
    except FaultError as fault:
        line, column = json_text.line_and_column(text, json_text.offset_of(text, fault.path))
        code = "MalformedPolicyDocumentException"
        raise PolicyError(fault.aws_message, fault.detail, line, column, code=code, path=fault.path) from fault


def _document(document: Any, kind: Kind, text: str) -> Document:
    if not isinstance(document, dict):
        raise FaultError((), f"The {kind.value} must be a JSON object.")
    for name in document:
        if name not in ("Version", "Id", "Statement"):
            raise FaultError((name,), f"A policy has Version, Id and Statement, not {_shown(name)}.")
    version, policy_id = document.get("Version", VERSIONS[0]), document.get("Id", "")
    if version not in VERSIONS:
        raise FaultError(("Version",), f"Version must be {WITH_VARIABLES} (or {VERSIONS[0]}).")
    if type(policy_id) is not str:
        raise FaultError(("Id",), "Id must be a text.")
    if kind in (Kind.IDENTITY, Kind.SESSION) and version != WITH_VARIABLES:
        detail = f'The {kind.value} must have "Version": "{WITH_VARIABLES}".'
        raise FaultError(("Version",), detail, "Policy document must be version 2012-10-17 or greater.")
    compiler = _Compiler(kind, version == WITH_VARIABLES, text)
    # A single statement may stand without a list around it.
    is_list = isinstance(document.get("Statement"), list)
    statements = tuple(
        compiler.statement(statement, index, ("Statement", index) if is_list else ("Statement",))
        for index, statement in enumerate(_statements(document, kind))
    )
    if kind in (Kind.IDENTITY, Kind.SESSION):
        _require_unique_sids(statements)
    return Document(kind, version, policy_id, statements)


def _statements(document: dict[str, Any], kind: Kind) -> list[Any]:
    statements = document.get("Statement")
    if isinstance(statements, dict):
        return [statements]
    if not isinstance(statements, list) or not statements:
        detail = f"The {kind.value} must have a Statement: a list of one or more statements."
        raise FaultError(("Statement",), detail)
    return statements


def _require_unique_sids(statements: Statements) -> None:
    seen: set[str] = set()
    for statement in statements:
        if statement.sid and statement.sid in seen:
            detail = f"The Sid {statement.sid!r} stands twice."
            message = "Statement IDs (SID) in a single policy must be unique."
            raise FaultError((*statement.path, "Sid"), detail, message)
        seen.add(statement.sid)


_ELEMENTS = (
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
)


@dataclass(frozen=True)
class _Compiler:
    """Compiles the statements of one document."""

    kind: Kind
    has_variables: bool
    text: str

    def statement(self, statement: Any, index: int, path: Path) -> Statement:
        name = f"Statement {index + 1} of the {self.kind.value}"
        if not isinstance(statement, dict):
            raise FaultError(path, f"{name} must be a JSON object.")
        for element in statement:
            if element not in _ELEMENTS:
                raise FaultError((*path, element), f"A statement has no element {_shown(element)}.")
        for element in ("Principal", "Action", "Resource"):
            if element in statement and f"Not{element}" in statement:
                raise FaultError((*path, f"Not{element}"), f"{name} has {element} and Not{element}: take one.")
        effect = statement.get("Effect")
        if effect not in ("Allow", "Deny"):
            raise FaultError((*path, "Effect"), f"{name} must have Effect Allow or Deny.")
        principals = self._principals(statement, path, name)
        actions = self._actions(statement, path, name)
        resources = self._resources(statement, path, name)
        conditions = compile_condition(
            statement.get("Condition", {}),
            (*path, "Condition"),
            has_variables=self.has_variables,
            is_denial=effect == "Deny",
            is_key_policy=self.kind is Kind.KEY,
        )
        return Statement(
            index=index,
            sid=self._sid(statement, path),
            effect=effect,
            is_effective=bool(actions) and bool(resources or self.kind is Kind.TRUST),
            principals=principals,
            actions=actions,
            not_actions="NotAction" in statement,
            resources=resources,
            not_resources="NotResource" in statement,
            conditions=conditions,
            tests=tuple(condition.holds for condition in conditions),
            covers=_covers(resources, "NotResource" in statement, self.has_variables),
            applies_to=_applies_to(actions, "NotAction" in statement),
            text=self.text,
            path=path,
        )

    def _sid(self, statement: dict[str, Any], path: Path) -> str:
        sid = statement.get("Sid", "")
        if type(sid) is not str:
            raise FaultError((*path, "Sid"), "Sid must be a text.")
        if self.kind in (Kind.IDENTITY, Kind.SESSION) and not re.fullmatch("[0-9A-Za-z]*", sid):
            message = (
                "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression "
                "[0-9A-Za-z]*"
            )
            raise FaultError((*path, "Sid"), f"The Sid {_shown(sid)} has other characters than 0-9A-Za-z.", message)
        return sid

    def _principals(self, statement: dict[str, Any], path: Path, name: str) -> Principals | None:
        element = "NotPrincipal" if "NotPrincipal" in statement else "Principal"
        if self.kind in (Kind.IDENTITY, Kind.SESSION):
            if element in statement:
                detail = f"{name} can't have {element}: who carries the policy is who it is for."
                raise FaultError((*path, element), detail, "Policy document should not specify a principal.")
            return None
        is_trust_policy = self.kind is Kind.TRUST
        if is_trust_policy and element == "NotPrincipal":
            raise FaultError((*path, element), f"{name} can't have NotPrincipal.", "Has prohibited field NotPrincipal")
        if element not in statement:
            message = "Missing required field Principal" if is_trust_policy else NO_PRINCIPAL
            raise FaultError(path, f"{name} has no Principal.", message)
        return compile_principals(element, statement[element], (*path, element), is_trust_policy=is_trust_policy)

    def _actions(self, statement: dict[str, Any], path: Path, name: str) -> tuple[str, ...]:
        element = "NotAction" if "NotAction" in statement else "Action"
        actions = _texts(statement.get(element, []), (*path, element), element)
        if not actions and self.kind is Kind.TRUST:
            raise FaultError(path, f"{name} has no Action.", "Missing required field Action")
        if not actions and self.kind is not Kind.KEY:
            raise FaultError(path, f"{name} has no Action.", "Policy statement must contain actions.")
        if self.kind is not Kind.KEY:
            for index, action in enumerate(actions):
                _require_action(action, (*path, element, index))
        return actions

    def _resources(self, statement: dict[str, Any], path: Path, name: str) -> tuple[str, ...]:
        element = "NotResource" if "NotResource" in statement else "Resource"
        if self.kind is Kind.TRUST and element in statement:
            raise FaultError((*path, element), f"{name} can't have {element}.", f"Has prohibited field {element}")
        resources = _texts(statement.get(element, []), (*path, element), element)
        if self.kind in (Kind.IDENTITY, Kind.SESSION):
            if not resources:
                raise FaultError(path, f"{name} has no Resource.", "Policy statement must contain resources.")
            for index, resource in enumerate(resources):
                _require_resource(resource, (*path, element, index))
        return resources


def _texts(value: Any, path: Path, element: str) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    for index, one in enumerate(values):
        if type(one) is not str:
            raise FaultError((*path, index), f"{element} must be a text or a list of texts.")
    return tuple(values)


def _require_action(action: str, path: Path) -> None:
    if action == "*":
        return
    vendor, colon, name = action.partition(":")
    if not colon:
        message = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
        raise FaultError(path, f"{_shown(action)} has no service before it, as in kms:Decrypt.", message)
    if ":" in name:
        message = "Actions/Condition can contain only one colon."
        raise FaultError(path, f"{_shown(action)} has more than one colon.", message)
    if not re.fullmatch(r"[0-9A-Za-z.-]+", vendor):
        raise FaultError(path, f"{_shown(vendor)} is no service.", f"Vendor {vendor} is not valid")


def _require_resource(resource: str, path: Path) -> None:
    if resource == "*":
        return
    message = f'Resource {resource} must be in ARN format or "*".'
    parts = resource.split(":", 5)
    if parts[0] != "arn":
        raise FaultError(path, f'{_shown(resource)} is neither an ARN nor "*".', message)
    # A short form such as arn:aws:kms:* stands for all that begins with it.
    if len(parts) < 6 and not resource.endswith("*"):
        raise FaultError(path, f"{_shown(resource)} has fewer than the six parts of an ARN.", message)
    if parts[1] not in ("aws", "*") and not parts[1].startswith("aws-"):
        message = f'Partition "{parts[1]}" is not valid for resource "{resource}".'
        raise FaultError(path, f"{_shown(parts[1])} is no partition of AWS.", message)


def _applies_to(actions: tuple[str, ...], negated: bool) -> Callable[[str], bool]:
    matchers = [wildcards.compile_text(action.lower()) for action in actions]
    return lambda action: any(matches(action) for matches in matchers) is not negated


def _covers(resources: tuple[str, ...], negated: bool, has_variables: bool) -> _Covers:
    # A trust policy has no Resource: it is about its role. (A key policy's statement without one has no effect at all.)
    if ("*" in resources or not resources) and not negated:
        return None
    templates = [_resource_template(resource, has_variables) for resource in resources]
    covers = any_of([pattern(one) for one in templates])
    if not negated:
        return covers
    filled = [one for one in templates if one.has_variables]

    def covers_others(resource: str, context: Context) -> bool:
        # With a variable that has no value the statement is about no resource at all.
        return not covers(resource, context) and all(one.pieces(context) is not None for one in filled)

    return covers_others


def _resource_template(resource: str, has_variables: bool) -> Template:
    """Variables may stand in an ARN's sixth part alone; before it they are text."""
    colons = [match.end() for match in re.finditer(":", resource)]
    start = colons[4] if has_variables and len(colons) >= 5 else len(resource)
    return template(resource, enabled=has_variables, start=start)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else f"{text[:100]}…")
