"""What KMS and its identities remember."""

from __future__ import annotations

from kmsapp.models.audit import AuditChain, AuditEvent
from kmsapp.models.identities import AccessKey, Account, Group, Role, User
from kmsapp.models.key_stores import CustomKeyStore
from kmsapp.models.keys import Alias, KmsKey, Tag

__all__ = [
    "AccessKey",
    "Account",
    "Alias",
    "AuditChain",
    "AuditEvent",
    "CustomKeyStore",
    "Group",
    "KmsKey",
    "Role",
    "Tag",
    "User",
]
