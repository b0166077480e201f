"""Delete a key's material: at once in the database, and from then on in every HSM of its cluster.

    1. one transaction: the masked key goes, and a tombstone says from which HSMs its objects must go; whoever deletes
       the key writes in it whatever else that means (KMS's key, its aliases, the audit record)
    2. the supervisor carries the tombstone out on the HSMs that serve (tombstones.py); one that is away does it before
       it serves again (reconcile.py)

Nothing is taken back: after 1 no key can be made of what is left, so a kill at any line only delays the rest.

Where nobody can log in to the cluster its objects stay in it, as in AWS: put aside, listed and used by nobody. The
tombstone then stays too, as the record of what they are.
"""

from __future__ import annotations

from django.db.models.functions import Now

from hsmapp.models import Finding, MaskedKey, ReservedIvs, Tombstone
from hsmapp.states import HsmState


def erase(material: MaskedKey, *, leave_objects: bool) -> None:
    """Erase key material, inside the caller's transaction.

    leave_objects: nobody can log in to the cluster, so its objects stay there.
    """
    cluster = material.cluster
    # In whatever state: one that is being brought up to date at this moment may have read the masked key.
    hsms = cluster.hsms.exclude(state=HsmState.DELETED).order_by("hsm_id").values_list("hsm_id", flat=True)
    Tombstone.objects.create(
        cluster=cluster,
        label=material.label,
        backing_key_id=material.backing_key_id,
        hsms=list(hsms),
        leaves_objects=leave_objects,
        created_at=Now(),
    )
    # Nothing is wrong any more with a key that is not there.
    Finding.objects.filter(label=material.label, resolved_at=None).update(resolved_at=Now())
    ReservedIvs.objects.filter(cluster=cluster, label=material.label).delete()
    material.delete()
