"""A9: whom a policy names and who was deleted stays in it as a unique id; a namesake made later gets nothing.

Over the wire. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
"""

from __future__ import annotations

import json

import pytest

from kmsapp.testing import Casemate
from kmsapp.tests.refusals import Refusal, refusal
from kmsapp.tests.wire_world import DENIED, IN_STORE, User, World, allow, document, to, trust

DESCRIBE = "kms:DescribeKey"
INVALID = Refusal(
    "MalformedPolicyDocumentException", "Policy contains a statement with one or more invalid principals.", 400
)


@pytest.fixture(scope="module")
def world(casemate: Casemate) -> World:
    return World.of(casemate)


def replace_user(world: World, user: User) -> User:
    """Delete the user and make a namesake."""
    world.iam.delete_access_key(UserName=user.name, AccessKeyId=user.access_key_id)
    for name in world.iam.list_user_policies(UserName=user.name)["PolicyNames"]:
        world.iam.delete_user_policy(UserName=user.name, PolicyName=name)
    world.iam.delete_user(UserName=user.name)
    world.iam.create_user(UserName=user.name)
    return world.with_access_key(user.name, user.arn)


def replace_role(world: World, name: str, arn: str) -> User:
    """Delete the role and make a namesake; a session of that."""
    world.iam.delete_role(RoleName=name)
    world.iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(f"arn:aws:iam::{arn.split(':')[4]}:root"))
    return world.session(arn)


def code_of(found: Refusal | None) -> str:
    return found.code if found else ""


def require_only_the_id_is_left(world: World, key_arn: str, arn: str, unique_id: str, namesake: User) -> None:
    """Until the namesake is named anew."""
    kms = world.client(namesake)
    assert code_of(refusal(kms.describe_key, KeyId=key_arn)) == DENIED
    shown = world.kms.get_key_policy(KeyId=key_arn)["Policy"]
    assert json.loads(shown)["Statement"][1]["Principal"] == {"AWS": unique_id}
    assert refusal(world.kms.put_key_policy, KeyId=key_arn, Policy=shown) == INVALID
    assert refusal(world.kms.create_key, **IN_STORE, Policy=shown) == INVALID
    world.kms.put_key_policy(KeyId=key_arn, Policy=shown.replace(unique_id, arn))
    assert kms.describe_key(KeyId=key_arn)["KeyMetadata"]["Arn"] == key_arn


def test_a_user_of_a_key_policy(world: World) -> None:
    user = world.user()
    unique_id = world.iam.get_user(UserName=user.name)["User"]["UserId"]
    key_arn = world.key(to(user.arn, DESCRIBE))
    world.client(user).describe_key(KeyId=key_arn)
    namesake = replace_user(world, user)
    require_only_the_id_is_left(world, key_arn, user.arn, unique_id, namesake)


def test_a_role_of_a_key_policy(world: World) -> None:
    name, arn = world.role()
    unique_id = world.iam.get_role(RoleName=name)["Role"]["RoleId"]
    key_arn = world.key(to(arn, DESCRIBE))
    world.client(world.session(arn)).describe_key(KeyId=key_arn)
    namesake = replace_role(world, name, arn)
    require_only_the_id_is_left(world, key_arn, arn, unique_id, namesake)


def trusted(world: World, role_name: str) -> object:
    document = world.iam.get_role(RoleName=role_name)["Role"]["AssumeRolePolicyDocument"]
    return document["Statement"][0]["Principal"]


def test_a_user_of_a_trust_policy(world: World) -> None:
    """The role trusts them by name, which needs no policy of theirs."""
    user = world.user()
    unique_id = world.iam.get_user(UserName=user.name)["User"]["UserId"]
    name, role = world.role(user.arn)
    asked = {"RoleArn": role, "RoleSessionName": "one"}
    world.client(user, "sts").assume_role(**asked)
    namesake = replace_user(world, user)
    world.iam.put_user_policy(
        UserName=user.name, PolicyName="own", PolicyDocument=document(allow("sts:AssumeRole", role))
    )
    sts = world.client(namesake, "sts")
    assert code_of(refusal(sts.assume_role, **asked)) == "AccessDenied"
    assert trusted(world, name) == {"AWS": [unique_id]}
    found = refusal(world.iam.update_assume_role_policy, RoleName=name, PolicyDocument=trust(unique_id))
    assert found == Refusal("MalformedPolicyDocument", f'Invalid principal in policy: "AWS":"{unique_id}"', 400)
    world.iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust(user.arn))
    sts.assume_role(**asked)


def test_a_role_of_a_trust_policy(world: World) -> None:
    first_name, first = world.role()
    unique_id = world.iam.get_role(RoleName=first_name)["Role"]["RoleId"]
    name, second = world.role(first)
    asked = {"RoleArn": second, "RoleSessionName": "two"}
    world.client(world.session(first), "sts").assume_role(**asked)
    sts = world.client(replace_role(world, first_name, first), "sts")
    assert code_of(refusal(sts.assume_role, **asked)) == "AccessDenied"
    assert trusted(world, name) == {"AWS": [unique_id]}
    found = refusal(world.iam.update_assume_role_policy, RoleName=name, PolicyDocument=trust(unique_id))
    assert found == Refusal("MalformedPolicyDocument", f'Invalid principal in policy: "AWS":"{unique_id}"', 400)
    world.iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust(first))
    sts.assume_role(**asked)
