"""Put right what is wrong with an HSM as a whole, before it serves: its key pairs, its masking key, its HSM users.

A masking key that is damaged or cannot be proven is fetched anew from a peer. Where no peer has it either, the HSM
serves all the same: the keys in its token work without it, and only making keys needs it.
"""

from __future__ import annotations

import logging

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from hsmapp import findings, replication
from hsmapp.device import protocol
from hsmapp.device.protocol import HsmAnswerError
from hsmapp.findings import Subject
from hsmapp.models import Hsm, MaskedKey
from hsmapp.replication import Device
from hsmapp.states import ClusterState, FindingKind

logger = logging.getLogger(__name__)

PROOFS = 20  # masked keys that a masking key is tried on, until it opens one: single rows may be damaged too
FETCHED = "The masking key was damaged or gone, and was fetched anew from {peer}."
LACKING = (
    "The masking key is damaged and no other HSM of the cluster has it. The keys in this HSM work; new ones can't be "
    "made. Stop the server and restore a backup made now: it brings the masking key back from the backup key."
)


def renew_key_pairs(device: Device) -> None:
    """Make key pairs that were lost anew, and certify the identity that the token has."""
    try:
        identity = device.ask("identity")["identity_public"]
    except HsmAnswerError as error:
        if error.name != protocol.KEY_PAIR_LOST:
            raise
        made = device.ask("renew_key_pairs")["made"]
        logger.warning("%s: its key pairs were lost and made anew: %s", device.hsm.hsm_id, ", ".join(made))
        identity = device.ask("identity")["identity_public"]
    if device.hsm.certificate and _certified_key(device.hsm) != identity:
        device.hsm.certificate = ""
    replication.certify(device)


def _certified_key(hsm: Hsm) -> bytes:
    """SubjectPublicKeyInfo (DER) of the identity key that the HSM's certificate vouches for."""
    key = x509.load_pem_x509_certificate(hsm.certificate.encode()).public_key()
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def has_masking_key(device: Device) -> bool:
    """Whether the HSM holds the cluster's masking key, proving it with a masked key where nothing else proves it."""
    answer = device.ask("masking_key")
    if not answer["present"]:
        return False
    if not answer["unproven"]:
        return True
    rows = list(MaskedKey.objects.filter(cluster=device.hsm.cluster_id).order_by("pk")[:PROOFS])
    if not rows or any(_proves(device, row) for row in rows):
        return True  # without a masked key there is nothing that could disprove it
    device.ask("withdraw_masking_key")
    return False


def _proves(device: Device, row: MaskedKey) -> bool:
    masked = {"masked": bytes(row.masked), "check": bytes(row.check_ciphertext)}
    return bool(device.ask("prove_masking_key", label=row.label, id=row.backing_key_id, **masked)["good"])


def fetch_masking_key(device: Device, peer: Device) -> None:
    """Get the masking key, and HSM users if they are gone too, from a peer."""
    was_there = device.ask("masking_key")["damaged"]
    replication.join(device, peer)
    if was_there:
        fetched = FETCHED.format(peer=peer.hsm.hsm_id)
        logger.warning("%s: %s", device.hsm.hsm_id, fetched)
        findings.note_repaired(_masking_key_of(device), fetched)


def note_lacking_masking_key(device: Device) -> bool:
    """List that the HSM serves without a masking key. False if it never had one: it is new, and has no keys either."""
    if not device.ask("masking_key")["damaged"]:
        return False
    findings.note(_masking_key_of(device), LACKING)
    return True


def masking_key_is_there(device: Device) -> None:
    """Take it off the list: the HSM has it."""
    findings.resolve(_masking_key_of(device))


def _masking_key_of(device: Device) -> Subject:
    return Subject(device.hsm.cluster, FindingKind.MASKING_KEY, hsm=device.hsm)


def complete_users(device: Device, peer: Device | None) -> None:
    """Bring back HSM users whose table was lost: all from a peer, else those that this service logs in as."""
    if device.hsm.cluster.state != ClusterState.ACTIVE or device.ask("list_users")["users"]:
        return  # before a cluster is activated its HSMs have no users
    if peer is not None:
        replication.copy_users(peer, device)
    else:
        replication.make_users(device.hsm.cluster, device)
