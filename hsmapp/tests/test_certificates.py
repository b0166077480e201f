"""A masking key is wrapped only under a transport key that a known HSM vouches for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from hsmapp import certificates, clock, sealing
from hsmapp.certificates import CertificateError, check_transport_key, hsm_certificate
from hsmapp.models import InstallationRoot

HSM = "hsm-abcdefghijk"
OTHER = "hsm-zyxwvutsrqp"


@pytest.fixture
def master_key(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A master key of the test's own; the root is made when it is first needed."""
    monkeypatch.setattr(sealing, "keyring", lambda: sealing.Keyring.from_master_key(b"k" * 32))


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_der(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True)
class Shown:
    """What a peer shows, and what is known of it."""

    hsm_id: str
    certificate: str
    transport_public: bytes
    signature: bytes

    def check(self) -> None:
        check_transport_key(
            self.hsm_id,
            self.certificate,
            transport_public=self.transport_public,
            transport_signature=self.signature,
        )


def signed(identity: rsa.RSAPrivateKey, message: bytes) -> bytes:
    return identity.sign(message, padding.PKCS1v15(), hashes.SHA256())


def peer(hsm_id: str = HSM) -> Shown:
    """An HSM of this installation, as it should be."""
    identity, transport = new_key(), public_der(new_key())
    return Shown(hsm_id, hsm_certificate(hsm_id, public_der(identity)), transport, signed(identity, transport))


def test_an_hsm_of_this_installation_is_believed(master_key: None) -> None:
    peer().check()


def forged_transport_key(good: Shown) -> Shown:
    return replace(good, transport_public=public_der(new_key()))


def changed_signature(good: Shown) -> Shown:
    return replace(good, signature=bytes([good.signature[0] ^ 1]) + good.signature[1:])


def no_signature(good: Shown) -> Shown:
    return replace(good, signature=b"")


def signed_by_another_identity(good: Shown) -> Shown:
    return replace(good, signature=signed(new_key(), good.transport_public))


def another_hsm(good: Shown) -> Shown:
    """Whole and sound, and of an HSM that was not asked."""
    return replace(peer(OTHER), hsm_id=HSM)


def certificate_of_another_hsm(good: Shown) -> Shown:
    return replace(good, certificate=peer(OTHER).certificate)


def foreign_root(good: Shown) -> Shown:
    """A certificate for the right id from an authority of the forger's own, with the name of ours."""
    root_key, identity, now = new_key(), new_key(), clock.now()
    root = certificates.self_signed("Casemate installation root", root_key, now=now)
    forged = certificates.issue(identity.public_key(), HSM, issuer=root, issuer_key=root_key, now=now)
    return replace(good, certificate=certificates.pem(forged), signature=signed(identity, good.transport_public))


def self_signed(good: Shown) -> Shown:
    identity = new_key()
    own = certificates.pem(certificates.self_signed(HSM, identity, now=clock.now()))
    return replace(good, certificate=own, signature=signed(identity, good.transport_public))


FORGERIES: dict[str, Callable[[Shown], Shown]] = {
    "another transport key": forged_transport_key,
    "a changed signature": changed_signature,
    "no signature": no_signature,
    "signed by another identity key": signed_by_another_identity,
    "another HSM in its place": another_hsm,
    "the certificate of another HSM": certificate_of_another_hsm,
    "a certificate of a foreign root": foreign_root,
    "a self-signed certificate": self_signed,
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forgery_is_refused(master_key: None, forge: Callable[[Shown], Shown]) -> None:
    good = peer()
    with pytest.raises(CertificateError):
        forge(good).check()
    good.check()


def test_a_root_put_into_the_database_vouches_for_nobody(master_key: None) -> None:
    """Who can write the row can't seal a private key that belongs to the certificate put there."""
    good = peer()
    root_key, identity, now = new_key(), new_key(), clock.now()
    root = certificates.self_signed("Casemate installation root", root_key, now=now)
    forged = certificates.issue(identity.public_key(), HSM, issuer=root, issuer_key=root_key, now=now)
    InstallationRoot.objects.update(certificate=certificates.pem(root))
    with pytest.raises(CertificateError, match="not that of its key"):
        replace(good, certificate=certificates.pem(forged), signature=signed(identity, good.transport_public)).check()


def test_a_root_key_sealed_elsewhere_does_not_open(master_key: None, monkeypatch: pytest.MonkeyPatch) -> None:
    good = peer()
    monkeypatch.setattr(sealing, "keyring", lambda: sealing.Keyring.from_master_key(b"o" * 32))
    with pytest.raises(sealing.SealingError, match="another master key"):
        good.check()


def test_there_is_one_root_and_every_certificate_is_of_it(master_key: None) -> None:
    first, second = peer(), peer(OTHER)
    assert InstallationRoot.objects.count() == 1
    first.check()
    second.check()


def test_an_identity_key_that_is_not_rsa_gets_no_certificate(master_key: None) -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    der = curve.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(CertificateError, match="not an RSA key"):
        hsm_certificate(HSM, der)
