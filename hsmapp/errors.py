"""What can go wrong with a cluster, said without sockets, handles or PKCS#11.

kmsapp translates these into AWS's answers. None of them carries a secret.
"""

from __future__ import annotations


class HsmError(Exception):
    """A cluster or HSM can't do what was asked."""


class NoHsmAnswersError(HsmError):
    """No HSM of the cluster answered in time."""


class NotEnoughHsmsError(HsmError):
    """The cluster lacks active HSMs in different Availability Zones for a new key."""

    def __init__(self, active: int, zones: int, needed: int):
        super().__init__(f"{active} active HSMs in {zones} Availability Zones; {needed} in different zones are needed")
        self.active = active
        self.zones = zones
        self.needed = needed


class InvalidCiphertextError(HsmError):
    """The key is sound, and the ciphertext or its associated data are not."""


class KeyMaterialError(HsmError):
    """The key's material can't be used on any HSM: what is stored of it does not pass its check."""


class IvsUsedUpError(HsmError):
    """The key has encrypted as often as its HSMs' own random IVs allow: a further one could repeat."""


class CapacityError(HsmError):
    """The cluster holds as many keys as its HSM type can."""


class ReservedError(HsmError):
    """Another key that is being made right now has reserved the same name."""


class IntentLostError(HsmError):
    """Making the key took longer than its intent allows, so it was given up and cleaned up."""


class ConnectError(HsmError):
    """This service can't connect as a crypto user. `code` is a ConnectionErrorCode of the KMS API."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
