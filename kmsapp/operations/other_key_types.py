"""Operations of other key types: what a symmetric encryption key in a custom key store refuses, and how.

Each is a whole operation up to its refusal: validated, its key found and allowed, the key's state looked at. So nobody
learns of a key what AWS would not tell them. A key type that is built takes its operations out of this table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kmsapp import access, key_states, shapes
from kmsapp.call import Call
from kmsapp.errors import KmsError, UnsupportedOperationException
from kmsapp.key_facts import KeyFacts
from kmsapp.operations import cryptography
from kmsapp.registry import operation


@dataclass(frozen=True)
class Refusal:
    """How an operation is refused once its key is found and allowed, and in a state that does not refuse it already."""

    error: Callable[[str, KeyFacts], KmsError]  # of the operation's name and the key
    aliases: bool = False  # the key may be named by an alias
    read_only: bool = True
    shown: tuple[str, ...] = ()  # members that the audit record shows beside KeyId
    states_of: str = ""  # the operation whose row of AWS's table of key states counts for this one, which has none


def _wrong_origin(name: str, key: KeyFacts) -> KmsError:
    """Of rotation and import in the words of AWS's table of key states, whose notes 7 and 9 refuse them in any state.

    Of data key pairs AWS says that such a key can't be used, not in which words (unconfirmed).
    """
    return UnsupportedOperationException(f"{key.arn} origin is {key.origin} which is not valid for this operation.")


def _no_public_key(name: str, key: KeyFacts) -> KmsError:
    """The exception is declared for keys without one; the words are those of a wrong usage (unconfirmed)."""
    return UnsupportedOperationException(f"{key.arn} key spec is {key.key_spec} which is not valid for {name}.")


def _no_primary_key(name: str, key: KeyFacts) -> KmsError:
    return UnsupportedOperationException(f"{key.arn} is not a multi-region primary key.")


def _other_usage(*shown: str, states_of: str = "") -> Refusal:
    """Of a cryptographic operation for keys of another usage."""
    return Refusal(cryptography.wrong_usage, aliases=True, shown=shown, states_of=states_of)


_DATA_KEY_PAIR = Refusal(_wrong_origin, aliases=True, shown=("KeyPairSpec", "EncryptionContext"))

# Operation -> refusal. https://docs.aws.amazon.com/kms/latest/developerguide/key-store-overview.html
REFUSALS = {
    "GenerateDataKeyPair": _DATA_KEY_PAIR,
    "GenerateDataKeyPairWithoutPlaintext": _DATA_KEY_PAIR,
    "EnableKeyRotation": Refusal(_wrong_origin, read_only=False, shown=("RotationPeriodInDays",)),
    "DisableKeyRotation": Refusal(_wrong_origin, read_only=False),
    "RotateKeyOnDemand": Refusal(_wrong_origin, read_only=False),
    "GetKeyRotationStatus": Refusal(_wrong_origin),
    "ListKeyRotations": Refusal(_wrong_origin),
    "GetParametersForImport": Refusal(_wrong_origin, shown=("WrappingAlgorithm", "WrappingKeySpec")),
    "ImportKeyMaterial": Refusal(_wrong_origin, read_only=False, shown=("ExpirationModel",)),
    "DeleteImportedKeyMaterial": Refusal(_wrong_origin, read_only=False),
    "ReplicateKey": Refusal(_no_primary_key, read_only=False, shown=("ReplicaRegion",)),
    "UpdatePrimaryRegion": Refusal(_no_primary_key, read_only=False, shown=("PrimaryRegion",)),
    "GetPublicKey": Refusal(_no_public_key, aliases=True),
    "Sign": _other_usage("SigningAlgorithm", "MessageType"),
    "Verify": _other_usage("SigningAlgorithm", "MessageType"),
    "GenerateMac": _other_usage("MacAlgorithm"),
    "VerifyMac": _other_usage("MacAlgorithm"),
    "DeriveSharedSecret": _other_usage("KeyAgreementAlgorithm"),
    # Newer than AWS's table of key states (unconfirmed).
    "Encapsulate": _other_usage("EncapsulationAlgorithm", states_of="DeriveSharedSecret"),
    "Decapsulate": _other_usage("EncapsulationAlgorithm", states_of="DeriveSharedSecret"),
}


def _refuse(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_Operations.html"""
    name = call.operation
    refusal = REFUSALS[name]
    call.audit_parameters.update(
        {shapes.lower_camel(member): params[member] for member in ("KeyId", *refusal.shown) if params.get(member)}
    )
    cryptography.refuse_recipient(params)
    key = access.key(call, params["KeyId"], f"kms:{name}", aliases=refusal.aliases)
    key_states.require(refusal.states_of or name, key)
    raise refusal.error(name, key)


for _name, _refusal in REFUSALS.items():
    operation(f"kms:{_name}", read_only=_refusal.read_only)(_refuse)
