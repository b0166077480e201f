"""The policies that a caller carries: those of the user or role and of its groups, its boundary, and the session's.

Read and compiled once, and kept for as long as the account's epoch stands. A stored document that does not parse, which
only a damaged row can be, denies everything: its Deny statements, whatever they were, must not be lost.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from hsmapp import epochs
from kmsapp.caller import Caller
from kmsapp.compiled_policies import compiled
from kmsapp.iam import policy_sources, sessions
from kmsapp.iam.policy_sources import Source
from kmsapp.models import Role, User
from kmsapp.policy.documents import Kind
from kmsapp.policy.errors import PolicyError
from kmsapp.policy.evaluation import Named

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Carried:
    """What a caller brings to every decision."""

    identity: tuple[Named, ...]
    boundary: Named | None
    session: tuple[Named, ...]
    tags: Mapping[str, str]  # aws:PrincipalTag: of the user or role, and of the session, which go first


_carried: epochs.Cached[Carried] = epochs.Cached()


def of(caller: Caller) -> Carried:
    """The policies and tags of the caller. A user or role that was deleted meanwhile carries none."""
    return _carried.get(caller.account, (caller.identity_id, caller.session), lambda: _read(caller))


def _read(caller: Caller) -> Carried:
    owner = _owner(caller)
    facts = sessions.facts(caller)
    session = tuple(named("session policy", document, Kind.SESSION) for document in facts.policies)
    if owner is None:
        return Carried((), None, session, facts.tags)
    identity = tuple(_compiled(source) for source in policy_sources.identity_sources(owner))
    boundary = policy_sources.boundary_source(owner)
    return Carried(identity, _compiled(boundary) if boundary else None, session, {**owner.tags, **facts.tags})


def _owner(caller: Caller) -> User | Role | None:
    if caller.principal_type == "AssumedRole":
        return Role.objects.filter(account_id=caller.account, role_id=caller.identity_id).first()
    return User.objects.filter(account_id=caller.account, user_id=caller.identity_id).first()


def _compiled(source: Source) -> Named:
    return named(source.name, source.document, Kind.IDENTITY)


def named(name: str, document: str, kind: Kind) -> Named:
    """The document compiled; one that denies everything in place of one that does not parse."""
    try:
        return Named(name, compiled(document, kind))
    except PolicyError:
        logger.exception("the %s %r does not parse: it denies everything", kind.value, name)
        return Named(name, compiled(sessions.DENY_ALL, kind))
