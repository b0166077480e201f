"""What keys of a spec can be used for.

https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html#KMS-CreateKey-request-KeyUsage
"""

from __future__ import annotations

_ENCRYPTION, _SIGNING, _AGREEMENT = "ENCRYPT_DECRYPT", "SIGN_VERIFY", "KEY_AGREEMENT"
_USAGES: dict[str, frozenset[str]] = {
    "SYMMETRIC_DEFAULT": frozenset({_ENCRYPTION}),
    **dict.fromkeys(("RSA_2048", "RSA_3072", "RSA_4096"), frozenset({_ENCRYPTION, _SIGNING})),
    **dict.fromkeys(("ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521"), frozenset({_SIGNING, _AGREEMENT})),
    **dict.fromkeys(("ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519"), frozenset({_SIGNING})),
    **dict.fromkeys(("HMAC_224", "HMAC_256", "HMAC_384", "HMAC_512"), frozenset({"GENERATE_VERIFY_MAC"})),
    "SM2": frozenset({_ENCRYPTION, _SIGNING, _AGREEMENT}),
    **dict.fromkeys(("ML_DSA_44", "ML_DSA_65", "ML_DSA_87"), frozenset({_SIGNING})),
    **dict.fromkeys(("ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"), frozenset({"ENCAPSULATE_DECAPSULATE"})),
}


def usages(spec: str) -> frozenset[str]:
    """The values of KeyUsage that go with a KeySpec."""
    return _USAGES[spec]
