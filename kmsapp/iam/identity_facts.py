"""What policies an identity has: read once per epoch of its account, compiled once per text."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hsmapp import epochs
from kmsapp.caller import Caller
from kmsapp.compiled_policies import compiled
from kmsapp.models import Group, InlinePolicy, ManagedPolicy, PolicyVersion, Role, TemporaryCredential, User
from kmsapp.policy.evaluation import Named


@dataclass(frozen=True)
class IdentityFacts:
    """A user, a role's session, or a root user, as policies see it."""

    policies: tuple[Named, ...] = ()  # managed and inline, of the identity and of its groups
    boundary: Named | None = None
    session: tuple[Named, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)  # of the identity, those of its session over them
    source_identity: str = ""
    session_began_at: datetime.datetime | None = None


NOBODY = IdentityFacts()  # without policies; also a root user's, who needs none
_facts: epochs.Cached[IdentityFacts] = epochs.Cached()


def of(caller: Caller) -> IdentityFacts:
    """The facts of whoever calls. An identity that is gone has no policies."""
    if caller.principal_type == "Root":
        return NOBODY
    return _facts.get(caller.account, (caller.identity_id, caller.session), lambda: _read(caller))


def of_identity(identity: User | Role) -> IdentityFacts:
    """The facts of a user or a role, without a session."""
    return IdentityFacts(
        policies=tuple(_policies(identity)), boundary=_boundary(identity), tags=dict(identity.tags or {})
    )


def _read(caller: Caller) -> IdentityFacts:
    identity: User | Role | None
    if caller.principal_type == "AssumedRole":
        identity = Role.objects.filter(role_id=caller.identity_id).first()
    else:
        identity = User.objects.filter(user_id=caller.identity_id, is_root=False).first()
    if identity is None:
        return NOBODY
    facts = of_identity(identity)
    session = TemporaryCredential.objects.filter(pk=caller.session).first() if caller.session else None
    if session is None:
        return facts
    return IdentityFacts(
        policies=facts.policies,
        boundary=facts.boundary,
        session=tuple(_named(each["name"], each["document"]) for each in session.session_policies),
        tags={**facts.tags, **session.tags},
        source_identity=session.source_identity,
        session_began_at=session.created_at,
    )


def _policies(identity: User | Role) -> Iterator[Named]:
    yield from _of_owner(identity)
    if isinstance(identity, User):
        for group in identity.groups.all():
            yield from _of_owner(group)


def _of_owner(owner: User | Role | Group) -> Iterator[Named]:
    inline: list[InlinePolicy] = list(owner.inline_policies.all())
    for policy in inline:
        yield _named(policy.name, policy.document)
    for managed in owner.managed_policies.all():
        yield _managed(managed)


def _boundary(identity: User | Role) -> Named | None:
    return _managed(identity.permissions_boundary) if identity.permissions_boundary is not None else None


def _managed(policy: ManagedPolicy) -> Named:
    document = PolicyVersion.objects.values_list("document", flat=True).get(policy=policy, is_default=True)
    return _named(policy.arn, document)


def _named(name: str, document: str) -> Named:
    return Named(name, compiled(document))
