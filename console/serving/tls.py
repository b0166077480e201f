"""The certificates of `--tls`: a TLS root of this installation's own, and a server certificate that it issues.

<data>/tls/root.crt          what browsers and AWS clients are to trust; made once, kept for its whole life
<data>/secret/tls-root.key   its private key, for its owner only
<data>/tls/server.crt, .key  what the web workers show; made anew when it nears its end or the names change

The root has nothing to do with the root of the HSM certificates: whoever trusts a server need not trust its HSMs.
"""

from __future__ import annotations

import datetime
import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from console.serving.options import EVERY_ADDRESS, CannotStartError, Options
from hsmapp.durable import write_durably

ROOT_LIFE = datetime.timedelta(days=3653)
SERVER_LIFE = datetime.timedelta(days=397)  # browsers refuse certificates that live longer than 398 days
RENEW_BEFORE = datetime.timedelta(days=30)
_BACKDATED = datetime.timedelta(minutes=5)  # the clocks of clients may be behind
_SIOCGIFADDR = 0x8915  # linux/sockios.h: the IPv4 address of a network interface


@dataclass(frozen=True)
class Authority:
    """A TLS root with its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def root_path(data: Path) -> Path:
    return data / "tls" / "root.crt"


def root_key_path(data: Path) -> Path:
    return data / "secret" / "tls-root.key"


def server_paths(data: Path) -> tuple[Path, Path]:
    """The server's certificate and its private key."""
    return data / "tls" / "server.crt", data / "tls" / "server.key"


def prepare(options: Options, *, now: datetime.datetime) -> bool:
    """See to it that the certificates are there, in force and for the right names; return whether one was made.

    Raises CannotStartError if the root is damaged: a new one in its place would be trusted by nobody.
    """
    names = served_names(options)
    authority = _load_root(options.data)
    if authority is None or authority.certificate.not_valid_after_utc - RENEW_BEFORE <= now:
        authority = _keep_root(options.data, make_root(now))
    elif _serves(options.data, authority, names, now):
        return False
    certificate, key = issue(authority, names, now=now)
    certificate_path, key_path = server_paths(options.data)
    # The key first: a start that was killed between the two finds a pair that does not match, and makes another.
    write_durably(key_path, _key_pem(key))
    write_durably(certificate_path, certificate.public_bytes(serialization.Encoding.PEM))
    return True


def check(data: Path) -> None:
    """Check the root, if there is one. Raises CannotStartError."""
    _load_root(data)


def fingerprint(data: Path) -> str:
    """The SHA-256 fingerprint of the root, as browsers show it."""
    certificate = x509.load_pem_x509_certificate(root_path(data).read_bytes())
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def served_names(options: Options) -> list[str]:
    """Host names and addresses under which clients may reach the server, sorted."""
    names = {"localhost", "127.0.0.1", "::1", socket.gethostname().lower()}
    if options.host in EVERY_ADDRESS:
        names.update(_interface_addresses())
    else:
        names.add(options.host.partition("%")[0].lower())
    return sorted(name for name in names if name and name.isascii())


def _interface_addresses() -> Iterable[str]:
    """The IPv4 address of each network interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue  # it has none
            yield socket.inet_ntoa(answer[20:24])


def make_root(now: datetime.datetime) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"Casemate TLS root of {socket.gethostname()}")
    certificate = (
        _builder(name, name, key.public_key(), now=now, ends=now + ROOT_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def issue(
    authority: Authority, names: Iterable[str], *, now: datetime.datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A new key and a certificate for it that holds for the host names and addresses, but no longer than its root."""
    key = ec.generate_private_key(ec.SECP256R1())
    ends = min(now + SERVER_LIFE, authority.certificate.not_valid_after_utc)
    root_key_id = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _builder(_name("Casemate"), authority.certificate.subject, key.public_key(), now=now, ends=ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(root_key_id), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return certificate, key


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    *,
    now: datetime.datetime,
    ends: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(ends)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Casemate"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64]),
        ]
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _serves(data: Path, authority: Authority, names: list[str], now: datetime.datetime) -> bool:
    """Whether the server certificate on disk is the root's, its key's, for these names, and not near its end."""
    certificate_path, key_path = server_paths(data)
    try:
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
        certificate.verify_directly_issued_by(authority.certificate)
        held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False  # it is made anew, which costs nothing: clients trust the root
    return (
        certificate.public_key() == key.public_key()
        and set(held) == {_general_name(name) for name in names}
        and certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - RENEW_BEFORE
    )


def _load_root(data: Path) -> Authority | None:
    """The root; None if this installation has none yet."""
    if not root_path(data).exists():
        return None  # a key alone was left by a start that was killed before anyone could trust it
    try:
        certificate = x509.load_pem_x509_certificate(root_path(data).read_bytes())
        key = serialization.load_pem_private_key(root_key_path(data).read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(data) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        raise _damaged(data)
    return Authority(certificate, key)


def _damaged(data: Path) -> CannotStartError:
    return CannotStartError(
        f"The TLS root is damaged: {root_path(data)} and {root_key_path(data)} do not belong together. "
        "Put the right files back, or remove both for a new root, which clients must be told to trust."
    )


def _keep_root(data: Path, authority: Authority) -> Authority:
    root_key_path(data).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    root_path(data).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_durably(root_key_path(data), _key_pem(authority.key))
    write_durably(root_path(data), authority.certificate.public_bytes(serialization.Encoding.PEM))
    return authority


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
