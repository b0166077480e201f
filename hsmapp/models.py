"""What CloudHSM remembers: clusters, HSMs, masked keys, intents, the credentials that KMS uses in a cluster.

Models keep invariants; verbs live in the modules named after them (cluster.py, replication.py, supervisor.py).
Columns that hold sealed secrets end in `_sealed` (sealing.py) and are shown nowhere.
"""

from __future__ import annotations

import datetime

from django.db import models
from django.db.models import Q

from hsmapp.states import CAPACITY, ClusterState, FindingKind, HsmState, IntentState, ReconcileReason


class Epoch(models.Model):
    """How often what a call of the account could see has changed (epochs.py)."""

    account = models.CharField(max_length=12, primary_key=True)
    number = models.BigIntegerField(default=0)


class AccountClock(models.Model):
    """How far an account's clock is ahead of wall time (clock.py)."""

    account = models.CharField(max_length=12, primary_key=True)
    offset = models.DurationField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(offset__gte=datetime.timedelta()), name="account_clock_is_not_behind_wall_time"
            )
        ]

    def __str__(self) -> str:
        return f"{self.account}: {self.offset} ahead"


class ClockNote(models.Model):
    """What both clocks of a machine last showed: one row per boot, of which the newest has the highest id."""

    boot_id = models.CharField(max_length=64, unique=True)
    wall = models.DateTimeField()
    boot_time = models.DurationField()  # CLOCK_BOOTTIME
    ahead = models.DurationField(default=datetime.timedelta)  # see unproven_time.Reading


class UnprovenSpan(models.Model):
    """Wall time of which nobody can prove that it passed; what it made due waits (clock_watch.py)."""

    begins_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    reason = models.CharField(max_length=16)  # an unproven_time.Reason
    confirmed_at = models.DateTimeField(null=True, blank=True)
    confirmed_by = models.CharField(max_length=200, blank=True)

    class Meta:
        indexes = [models.Index(fields=["id"], condition=Q(confirmed_at=None), name="unconfirmed_spans")]

    def __str__(self) -> str:
        return f"{self.begins_at:%Y-%m-%d %H:%M:%S} to {self.ends_at:%Y-%m-%d %H:%M:%S} UTC"


class InstallationRoot(models.Model):
    """The certificate authority of this installation, which vouches for its HSMs. One row."""

    certificate = models.TextField()  # PEM
    private_key_sealed = models.BinaryField(editable=False)  # PKCS#8 DER
    created_at = models.DateTimeField()


class Cluster(models.Model):
    """A CloudHSM cluster."""

    cluster_id = models.CharField(max_length=64, unique=True)
    account = models.CharField(max_length=12)
    region = models.CharField(max_length=32)
    state = models.CharField(max_length=32, choices=ClusterState.choices)
    state_message = models.CharField(max_length=300, blank=True)
    hsm_type = models.CharField(max_length=32)
    mode = models.CharField(max_length=16, default="FIPS")
    vpc_id = models.CharField(max_length=32)
    security_group = models.CharField(max_length=32)
    subnet_mapping = models.JSONField(default=dict)  # Availability Zone -> subnet id
    created_at = models.DateTimeField()
    cluster_certificate = models.TextField(blank=True)  # PEM, signed by the customer's CA
    trust_anchor = models.TextField(blank=True)  # PEM, the customer's CA itself
    # The masking key moves to the backup key so that database + master key file restore every key into empty tokens.
    backup_public_key = models.BinaryField(null=True, editable=False)  # RSA-3072, SubjectPublicKeyInfo DER
    backup_private_key_sealed = models.BinaryField(null=True, editable=False)
    masking_key_backup = models.BinaryField(null=True, editable=False)  # the masking key wrapped under the backup key

    class Meta:
        ordering = ["cluster_id"]
        indexes = [models.Index(fields=["account", "region"])]

    def __str__(self) -> str:
        return self.cluster_id

    @property
    def arn(self) -> str:
        return f"arn:aws:cloudhsm:{self.region}:{self.account}:cluster/{self.cluster_id}"

    @property
    def capacity(self) -> int:
        """Keys that the cluster can hold."""
        return CAPACITY.get(self.hsm_type, CAPACITY["hsm1.medium"])


class Hsm(models.Model):
    """One HSM of a cluster: a PKCS#11 token with a process of its own."""

    hsm_id = models.CharField(max_length=64, unique=True)
    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="hsms")
    availability_zone = models.CharField(max_length=32)
    subnet_id = models.CharField(max_length=32)
    eni_id = models.CharField(max_length=32)
    eni_ip = models.GenericIPAddressField(protocol="IPv4")
    state = models.CharField(max_length=32, choices=HsmState.choices, default=HsmState.CREATE_IN_PROGRESS)
    state_message = models.CharField(max_length=300, blank=True)
    # Whether the supervisor keeps a process for it. Off: stopped on purpose, or deleted.
    wanted = models.BooleanField(default=True)
    # Since when it serves; another time means that whatever was known of its process is out of date.
    serving_since = models.DateTimeField(null=True, blank=True)
    # Where its process listens: the path of a Unix socket.
    address = models.CharField(max_length=300, blank=True)
    pin_sealed = models.BinaryField(editable=False)
    so_pin_sealed = models.BinaryField(editable=False)
    # When somebody last asked for a comparison with the database (reconcile.py).
    reconcile_asked_at = models.DateTimeField(null=True, blank=True)
    # False until its token was made: only then may a missing token be initialised.
    token_made = models.BooleanField(default=False)
    certificate = models.TextField(blank=True)  # PEM: identity key, issued by the installation's root
    # Its PKCS#11 module makes the IVs of AES-GCM itself, as seen when it was last opened: they are counted then.
    module_makes_ivs = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["availability_zone", "hsm_id"]
        verbose_name = "HSM"

    def __str__(self) -> str:
        return self.hsm_id


class ClusterCredential(models.Model):
    """A crypto user that this service logs in as, on every HSM of a cluster.

    A new password is stored as pending before the first HSM is touched, and becomes current when every active HSM took
    it. Whoever logs in tries current, then pending.
    """

    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="credentials")
    user_name = models.CharField(max_length=32)
    role = models.CharField(max_length=16, default="crypto-user")  # of HSM users: admin or crypto-user
    password_sealed = models.BinaryField(editable=False)
    pending_password_sealed = models.BinaryField(null=True, editable=False)
    # Whether connections of this user are kept open: from a connect that succeeded until the disconnect.
    connected = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cluster", "user_name"], name="one_credential_per_user_and_cluster")
        ]

    def __str__(self) -> str:
        return f"{self.user_name} of {self.cluster}"


class HsmOnPreviousPassword(models.Model):
    """An HSM that was away when a crypto user's password changed; it is changed over before it serves."""

    hsm = models.ForeignKey(Hsm, on_delete=models.CASCADE, related_name="previous_passwords")
    credential = models.ForeignKey(ClusterCredential, on_delete=models.CASCADE)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["hsm", "credential"], name="one_previous_password_per_hsm")]


class MaskedKey(models.Model):
    """Key material of one key: its AES key wrapped by the cluster's masking key, and the proof of what it is."""

    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="masked_keys")
    label = models.CharField(max_length=256, unique=True)  # key ARN
    backing_key_id = models.CharField(max_length=64)  # 64 hex characters: CKA_ID, and the material id in ciphertexts
    owner = models.CharField(max_length=32)  # HSM user
    masked = models.BinaryField(editable=False)  # AES key wrap, 40 bytes
    check_ciphertext = models.BinaryField(editable=False)  # IV 12 | 32 zero bytes encrypted | tag 16
    created_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["cluster", "label"])]

    def __str__(self) -> str:
        return self.label


class ReservedIvs(models.Model):
    """How many IVs of a key were given out to processes to use, on HSMs whose PKCS#11 module makes them at random.

    Only ever raised, by blocks, before the first of a block is used (iv_counts.py).
    """

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="reserved_ivs")
    label = models.CharField(max_length=256)  # key ARN
    reserved = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cluster", "label"], name="one_iv_count_per_key")]

    def __str__(self) -> str:
        return f"{self.label}: {self.reserved}"


class KeyIntent(models.Model):
    """The promise to make a key, written before the first HSM is touched.

    Whatever a crash leaves in a token has a row here that says whether anyone was told about it. open -> done in the
    transaction that makes the key; open -> abandoned only past the deadline, and only abandoned ones are destroyed.
    """

    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="intents")
    label = models.CharField(max_length=256)  # key ARN
    backing_key_id = models.CharField(max_length=64)
    attempt = models.PositiveSmallIntegerField(default=1)
    hsms = models.JSONField(default=list)  # ids of the HSMs it may have touched
    state = models.CharField(max_length=16, choices=IntentState.choices, default=IntentState.OPEN)
    # Something only this intent may use while it is open, such as an alias ARN; empty: nothing.
    reserves = models.CharField(max_length=320, blank=True)
    # Who asked for it, such as a wizard draft; empty: nobody will ask again.
    requested_by = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField()
    deadline = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["state", "deadline"]), models.Index(fields=["requested_by"])]
        constraints = [
            models.UniqueConstraint(
                fields=["reserves"], condition=Q(state="open") & ~Q(reserves=""), name="one_open_intent_per_reservation"
            )
        ]

    def __str__(self) -> str:
        return f"{self.label} ({self.state})"


class Tombstone(models.Model):
    """A key whose objects must go from the HSMs named here. It goes when each HSM has confirmed.

    leaves_objects: the key was deleted while nobody could log in to its cluster, so its objects stay in the HSMs; the
    tombstone, too, says for good what they are.
    """

    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="tombstones")
    label = models.CharField(max_length=256)
    backing_key_id = models.CharField(max_length=64)
    hsms = models.JSONField(default=list)  # ids of the HSMs still to go
    leaves_objects = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cluster", "label", "backing_key_id"], name="one_tombstone_per_material")
        ]

    def __str__(self) -> str:
        return self.label


class Reconciliation(models.Model):
    """One comparison of an HSM with the database: what was found, and what was done about it (reconcile.py)."""

    hsm = models.ForeignKey(Hsm, on_delete=models.CASCADE, related_name="reconciliations")
    reason = models.CharField(max_length=16, choices=ReconcileReason.choices)
    begun_at = models.DateTimeField()
    finished_at = models.DateTimeField()
    keys = models.PositiveIntegerField(default=0)  # in the token and in the database alike, afterwards
    restored = models.PositiveIntegerField(default=0)  # were missing
    repaired = models.PositiveIntegerField(default=0)  # were damaged
    destroyed = models.PositiveIntegerField(default=0)  # nobody was ever told of them, or they were deleted
    quarantined = models.PositiveIntegerField(default=0)  # nobody knows them
    cleared = models.PositiveIntegerField(default=0)  # half-written objects
    failed = models.PositiveIntegerField(default=0)  # keys that could neither be restored nor repaired

    class Meta:
        ordering = ["-finished_at", "-pk"]

    def __str__(self) -> str:
        return f"{self.hsm} at {self.finished_at:%Y-%m-%d %H:%M:%S}"


class Finding(models.Model):
    """Something that is wrong in a cluster, or in one HSM of it, from when it was found until it is right again."""

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="findings")
    hsm = models.ForeignKey(Hsm, on_delete=models.CASCADE, null=True, blank=True, related_name="findings")
    kind = models.CharField(max_length=16, choices=FindingKind.choices)
    label = models.CharField(max_length=256, blank=True)  # key ARN; empty where no key is meant
    backing_key_id = models.CharField(max_length=64, blank=True)
    detail = models.CharField(max_length=300, blank=True)  # a sentence for people
    found_at = models.DateTimeField()
    seen_at = models.DateTimeField()  # last
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-found_at", "-pk"]
        indexes = [models.Index(fields=["label"], condition=Q(resolved_at=None), name="open_findings_of_key")]
        constraints = [
            # Two, because NULLs differ from each other in a unique index.
            models.UniqueConstraint(
                fields=["cluster", "hsm", "kind", "label", "backing_key_id"],
                condition=Q(resolved_at=None, hsm__isnull=False),
                name="one_open_finding_per_hsm",
            ),
            models.UniqueConstraint(
                fields=["cluster", "kind", "label", "backing_key_id"],
                condition=Q(resolved_at=None, hsm__isnull=True),
                name="one_open_finding_per_cluster",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.label or self.hsm or self.cluster}"
