"""What KMS and its identities remember."""

from __future__ import annotations

from kmsapp.models.audit import AuditChain, AuditEvent
from kmsapp.models.grants import Grant
from kmsapp.models.identities import AccessKey, Account, Group, InlinePolicy, Role, TemporaryCredential, User
from kmsapp.models.key_stores import CustomKeyStore
from kmsapp.models.key_usage import KeyLastUsage
from kmsapp.models.keys import Alias, KmsKey, Tag
from kmsapp.models.policies import ManagedPolicy, PolicyVersion

__all__ = [
    "AccessKey",
    "Account",
    "Alias",
    "AuditChain",
    "AuditEvent",
    "CustomKeyStore",
    "Grant",
    "Group",
    "InlinePolicy",
    "KeyLastUsage",
    "KmsKey",
    "ManagedPolicy",
    "PolicyVersion",
    "Role",
    "Tag",
    "TemporaryCredential",
    "User",
]
