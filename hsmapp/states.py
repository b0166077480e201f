"""States of clusters and HSMs, as the CloudHSM v2 API spells them."""

from __future__ import annotations

from django.db.models import TextChoices


class ClusterState(TextChoices):
    CREATE_IN_PROGRESS = "CREATE_IN_PROGRESS"
    UNINITIALIZED = "UNINITIALIZED"
    INITIALIZE_IN_PROGRESS = "INITIALIZE_IN_PROGRESS"
    INITIALIZED = "INITIALIZED"
    ACTIVE = "ACTIVE"
    UPDATE_IN_PROGRESS = "UPDATE_IN_PROGRESS"
    MODIFY_IN_PROGRESS = "MODIFY_IN_PROGRESS"
    ROLLBACK_IN_PROGRESS = "ROLLBACK_IN_PROGRESS"
    DELETE_IN_PROGRESS = "DELETE_IN_PROGRESS"
    DELETED = "DELETED"
    DEGRADED = "DEGRADED"


class HsmState(TextChoices):
    CREATE_IN_PROGRESS = "CREATE_IN_PROGRESS"
    ACTIVE = "ACTIVE"
    DEGRADED = "DEGRADED"
    DELETE_IN_PROGRESS = "DELETE_IN_PROGRESS"
    DELETED = "DELETED"


# https://docs.aws.amazon.com/cloudhsm/latest/userguide/limits.html: keys that one cluster holds.
CAPACITY = {"hsm1.medium": 3_300, "hsm2m.medium": 16_666}
HSM_CREATED = "HSM created."
HSM_PROCESS_ENDED = "The HSM process ended. It is being started again."
HSM_SILENT = "The HSM did not answer in time. It is being started again."
HSM_SYNCHRONIZING = "The HSM is being brought up to date before it serves."
HSM_STARTING = "The HSM process is being started."
HSM_STOPPED = "The HSM was stopped."
HSM_STORAGE_SILENT = "The HSM's token does not answer: its storage is gone or can't be read. It is being started again."


class IntentState(TextChoices):
    OPEN = "open"
    DONE = "done"
    ABANDONED = "abandoned"
    RESTORED = "restored"


class ReconcileReason(TextChoices):
    """Why an HSM was compared with the database."""

    START = "start", "It began to serve"
    HOURLY = "hourly", "Hourly"
    ASKED = "asked", "On request"


class FindingKind(TextChoices):
    """What can be wrong with what an HSM holds, beside what the database says."""

    AT_FAULT = "at-fault", "Key at fault"  # no HSM can use it: its masked key or its check ciphertext is damaged
    MISSING = "missing", "Missing key"
    DAMAGED = "damaged", "Damaged key"
    ORPHAN = "orphan", "Unknown key"  # nobody knows it, so nobody may destroy it
    ORPHANED = "orphaned", "Orphaned key material"  # its KMS key was deleted while nobody could log in to the cluster
    DEBRIS = "debris", "Debris"  # left behind by something that was cut short
    MASKING_KEY = "masking-key", "Damaged masking key"
    STORAGE = "storage", "Storage lost"
