"""What a CloudHSM cluster must be for a custom key store to stand on it, in the order in which it is checked.

CreateCustomKeyStore checks all of it, UpdateCustomKeyStore when the cluster changes. Whether kmsuser is there and has
the password that was given shows when the store is connected, as in AWS.
https://docs.aws.amazon.com/kms/latest/developerguide/create-keystore.html#before-keystore
"""

from __future__ import annotations

from cryptography import x509
from django.conf import settings
from django.db.models import Q
from django.template.defaultfilters import pluralize

from hsmapp import cloudhsm_api, cluster
from hsmapp.errors import NotEnoughHsmsError
from hsmapp.models import Cluster
from hsmapp.states import ClusterState
from kmsapp.call import Call
from kmsapp.errors import (
    CloudHsmClusterInUseException,
    CloudHsmClusterInvalidConfigurationException,
    CloudHsmClusterNotActiveException,
    CloudHsmClusterNotFoundException,
    CloudHsmClusterNotRelatedException,
    IncorrectTrustAnchorException,
    KmsError,
)
from kmsapp.models import CustomKeyStore


def find(call: Call, cluster_id: str) -> Cluster:
    """A cluster of the caller's account and Region. Raises CloudHsmClusterNotFoundException."""
    found = Cluster.objects.filter(
        account=call.caller.account, region=call.caller.region, cluster_id=cluster_id, state__in=cloudhsm_api.LISTED
    ).first()
    if found is None:
        raise CloudHsmClusterNotFoundException(
            f"There is no CloudHSM cluster {cluster_id} in this account and Region. Check the cluster ID."
        )
    return found


def require_active(row: Cluster) -> None:
    """Raise CloudHsmClusterNotActiveException unless the cluster is initialized, activated and not being changed."""
    if row.state != ClusterState.ACTIVE:
        raise CloudHsmClusterNotActiveException(
            f"The CloudHSM cluster {row.cluster_id} is {row.state}, not ACTIVE. Initialize and activate it."
        )


def require_unbound(row: Cluster) -> None:
    """Raise CloudHsmClusterInUseException if a key store has the cluster, or one that shares its backup history."""
    same = Q(cluster=row)
    if row.cluster_certificate:
        same |= Q(cluster__cluster_certificate=row.cluster_certificate)
    store = CustomKeyStore.objects.filter(same, account=row.account, region=row.region).first()
    if store is not None:
        how = "belongs to" if store.cluster_id == row.pk else "shares a backup history with the cluster of"
        raise CloudHsmClusterInUseException(
            f"The CloudHSM cluster {row.cluster_id} {how} the custom key store {store.name}. Choose another cluster."
        )


def require_related(row: Cluster, store: CustomKeyStore) -> None:
    """Raise CloudHsmClusterNotRelatedException unless the cluster shares its backup history with the store's."""
    if not row.cluster_certificate or row.cluster_certificate != store.cluster.cluster_certificate:
        raise CloudHsmClusterNotRelatedException(
            f"The CloudHSM cluster {row.cluster_id} has a different cluster certificate than "
            f"{store.cluster.cluster_id}. Choose a cluster that was created from a backup of that cluster."
        )


def require_configuration(row: Cluster) -> None:
    """Raise CloudHsmClusterInvalidConfigurationException unless subnets and active HSMs are in enough zones."""
    needed = settings.MIN_ACTIVE_HSMS
    if len(row.subnet_mapping) < needed:
        raise CloudHsmClusterInvalidConfigurationException(
            f"The CloudHSM cluster {row.cluster_id} has private subnets in {len(row.subnet_mapping)} Availability "
            f"Zone{pluralize(len(row.subnet_mapping))}. It needs them in at least {needed}."
        )
    try:
        cluster.require_enough_hsms(cluster.active_hsms(row.account, row.pk))
    except NotEnoughHsmsError as error:
        raise too_few_hsms(row, error) from error


def too_few_hsms(row: Cluster, error: NotEnoughHsmsError) -> CloudHsmClusterInvalidConfigurationException:
    """AWS's answer to an operation that needs more HSMs than are active."""
    hsms = f"{error.active} active HSM{pluralize(error.active)}"
    zones = f"{error.zones} Availability Zone{pluralize(error.zones)}"
    return CloudHsmClusterInvalidConfigurationException(
        f"The CloudHSM cluster {row.cluster_id} has {hsms} in {zones}. "
        f"It needs at least {error.needed} active HSMs in different Availability Zones. Add an HSM and try again."
    )


def require_trust_anchor(row: Cluster, certificate: str) -> str:
    """Return the certificate as PEM and nothing else. Raises IncorrectTrustAnchorException if it isn't the cluster's.

    certificate: what was sent, PEM. Only the certificate in it is compared and kept.
    """
    sent, own = _certificate(certificate), _certificate(row.trust_anchor)
    if sent is None or own is None or sent != own:
        raise IncorrectTrustAnchorException(
            f"The certificate is not the trust anchor of the CloudHSM cluster {row.cluster_id}. Use customerCA.crt, "
            "the self-signed certificate that signed the cluster when it was initialized."
        )
    return row.trust_anchor


def _certificate(pem: str) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except (ValueError, x509.InvalidVersion):
        return None


def why_unfit(row: Cluster, store: CustomKeyStore | None = None) -> str:
    """Why a new key store, or this one instead of the cluster it has, can't be bound to the cluster; empty: it can."""
    try:
        require_active(row)
        if store is None:
            require_unbound(row)
        else:
            require_related(row, store)
        require_configuration(row)
    except KmsError as error:
        return error.message
    return ""
