"""The texts of a seed file: names and ids, most with AWS's own shape, each with a sentence that says what to write."""

from __future__ import annotations

import ipaddress

from botocore.loaders import Loader

from hsmapp.states import CAPACITY
from kmsapp import ids, service_models
from kmsapp.seed_file.kinds import Choice, ListOf, MapOf, TextKind

_NAME = "letters, digits and + = , . @ _ -"
_TAG_KEY = "Write 1 to 128 letters, digits, spaces and _ . : / = + - @."
_TAG_VALUE = "Write at most 256 letters, digits, spaces and _ . : / = + - @."


def _regions() -> tuple[str, ...]:
    """The Regions of AWS's main partition, as botocore publishes them."""
    partitions = Loader().load_data("partitions")["partitions"]
    return tuple(sorted(name for name in partitions[0]["regions"] if name != "aws-global"))


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _unique_id(noun: str, prefix: str) -> TextKind:
    rule = f"Write {prefix} and then 17 capital letters or digits (16 to 28 are taken)."
    return TextKind(noun, rule, pattern=prefix + "[A-Z0-9]{16,28}")


def _network_id(noun: str, prefix: str) -> TextKind:
    rule = f"Write {prefix}- and then 8 to 17 hexadecimal digits in lower case, as in {prefix}-1a2b3c4d."
    return TextKind(noun, rule, pattern=prefix + "-[0-9a-f]{8,17}")


ACCOUNT_ID = TextKind("an account ID", "Write its 12 digits, as in 111122223333.", pattern="[0-9]{12}")
ACCOUNT_NAME = TextKind("an account name", "Write at most 128 characters.", pattern=r"[^\x00]{0,128}")
REGION = Choice("a Region", _regions())

# Identities
USER_NAME = TextKind("a user name", f"Write 1 to 64 {_NAME}.", shape="iam.userNameType")
GROUP_NAME = TextKind("a group name", f"Write 1 to 128 {_NAME}.", shape="iam.groupNameType")
ROLE_NAME = TextKind("a role name", f"Write 1 to 64 {_NAME}.", shape="iam.roleNameType")
POLICY_NAME = TextKind("a policy name", f"Write 1 to 128 {_NAME}.", shape="iam.policyNameType")
POLICY = TextKind(
    "the name or the ARN of a managed policy",
    "Write a name of policies, a name of AWS's own, such as AdministratorAccess, or an ARN.",
    pattern=r"[\w+=,.@-]{1,128}|arn:aws:iam::(?:[0-9]{12}|aws):policy/\S{1,640}",
)
PATH = TextKind("a path", "Write one that begins and ends with /, as in /engineering/.", shape="iam.pathType")
USER_ID = _unique_id("a unique ID of a user", "AIDA")
GROUP_ID = _unique_id("a unique ID of a group", "AGPA")
ROLE_ID = _unique_id("a unique ID of a role", "AROA")
POLICY_ID = _unique_id("a unique ID of a policy", "ANPA")
ROLE_DESCRIPTION = TextKind(
    "a description", "Write at most 1,000 characters of Latin 1.", shape="iam.roleDescriptionType"
)
POLICY_DESCRIPTION = TextKind("a description", "Write at most 1,000 characters.", shape="iam.policyDescriptionType")
# What AWS's password policy asks of a password is asked where the user is known (checks/identities.py).
PASSWORD = TextKind(
    "a password",
    "Write 8 to 128 characters of Latin 1, with three of: capital letters, small letters, digits, symbols.",
    shape="iam.passwordType",
    is_secret=True,
)
ACCESS_KEY_ID = TextKind(
    "an access key ID",
    "Write AKIA and then 16 capital letters or digits, as in AKIAIOSFODNN7EXAMPLE.",
    pattern="AKIA[A-Z0-9]{16}",
)
SECRET_ACCESS_KEY = TextKind(
    "a secret access key",
    "Write 16 to 128 letters, digits and / + = _ -.",
    pattern="[A-Za-z0-9/+=_-]{16,128}",
    is_secret=True,
)
IAM_TAGS = MapOf(
    TextKind("a tag key", _TAG_KEY, shape="iam.tagKeyType"),
    TextKind("a tag value", _TAG_VALUE, shape="iam.tagValueType"),
    "a mapping of tag keys to values",
)

# Clusters
CLUSTER_ID = TextKind(
    "a cluster ID",
    "Write cluster- and then 11 to 16 letters or digits from 2 to 7, as in cluster-likphkxygsn.",
    shape="cloudhsm.ClusterId",
)
HSM_ID = TextKind(
    "an HSM ID",
    "Write hsm- and then 11 to 16 letters or digits from 2 to 7, as in hsm-abcdefghijk.",
    shape="cloudhsm.HsmId",
)
HSM_TYPE = Choice("an HSM type", tuple(CAPACITY))
AVAILABILITY_ZONE = TextKind(
    "an Availability Zone", "Write the cluster's Region and a letter, as in us-west-2a.", shape="cloudhsm.ExternalAz"
)
SUBNET_ID = _network_id("a subnet ID", "subnet")
ENI_ID = _network_id("an ID of a network interface", "eni")
VPC_ID = _network_id("a VPC ID", "vpc")
SECURITY_GROUP = _network_id("an ID of a security group", "sg")
IP_ADDRESS = TextKind("an IPv4 address", "Write four numbers with dots, as in 10.0.1.11.", fits=_is_ip_address)
KMSUSER_PASSWORD = TextKind(
    "a password of kmsuser", "Write 7 to 32 characters.", shape="kms.KeyStorePasswordType", is_secret=True
)

# Key stores and keys
KEY_STORE_ID = TextKind(
    "a custom key store ID",
    "Write cks- and then 17 hexadecimal digits in lower case, as in cks-1234567890abcdef0.",
    pattern="cks-[0-9a-f]{17}",
)
KEY_STORE_NAME = TextKind("a key store name", "Write 1 to 256 characters.", shape="kms.CustomKeyStoreNameType")
KEY_STORE = TextKind(
    "the name or the ID of a custom key store", "Write one of custom_key_stores.", shape="kms.CustomKeyStoreNameType"
)
KEY_ID = TextKind(
    "a key ID",
    "Write a UUID in lower case, as in 1234abcd-12ab-34cd-56ef-1234567890ab.",
    fits=lambda text: ids.is_key_id(text) or ids.is_multi_region_key_id(text),
)
ORIGIN = Choice("an origin", service_models.service("kms").shape("OriginType").enum)
KEY_DESCRIPTION = TextKind("a description", "Write at most 8,192 characters.", shape="kms.DescriptionType")
KEY_STATE = Choice("a key state", ("Enabled", "Disabled", "PendingDeletion"))
ALIASES = ListOf(
    TextKind(
        "an alias name",
        "Write alias/ and then letters, digits and / _ -, 256 characters in all at most, as in alias/orders.",
        shape="kms.AliasNameType",
        pattern="alias/[a-zA-Z0-9/_-]+",
    ),
    "a list of alias names",
)
KEY_TAGS = MapOf(
    TextKind("a tag key", _TAG_KEY, shape="kms.TagKeyType"),
    TextKind("a tag value", _TAG_VALUE, shape="kms.TagValueType"),
    "a mapping of tag keys to values",
)
GRANT_NAME = TextKind("a grant name", "Write 1 to 256 letters, digits and : / _ -.", shape="kms.GrantNameType")
PRINCIPAL = TextKind(
    "an ARN of a principal",
    "Write that of an account, a user, a role or a session, as in arn:aws:iam::111122223333:user/alice.",
    shape="kms.PrincipalIdType",
    pattern="arn:aws:.*",
)
SERVICE_PRINCIPAL = TextKind(
    "a service principal", "Write one as in dynamodb.amazonaws.com.", shape="kms.ServicePrincipalType"
)
GRANT_OPERATIONS = ListOf(
    Choice("a grant operation", service_models.service("kms").shape("GrantOperation").enum), "a list of operations"
)
ENCRYPTION_CONTEXT = MapOf(
    TextKind("a key of an encryption context", "Write a text.", shape="kms.EncryptionContextKey"),
    TextKind("a value of an encryption context", "Write a text.", shape="kms.EncryptionContextValue"),
    "a mapping of texts to texts",
)
SOURCE_ARN = TextKind(
    "an ARN of a resource",
    "Write one with its account, as in arn:aws:dynamodb:us-west-2:111122223333:table/orders.",
    shape="kms.GrantConstraintSourceArnType",
)
