"""Certificates: the installation's root, the HSM certificates it issues, and the check of a peer's transport key.

An HSM's identity key is certified with the HSM's id as the subject. The identity key signs the HSM's transport key, so
a masking key is only ever wrapped under a key that a known HSM vouches for, never under one read from a database row.
"""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from django.db import transaction

from hsmapp import clock, sealing
from hsmapp.models import InstallationRoot

_TABLE = "hsmapp_installationroot"
_ROW = "root"
_YEARS_20 = datetime.timedelta(days=7305)
_ROOT_NAME = "Casemate installation root"


class CertificateError(Exception):
    """A certificate or signature does not prove what it should."""


def _name(common_name: str, unit: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Casemate"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def self_signed(common_name: str, key: rsa.RSAPrivateKey, *, now: datetime.datetime) -> x509.Certificate:
    """A certificate authority's own certificate."""
    name = _name(common_name, "CA")
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + _YEARS_20)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def issue(
    public_key: rsa.RSAPublicKey,
    common_name: str,
    *,
    issuer: x509.Certificate,
    issuer_key: rsa.RSAPrivateKey,
    now: datetime.datetime,
) -> x509.Certificate:
    """A certificate for an HSM's identity key."""
    return (
        x509.CertificateBuilder()
        .subject_name(_name(common_name, "HSM"))
        .issuer_name(issuer.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + _YEARS_20)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def rsa_public_key(der: bytes) -> rsa.RSAPublicKey:
    key = serialization.load_der_public_key(der)
    if not isinstance(key, rsa.RSAPublicKey):
        raise CertificateError("The public key is not an RSA key.")
    return key


def _root() -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    """The installation's root, made when it is first needed."""
    row = InstallationRoot.objects.order_by("pk").first()
    if row is None:
        with transaction.atomic():
            row = InstallationRoot.objects.order_by("pk").first() or _make_root()
    der = sealing.keyring().open(row.private_key_sealed, purpose=sealing.INSTALLATION_ROOT, table=_TABLE, row=_ROW)
    key = serialization.load_der_private_key(der, password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise CertificateError("The installation root's key is not an RSA key.")
    certificate = x509.load_pem_x509_certificate(row.certificate.encode())
    # Only the private key is sealed: a certificate that was put in its place in the row must not vouch for anyone.
    if certificate.public_key() != key.public_key():
        raise CertificateError("The installation root's certificate is not that of its key.")
    return certificate, key


def _make_root() -> InstallationRoot:
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    now = clock.now()
    return InstallationRoot.objects.create(
        certificate=pem(self_signed(_ROOT_NAME, key, now=now)),
        private_key_sealed=sealing.keyring().seal(der, purpose=sealing.INSTALLATION_ROOT, table=_TABLE, row=_ROW),
        created_at=now,
    )


def hsm_certificate(hsm_id: str, identity_public: bytes) -> str:
    """Issue the HSM certificate (PEM) for an identity key (SubjectPublicKeyInfo, DER)."""
    root, key = _root()
    return pem(issue(rsa_public_key(identity_public), hsm_id, issuer=root, issuer_key=key, now=clock.now()))


def check_transport_key(
    hsm_id: str, certificate_pem: str, *, transport_public: bytes, transport_signature: bytes
) -> None:
    """Raise CertificateError unless the HSM of that id, certified by this installation, signed the transport key."""
    root, _ = _root()
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    subject = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    if subject != hsm_id:
        raise CertificateError(f"The HSM certificate is for {subject!r}, not for {hsm_id}.")
    identity = certificate.public_key()
    if not isinstance(identity, rsa.RSAPublicKey):
        raise CertificateError(f"The HSM certificate of {hsm_id} does not hold an RSA key.")
    try:
        certificate.verify_directly_issued_by(root)
        identity.verify(transport_signature, transport_public, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError, TypeError) as error:
        raise CertificateError(f"The transport key of {hsm_id} is not vouched for by its certificate.") from error
