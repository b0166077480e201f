"""Who gets which answer from which address: the access matrix of the console and of Django admin, as data.

People, keys and roles are those of the wire's matrix. Nothing of the product is imported here either: what an address
needs is the permissions of the operations that its page is about, as AWS's console needs them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from kmsapp.tests.access_matrix_rules import (
    DENIED,
    EVERYTHING,
    NAMED,
    NOTHING,
    OURS,
    PEOPLE,
    THINGS,
    Person,
    Thing,
    key_refusal,
    may_assume,
)

# What an answer is. Refusals come as a page of their own, or as the form again with AWS's sentence in it.
PAGE, DONE = "page", "done"  # 200; 302 to where it goes on
SIGN_IN = "sign-in"  # 302 to the sign-in page
REFUSED, MISSING = "denied", "missing"  # 403; 404
NO_METHOD, NO_TOKEN = "method", "token"  # 405; 403 for want of a CSRF token
CORRECT = "correct"  # 4xx: the form again, with what its fields or the state of things need. Only an allowed caller's.

# Who has signed in to the console, and three who have not: by no session, by one that has ended, by no CSRF token.
SIGNED_IN = (
    *("nobody", "staff", "key user", "key administrator", "administrator", "root"),
    *("other nobody", "other denied", "other administrator", "other root"),
)
CALLERS = ("anonymous", "disabled", "no token", *SIGNED_IN)


@dataclass(frozen=True)
class Asks:
    """What one method of an address needs."""

    kind: str = "signed in"  # or: public, iam, part, draft, key, key there, role, staff, never, row
    needs: tuple[str, ...] = ()  # permissions
    then: tuple[str, ...] = (PAGE,)  # what an allowed caller gets
    finds: bool = True  # whether what the address names must be there, in the caller's account
    stranger: str = SIGN_IN  # what somebody gets who has not signed in
    needs_token: bool = True  # a CSRF token, to post
    after: tuple[str, ...] = ()  # permissions that are asked for when it has been found


@dataclass(frozen=True)
class Address:
    """An address, and what a form posts to it."""

    args: dict[str, str] = field(default_factory=dict)  # of the URL -> kind of what a thing has
    get: Asks | None = None
    post: Asks | None = None
    query: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str | list[str]] = field(default_factory=dict)  # "<kind>": what the thing has
    things: tuple[str, ...] = NOTHING


_PUBLIC, _PUBLIC_DONE = Asks("public"), Asks("public", then=(DONE,))
_PAGE, _DO = Asks(), Asks(then=(DONE,))
_LOOKUPS = ("kms:DescribeCustomKeyStores", "cloudhsm:DescribeClusters")
_CONFIRM: dict[str, str | list[str]] = {"confirm": "<user>"}  # users, roles and groups of a thing have one name


def _iam(*needs: str, then: tuple[str, ...] = (PAGE,), finds: bool = True) -> Asks:
    return Asks("iam", needs, then, finds)


def _does(*needs: str, then: tuple[str, ...] = (DONE,)) -> Asks:
    return _iam(*needs, then=then)


def _store(action: str, then: tuple[str, ...] = (DONE,)) -> Asks:
    """The page finds the store first, among those that the person may list."""
    return Asks("iam", _LOOKUPS, then, after=(f"kms:{action}CustomKeyStore",))


def _key(*needs: str, then: tuple[str, ...] = (PAGE,)) -> Asks:
    return Asks("key", needs, then)


_SHELL = {
    "healthz": Address(get=_PUBLIC),
    # Only a server that was started for tests has it, with a token that nobody here knows.
    "reset": Address(get=Asks("public", then=(MISSING,)), post=Asks("public", then=(MISSING,), needs_token=False)),
    "favicon": Address(get=_PUBLIC_DONE),
    "console:home": Address(get=_PUBLIC_DONE, post=_PUBLIC_DONE),
    "console:sign-in": Address(get=_PUBLIC, post=Asks("public", then=(CORRECT,))),
    "console:sign-in-root": Address(get=_PUBLIC, post=Asks("public", then=(CORRECT,))),
    "console:sign-out": Address(post=Asks("public", then=(SIGN_IN,))),
    "console:help": Address(get=_PUBLIC),
    "console:help-topic": Address({"slug": "=permissions"}, get=_PUBLIC),
    "console:theme": Address(post=_PUBLIC_DONE, fields={"theme": "dark"}),
    "console:navigation": Address(post=_PUBLIC_DONE),
    "console:region": Address(post=_DO),
    "console:password-change": Address(get=_PAGE, post=Asks(then=(CORRECT,))),
    "console:role-switch": Address(
        get=_PAGE,
        post=Asks("role", ("sts:AssumeRole",), then=(DONE,)),
        fields={"account": "<account>", "role": "<assumed role>"},
        things=EVERYTHING,
    ),
    "console:role-switch-back": Address(post=_DO),
}

_KEY_ARGS, _STORE_ARGS, _DRAFT = {"key_id": "key id"}, {"store_id": "store"}, {"draft_id": "draft"}
_DRAFTS = ("own draft", "somebody's draft", "no draft")
_KEYS = {
    "console:keys": Address(get=_iam("kms:ListKeys")),
    "console:keys-preferences": Address(get=_PAGE, post=_DO, fields={"page_size": "10"}),
    "console:key": Address(_KEY_ARGS, get=_key("kms:DescribeKey"), things=EVERYTHING),
    "console:key-policy-edit": Address(
        _KEY_ARGS,
        get=_key("kms:GetKeyPolicy"),
        post=_key("kms:PutKeyPolicy", then=(DONE,)),
        fields={"policy": "<key policy>"},
        things=EVERYTHING,
    ),
    # The key is not pending deletion.
    "console:key-deletion-cancel": Address(
        _KEY_ARGS,
        get=_key("kms:DescribeKey"),
        post=_key("kms:CancelKeyDeletion", then=(CORRECT,)),
        things=EVERYTHING,
    ),
    "console:key-deletion-confirm": Address(
        _KEY_ARGS,
        get=_key("kms:DescribeKey"),
        post=_key("kms:ScheduleKeyDeletion", then=(CORRECT,)),
        fields={"confirm": "<key id>"},
        things=EVERYTHING,
    ),
    "console:key-simulator": Address(_KEY_ARGS, get=Asks("key there"), things=EVERYTHING),
    "console:key-simulator / asked": Address(
        _KEY_ARGS,
        get=Asks("key", ("kms:GetKeyPolicy", "iam:SimulatePrincipalPolicy")),
        query={"principal": "<user arn>", "action": "kms:Decrypt", "ask": "1"},
        things=EVERYTHING,
    ),
    "console:create-key": Address(
        get=_PAGE,
        post=_DO,
        fields={
            "key_type": "symmetric",
            "key_usage": "ENCRYPT_DECRYPT",
            "origin": "AWS_CLOUDHSM",
            "regionality": "single",
        },
    ),
    "console:create-key-alias-check": Address(get=_PAGE, query={"alias": "free"}),
    "console:create-key-policy-check": Address(post=_PAGE, fields={"policy": "{}"}),
    "console:create-key-cancel": Address(_DRAFT, get=Asks("draft"), post=Asks("draft", then=(DONE,)), things=_DRAFTS),
    "console:create-key-progress": Address(_DRAFT, get=Asks("draft", then=(DONE,)), things=_DRAFTS),
    "console:create-key-progress-check": Address(_DRAFT, get=Asks("draft"), things=_DRAFTS),
    "console:create-key-store-table": Address(_DRAFT, get=Asks("draft", _LOOKUPS), things=_DRAFTS),
    "console:create-key-store-create": Address(
        _DRAFT,
        get=Asks("draft", _LOOKUPS),
        post=Asks("draft", ("kms:CreateCustomKeyStore",), then=(CORRECT,)),
        fields={"name": "New", "cluster": "<cluster>", "password": "kmsPswd1", "certificate": "<certificate>"},
        things=_DRAFTS,
    ),
    "console:create-key-store-edit": Address(
        {**_DRAFT, "store_id": "store"},
        get=Asks("draft", _LOOKUPS),
        post=Asks("draft", (*_LOOKUPS, "kms:UpdateCustomKeyStore"), then=(DONE,)),
        fields={"name": "Renamed", "cluster": "<cluster>"},
        things=_DRAFTS,
    ),
    "console:create-key-step": Address(
        {**_DRAFT, "slug": "=labels"},
        get=Asks("draft"),
        post=Asks("draft", then=(DONE,)),
        things=_DRAFTS,
        fields={"alias": "free"},
    ),
    "console:create-key-step / key store": Address(
        {**_DRAFT, "slug": "=key-store"},
        get=Asks("draft", _LOOKUPS),
        post=Asks("draft", _LOOKUPS, then=(DONE, CORRECT)),
        fields={"custom_key_store_id": "<store>"},
        things=_DRAFTS,
    ),
    # The store is disconnected: what an allowed Finish is told.
    "console:create-key-step / review": Address(
        {**_DRAFT, "slug": "=review"},
        get=Asks("draft", _LOOKUPS),
        post=Asks("draft", ("kms:CreateKey", "kms:CreateAlias", *_LOOKUPS), then=(CORRECT,)),
        fields={"go": "finish"},
        things=_DRAFTS,
    ),
}

_STORES = {
    "console:key-stores": Address(get=_iam(*_LOOKUPS)),
    "console:key-stores-table": Address(get=_iam(*_LOOKUPS)),
    "console:key-stores-choose": Address(
        get=_iam(*_LOOKUPS, then=(DONE,), finds=False), query={"store": "<store>", "action": "connect"}, things=NAMED
    ),
    "console:key-store-create": Address(
        get=_iam(*_LOOKUPS, finds=False),
        post=_iam("kms:CreateCustomKeyStore", then=(CORRECT,), finds=False),
        fields={"name": "New", "cluster": "<cluster>", "password": "kmsPswd1", "certificate": "<certificate>"},
        things=NAMED,
    ),
    "console:key-store": Address(_STORE_ARGS, get=_iam(*_LOOKUPS), things=NAMED),
    "console:key-store-state": Address(_STORE_ARGS, get=_iam(*_LOOKUPS), things=NAMED),
    "console:key-store-connect": Address(_STORE_ARGS, get=_iam(*_LOOKUPS), post=_store("Connect"), things=NAMED),
    "console:key-store-disconnect": Address(
        _STORE_ARGS,
        get=_iam(*_LOOKUPS),
        post=_store("Disconnect", then=(CORRECT,)),  # it is disconnected
        things=NAMED,
    ),
    "console:key-store-edit": Address(
        _STORE_ARGS,
        get=_iam(*_LOOKUPS),
        post=_store("Update"),
        fields={"name": "Renamed", "cluster": "<cluster>"},
        things=NAMED,
    ),
    "console:key-store-delete": Address(
        _STORE_ARGS,
        get=_iam(*_LOOKUPS),
        post=_store("Delete", then=(CORRECT,)),  # it has keys
        fields={"confirm": "confirm"},
        things=NAMED,
    ),
    "console:clusters": Address(get=_iam("cloudhsm:DescribeClusters")),
    "console:cluster": Address(
        {"cluster_id": "cluster"},
        get=Asks("iam", ("cloudhsm:DescribeClusters",), after=("kms:DescribeCustomKeyStores",)),
        things=NAMED,
    ),
}


def _of_name(**more: str) -> dict[str, str]:
    return {"name": "user", **more}


_ACCESS_KEY = _of_name(access_key_id="access key")
_PASSWORDS: dict[str, str | list[str]] = {"password": "Correct-Horse-7", "password_again": "Correct-Horse-7"}
_IDENTITIES = {
    "console:users": Address(get=_iam("iam:ListUsers")),
    "console:roles": Address(get=_iam("iam:ListRoles")),
    "console:groups": Address(get=_iam("iam:ListGroups")),
    "console:policies": Address(get=_iam("iam:ListPolicies")),
    "console:user-create": Address(get=_PAGE, post=_does("iam:CreateUser"), fields={"name": "brand-new"}),
    "console:role-create": Address(
        get=_PAGE,
        post=_does("iam:CreateRole"),
        fields={"name": "brand-new", "trust": "account", "max_session": "3600"},
    ),
    "console:group-create": Address(get=_PAGE, post=_does("iam:CreateGroup"), fields={"name": "brand-new"}),
    "console:policy-create": Address(
        get=_PAGE, post=_does("iam:CreatePolicy"), fields={"name": "brand-new", "policy": "<document>"}
    ),
    "console:policy-check": Address({"grammar": "=IDENTITY"}, post=_PAGE, fields={"policy": "{}"}),
    "console:user": Address(_of_name(), get=_iam("iam:GetUser"), things=NAMED),
    "console:role": Address(_of_name(), get=_iam("iam:GetRole"), things=NAMED),
    "console:group": Address(_of_name(), get=_iam("iam:GetGroup"), things=NAMED),
    "console:access-key-create": Address(
        _of_name(), get=_PAGE, post=_does("iam:CreateAccessKey", then=(PAGE,)), things=NAMED
    ),
    "console:access-key-activate": Address(_ACCESS_KEY, get=_PAGE, post=_does("iam:UpdateAccessKey"), things=NAMED),
    "console:access-key-deactivate": Address(_ACCESS_KEY, get=_PAGE, post=_does("iam:UpdateAccessKey"), things=NAMED),
    "console:access-key-delete": Address(
        _ACCESS_KEY, get=_PAGE, post=_does("iam:DeleteAccessKey"), fields={"confirm": "<access key>"}, things=NAMED
    ),
    "console:user-password": Address(
        _of_name(), get=_PAGE, post=_does("iam:UpdateLoginProfile"), fields=_PASSWORDS, things=NAMED
    ),
    "console:user-password-remove": Address(_of_name(), get=_PAGE, post=_does("iam:DeleteLoginProfile"), things=NAMED),
    "console:user-disable": Address(_of_name(), get=_PAGE, post=_does("iam:UpdateUser"), things=NAMED),
    "console:user-enable": Address(_of_name(), get=_PAGE, post=_does("iam:UpdateUser"), things=NAMED),
    "console:user-groups-add": Address(
        _of_name(),
        get=Asks("part", ("iam:ListGroupsForUser",)),
        post=_does("iam:AddUserToGroup"),
        fields={"chosen": "<group>"},
        things=NAMED,
    ),
    "console:group-users-add": Address(
        _of_name(),
        get=Asks("part", ("iam:GetGroup",)),
        post=_does("iam:AddUserToGroup"),
        fields={"chosen": "<user>"},
        things=NAMED,
    ),
    "console:user-group-remove": Address(
        _of_name(group="group"), get=_PAGE, post=_does("iam:RemoveUserFromGroup"), things=NAMED
    ),
    "console:group-user-remove": Address(
        _of_name(user="user"), get=_PAGE, post=_does("iam:RemoveUserFromGroup"), things=NAMED
    ),
    "console:role-trust": Address(
        _of_name(),
        get=_iam("iam:GetRole"),
        post=_does("iam:UpdateAssumeRolePolicy"),
        fields={"policy": "<trust>"},
        things=NAMED,
    ),
    "console:role-edit": Address(
        _of_name(),
        get=_iam("iam:GetRole"),
        post=_does("iam:UpdateRole"),
        fields={"description": "", "max_session": "3600"},
        things=NAMED,
    ),
}


def _each(kinds: str, row: str, what: str, **more: object) -> dict[str, Address]:
    """One address for users, roles and groups alike: "{}" in what is needed is User, Role or Group."""
    args: dict[str, str] = more.pop("args", {})  # type: ignore[assignment]
    get: Asks | None = more.pop("get", _PAGE)  # type: ignore[assignment]
    then: tuple[str, ...] = more.pop("then", (DONE,))  # type: ignore[assignment]
    found: dict[str, Address] = {}
    for title in kinds.split():
        asked = Asks(get.kind, tuple(need.format(title) for need in get.needs)) if get else None
        address = Address(
            {"slug": f"={title.lower()}s", "name": "user", **args},
            get=asked,
            post=_does(*(need.format(title) for need in what.split()), then=then),
            things=NAMED,
            **more,  # type: ignore[arg-type]
        )
        found[f"console:{row} / {title.lower()}"] = address
    return found


_ALL, _TAGGED = "User Role Group", "User Role"
_EACH = {
    # The page lists what goes with it, and the post takes that away.
    **_each("User", "identity-delete", "iam:DeleteUser", get=Asks("part", ("iam:ListAccessKeys",)), fields=_CONFIRM),
    **_each("Role", "identity-delete", "iam:DeleteRole", get=Asks("part", ("iam:ListRolePolicies",)), fields=_CONFIRM),
    **_each("Group", "identity-delete", "iam:DeleteGroup", get=Asks("part", ("iam:GetGroup",)), fields=_CONFIRM),
    **_each("User Group", "identity-edit", "iam:Update{}", get=_iam("iam:Get{}"), fields={"name": "renamed"}),
    **_each(
        _TAGGED,
        "identity-tags",
        "iam:Get{} iam:Tag{}",
        get=_iam("iam:Get{}"),
        fields={"tag_key": "matrix", "tag_value": "yes"},
    ),
    **_each(_ALL, "identity-attach", "iam:Attach{}Policy", fields={"policy": "<policy>"}),
    **_each(_ALL, "identity-detach", "iam:Detach{}Policy", query={"policy": "<attached policy>"}),
    **_each(_TAGGED, "identity-boundary", "iam:Put{}PermissionsBoundary", fields={"policy": "<policy>"}),
    **_each(_TAGGED, "identity-boundary-remove", "iam:Delete{}PermissionsBoundary"),
    **_each(_ALL, "identity-inline-create", "iam:Put{}Policy", fields={"policy_name": "fresh", "policy": "<document>"}),
    **_each(
        _ALL,
        "identity-inline",
        "iam:Put{}Policy",
        get=_iam("iam:Get{}Policy"),
        args={"policy_name": "=inline"},
        fields={"policy": "<document>"},
    ),
    **_each(
        _ALL,
        "identity-inline-delete",
        "iam:Delete{}Policy",
        args={"policy_name": "=inline"},
        fields={"confirm": "inline"},
    ),
}

_ARN, _VERSION = {"arn": "policy"}, {"arn": "policy", "version": "=v2"}
_POLICIES = {
    "console:policy": Address(_ARN, get=_iam("iam:GetPolicy"), things=EVERYTHING),
    "console:policy-edit": Address(
        _ARN,
        get=_iam("iam:GetPolicy", "iam:GetPolicyVersion"),
        post=_does("iam:CreatePolicyVersion"),
        fields={"policy": "<document>"},
        things=EVERYTHING,
    ),
    "console:policy-delete": Address(
        {"arn": "loose policy"},
        get=Asks("part", ("iam:ListEntitiesForPolicy",)),
        post=_does("iam:DeletePolicy"),
        fields={"confirm": "<loose policy name>"},
        things=EVERYTHING,
    ),
    "console:policy-tags": Address(
        _ARN,
        get=_iam("iam:GetPolicy"),
        post=_does("iam:GetPolicy", "iam:TagPolicy"),
        fields={"tag_key": "matrix", "tag_value": "yes"},
        things=EVERYTHING,
    ),
    "console:policy-version-default": Address(
        _VERSION, get=_PAGE, post=_does("iam:SetDefaultPolicyVersion"), things=EVERYTHING
    ),
    "console:policy-version-delete": Address(
        _VERSION,
        get=_PAGE,
        post=_does("iam:DeletePolicyVersion"),
        fields={"confirm": "<policy name>"},
        things=EVERYTHING,
    ),
}

# Django admin: staff look at rows of their own account and change nothing.
_STAFF, _NEVER, _ROW = Asks("staff"), Asks("never"), Asks("row")
_SITE = {
    "admin:index": Address(get=_STAFF, post=_STAFF),
    "admin:login": Address(get=Asks("staff", then=(DONE,)), post=Asks("staff", then=(DONE,))),
    "admin:logout": Address(get=Asks("public", then=(NO_METHOD,)), post=Asks("public", then=(SIGN_IN,))),
    "admin:jsi18n": Address(get=_STAFF),
    "admin:autocomplete": Address(
        get=_STAFF, query={"app_label": "kmsapp", "model_name": "alias", "field_name": "key", "term": ""}
    ),
    "admin:autocomplete / a secret": Address(
        get=_NEVER, query={"app_label": "kmsapp", "model_name": "user", "field_name": "password", "term": ""}
    ),
    "admin:app_list": Address({"app_label": "=kmsapp"}, get=_STAFF, post=_STAFF),
    "admin:(nothing)": Address({"url": "=no/such/page"}, get=Asks("staff", then=(MISSING,))),
}
_MODEL = {
    "changelist": Address(get=_STAFF, post=Asks("staff", then=(DONE, PAGE))),
    # Neither actions nor lookups past what the page offers.
    **{
        f"changelist / {action}": Address(
            post=Asks("staff", then=(DONE, PAGE)),
            fields={"action": action, "_selected_action": "<row>", "confirmed": "yes", "confirm": "confirm"},
            things=NAMED,
        )
        for action in ("connect", "disconnect", "delete_selected")
    },
    "changelist / by a password": Address(get=_NEVER, query={"user__password__startswith": "argon2"}),
    "changelist / by another account": Address(
        get=_NEVER, query={"account__account_id__exact": "<account>"}, things=("foreign",)
    ),
    "add": Address(get=_NEVER, post=_NEVER),
    "change": Address(
        {"object_id": "row"}, get=_ROW, post=Asks("row", then=(REFUSED,)), things=NAMED, fields={"state": "Disabled"}
    ),
    "delete": Address(
        {"object_id": "row"},
        get=Asks("row", then=(REFUSED,)),
        post=Asks("row", then=(REFUSED,)),
        things=NAMED,
        fields={"post": "yes"},
    ),
    "history": Address({"object_id": "row"}, get=_ROW, post=_ROW, things=NAMED),
    "(short)": Address(
        {"object_id": "row"}, get=Asks("staff", then=(DONE,)), post=Asks("staff", then=(DONE,)), things=NAMED
    ),
}

ADDRESSES = {**_SHELL, **_KEYS, **_STORES, **_IDENTITIES, **_EACH, **_POLICIES, **_SITE}


def with_models(models: list[str]) -> dict[str, Address]:
    """The table with the pages of each model of Django admin, "app_model"."""
    pages = {f"admin:{model}_{row}": address for model in models for row, address in _MODEL.items()}
    return {**ADDRESSES, **pages}


def name_of(row: str) -> str:
    """The name of the address, as the URL configuration has it."""
    return row.partition(" / ")[0]


@dataclass(frozen=True)
class Cell:
    row: str
    method: str
    caller: str
    thing: str  # "": the address names nothing

    def __str__(self) -> str:
        return f"{self.method} {self.row} by {self.caller}" + (f" on {self.thing}" if self.thing else "")


def cells(table: dict[str, Address]) -> Iterator[Cell]:
    """Every cell, but for what tells nothing more: who gets no further than the door, whatever they ask for."""
    for row, address in table.items():
        for method in ("GET", "POST"):
            for caller in CALLERS:
                if caller == "no token" and method == "GET":
                    continue
                for thing in _things(row, address, method, caller):
                    yield Cell(row, method, caller, thing)


def _things(row: str, address: Address, method: str, caller: str) -> tuple[str, ...]:
    is_in_admin, has_method = row.startswith("admin:"), address.get if method == "GET" else address.post
    if caller == "no token" or not (has_method or is_in_admin):
        return address.things[:1]
    if not is_in_admin or caller in ("anonymous", "staff"):
        return address.things
    return () if name_of(row) != row else address.things[:1]


def expected(cell: Cell, address: Address) -> tuple[str, ...]:
    """What the answer may be."""
    asks = address.get if cell.method == "GET" else address.post
    if cell.caller == "no token" and asks and not asks.needs_token:
        return asks.then
    if cell.caller == "no token":
        return (NO_TOKEN,) if asks or name_of(cell.row).startswith("admin:") else (NO_TOKEN, NO_METHOD)
    if asks is None:
        return _without_method(cell)
    if asks.kind == "public":
        return asks.then
    if cell.caller in ("anonymous", "disabled"):
        return (asks.stranger,)
    if asks.kind in ("staff", "never", "row"):
        return _in_admin(cell, asks)
    refusal = _refusal(PEOPLE[cell.caller], asks, cell.thing)
    return (refusal,) if refusal else asks.then


def _without_method(cell: Cell) -> tuple[str, ...]:
    if not name_of(cell.row).startswith("admin:"):
        return (NO_METHOD,)
    if cell.caller in ("anonymous", "disabled"):
        return (SIGN_IN, NO_METHOD)
    return (REFUSED, NO_METHOD, MISSING, PAGE, CORRECT) if cell.caller == "staff" else (REFUSED, NO_METHOD)


def _in_admin(cell: Cell, asks: Asks) -> tuple[str, ...]:
    if cell.caller != "staff" or asks.kind == "never":
        return (REFUSED,) if cell.caller != "staff" else (REFUSED, MISSING, CORRECT, DONE)
    thing = THINGS[cell.thing] if cell.thing else None
    if asks.kind == "row" and thing and not (thing.exists and thing.account == OURS):
        return (MISSING,)
    return asks.then


def _refusal(person: Person, asks: Asks, name: str) -> str:
    thing = THINGS.get(name)
    match asks.kind:
        case "draft":
            if name != "own draft":
                return MISSING
            return "" if all(map(person.may, asks.needs)) else REFUSED
        case "role":
            # Root users assume no roles, whatever the role.
            return "" if may_assume(person, thing) and not person.is_root else REFUSED
        case "key there":
            return "" if thing and thing.exists and thing.account == person.account else MISSING
        case "key":
            return _of_key(person, asks.needs, thing)
        case "part":
            # What the page leaves out for others is what tells that nothing of the name is there.
            is_there = thing is None or (thing.exists and thing.account == person.account)
            return MISSING if all(map(person.may, asks.needs)) and not is_there else ""
        case "iam":
            if not all(map(person.may, asks.needs)):
                return REFUSED
            is_there = thing is None or (thing.exists and thing.account == person.account)
            if asks.finds and not is_there:
                return MISSING
            return "" if all(map(person.may, asks.after)) else REFUSED
    return ""


def _of_key(person: Person, needs: tuple[str, ...], thing: Thing | None) -> str:
    """By its bare id, which is of the account that the person acts in. needs: of the key, then of the account."""
    if thing is None or thing.account != person.account:
        return MISSING
    refusal = key_refusal(person, thing, needs[0], crosses_accounts=False)
    if refusal:
        return REFUSED if refusal == DENIED else MISSING
    return "" if all(map(person.may, needs[1:])) else REFUSED
