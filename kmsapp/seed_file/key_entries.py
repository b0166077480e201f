"""The tables of members: clusters, custom key stores, keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from kmsapp.policy.documents import Kind
from kmsapp.seed_file import texts
from kmsapp.seed_file.entries import Entry, OfAccount, member
from kmsapp.seed_file.identity_entries import account
from kmsapp.seed_file.kinds import Flag, ListOf, Text, Whole
from kmsapp.seed_file.policy_text import Policy, PolicyKind
from kmsapp.seed_file.reading import EntryKind

MOST_HSMS = 28  # https://docs.aws.amazon.com/cloudhsm/latest/userguide/limits.html, of one cluster
_GENERATED = "generated"
_STATEMENT = "{Effect: Allow, Principal: {AWS: 111122223333}, Action: 'kms:*', Resource: '*'}"
_KEY_POLICY = f"{{Version: 2012-10-17, Statement: [{_STATEMENT}]}}"


@dataclass(kw_only=True)
class OfRegion(OfAccount):
    """Something of an account in a Region."""

    region: str = ""  # replaced by the file's Region, where none was written


def _region() -> Any:
    return member(texts.REGION, "where it is", example="eu-west-1", left_out="`region` of the file", default="")


@dataclass(kw_only=True)
class Hsm(Entry):
    noun: ClassVar[str] = "an HSM"

    id: Text | None = member(texts.HSM_ID, "the HSM ID", example="hsm-abcdefghijk", left_out=_GENERATED)
    availability_zone: Text | None = member(
        texts.AVAILABILITY_ZONE,
        "its Availability Zone",
        example="us-west-2a",
        left_out="a, b and c of the Region in turn",
    )
    subnet_id: Text | None = member(
        texts.SUBNET_ID, "the subnet, one for each zone", example="subnet-a6b10bd1", left_out=_GENERATED
    )
    eni_id: Text | None = member(texts.ENI_ID, "the network interface", example="eni-ea8647e1", left_out=_GENERATED)
    eni_ip: Text | None = member(texts.IP_ADDRESS, "the IP address", example="10.0.1.11", left_out="10.0.x.y")


@dataclass(kw_only=True)
class Cluster(OfRegion):
    noun: ClassVar[str] = "a cluster"

    account: str = account()
    region: str = _region()
    id: Text | None = member(texts.CLUSTER_ID, "the cluster ID", example="cluster-likphkxygsn", left_out=_GENERATED)
    hsm_type: str = member(
        texts.HSM_TYPE,
        "the type of its HSMs, and with it how many keys it takes: 3,300 or 16,666",
        example="hsm2m.medium",
        left_out="hsm1.medium",
        default="hsm1.medium",
    )
    vpc_id: str | None = member(texts.VPC_ID, "the VPC", example="vpc-1a2b3c4d", left_out=_GENERATED)
    security_group: str | None = member(
        texts.SECURITY_GROUP, "the security group", example="sg-865af2fb", left_out=_GENERATED
    )
    kmsuser_password: Text | None = member(
        texts.KMSUSER_PASSWORD,
        "the password of `kmsuser`, until KMS changes it when a key store connects",
        example='"kmsuser-1"',
        left_out=_GENERATED,
    )
    hsms: list[Hsm] | None = member(
        ListOf(EntryKind(Hsm), "a list of HSMs"),
        "the HSMs one by one; a key store needs two in different zones",
        example="[{id: hsm-abcdefghijk, availability_zone: us-west-2a}, {}]",
        left_out="two, generated",
    )
    hsm_count: int | None = member(
        Whole(f"a whole number from 1 to {MOST_HSMS}", 1, MOST_HSMS),
        "how many HSMs, in place of `hsms`",
        example="3",
        left_out="2",
    )

    def all_hsms(self) -> list[Hsm]:
        """As many as there are to be; those that are only counted have no members."""
        if self.hsms is not None:
            return self.hsms
        return [Hsm(place=self.place, places={}) for _ in range(self.hsm_count or 2)]

    def zone_of(self, position: int) -> str:
        """The Availability Zone of the HSM at a position of `all_hsms`."""
        written = self.all_hsms()[position].availability_zone
        return str(written or f"{self.region}{'abc'[position % 3]}")


@dataclass(kw_only=True)
class CustomKeyStore(OfRegion):
    noun: ClassVar[str] = "a custom key store"

    account: str = account()
    region: str = _region()
    id: Text | None = member(
        texts.KEY_STORE_ID, "the custom key store ID", example="cks-1234567890abcdef0", left_out=_GENERATED
    )
    name: Text = member(texts.KEY_STORE_NAME, "the name", example="ExampleKeyStore", required=True)
    cluster: Text | None = member(
        texts.CLUSTER_ID,
        "the ID of its cluster, one of `clusters`",
        example="cluster-likphkxygsn",
        left_out="the only cluster of account and Region",
    )
    connected: bool = member(
        Flag(), "whether it is CONNECTED or DISCONNECTED", example="false", left_out="true", default=True
    )
    its_cluster: Cluster | None = None  # found by checks/key_stores.py


@dataclass(kw_only=True)
class Constraints(Entry):
    noun: ClassVar[str] = "constraints of a grant"

    encryption_context_equals: dict[Text, Text] | None = member(
        texts.ENCRYPTION_CONTEXT, "EncryptionContextEquals", example="{department: payments}", left_out="none"
    )
    encryption_context_subset: dict[Text, Text] | None = member(
        texts.ENCRYPTION_CONTEXT, "EncryptionContextSubset", example="{department: payments}", left_out="none"
    )
    source_arn: Text | None = member(
        texts.SOURCE_ARN,
        "SourceArn",
        example="arn:aws:dynamodb:us-west-2:111122223333:table/orders",
        left_out="none",
    )


@dataclass(kw_only=True)
class Grant(Entry):
    noun: ClassVar[str] = "a grant"

    name: Text | None = member(texts.GRANT_NAME, "the grant name", example="orders", left_out="none")
    grantee_principal: Text | None = member(
        texts.PRINCIPAL,
        "who may use the key: the ARN of an account, a user, a role or a session",
        example="arn:aws:iam::111122223333:user/bob",
        left_out="`grantee_service_principal` says who",
    )
    grantee_service_principal: Text | None = member(
        texts.SERVICE_PRINCIPAL, "or which AWS service", example="dynamodb.amazonaws.com", left_out="none"
    )
    retiring_principal: Text | None = member(
        texts.PRINCIPAL,
        "who may retire the grant",
        example="arn:aws:iam::111122223333:role/KMSAdminRole",
        left_out="none",
    )
    retiring_service_principal: Text | None = member(
        texts.SERVICE_PRINCIPAL, "or which AWS service", example="dynamodb.amazonaws.com", left_out="none"
    )
    operations: list[Text] | None = member(
        texts.GRANT_OPERATIONS, "what is allowed", example="[Encrypt, Decrypt]", required=True
    )
    constraints: Constraints | None = member(
        EntryKind(Constraints),
        "under which constraints",
        example="{encryption_context_subset: {department: payments}}",
        left_out="none",
    )


@dataclass(kw_only=True)
class Key(OfRegion):
    noun: ClassVar[str] = "a key"

    account: str = account()
    region: str = _region()
    id: Text | None = member(
        texts.KEY_ID, "the key ID, a UUID", example="1234abcd-12ab-34cd-56ef-1234567890ab", left_out=_GENERATED
    )
    origin: str = member(
        texts.ORIGIN,
        "the origin of its key material",
        example="AWS_CLOUDHSM",
        left_out="AWS_CLOUDHSM",
        default="AWS_CLOUDHSM",
    )
    custom_key_store: Text | None = member(
        texts.KEY_STORE,
        "the name or the ID of its custom key store, one of `custom_key_stores`",
        example="ExampleKeyStore",
        left_out="the only one of account and Region",
    )
    description: str = member(
        texts.KEY_DESCRIPTION, "the description", example="Example key", left_out="none", default=""
    )
    state: str = member(texts.KEY_STATE, "the key state", example="Disabled", left_out="Enabled", default="Enabled")
    pending_window_in_days: int | None = member(
        Whole("a whole number of days from 7 to 30", 7, 30),
        "of a key that is PendingDeletion: how long it waits",
        example="7",
        left_out="30",
    )
    aliases: list[Text] = member(texts.ALIASES, "alias names", example="[alias/orders]", left_out="none", default=list)
    tags: dict[Text, Text] = member(
        texts.KEY_TAGS, "tags", example="{department: payments}", left_out="none", default=dict
    )
    policy: Policy | None = member(
        PolicyKind(Kind.KEY), "the key policy", example=_KEY_POLICY, left_out="the default key policy of KMS"
    )
    bypass_policy_lockout_safety_check: bool = member(
        Flag(),
        "true for a key policy that lets nobody of the account change it",
        example="true",
        left_out="false",
        default=False,
    )
    grants: list[Grant] = member(
        ListOf(EntryKind(Grant), "a list of grants"),
        "grants, which the account's root user makes",
        example="[{grantee_principal: 'arn:aws:iam::111122223333:user/bob', operations: [Decrypt]}]",
        left_out="none",
        default=list,
    )
    its_store: CustomKeyStore | None = None  # found by checks/key_stores.py
