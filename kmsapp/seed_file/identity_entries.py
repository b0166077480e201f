"""The tables of members: accounts, managed policies, groups, users, roles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from kmsapp.policy.documents import Kind
from kmsapp.seed_file import texts
from kmsapp.seed_file.entries import Entry, OfAccount, member
from kmsapp.seed_file.kinds import Flag, ListOf, MapOf, Text, Whole
from kmsapp.seed_file.policy_text import Policy, PolicyKind
from kmsapp.seed_file.reading import EntryKind

_FIRST = "the first account"
_GENERATED = "generated"
_STATEMENT = "{Effect: Allow, Action: 'kms:List*', Resource: '*'}"
IDENTITY_POLICY = f"{{Version: 2012-10-17, Statement: [{_STATEMENT}]}}"
TRUST_POLICY = (
    "{Version: 2012-10-17, Statement: [{Effect: Allow, Principal: {AWS: 111122223333}, Action: 'sts:AssumeRole'}]}"
)
_MANAGED = ListOf(texts.POLICY, "a list of managed policies")
_INLINE = MapOf(texts.POLICY_NAME, PolicyKind(Kind.IDENTITY), "a mapping of policy names to policies")


def account() -> Any:
    """The field that says whose something is."""
    return member(
        texts.ACCOUNT_ID,
        "whose it is: the ID of one of `accounts`",
        example='"111122223333"',
        left_out=_FIRST,
        default="",
    )


def _path() -> Any:
    return member(texts.PATH, "the path in its ARN", example="/engineering/", left_out="/", default="/")


def _managed_policies() -> Any:
    return member(
        _MANAGED,
        "attached policies: names of `policies` or of AWS's own, or ARNs",
        example="[AdministratorAccess]",
        left_out="none",
        default=list,
    )


def _inline_policies() -> Any:
    return member(
        _INLINE, "inline policies by name", example=f"{{ListKeys: {IDENTITY_POLICY}}}", left_out="none", default=dict
    )


def _boundary() -> Any:
    return member(
        texts.POLICY, "the permissions boundary: a managed policy", example="PowerUserAccess", left_out="none"
    )


def _tags() -> Any:
    return member(texts.IAM_TAGS, "tags", example="{department: payments}", left_out="none", default=dict)


@dataclass(kw_only=True)
class AccessKey(Entry):
    noun: ClassVar[str] = "an access key"

    id: Text | None = member(texts.ACCESS_KEY_ID, "its ID", example="AKIAIOSFODNN7EXAMPLE", left_out=_GENERATED)
    secret: Text | None = member(
        texts.SECRET_ACCESS_KEY,
        "the secret access key",
        example="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        left_out=_GENERATED,
    )


def _access_keys() -> Any:
    return member(
        ListOf(EntryKind(AccessKey), "a list of access keys"),
        "access keys, at most two; `[{}]` is a generated one, `[]` none",
        example="[{id: AKIAIOSFODNN7EXAMPLE, secret: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY}]",
        left_out="one, generated",
    )


def _password() -> Any:
    return member(texts.PASSWORD, "the password for the console", example='"Correct-Horse-1"', left_out=_GENERATED)


@dataclass(kw_only=True)
class RootUser(Entry):
    noun: ClassVar[str] = "a root user"

    password: Text | None = _password()
    access_keys: list[AccessKey] | None = _access_keys()


@dataclass(kw_only=True)
class Account(Entry):
    noun: ClassVar[str] = "an account"

    id: Text = member(texts.ACCOUNT_ID, "the account ID", example='"111122223333"', required=True)
    name: str = member(texts.ACCOUNT_NAME, "what people call it", example="Example Corp.", left_out="none", default="")
    root_user: RootUser | None = member(
        EntryKind(RootUser),
        "how the root user, whom every account has, gets in",
        example='{password: "Correct-Horse-1"}',
        left_out="password and access key are generated",
    )

    @property
    def root(self) -> RootUser:
        """The root user, whom an account has whether or not the file says how they get in."""
        return self.root_user or RootUser(place=self.place.below("root_user"), places={})


@dataclass(kw_only=True)
class ManagedPolicy(OfAccount):
    noun: ClassVar[str] = "a managed policy"

    account: str = account()
    name: Text = member(texts.POLICY_NAME, "the policy name", example="ListKeys", required=True)
    path: str = _path()
    unique_id: Text | None = member(
        texts.POLICY_ID, "the unique ID", example="ANPAEXAMPLE7777777777", left_out=_GENERATED
    )
    description: str = member(
        texts.POLICY_DESCRIPTION, "the description", example="May look at keys", left_out="none", default=""
    )
    document: Policy | None = member(
        PolicyKind(Kind.IDENTITY), "the policy, its default version", example=IDENTITY_POLICY, required=True
    )
    tags: dict[Text, Text] = _tags()

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:policy{self.path}{self.name}"


@dataclass(kw_only=True)
class Group(OfAccount):
    noun: ClassVar[str] = "a group"

    account: str = account()
    name: Text = member(texts.GROUP_NAME, "the group name", example="KeyUsers", required=True)
    path: str = _path()
    unique_id: Text | None = member(
        texts.GROUP_ID, "the unique ID", example="AGPAKEYUSERS777777777", left_out=_GENERATED
    )
    managed_policies: list[Text] = _managed_policies()
    inline_policies: dict[Text, Policy] = _inline_policies()


@dataclass(kw_only=True)
class User(OfAccount):
    noun: ClassVar[str] = "a user"

    account: str = account()
    name: Text = member(texts.USER_NAME, "the user name", example="alice", required=True)
    path: str = _path()
    unique_id: Text | None = member(
        texts.USER_ID, "the unique ID", example="AIDAALICE777777777777", left_out=_GENERATED
    )
    console_access: bool = member(
        Flag(), "whether the user has a password", example="false", left_out="true", default=True
    )
    password: Text | None = _password()
    password_reset_required: bool = member(
        Flag(), "whether the first sign-in asks for another one", example="true", left_out="false", default=False
    )
    access_keys: list[AccessKey] | None = _access_keys()
    staff: bool = member(
        Flag(), "whether the user may open Django admin", example="true", left_out="false", default=False
    )
    groups: list[Text] = member(
        ListOf(texts.GROUP_NAME, "a list of group names"),
        "names of `groups` of the account",
        example="[KeyUsers]",
        left_out="none",
        default=list,
    )
    managed_policies: list[Text] = _managed_policies()
    inline_policies: dict[Text, Policy] = _inline_policies()
    permissions_boundary: Text | None = _boundary()
    tags: dict[Text, Text] = _tags()

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:user{self.path}{self.name}"


@dataclass(kw_only=True)
class Role(OfAccount):
    noun: ClassVar[str] = "a role"

    account: str = account()
    name: Text = member(texts.ROLE_NAME, "the role name", example="AuditorRole", required=True)
    path: str = _path()
    unique_id: Text | None = member(
        texts.ROLE_ID, "the unique ID", example="AROAAUDITORROLE777777", left_out=_GENERATED
    )
    description: str = member(
        texts.ROLE_DESCRIPTION, "the description", example="Reads, and changes nothing", left_out="none", default=""
    )
    trust_policy: Policy | None = member(
        PolicyKind(Kind.TRUST), "who may assume the role", example=TRUST_POLICY, required=True
    )
    max_session_duration: int = member(
        Whole("a whole number of seconds from 3600 to 43200", 3600, 43_200),
        "the longest session, in seconds",
        example="7200",
        left_out="3600",
        default=3600,
    )
    managed_policies: list[Text] = _managed_policies()
    inline_policies: dict[Text, Policy] = _inline_policies()
    permissions_boundary: Text | None = _boundary()
    tags: dict[Text, Text] = _tags()

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:role{self.path}{self.name}"


def access_keys_of(owner: User | RootUser) -> list[AccessKey]:
    """Those written, or one that is generated."""
    if owner.access_keys is not None:
        return owner.access_keys
    return [AccessKey(place=owner.place.below("access_keys[0]"), places={})]
