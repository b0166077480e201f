"""The operations, one module per resource. Each function has its AWS name: CreateKey is keys.create_key.

Those of KMS and CloudHSM are in this package, those of STS and IAM in kmsapp.iam.
"""

from __future__ import annotations

import importlib

MODULES = (
    "kmsapp.operations.keys",
    "kmsapp.operations.key_creation",
    "kmsapp.operations.key_state_changes",
    "kmsapp.operations.key_deletion",
    "kmsapp.operations.aliases",
    "kmsapp.operations.tags",
    "kmsapp.operations.policies",
    "kmsapp.operations.grants",
    "kmsapp.operations.grant_lists",
    "kmsapp.operations.key_stores",
    "kmsapp.operations.key_store_changes",
    "kmsapp.operations.encryption",
    "kmsapp.operations.data_keys",
    "kmsapp.operations.randomness",
    "kmsapp.operations.key_usage",
    "kmsapp.operations.other_key_types",
    "kmsapp.operations.clusters",
    "kmsapp.operations.console_lists",
    "kmsapp.operations.console_key_stores",
    "kmsapp.operations.console_findings",
    "kmsapp.operations.console_access",
    "kmsapp.operations.console_users",
    "kmsapp.iam.sts",
    "kmsapp.iam.assume_role",
    "kmsapp.iam.users",
    "kmsapp.iam.login_profiles",
    "kmsapp.iam.access_keys",
    "kmsapp.iam.groups",
    "kmsapp.iam.roles",
    "kmsapp.iam.managed_policies",
    "kmsapp.iam.policy_versions",
    "kmsapp.iam.entity_tags",
    "kmsapp.iam.attachments",
    "kmsapp.iam.inline_policies",
    "kmsapp.iam.boundaries",
    "kmsapp.iam.account_details",
    "kmsapp.iam.simulation",
    "kmsapp.iam.passwords",
)


def load() -> None:
    """Import every module, so that its operations are in the registry."""
    for name in MODULES:
        importlib.import_module(name)
