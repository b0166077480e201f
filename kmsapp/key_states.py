"""Key states: what is shown, and which operation is refused in which state.

https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html, its whole table, of operations that are not built
too. PendingReplicaDeletion, which AWS has in the column of PendingDeletion, is a state of multi-Region keys only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from kmsapp.errors import DisabledException, KmsError, KMSInvalidStateException, UnsupportedOperationException

ENABLED = "Enabled"
DISABLED = "Disabled"
PENDING_DELETION = "PendingDeletion"
PENDING_IMPORT = "PendingImport"
UNAVAILABLE = "Unavailable"
CREATING = "Creating"
UPDATING = "Updating"

STATES = (ENABLED, DISABLED, PENDING_DELETION, PENDING_IMPORT, UNAVAILABLE, CREATING, UPDATING)

EXTERNAL = "EXTERNAL"  # origin of keys whose material is imported
_OF_KEY_STORES = frozenset({"AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"})
_OF_KMS = frozenset({"AWS_KMS"})


class Key(Protocol):
    """What a refusal depends on."""

    @property
    def arn(self) -> str: ...
    @property
    def key_state(self) -> str: ...  # as shown
    @property
    def origin(self) -> str: ...


@dataclass(frozen=True)
class Note:
    """A refusal by its number in AWS's table."""

    exception: type[KmsError]
    ending: str  # of its sentence, which begins with the key ARN
    origins: frozenset[str] = frozenset()  # of the keys that it is about; none: of all


_WRONG_ORIGIN = "origin is {origin} which is not valid for this operation."
NOTES = {
    "1": Note(DisabledException, "is disabled."),
    # Where AWS's table has "2 or 3", a DisabledException or this one, 3 is what KMS is seen to answer: for Decrypt,
    # GenerateDataKey and Sign. For CreateGrant, ReplicateKey, UpdatePrimaryRegion and DeriveSharedSecret nobody has
    # published an answer (unconfirmed); a client would be surprised to get another one than for its other calls.
    "3": Note(KMSInvalidStateException, "is pending deletion."),
    "4": Note(KMSInvalidStateException, "is not pending deletion."),
    "5": Note(KMSInvalidStateException, "is pending import."),
    "6": Note(UnsupportedOperationException, _WRONG_ORIGIN),
    "7": Note(UnsupportedOperationException, _WRONG_ORIGIN, _OF_KEY_STORES),
    "8": Note(KMSInvalidStateException, "is pending deletion.", frozenset({EXTERNAL})),
    "9": Note(UnsupportedOperationException, _WRONG_ORIGIN, _OF_KEY_STORES | _OF_KMS),
    "11": Note(KMSInvalidStateException, "is unavailable."),
    "14": Note(KMSInvalidStateException, "is creating."),
    "15": Note(KMSInvalidStateException, "is updating."),
}

# A cell: "-" for allowed, or the notes that may apply, of which the first that is about the key's origin does. Notes
# that refuse nothing are left out: 12, that a key made Enabled or Disabled while it is Unavailable shows it later, and
# 13, that PendingDeletion hides Unavailable (`shown`). Where AWS has "not applicable" there is no such key, and "-".
_TABLE = """
                                 Enabled Disabled PendingDeletion PendingImport Unavailable Creating Updating
CancelKeyDeletion                   4       4           -               4            4         4        4
CreateAlias                         -       -           3               -            -         -        -
CreateGrant                         -       1           3               5            -        14        -
Decrypt                             -       1           3               5           11        14        -
Encrypt                             -       1           3               5           11        14        -
ReEncrypt                           -       1           3               5           11        14        -
GenerateDataKey                     -       1           3               5           11        14        -
GenerateDataKeyWithoutPlaintext     -       1           3               5           11        14        -
GenerateDataKeyPair                 -       1           3               5           11        14        -
GenerateDataKeyPairWithoutPlaintext -       1           3               5           11        14        -
DeleteAlias                         -       -           -               -            -         -        -
DeleteImportedKeyMaterial           9       9           9               -            9        14       15
DescribeKey                         -       -           -               -            -         -        -
DisableKey                          -       -           3               5            -        14       15
EnableKey                           -       -           3               5            -        14       15
DisableKeyRotation                  7      7,1         7,3              6            7        14        7
EnableKeyRotation                   7      7,1         7,3              6            7        14        7
GetKeyRotationStatus                7       7           7               6            7         7        7
ListKeyRotations                    7       7           7               -            7         7        7
RotateKeyOnDemand                   7      7,1         7,3              5            7        14        7
GenerateMac                         -       1           3               5            -        14        -
VerifyMac                           -       1           3               5            -        14        -
Sign                                -       1           3               5            -        14        -
Verify                              -       1           3               5            -        14        -
GetPublicKey                        -       1           3               5            -        14        -
DeriveSharedSecret                  -       1           3               5            -        14        -
GetKeyPolicy                        -       -           -               -            -         -        -
ListKeyPolicies                     -       -           -               -            -         -        -
PutKeyPolicy                        -       -           -               -            -         -        -
GetParametersForImport              9       9          9,8              -            9        14       15
ImportKeyMaterial                   9       9          9,8              -            9        14        -
ListAliases                         -       -           -               -            -         -        -
ListGrants                          -       -           -               -            -         -        -
ListResourceTags                    -       -           -               -            -         -        -
ReplicateKey                        -       1           3               5            -        14       15
UpdatePrimaryRegion                 -       1           3               5            -        14        -
RetireGrant                         -       -           -               -            -         -        -
RevokeGrant                         -       -           -               -            -         -        -
ScheduleKeyDeletion                 -       -           3               -            -         -       15
TagResource                         -       -           3               -            -         -        -
UntagResource                       -       -           3               -            -         -        -
UpdateAlias                         -       -           3               -            -         -        -
UpdateKeyDescription                -       -           3               -            -         -        -
"""
# UpdateAlias (note 10): of the key that the alias is to point to. The key that it leaves may be pending deletion.


def _read(table: str) -> dict[str, dict[str, tuple[Note, ...]]]:
    heading, *rows = (line.split() for line in table.strip().splitlines())
    cells = {operation: dict(zip(heading, row, strict=True)) for operation, *row in rows}
    return {operation: {state: _notes(cell) for state, cell in row.items()} for operation, row in cells.items()}


def _notes(cell: str) -> tuple[Note, ...]:
    return () if cell == "-" else tuple(NOTES[number] for number in cell.split(","))


# Operation, without its service -> state -> what may refuse it.
REFUSALS = _read(_TABLE)


def shown(own_state: str, *, store_connected: bool) -> str:
    """The KeyState that people and clients see.

    A key of a store that is not connected is Unavailable; PendingDeletion hides that, so that a deletion can be
    cancelled meanwhile.
    """
    if own_state == PENDING_DELETION or store_connected:
        return own_state
    return UNAVAILABLE


def require(operation: str, key: Key) -> None:
    """Raise AWS's exception if the operation, one of the table's, is refused for the key in the state it is in."""
    for note in REFUSALS[operation][key.key_state]:
        if not note.origins or key.origin in note.origins:
            raise note.exception(f"{key.arn} {note.ending.format(origin=key.origin)}")
