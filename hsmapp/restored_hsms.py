"""Make the HSMs of a restored database usable: what `restore` does once that database is in its place.

A token that is gone, or that the database's PIN does not open, is made anew by the supervisor, which brings masking key
and keys from a peer. Where no HSM of a cluster holds the masking key there is no such peer: one HSM gets it here, from
the cluster's backup key, whose private half nobody else opens.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

from hsmapp import credentials, hsm_processes, mending, new_tokens, replication, token_survey
from hsmapp.device import protocol
from hsmapp.device.protocol import HsmAnswerError
from hsmapp.models import Cluster, ClusterCredential, Hsm, MaskedKey
from hsmapp.replication import Device
from hsmapp.token_survey import Storage, Surveyed

_TESTS = 20  # masked keys that the masking key of a backup is tried on, until it opens one

Say = Callable[[str], None]


def bring_back(found: list[Surveyed], kept: Path, processes: ExitStack, say: Say) -> None:
    """Do what the supervisor can't do by itself when the server starts. Safe to run twice.

    kept: folder for what no longer fits.  Raises: HsmAnswerError, HsmUnreachableError, ProcessEndedError.
    """
    for cluster_pk, members in groupby(found, key=lambda one: one.hsm.cluster_id):
        cluster = Cluster.objects.get(pk=cluster_pk)
        hsms = {one.hsm.hsm_id: Hsm.objects.select_related("cluster").get(hsm_id=one.hsm.hsm_id) for one in members}
        _bring_cluster_back(cluster, [one for one in found if one.hsm.hsm_id in hsms], hsms, kept, processes, say)


def _bring_cluster_back(
    cluster: Cluster, members: list[Surveyed], hsms: dict[str, Hsm], kept: Path, processes: ExitStack, say: Say
) -> None:
    for one in members:
        hsm = hsms[one.hsm.hsm_id]
        if one.device is None:
            _begin_anew(hsm, one, kept, say)
        else:
            device = one.device = Device(hsm, one.device.control)
            _keep(device)
            _restore_passwords(cluster, device, say)
    if cluster.masking_key_backup is None or any(one.has_masking_key for one in members):
        return
    # A wanted HSM before a stopped one, which would keep the masking key to itself; a token that is there before none.
    first = min(members, key=lambda one: (not one.hsm.wanted, one.device is None), default=None)
    if first is not None:
        device = first.device or _with_new_token(hsms[first.hsm.hsm_id], processes)
        _take_masking_key(cluster, device, say)


def _begin_anew(hsm: Hsm, one: Surveyed, kept: Path, say: Say) -> None:
    """Put aside what is there of the HSM, so that its token is made as at its first start, with the PIN it had."""
    new_tokens.begin_anew(hsm, kept)
    if one.storage is Storage.UNUSABLE:
        say(f"{hsm.hsm_id}: its token is put aside ({one.reason}); it gets a new one when the server starts.")
    else:
        say(f"{hsm.hsm_id}: its token is gone; it gets a new one when the server starts.")


def _keep(device: Device) -> None:
    """Certify the identity key that the token has, if the certificate of the restored database is another key's."""
    hsm = device.hsm
    address = str(hsm_processes.socket_path(hsm.hsm_id))
    if not hsm.token_made or hsm.address != address:
        hsm.token_made, hsm.address = True, address
        hsm.save(update_fields=["token_made", "address"])
    mending.renew_key_pairs(device)


def _restore_passwords(cluster: Cluster, device: Device, say: Say) -> None:
    """Give the HSM users that the service logs in as the passwords that the restored database knows."""
    if cluster.masking_key_backup is None:
        return  # not founded yet: its users are made then
    replication.make_users(cluster, device)
    device.ask("serve")  # only then does a crypto user's login tell whether the password is right; nobody else is here
    wrong = [one for one in cluster.credentials.select_related("cluster") if not _logs_in(device, one)]
    device.ask("standby")
    for credential in wrong:
        password = credentials.current_password(credential)
        device.ask("change_password", user=credential.user_name, password=password)
        say(f"{device.hsm.hsm_id}: {credential.user_name} has the password of the backup again.")


def _logs_in(device: Device, credential: ClusterCredential) -> bool:
    try:
        credentials.log_in(device.hsm, credential, credentials.current_password(credential)).close()
    except HsmAnswerError as error:
        if error.name not in {protocol.WRONG_PASSWORD, protocol.USER_LOCKED}:
            raise
        return False
    return True


def _with_new_token(hsm: Hsm, processes: ExitStack) -> Device:
    device = token_survey.started(hsm, processes)
    _keep(device)
    return device


def _take_masking_key(cluster: Cluster, device: Device, say: Say) -> None:
    tests = list(MaskedKey.objects.filter(cluster=cluster).order_by("pk")[:_TESTS])
    replication.take_masking_key_from_backup(cluster, device, tests)
    replication.make_users(cluster, device)
    say(f"{device.hsm.hsm_id}: has the masking key of {cluster.cluster_id} again, from its backup key.")
