"""Somebody uses a key over connections to every web worker, until what allows it is taken away.

`KINDS` has the ways to take it away. Each makes a key and somebody who may use it, and says what revokes that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kmsapp.tests.bench.calls import Signer
from kmsapp.tests.wire_world import (
    ACCOUNT,
    DENIED,
    OTHER_ACCOUNT,
    User,
    World,
    allow,
    document,
    key_policy,
    new_name,
    to,
    where,
)

USE = ["kms:Encrypt", "kms:Decrypt"]
NOBODY = "UnrecognizedClientException"  # what a key that was switched off is answered, and one that never was


@dataclass(frozen=True)
class Revocable:
    """Somebody who may encrypt and decrypt with a key."""

    sign: Signer
    key_arn: str
    revoke: Callable[[], object]
    refused_as: str = DENIED  # what they are answered afterwards


def revocable(
    world: World, user: User, key_arn: str, revoke: Callable[[], object], *, refused_as: str = DENIED
) -> Revocable:
    sign = Signer(world.casemate.server.port, user.access_key_id, user.secret, token=user.token)
    return Revocable(sign, key_arn, revoke, refused_as)


# The ways to take it away


def put_key_policy(world: World) -> Revocable:
    user = world.user()
    arn = world.key(to(user.arn, USE))
    return revocable(
        world, user, arn, lambda: world.kms.put_key_policy(KeyId=arn, PolicyName="default", Policy=key_policy())
    )


def put_key_policy_with_a_deny(world: World) -> Revocable:
    user = world.user()
    arn = world.key(to(user.arn, USE))
    denial = key_policy(
        to(user.arn, USE), to("*", USE, effect="Deny", **where("StringEquals", "aws:username", user.name))
    )
    return revocable(world, user, arn, lambda: world.kms.put_key_policy(KeyId=arn, Policy=denial))


def deactivate_access_key(world: World) -> Revocable:
    user = world.user()

    def revoke() -> None:
        world.iam.update_access_key(UserName=user.name, AccessKeyId=user.access_key_id, Status="Inactive")

    return revocable(world, user, world.key(to(user.arn, USE)), revoke, refused_as=NOBODY)


def delete_access_key(world: World) -> Revocable:
    user = world.user()

    def revoke() -> None:
        world.iam.delete_access_key(UserName=user.name, AccessKeyId=user.access_key_id)

    return revocable(world, user, world.key(to(user.arn, USE)), revoke, refused_as=NOBODY)


def detach_user_policy(world: World) -> Revocable:
    user, arn = world.user(), world.key()
    policy = world.managed_policy(document(allow(USE, arn)))
    world.iam.attach_user_policy(UserName=user.name, PolicyArn=policy)
    return revocable(world, user, arn, lambda: world.iam.detach_user_policy(UserName=user.name, PolicyArn=policy))


def delete_user_policy(world: World) -> Revocable:
    user, arn = world.user(), world.key()
    world.iam.put_user_policy(UserName=user.name, PolicyName="use", PolicyDocument=document(allow(USE, arn)))
    return revocable(world, user, arn, lambda: world.iam.delete_user_policy(UserName=user.name, PolicyName="use"))


def put_user_policy_with_a_deny(world: World) -> Revocable:
    user = world.user()
    denial = document(allow(USE, effect="Deny"))
    return revocable(
        world,
        user,
        world.key(to(user.arn, USE)),
        lambda: world.iam.put_user_policy(UserName=user.name, PolicyName="deny", PolicyDocument=denial),
    )


def put_permissions_boundary(world: World) -> Revocable:
    user, arn = world.user(), world.key()
    world.iam.put_user_policy(UserName=user.name, PolicyName="use", PolicyDocument=document(allow(USE, arn)))
    boundary = world.managed_policy(document(allow("kms:DescribeKey")))
    return revocable(
        world,
        user,
        arn,
        lambda: world.iam.put_user_permissions_boundary(UserName=user.name, PermissionsBoundary=boundary),
    )


def set_default_policy_version(world: World) -> Revocable:
    user, arn = world.user(), world.key()
    policy = world.managed_policy(document(allow(USE, arn)))
    world.iam.attach_user_policy(UserName=user.name, PolicyArn=policy)
    world.iam.create_policy_version(PolicyArn=policy, PolicyDocument=document(allow(USE, arn + "-other")))
    return revocable(world, user, arn, lambda: world.iam.set_default_policy_version(PolicyArn=policy, VersionId="v2"))


def _in_group(world: World, user: User) -> str:
    name = new_name()
    world.iam.create_group(GroupName=name)
    world.iam.add_user_to_group(GroupName=name, UserName=user.name)
    return name


def remove_user_from_group(world: World) -> Revocable:
    user, arn = world.user(), world.key()
    group = _in_group(world, user)
    world.iam.put_group_policy(GroupName=group, PolicyName="use", PolicyDocument=document(allow(USE, arn)))
    return revocable(world, user, arn, lambda: world.iam.remove_user_from_group(GroupName=group, UserName=user.name))


def delete_group_policy(world: World) -> Revocable:
    user, arn = world.user(), world.key()
    group = _in_group(world, user)
    world.iam.put_group_policy(GroupName=group, PolicyName="use", PolicyDocument=document(allow(USE, arn)))
    return revocable(world, user, arn, lambda: world.iam.delete_group_policy(GroupName=group, PolicyName="use"))


def detach_group_policy(world: World) -> Revocable:
    user, arn = world.user(), world.key()
    group, policy = _in_group(world, user), world.managed_policy(document(allow(USE, arn)))
    world.iam.attach_group_policy(GroupName=group, PolicyArn=policy)
    return revocable(world, user, arn, lambda: world.iam.detach_group_policy(GroupName=group, PolicyArn=policy))


def untag_user(world: World) -> Revocable:
    user, arn = world.user(tags=[{"Key": "team", "Value": "payments"}]), world.key()
    of_team = allow(USE, arn, **where("StringEquals", "aws:PrincipalTag/team", "payments"))
    world.iam.put_user_policy(UserName=user.name, PolicyName="use", PolicyDocument=document(of_team))
    return revocable(world, user, arn, lambda: world.iam.untag_user(UserName=user.name, TagKeys=["team"]))


def change_tag_of_key(world: World) -> Revocable:
    user = world.user()
    of_team = to(user.arn, USE, **where("StringEquals", "aws:ResourceTag/team", "payments"))
    arn = world.key(of_team, Tags=[{"TagKey": "team", "TagValue": "payments"}])
    tags = [{"TagKey": "team", "TagValue": "none"}]
    return revocable(world, user, arn, lambda: world.kms.tag_resource(KeyId=arn, Tags=tags))


def _grant(world: World, user: User, arn: str, **params: Any) -> str:
    made = world.kms.create_grant(KeyId=arn, GranteePrincipal=user.arn, Operations=["Encrypt", "Decrypt"], **params)
    return str(made["GrantId"])


def revoke_grant(world: World) -> Revocable:
    user, arn = world.user(), world.key()
    grant = _grant(world, user, arn)
    return revocable(world, user, arn, lambda: world.kms.revoke_grant(KeyId=arn, GrantId=grant))


def retire_grant(world: World) -> Revocable:
    user, arn = world.user(), world.key()
    grant = _grant(world, user, arn, RetiringPrincipal=f"arn:aws:iam::{ACCOUNT}:user/alice")
    return revocable(world, user, arn, lambda: world.kms.retire_grant(KeyId=arn, GrantId=grant))


def delete_role(world: World) -> Revocable:
    name, role_arn = world.role()
    arn = world.key(to(role_arn, USE))
    return revocable(
        world, world.session(role_arn), arn, lambda: world.iam.delete_role(RoleName=name), refused_as=NOBODY
    )


def delete_role_policy(world: World) -> Revocable:
    (name, role_arn), arn = world.role(), world.key()
    world.iam.put_role_policy(RoleName=name, PolicyName="use", PolicyDocument=document(allow(USE, arn)))

    def revoke() -> None:
        world.iam.delete_role_policy(RoleName=name, PolicyName="use")

    return revocable(world, world.session(role_arn), arn, revoke, refused_as=DENIED)


def detach_role_policy(world: World) -> Revocable:
    (name, role_arn), arn = world.role(), world.key()
    policy = world.managed_policy(document(allow(USE, arn)))
    world.iam.attach_role_policy(RoleName=name, PolicyArn=policy)

    def revoke() -> None:
        world.iam.detach_role_policy(RoleName=name, PolicyArn=policy)

    return revocable(world, world.session(role_arn), arn, revoke, refused_as=DENIED)


def _of_other_account(world: World) -> tuple[User, str]:
    """A user of the other account, who may use a key of the first one: both sides say so."""
    user = world.user(iam=world.iam_of_other)
    arn = world.key(to(OTHER_ACCOUNT, USE))
    world.iam_of_other.put_user_policy(UserName=user.name, PolicyName="use", PolicyDocument=document(allow(USE, arn)))
    return user, arn


def put_key_policy_against_the_other_account(world: World) -> Revocable:
    user, arn = _of_other_account(world)
    return revocable(world, user, arn, lambda: world.kms.put_key_policy(KeyId=arn, Policy=key_policy()))


def delete_user_policy_in_the_other_account(world: World) -> Revocable:
    user, arn = _of_other_account(world)
    return revocable(
        world, user, arn, lambda: world.iam_of_other.delete_user_policy(UserName=user.name, PolicyName="use")
    )


def revoke_grant_to_the_other_account(world: World) -> Revocable:
    user, arn = world.user(iam=world.iam_of_other), world.key()
    world.iam_of_other.put_user_policy(UserName=user.name, PolicyName="use", PolicyDocument=document(allow(USE, arn)))
    grant = _grant(world, user, arn)
    return revocable(world, user, arn, lambda: world.kms.revoke_grant(KeyId=arn, GrantId=grant))


KINDS: dict[str, Callable[[World], Revocable]] = {
    kind.__name__.replace("_", " "): kind
    for kind in (
        put_key_policy,
        put_key_policy_with_a_deny,
        deactivate_access_key,
        delete_access_key,
        detach_user_policy,
        delete_user_policy,
        put_user_policy_with_a_deny,
        put_permissions_boundary,
        set_default_policy_version,
        remove_user_from_group,
        delete_group_policy,
        detach_group_policy,
        untag_user,
        change_tag_of_key,
        revoke_grant,
        retire_grant,
        delete_role,
        delete_role_policy,
        detach_role_policy,
        put_key_policy_against_the_other_account,
        delete_user_policy_in_the_other_account,
        revoke_grant_to_the_other_account,
    )
}
