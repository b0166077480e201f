"""How the masking key comes to every HSM of a cluster, and to its backup key, without ever being in clear.

Founding a cluster (its HSM processes run, none serves yet):
    1. every HSM's identity key is certified; its transport key is checked against that certificate
    2. one HSM makes the masking key; every HSM trusts every other's transport key and the cluster's backup key
    3. the masking key goes to the others wrapped under their transport keys, and to the database wrapped under the
       backup key; that wrap is tried at once: it must open a test key
    4. HSM users are made on every HSM

The security officer's PIN of an HSM is handed over only to trust a key, that HSM being out of rotation meanwhile.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.db import transaction

from hsmapp import certificates, credentials, epochs, hsms, sealing
from hsmapp.device.protocol import MASKED_KEY_WRONG, Connection, HsmAnswerError
from hsmapp.models import Cluster, Hsm, HsmOnPreviousPassword, MaskedKey
from hsmapp.states import ClusterState

CONTROL_SECONDS = 10.0
SHORT_SECONDS = 2.0  # for what a sound HSM does at once, so that one that hangs is soon seen to hang
BACKUP_LABEL = "casemate backup key"
_CLUSTER_TABLE = "hsmapp_cluster"


def transport_label(hsm_id: str) -> str:
    return f"transport {hsm_id}"


@dataclass(frozen=True)
class Device:
    """An HSM and the supervisor's connection to its process, which its keeper and those of its peers share."""

    hsm: Hsm
    control: Connection
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def ask(self, op: str, **args: Any) -> dict[str, Any]:
        return self.ask_within(CONTROL_SECONDS, op, **args)

    def ask_within(self, seconds: float, op: str, **args: Any) -> dict[str, Any]:
        with self.lock:
            return self.control.call(op, args, deadline_seconds=seconds)


def certify(device: Device) -> None:
    """Issue the HSM's certificate, once."""
    if not device.hsm.certificate:
        identity = device.ask("identity")["identity_public"]
        device.hsm.certificate = certificates.hsm_certificate(device.hsm.hsm_id, identity)
        device.hsm.save(update_fields=["certificate"])


def found(cluster: Cluster, devices: list[Device]) -> None:
    """Give a new cluster its masking key, backup key and HSM users, and make it INITIALIZED."""
    for device in devices:
        certify(device)
    first, others = devices[0], devices[1:]
    if not first.ask("masking_key")["present"]:
        first.ask("make_masking_key")
    for device in devices:
        for peer in devices:
            if peer is not device:
                _trust(device, peer)
    for other in others:
        _hand_over_masking_key(first, other)
    _back_up_masking_key(cluster, first)
    for device in devices:
        make_users(cluster, device)
    with transaction.atomic():
        cluster.state = ClusterState.INITIALIZED
        cluster.save(update_fields=["state"])
        epochs.raise_epoch(cluster.account)


def join(device: Device, peer: Device) -> None:
    """Bring an HSM that lacks the masking key into a founded cluster, from a peer that has it.

    The peer is out of rotation while it learns to trust the newcomer; whoever calls brings it back.
    """
    certify(device)
    if not _trusts(peer, device, _transport_key(device)):
        peer.ask("standby")
        try:
            _trust(peer, device)
        finally:
            peer.ask("serve")
    _hand_over_masking_key(peer, device)
    copy_users(peer, device)


def copy_users(giver: Device, taker: Device) -> None:
    """Replace the HSM users of one HSM by those of another.

    A giver that has a changed password still to take, from when it was away, gives the one before: the taker is noted
    as late too, and first of all, so that what is copied never lacks its note.
    """
    for late in HsmOnPreviousPassword.objects.filter(hsm=giver.hsm):
        HsmOnPreviousPassword.objects.get_or_create(hsm=taker.hsm, credential_id=late.credential_id)
    after, add = "", False
    while True:
        page = giver.ask("export_users", after=after)
        taker.ask("import_users", users=page["users"], add=add)
        after, add = page["next"], True
        if not after:
            return


def take_masking_key_from_backup(cluster: Cluster, device: Device, tests: Sequence[MaskedKey]) -> None:
    """Give an HSM the masking key that the cluster's backup key opens, after that has opened one of the masked keys.

    tests: masked keys of the cluster, of which some may be at fault; none: there is nothing that it could be tried on.
    The process must have been given the key for the purpose BACKUP_KEY. Raises: HsmAnswerError MaskedKeyWrong.
    """
    private = sealing.keyring().open(
        cluster.backup_private_key_sealed or b"",
        purpose=sealing.BACKUP_KEY,
        table=_CLUSTER_TABLE,
        row=cluster.cluster_id,
    )
    backed_up = {"private": private, "wrapped": bytes(cluster.masking_key_backup or b"")}
    if tests and not any(_opens(device, backed_up, row) for row in tests):
        raise HsmAnswerError(MASKED_KEY_WRONG, f"the backup key of {cluster.cluster_id} opens none of its masked keys")
    device.ask("take_backup", **backed_up)


def _opens(device: Device, backed_up: dict[str, bytes], row: MaskedKey) -> bool:
    """Whether a wrapped masking key opens a masked key."""
    masked = {"masked": bytes(row.masked), "check": bytes(row.check_ciphertext)}
    try:
        device.ask("try_backup", **backed_up, label=row.label, id=row.backing_key_id, **masked)
    except HsmAnswerError as error:
        if error.name != MASKED_KEY_WRONG:
            raise
        return False
    return True


def _trust(device: Device, peer: Device) -> None:
    """Let `device` wrap its masking key under the transport key of `peer`, which `peer` itself has just shown."""
    public = _transport_key(peer)
    if not _trusts(device, peer, public):
        label = transport_label(peer.hsm.hsm_id)
        device.ask("trust_key", so_pin=hsms.so_pin(device.hsm), label=label, public=public)


def _transport_key(device: Device) -> bytes:
    """The transport key that this HSM shows, checked against its certificate. SubjectPublicKeyInfo, DER."""
    shown = device.ask("identity")
    certificates.check_transport_key(
        device.hsm.hsm_id,
        device.hsm.certificate,
        transport_public=shown["transport_public"],
        transport_signature=shown["transport_signature"],
    )
    public: bytes = shown["transport_public"]
    return public


def _trusts(device: Device, peer: Device, public: bytes) -> bool:
    """Whether `device` trusts this very key: one that was trusted under the peer's name may be lost since."""
    trusted: dict[str, bytes] = device.ask("masking_key")["trusted_keys"]
    return trusted.get(transport_label(peer.hsm.hsm_id)) == hashlib.sha256(public).digest()


def _hand_over_masking_key(giver: Device, taker: Device) -> None:
    if not taker.ask("masking_key")["present"]:
        wrapped = giver.ask("wrap_masking_key", label=transport_label(taker.hsm.hsm_id))["wrapped"]
        taker.ask("unwrap_masking_key", wrapped=wrapped)


def _back_up_masking_key(cluster: Cluster, device: Device) -> None:
    """Wrap the masking key under a new backup key, and store the wrap only after it has opened a test key."""
    if cluster.masking_key_backup is not None:
        return
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    private = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    # A founding that was cut short has left a trusted key whose private half nobody has: each gets a name of its own.
    backup_label = f"{BACKUP_LABEL} {secrets.token_hex(4)}"
    device.ask("trust_key", so_pin=hsms.so_pin(device.hsm), label=backup_label, public=public)
    wrapped = device.ask("wrap_masking_key", label=backup_label)["wrapped"]
    test_label, test_id = f"test of {cluster.cluster_id}", secrets.token_hex(32)
    test = device.ask("generate_key", label=test_label, id=test_id)
    device.ask(
        "try_backup",
        wrapped=wrapped,
        private=private,
        label=test_label,
        id=test_id,
        masked=test["masked"],
        check=test["check"],
    )
    cluster.backup_public_key = public
    cluster.backup_private_key_sealed = sealing.keyring().seal(
        private, purpose=sealing.BACKUP_KEY, table=_CLUSTER_TABLE, row=cluster.cluster_id
    )
    cluster.masking_key_backup = wrapped
    cluster.save(update_fields=["backup_public_key", "backup_private_key_sealed", "masking_key_backup"])


def make_users(cluster: Cluster, device: Device) -> None:
    """Make the HSM users that this service logs in as, where they are missing."""
    have = {name for name, _role, _locked in device.ask("list_users")["users"]}
    for credential in cluster.credentials.all():
        if credential.user_name not in have:
            device.ask(
                "create_user",
                user=credential.user_name,
                role=credential.role,
                password=credentials.current_password(credential),
            )
