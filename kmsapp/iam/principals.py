"""Who the ARNs of a policy's Principal are: noted by unique id when the policy is put, shown by ARN when it is read.

AWS keeps the unique id of a user or role in place of its ARN. So whoever was deleted stays in the policy as that id,
a namesake made later is not trusted, and one that was renamed still is. The same steps serve trust policies and key
policies: `resolve` what `named` finds when the policy is put, and keep what it gives beside the document; show what
`shown` makes of the two, and decide by what `in_force` makes of them.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kmsapp.models import Account, Role, User

_ACCOUNT_FORMS = ("{}", "arn:aws:iam::{}:root")  # AWS takes both and shows the second
_ACCOUNT = re.compile(r"(?:arn:aws:iam::)?([0-9]{12})(?::root)?\Z")
_IDENTITY = re.compile(r"arn:aws:iam::([0-9]{12}):(user|role)/(?:[!-~]*/)?([\w+=,.@-]+)\Z", re.ASCII)
# One exact session of a role; whether it was ever opened is not asked.
_SESSION = re.compile(r"arn:aws:sts::([0-9]{12}):assumed-role/([\w+=,.@-]+)/[\w+=,.@-]+\Z", re.ASCII)
_FEDERATED = re.compile(r"arn:aws:sts::[0-9]{12}:federated-user/[\w+=,.@-]+\Z", re.ASCII)


class UnknownPrincipalError(Exception):
    """A principal that does not exist, or is of a kind that can't be one (a group, a part of a name with a wildcard).

    principal: as it stands in the policy. The services say it in words of their own.
    """

    def __init__(self, principal: str):
        super().__init__(principal)
        self.principal = principal


def named(document_text: str) -> list[str]:
    """What stands under "AWS" in the Principal and NotPrincipal of a policy's statements, each once, in order.

    Raises: ValueError for a text that is no JSON.
    """
    found: dict[str, None] = {}
    for holder in _holders(json.loads(document_text)):
        found.update(dict.fromkeys(_as_list(holder["AWS"])))
    return list(found)


def resolve(arns: Iterable[str]) -> dict[str, str]:
    """The unique ids of accounts, users and roles: AIDA…, AROA…, or an account's 12 digits, by the form given.

    A role's session has the id of its role, so that the session of a namesake is another. "*" and federated users are
    taken as they are, and left out. Four queries, however many there are.
    Raises: UnknownPrincipalError for the first that does not exist.
    """
    wanted = [arn for arn in dict.fromkeys(arns) if arn != "*" and not _FEDERATED.match(arn)]
    known = _known_accounts(wanted) | _known_identities(wanted) | _known_sessions(wanted)
    for arn in wanted:
        if arn not in known:
            raise UnknownPrincipalError(arn)
    return {arn: known[arn] for arn in wanted}


def shown(document_text: str, recorded: Mapping[str, str], *, current: Mapping[str, str] | None = None) -> str:
    """The document as it is answered: each recorded principal by its ARN of now, or by its unique id if it is gone.

    recorded: what `resolve` gave when the document was written. Text that needs no change comes back as it was given.
    current: what `current_arns` gave for the unique ids of many documents; without it they are looked up.
    """
    if current is None:
        current = current_arns(recorded.values())
    now = {arn: _name_now(arn, unique_id, current, gone=unique_id) for arn, unique_id in recorded.items()}
    return _rewritten(document_text, now)


def in_force(document_text: str, recorded: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The document to decide by, and the unique ids of its principals by the ARNs that stand in it.

    Whoever was renamed stands there by the new ARN. Whoever is gone stays as it was, with an id that nobody has now: no
    caller matches it, not even a namesake, and the document keeps the form that was checked.
    """
    current = current_arns(recorded.values())
    now = {arn: _name_now(arn, unique_id, current, gone=arn) for arn, unique_id in recorded.items()}
    return _rewritten(document_text, now), {now[arn]: unique_id for arn, unique_id in recorded.items()}


def _name_now(arn: str, unique_id: str, current: Mapping[str, str], *, gone: str) -> str:
    if _SESSION.match(arn):
        return arn if unique_id in current else gone  # the id is its role's, whose ARN is another
    return current.get(unique_id, gone)


def _rewritten(document_text: str, now: Mapping[str, str]) -> str:
    """The document with other names of its principals, by those that they have in it."""
    changed = {arn: new for arn, new in now.items() if new != arn}
    if not changed:
        return document_text
    document = json.loads(document_text)
    for holder in _holders(document):
        holder["AWS"] = _replaced(holder["AWS"], changed)
    return json.dumps(document, indent=2 if "\n" in document_text else None, ensure_ascii=False)


def current_arns(unique_ids: Iterable[str]) -> dict[str, str]:
    """Unique id -> the ARN that it has now, of those that are there. An account is always there."""
    unique_ids = set(unique_ids)
    found = {unique_id: f"arn:aws:iam::{unique_id}:root" for unique_id in unique_ids if unique_id.isdigit()}
    if users := {unique_id for unique_id in unique_ids if unique_id.startswith("AIDA")}:
        found.update((user.user_id, user.arn) for user in User.objects.filter(user_id__in=users))
    if roles := {unique_id for unique_id in unique_ids if unique_id.startswith("AROA")}:
        found.update((role.role_id, role.arn) for role in Role.objects.filter(role_id__in=roles))
    return found


def _holders(document: Any) -> Iterator[dict[str, Any]]:
    """The objects of the document that have a member "AWS" with principals."""
    statements = document.get("Statement") if isinstance(document, dict) else None
    for statement in statements if isinstance(statements, list) else [statements]:
        for element in ("Principal", "NotPrincipal"):
            holder = statement.get(element) if isinstance(statement, dict) else None
            if isinstance(holder, dict) and "AWS" in holder:
                yield holder


def _as_list(value: Any) -> list[str]:
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]


def _replaced(value: Any, changed: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_replaced(item, changed) for item in value]
    return changed.get(value, value) if isinstance(value, str) else value


def _known_sessions(wanted: list[str]) -> dict[str, str]:
    """ARNs of roles' sessions -> unique id of the role, which need not have been assumed under that name yet."""
    asked = {arn: (match[1], match[2]) for arn in wanted if (match := _SESSION.match(arn))}
    if not asked:
        return {}
    accounts, names = ({part[index] for part in asked.values()} for index in (0, 1))
    roles = Role.objects.filter(account__in=accounts, name__in=names)
    ids = {(role.account_id, role.name): role.role_id for role in roles}
    return {arn: ids[role] for arn, role in asked.items() if role in ids}


def _known_accounts(wanted: list[str]) -> dict[str, str]:
    asked = {match[1] for arn in wanted if (match := _ACCOUNT.match(arn))}
    found = Account.objects.filter(pk__in=asked).values_list("pk", flat=True) if asked else ()
    return {form.format(account_id): account_id for account_id in found for form in _ACCOUNT_FORMS}


def _known_identities(wanted: list[str]) -> dict[str, str]:
    """User and role ARNs -> unique id. Names are compared as they are written, paths too."""
    asked = [match for arn in wanted if (match := _IDENTITY.match(arn))]
    accounts = {match[1] for match in asked}
    found: dict[str, str] = {}
    if user_names := {match[3] for match in asked if match[2] == "user"}:
        users = User.objects.filter(account__in=accounts, user_name__in=user_names, is_root=False)
        found.update((user.arn, user.user_id) for user in users)
    if role_names := {match[3] for match in asked if match[2] == "role"}:
        roles = Role.objects.filter(account__in=accounts, name__in=role_names)
        found.update((role.arn, role.role_id) for role in roles)
    return found
