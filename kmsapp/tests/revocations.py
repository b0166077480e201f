"""Somebody uses a key over connections to every web worker, until what allows it is taken away.

`KINDS` has the ways to take it away. Each makes a key and somebody who may use it, and says what revokes that.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from kmsapp.testing import Casemate
from kmsapp.tests.bench.calls import Signer

STORE = "cks-1234567890abcdef0"
ACCOUNT, OTHER_ACCOUNT = "111122223333", "444455556666"
ACTIONS = ["kms:Encrypt", "kms:Decrypt"]
DENIED = "AccessDeniedException"
NOBODY = "UnrecognizedClientException"  # what a key that was switched off is answered, and one that never was


@dataclass(frozen=True)
class Revocable:
    """Somebody who may encrypt and decrypt with a key."""

    sign: Signer
    key_arn: str
    revoke: Callable[[], object]
    refused_as: str = DENIED  # what they are answered afterwards


@dataclass(frozen=True)
class User:
    name: str
    arn: str
    access_key_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class World:
    """Makes identities and keys over the wire. alice administers the first account, its root user the other one."""

    casemate: Casemate
    kms: Any
    iam: Any
    iam_of_other: Any

    @classmethod
    def of(cls, casemate: Casemate) -> World:
        other = casemate.boto3("iam", person=f"root of {OTHER_ACCOUNT}")
        return cls(casemate, casemate.boto3("kms"), casemate.boto3("iam"), other)

    def user(self, *, iam: Any = None, tags: Iterable[dict[str, str]] = ()) -> User:
        iam, name = iam or self.iam, _new_name()
        made = iam.create_user(UserName=name, Tags=list(tags))["User"]
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return User(name, made["Arn"], key["AccessKeyId"], key["SecretAccessKey"])

    def key(self, *statements: dict[str, Any], **params: Any) -> str:
        """A key of the first account, whose policy leaves it to IAM, with further statements; its ARN."""
        made = self.kms.create_key(
            Origin="AWS_CLOUDHSM", CustomKeyStoreId=STORE, Policy=key_policy(*statements), **params
        )
        return str(made["KeyMetadata"]["Arn"])

    def managed_policy(self, document: str) -> str:
        made = self.iam.create_policy(PolicyName=_new_name(), PolicyDocument=document)
        return str(made["Policy"]["Arn"])

    def revocable(
        self, user: User, key_arn: str, revoke: Callable[[], object], *, refused_as: str = DENIED
    ) -> Revocable:
        sign = Signer(self.casemate.server.port, user.access_key_id, user.secret)
        return Revocable(sign, key_arn, revoke, refused_as)

    def session(self, role_arn: str, key_arn: str, revoke: Callable[[], object], *, refused_as: str) -> Revocable:
        """A session of the role, which alice begins."""
        begun = self.casemate.boto3("sts").assume_role(RoleArn=role_arn, RoleSessionName="revocation")["Credentials"]
        sign = Signer(
            self.casemate.server.port, begun["AccessKeyId"], begun["SecretAccessKey"], token=begun["SessionToken"]
        )
        return Revocable(sign, key_arn, revoke, refused_as)


def _new_name() -> str:
    return f"revocation-{secrets.token_hex(6)}"


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(resource: str = "*", *, effect: str = "Allow", **elements: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": ACTIONS, "Resource": resource, **elements}


def to(arn: str, **elements: Any) -> dict[str, Any]:
    """A statement of a key policy."""
    return allow(Principal={"AWS": arn}, **elements)


def key_policy(*statements: dict[str, Any]) -> str:
    root = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "kms:*", "Resource": "*"}
    return document(root, *statements)


# The ways to take it away


def put_key_policy(world: World) -> Revocable:
    user = world.user()
    arn = world.key(to(user.arn))
    return world.revocable(
        user, arn, lambda: world.kms.put_key_policy(KeyId=arn, PolicyName="default", Policy=key_policy())
    )


def put_key_policy_with_a_deny(world: World) -> Revocable:
    user = world.user()
    arn = world.key(to(user.arn))
    denial = key_policy(to(user.arn), to("*", effect="Deny", Condition={"StringEquals": {"aws:username": user.name}}))
    return world.revocable(user, arn, lambda: world.kms.put_key_policy(KeyId=arn, Policy=denial))


def deactivate_access_key(world: World) -> Revocable:
    user = world.user()

    def revoke() -> None:
        world.iam.update_access_key(UserName=user.name, AccessKeyId=user.access_key_id, Status="Inactive")

    return world.revocable(user, world.key(to(user.arn)), revoke, refused_as=NOBODY)


def delete_access_key(world: World) -> Revocable:
    user = world.user()

    def revoke() -> None:
        world.iam.delete_access_key(UserName=user.name, AccessKeyId=user.access_key_id)

    return world.revocable(user, world.key(to(user.arn)), revoke, refused_as=NOBODY)


def detach_user_policy(world: World) -> Revocable:
    user, arn = world.user(), world.key()
    policy = world.managed_policy(document(allow(arn)))
    world.iam.attach_user_policy(UserName=user.name, PolicyArn=policy)
    return world.revocable(user, arn, lambda: world.iam.detach_user_policy(UserName=user.name, PolicyArn=policy))


def delete_user_policy(world: World) -> Revocable:
    user, arn = world.user(), world.key()
    world.iam.put_user_policy(UserName=user.name, PolicyName="use", PolicyDocument=document(allow(arn)))
    return world.revocable(user, arn, lambda: world.iam.delete_user_policy(UserName=user.name, PolicyName="use"))


def put_user_policy_with_a_deny(world: World) -> Revocable:
    user = world.user()
    denial = document(allow(effect="Deny"))
    return world.revocable(
        user,
        world.key(to(user.arn)),
        lambda: world.iam.put_user_policy(UserName=user.name, PolicyName="deny", PolicyDocument=denial),
    )


def put_permissions_boundary(world: World) -> Revocable:
    user, arn = world.user(), world.key()
    world.iam.put_user_policy(UserName=user.name, PolicyName="use", PolicyDocument=document(allow(arn)))
    boundary = world.managed_policy(document({**allow(), "Action": "kms:DescribeKey"}))
    return world.revocable(
        user,
        arn,
        lambda: world.iam.put_user_permissions_boundary(UserName=user.name, PermissionsBoundary=boundary),
    )


def set_default_policy_version(world: World) -> Revocable:
    user, arn = world.user(), world.key()
    policy = world.managed_policy(document(allow(arn)))
    world.iam.attach_user_policy(UserName=user.name, PolicyArn=policy)
    world.iam.create_policy_version(PolicyArn=policy, PolicyDocument=document(allow(arn + "-other")))
    return world.revocable(user, arn, lambda: world.iam.set_default_policy_version(PolicyArn=policy, VersionId="v2"))


def _in_group(world: World, user: User) -> str:
    name = _new_name()
    world.iam.create_group(GroupName=name)
    world.iam.add_user_to_group(GroupName=name, UserName=user.name)
    return name


def remove_user_from_group(world: World) -> Revocable:
    user, arn = world.user(), world.key()
    group = _in_group(world, user)
    world.iam.put_group_policy(GroupName=group, PolicyName="use", PolicyDocument=document(allow(arn)))
    return world.revocable(user, arn, lambda: world.iam.remove_user_from_group(GroupName=group, UserName=user.name))


def delete_group_policy(world: World) -> Revocable:
    user, arn = world.user(), world.key()
    group = _in_group(world, user)
    world.iam.put_group_policy(GroupName=group, PolicyName="use", PolicyDocument=document(allow(arn)))
    return world.revocable(user, arn, lambda: world.iam.delete_group_policy(GroupName=group, PolicyName="use"))


def detach_group_policy(world: World) -> Revocable:
    user, arn = world.user(), world.key()
    group, policy = _in_group(world, user), world.managed_policy(document(allow(arn)))
    world.iam.attach_group_policy(GroupName=group, PolicyArn=policy)
    return world.revocable(user, arn, lambda: world.iam.detach_group_policy(GroupName=group, PolicyArn=policy))


def untag_user(world: World) -> Revocable:
    user, arn = world.user(tags=[{"Key": "team", "Value": "payments"}]), world.key()
    of_team = allow(arn, Condition={"StringEquals": {"aws:PrincipalTag/team": "payments"}})
    world.iam.put_user_policy(UserName=user.name, PolicyName="use", PolicyDocument=document(of_team))
    return world.revocable(user, arn, lambda: world.iam.untag_user(UserName=user.name, TagKeys=["team"]))


def change_tag_of_key(world: World) -> Revocable:
    user = world.user()
    of_team = to(user.arn, Condition={"StringEquals": {"aws:ResourceTag/team": "payments"}})
    arn = world.key(of_team, Tags=[{"TagKey": "team", "TagValue": "payments"}])
    tags = [{"TagKey": "team", "TagValue": "none"}]
    return world.revocable(user, arn, lambda: world.kms.tag_resource(KeyId=arn, Tags=tags))


def _grant(world: World, user: User, arn: str, **params: Any) -> str:
    made = world.kms.create_grant(KeyId=arn, GranteePrincipal=user.arn, Operations=["Encrypt", "Decrypt"], **params)
    return str(made["GrantId"])


def revoke_grant(world: World) -> Revocable:
    user, arn = world.user(), world.key()
    grant = _grant(world, user, arn)
    return world.revocable(user, arn, lambda: world.kms.revoke_grant(KeyId=arn, GrantId=grant))


def retire_grant(world: World) -> Revocable:
    user, arn = world.user(), world.key()
    grant = _grant(world, user, arn, RetiringPrincipal=f"arn:aws:iam::{ACCOUNT}:user/alice")
    return world.revocable(user, arn, lambda: world.kms.retire_grant(KeyId=arn, GrantId=grant))


def _role(world: World) -> tuple[str, str]:
    """Name and ARN of a role that alice may assume."""
    name = _new_name()
    trust = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
    made = world.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))
    return name, str(made["Role"]["Arn"])


def delete_role(world: World) -> Revocable:
    name, role_arn = _role(world)
    arn = world.key(to(role_arn))
    return world.session(role_arn, arn, lambda: world.iam.delete_role(RoleName=name), refused_as=NOBODY)


def delete_role_policy(world: World) -> Revocable:
    (name, role_arn), arn = _role(world), world.key()
    world.iam.put_role_policy(RoleName=name, PolicyName="use", PolicyDocument=document(allow(arn)))

    def revoke() -> None:
        world.iam.delete_role_policy(RoleName=name, PolicyName="use")

    return world.session(role_arn, arn, revoke, refused_as=DENIED)


def detach_role_policy(world: World) -> Revocable:
    (name, role_arn), arn = _role(world), world.key()
    policy = world.managed_policy(document(allow(arn)))
    world.iam.attach_role_policy(RoleName=name, PolicyArn=policy)

    def revoke() -> None:
        world.iam.detach_role_policy(RoleName=name, PolicyArn=policy)

    return world.session(role_arn, arn, revoke, refused_as=DENIED)


def _of_other_account(world: World) -> tuple[User, str]:
    """A user of the other account, who may use a key of the first one: both sides say so."""
    user = world.user(iam=world.iam_of_other)
    arn = world.key(to(OTHER_ACCOUNT))
    world.iam_of_other.put_user_policy(UserName=user.name, PolicyName="use", PolicyDocument=document(allow(arn)))
    return user, arn


def put_key_policy_against_the_other_account(world: World) -> Revocable:
    user, arn = _of_other_account(world)
    return world.revocable(user, arn, lambda: world.kms.put_key_policy(KeyId=arn, Policy=key_policy()))


def delete_user_policy_in_the_other_account(world: World) -> Revocable:
    user, arn = _of_other_account(world)
    return world.revocable(
        user, arn, lambda: world.iam_of_other.delete_user_policy(UserName=user.name, PolicyName="use")
    )


def revoke_grant_to_the_other_account(world: World) -> Revocable:
    user, arn = world.user(iam=world.iam_of_other), world.key()
    world.iam_of_other.put_user_policy(UserName=user.name, PolicyName="use", PolicyDocument=document(allow(arn)))
    grant = _grant(world, user, arn)
    return world.revocable(user, arn, lambda: world.kms.revoke_grant(KeyId=arn, GrantId=grant))


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
