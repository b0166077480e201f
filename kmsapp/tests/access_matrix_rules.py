"""Who gets which answer, written down from what AWS documents: the other opinion about access, for the access matrix.

People, keys, roles and their policies are data here, with just enough of AWS's rules to compute the answer of each
cell. So that it is another opinion, nothing of the product is imported; a test sees to that.

Sources: "Cross-account use" and "Required permissions" of each operation in
https://docs.aws.amazon.com/kms/latest/APIReference/API_Operations.html; the order of decisions in
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html; names of errors in
https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html. Where AWS tells no order: a key of the own
account that does not exist is NotFoundException to everybody, one of another account is AccessDeniedException, there or
not; everything of IAM and of key stores is said to be missing only to those who may do the thing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

OURS, THEIRS = "ours", "theirs"  # the two accounts
SUCCESS = ""  # the code of an answer that is none
DENIED, NOT_FOUND = "AccessDeniedException", "NotFoundException"
NO_ENTITY, NO_STORE = "NoSuchEntityException", "CustomKeyStoreNotFoundException"

# People


@dataclass(frozen=True)
class Person:
    """Somebody who calls."""

    name: str
    account: str  # OURS, THEIRS
    iam: tuple[str, ...] = ()  # actions that identity-based policies allow, on everything
    denied: tuple[str, ...] = ()  # and actions that they deny
    is_root: bool = False
    unknown: str = ""  # why the call is nobody's: the error's name

    def may(self, action: str) -> bool:
        """Whether the caller's own account allows it. The root user needs no policy for that."""
        return not self.must_not(action) and (self.is_root or any(fnmatchcase(action, pattern) for pattern in self.iam))

    def must_not(self, action: str) -> bool:
        """Whether a Deny ends it, whatever allows it."""
        return any(fnmatchcase(action, pattern) for pattern in self.denied)


LISTS = (
    "kms:ListKeys",
    "kms:ListAliases",
    "kms:DescribeCustomKeyStores",
    "cloudhsm:DescribeClusters",
    "iam:ListUsers",
    "iam:ListRoles",
)
PEOPLE = {
    person.name: person
    for person in (
        Person("anonymous", OURS, unknown="MissingAuthenticationTokenException"),
        Person("wrong signature", OURS, is_root=True, unknown="InvalidSignatureException"),
        Person("unknown access key", OURS, unknown="UnrecognizedClientException"),
        Person("disabled", OURS, iam=("*",), unknown="UnrecognizedClientException"),
        Person("inactive access key", OURS, iam=("*",), unknown="UnrecognizedClientException"),
        Person("nobody", OURS),
        Person("staff", OURS),  # of Django admin, which gives no right on the wire
        Person("key user", OURS),
        Person("key administrator", OURS, iam=LISTS),
        Person("administrator", OURS, iam=("*",)),
        Person("root", OURS, is_root=True),
        Person("other nobody", THEIRS),  # whom their own account allows nothing
        Person("other denied", THEIRS, iam=("*",), denied=("kms:*",)),
        Person("other administrator", THEIRS, iam=("*",)),
        Person("other root", THEIRS, is_root=True),
    )
}


# Policies of keys and roles


@dataclass(frozen=True)
class Statement:
    """An Allow of a key policy or a trust policy."""

    principals: tuple[str, ...]  # names of people; "account:ours", "account:theirs"; "*"
    actions: tuple[str, ...]
    sid: str = ""
    for_services_only: bool = False  # kms:GrantIsForAWSResource, which nobody's own call has

    def names(self, person: Person) -> bool:
        return person.name in self.principals or "*" in self.principals

    def delegates_to(self, person: Person) -> bool:
        return f"account:{person.account}" in self.principals

    def is_about(self, action: str) -> bool:
        return not self.for_services_only and any(fnmatchcase(action, pattern) for pattern in self.actions)


@dataclass(frozen=True)
class Thing:
    """What a request names, of one account or of the other, there or not."""

    name: str
    account: str
    exists: bool = True
    key_policy: tuple[Statement, ...] = ()
    trust: tuple[Statement, ...] = ()  # of its role


def _delegation(account: str) -> Statement:
    return Statement((f"account:{account}",), ("kms:*",), "Enable IAM User Permissions")


def _trusts(*principals: str) -> tuple[Statement, ...]:
    return (Statement(principals, ("sts:AssumeRole",)),)


# https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html, as the console writes it
_ADMINISTRATION = (
    *("Create*", "Describe*", "Enable*", "List*", "Put*", "Update*", "Revoke*", "Disable*", "Get*", "Delete*"),
    *("TagResource", "UntagResource", "ScheduleKeyDeletion", "CancelKeyDeletion", "RotateKeyOnDemand"),
)
_USE = ("Encrypt", "Decrypt", "ReEncrypt*", "GenerateDataKey*", "DescribeKey")
_USERS = ("key user", "account:theirs")


def _kms(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"kms:{name}" for name in names)


CONSOLE_POLICY = (
    _delegation(OURS),
    Statement(("key administrator",), _kms(_ADMINISTRATION), "Allow access for Key Administrators"),
    Statement(_USERS, _kms(_USE), "Allow use of the key"),
    Statement(
        _USERS,
        ("kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"),
        "Allow attachment of persistent resources",
        for_services_only=True,
    ),
)
RETIRES = {OURS: "key user", THEIRS: "other nobody"}  # whom the grants on an account's keys name to retire them

THINGS = {
    thing.name: thing
    for thing in (
        # Both accounts allow some people to use this key; anybody of the two may become its role who may assume roles.
        Thing("shared", OURS, key_policy=CONSOLE_POLICY, trust=_trusts("account:ours", "account:theirs")),
        # This one is of the account alone: of another account only the caller's side allows it.
        Thing("own", OURS, key_policy=(_delegation(OURS),), trust=_trusts("account:ours")),
        # As open as policies can be; of another account only what AWS lets cross accounts passes. One user's role.
        Thing("wide", OURS, key_policy=(Statement(("*",), ("kms:*",), "Everybody"),), trust=_trusts("key user")),
        Thing("missing", OURS, exists=False),
        Thing("foreign", THEIRS, key_policy=(_delegation(THEIRS),), trust=_trusts("account:theirs")),
        Thing("foreign missing", THEIRS, exists=False),
    )
}
EVERYTHING = tuple(THINGS)
NAMED = ("shared", "missing", "foreign")  # what is looked up by a name or an id in the caller's own account
BY_ARN = (*NAMED, "foreign missing")
NOTHING = ("",)  # of a request that names nothing


# Rules


@dataclass(frozen=True)
class Rule:
    """What one request of an operation needs, and how it ends."""

    kind: str  # a key of _ENDINGS
    things: tuple[str, ...]
    crosses_accounts: bool = False
    missing: str = NO_ENTITY  # said to those who may, where nothing of this name is in their account
    needs: tuple[str, ...] = ()  # permissions beside the operation's own
    ends: tuple[str, ...] = (SUCCESS,)  # codes of what only an allowed caller can get
    root_ends: tuple[str, ...] = ()  # the same for root users, if it is different


def _key(*, crosses: bool = False, kind: str = "key", ends: tuple[str, ...] = (SUCCESS,)) -> Rule:
    return Rule(kind, EVERYTHING, crosses_accounts=crosses, missing=NOT_FOUND, ends=ends)


_UNSUPPORTED, _WRONG_USAGE = ("UnsupportedOperationException",), ("InvalidKeyUsageException",)
_OPEN = Rule("open", NOTHING)
_ACCOUNT = Rule("account", NOTHING)
_ENTITY = Rule("account", NAMED)
_POLICY_ARN = Rule("account", BY_ARN)
_STORE = Rule("account", NAMED, missing=NO_STORE)


def _named(rule: Rule, service: str, names: str) -> dict[str, Rule]:
    return {f"{service}:{name}": rule for name in names.split()}


# Row -> rule. A row is an operation, or " / " and what is special about a further request of it.
RULES: dict[str, Rule] = {
    **_named(
        _key(crosses=True),
        "kms",
        "DescribeKey Encrypt Decrypt GenerateDataKey GenerateDataKeyWithoutPlaintext "
        "CreateGrant ListGrants RevokeGrant",
    ),
    **_named(
        _key(),
        "kms",
        "GetKeyPolicy PutKeyPolicy ListKeyPolicies TagResource UntagResource ListResourceTags UpdateKeyDescription "
        "GetKeyLastUsage EnableKey DisableKey ScheduleKeyDeletion CancelKeyDeletion",
    ),
    # Two actions, kms:ReEncryptFrom and kms:ReEncryptTo, which the policies here allow together.
    "kms:ReEncrypt": _key(crosses=True),
    "kms:ReEncrypt / without SourceKeyId": _key(crosses=True, kind="ciphertext"),
    "kms:Decrypt / without KeyId": _key(crosses=True, kind="ciphertext"),
    "kms:RetireGrant": _key(crosses=True, kind="retirement"),
    **_named(_key(kind="alias"), "kms", "CreateAlias UpdateAlias"),
    "kms:DeleteAlias": _key(kind="alias by name"),
    # What the keys here are not for is told to those who may do it with a key.
    **_named(
        _key(crosses=True, ends=_WRONG_USAGE),
        "kms",
        "Sign Verify GenerateMac VerifyMac DeriveSharedSecret Encapsulate Decapsulate",
    ),
    **_named(
        _key(crosses=True, ends=_UNSUPPORTED),
        "kms",
        "GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext GetKeyRotationStatus GetPublicKey",
    ),
    **_named(
        _key(ends=_UNSUPPORTED),
        "kms",
        "EnableKeyRotation DisableKeyRotation RotateKeyOnDemand ListKeyRotations GetParametersForImport "
        "ImportKeyMaterial DeleteImportedKeyMaterial ReplicateKey UpdatePrimaryRegion",
    ),
    **_named(_ACCOUNT, "kms", "ListKeys ListAliases GenerateRandom"),
    "kms:GenerateRandom / of a key store": _STORE,
    "kms:ListAliases / of a key": Rule("account", EVERYTHING, missing=NOT_FOUND),
    "kms:DescribeKey / by a bare key ID": Rule("bare key", EVERYTHING, missing=NOT_FOUND),
    "kms:ListRetirableGrants": Rule("own principal", BY_ARN, missing="InvalidArnException"),
    **_named(_STORE, "kms", "CreateKey DescribeCustomKeyStores ConnectCustomKeyStore UpdateCustomKeyStore"),
    "kms:CreateKey / with tags": Rule("account", NAMED, missing=NO_STORE, needs=("kms:TagResource",)),
    "kms:DeleteCustomKeyStore": Rule("account", NAMED, missing=NO_STORE, ends=("CustomKeyStoreHasCMKsException",)),
    "kms:DisconnectCustomKeyStore": Rule(
        "account", NAMED, missing=NO_STORE, ends=(SUCCESS, "CustomKeyStoreInvalidStateException")
    ),
    "kms:CreateCustomKeyStore": Rule(
        "account", NAMED, missing="CloudHsmClusterNotFoundException", ends=("CloudHsmClusterInUseException",)
    ),
    **_named(_ACCOUNT, "cloudhsm", "DescribeClusters"),
    **_named(_OPEN, "sts", "GetCallerIdentity GetSessionToken"),
    **_named(_ACCOUNT, "sts", "GetAccessKeyInfo"),
    "sts:AssumeRole": Rule("role", EVERYTHING),
    **_named(
        _ACCOUNT,
        "iam",
        "CreateUser CreateGroup CreateRole CreatePolicy ListUsers ListGroups ListRoles ListPolicies "
        "GetAccountSummary ListAccountAliases GetAccountAuthorizationDetails "
        "SimulateCustomPolicy GetContextKeysForCustomPolicy",
    ),
    # Without a name these are about who calls, who needs the permission for it all the same.
    "iam:GetUser / without a name": _ACCOUNT,
    "iam:ListAccessKeys / without a name": _ACCOUNT,
    "iam:ChangePassword": Rule("account", NOTHING, root_ends=("InvalidUserTypeException",)),
    **_named(
        _ENTITY,
        "iam",
        "GetUser UpdateUser DeleteUser TagUser UntagUser ListUserTags ListGroupsForUser "
        "CreateLoginProfile GetLoginProfile UpdateLoginProfile DeleteLoginProfile "
        "CreateAccessKey ListAccessKeys UpdateAccessKey DeleteAccessKey GetAccessKeyLastUsed "
        "PutUserPolicy GetUserPolicy ListUserPolicies DeleteUserPolicy "
        "AttachUserPolicy DetachUserPolicy ListAttachedUserPolicies "
        "PutUserPermissionsBoundary DeleteUserPermissionsBoundary",
    ),
    **_named(
        _ENTITY,
        "iam",
        "GetGroup UpdateGroup DeleteGroup AddUserToGroup RemoveUserFromGroup "
        "PutGroupPolicy GetGroupPolicy ListGroupPolicies DeleteGroupPolicy "
        "AttachGroupPolicy DetachGroupPolicy ListAttachedGroupPolicies",
    ),
    **_named(
        _ENTITY,
        "iam",
        "GetRole UpdateRole UpdateRoleDescription UpdateAssumeRolePolicy DeleteRole TagRole UntagRole ListRoleTags "
        "ListInstanceProfilesForRole PutRolePolicy GetRolePolicy ListRolePolicies DeleteRolePolicy "
        "AttachRolePolicy DetachRolePolicy ListAttachedRolePolicies "
        "PutRolePermissionsBoundary DeleteRolePermissionsBoundary",
    ),
    **_named(
        _POLICY_ARN,
        "iam",
        "GetPolicy DeletePolicy ListEntitiesForPolicy TagPolicy UntagPolicy ListPolicyTags CreatePolicyVersion "
        "GetPolicyVersion ListPolicyVersions SetDefaultPolicyVersion DeletePolicyVersion",
    ),
    # An ARN of another account names no entity that these could be about.
    "iam:SimulatePrincipalPolicy": Rule("own arn", BY_ARN),
    "iam:GetContextKeysForPrincipalPolicy": Rule("own arn", BY_ARN),
}


def operation_of(row: str) -> str:
    """The operation "service:Operation" of a row."""
    return row.partition(" / ")[0]


@dataclass(frozen=True)
class Cell:
    """One caller, one request, one thing that it names."""

    row: str
    person: Person
    thing: Thing | None

    def __str__(self) -> str:
        return f"{self.row} by {self.person.name}" + (f" on {self.thing.name}" if self.thing else "")


def cells() -> Iterator[Cell]:
    """Every cell of the matrix."""
    for row, rule in RULES.items():
        for person in PEOPLE.values():
            for name in rule.things:
                yield Cell(row, person, THINGS[name] if name else None)


def expected(cell: Cell) -> tuple[str, ...]:
    """The codes that the answer may have; SUCCESS for one that is no error."""
    if cell.person.unknown:
        return (cell.person.unknown,)
    rule = RULES[cell.row]
    refusal = _refusal(cell, rule)
    if refusal:
        return (refusal,)
    return rule.root_ends if cell.person.is_root and rule.root_ends else rule.ends


def is_allowed(cell: Cell) -> bool:
    """Whether the call gets past authorization and finds what it names."""
    return not cell.person.unknown and not _refusal(cell, RULES[cell.row])


def _refusal(cell: Cell, rule: Rule) -> str:
    person, thing, action = cell.person, cell.thing, operation_of(cell.row)
    needed = (action, *rule.needs)
    match rule.kind:
        case "open":
            return ""
        case "account":
            return _of_account(person, thing, needed, rule.missing)
        case "own principal":
            if not all(map(person.may, needed)) or _is_of_another(person, thing):
                return DENIED
            return "" if thing and thing.exists else rule.missing
        case "own arn":
            if all(map(person.may, needed)) and _is_of_another(person, thing):
                return "InvalidInputException"
            return _of_account(person, thing, needed, rule.missing)
        case "bare key":
            if _is_of_another(person, thing):
                return rule.missing  # an id alone is looked up in the caller's own account
            return key_refusal(person, thing, action, crosses_accounts=True)
        case "alias":
            # Two permissions: on the alias, which has no policy of its own, and on the key.
            refusal = key_refusal(person, thing, action, crosses_accounts=False)
            return refusal if person.may(action) else DENIED
        case "alias by name":
            # Its name is looked up in the caller's own account, once they may do it to an alias of that name.
            if person.may(action) and (_is_of_another(person, thing) or not (thing and thing.exists)):
                return rule.missing
            return key_refusal(person, thing, action, crosses_accounts=False) if person.may(action) else DENIED
        case "role":
            return "" if may_assume(person, thing) else DENIED
        case "retirement":
            return _retirement(person, thing)
        case "ciphertext":
            return DENIED if key_refusal(person, thing, action, crosses_accounts=True) else ""
    return key_refusal(person, thing, action, crosses_accounts=rule.crosses_accounts)


def _is_of_another(person: Person, thing: Thing | None) -> bool:
    return thing is not None and thing.account != person.account


def _of_account(person: Person, thing: Thing | None, needed: tuple[str, ...], missing: str) -> str:
    """Only identity-based policies say it, and only things of the caller's own account are found."""
    if not all(map(person.may, needed)):
        return DENIED
    return "" if thing is None or (thing.exists and not _is_of_another(person, thing)) else missing


def key_refusal(person: Person, thing: Thing | None, action: str, *, crosses_accounts: bool) -> str:
    """Why the person may not do this with the key of the thing; "" if they may."""
    if thing is None:
        raise ValueError(f"{action} names a key")
    if not _is_of_another(person, thing):
        if not thing.exists:
            return NOT_FOUND
        return "" if _is_allowed_by(thing.key_policy, person, action) else DENIED
    if not thing.exists or not crosses_accounts:
        return DENIED
    return "" if _is_allowed_from_elsewhere(thing.key_policy, person, action) else DENIED


def _is_allowed_by(policy: tuple[Statement, ...], person: Person, action: str) -> bool:
    """In one account: the resource's policy names the caller, or leaves it to the account, which allows it."""
    about = [statement for statement in policy if statement.is_about(action)]
    if any(statement.names(person) for statement in about):
        return not person.must_not(action)
    return person.may(action) and any(statement.delegates_to(person) for statement in about)


def _is_allowed_from_elsewhere(policy: tuple[Statement, ...], person: Person, action: str) -> bool:
    """Between accounts: both sides have to allow it."""
    about = [statement for statement in policy if statement.is_about(action)]
    return person.may(action) and any(statement.names(person) or statement.delegates_to(person) for statement in about)


def is_let_in(cell: Cell) -> bool:
    """Whether the key's own policy lets the caller or their account do it: then it is no secret to them that it exists.

    They are told what their own account lacks instead.
    """
    if cell.thing is None or not cell.thing.exists or not RULES[cell.row].crosses_accounts:
        return False
    about = [statement for statement in cell.thing.key_policy if statement.is_about(operation_of(cell.row))]
    return any(statement.names(cell.person) or statement.delegates_to(cell.person) for statement in about)


def may_assume(person: Person, thing: Thing | None) -> bool:
    """Whether the role of the thing trusts the person, and their account lets them assume it where that is needed."""
    if person.is_root or thing is None or not thing.exists:
        return False  # https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html: root users can't
    allows = _is_allowed_from_elsewhere if _is_of_another(person, thing) else _is_allowed_by
    return allows(thing.trust, person, "sts:AssumeRole")


def _retirement(person: Person, thing: Thing | None) -> str:
    """Whom the grant names needs nothing else; others of the account that made it need an identity-based policy."""
    if thing is None:
        raise ValueError("a grant is on a key")
    if not thing.exists:
        return DENIED if _is_of_another(person, thing) else NOT_FOUND
    if person.name == RETIRES[thing.account]:
        return ""
    return "" if person.account == thing.account and person.may("kms:RetireGrant") else DENIED


# How the query services (STS, IAM) call the same.
# https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
QUERY_CODES = {
    DENIED: "AccessDenied",
    NO_ENTITY: "NoSuchEntity",
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "UnrecognizedClientException": "InvalidClientTokenId",
    "InvalidInputException": "InvalidInput",
    "InvalidUserTypeException": "InvalidUserType",
}


def codes_on_the_wire(cell: Cell) -> tuple[str, ...]:
    """`expected` as the service of the operation spells it."""
    codes = expected(cell)
    is_query = operation_of(cell.row).startswith(("iam:", "sts:"))
    return tuple(QUERY_CODES.get(code, code) for code in codes) if is_query else codes
