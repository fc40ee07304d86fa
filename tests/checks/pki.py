"""Certificates of the tests' own, with what trustme has no word for: OCSP, key usages, dates in the past."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Identity:
    """A certificate, its key, and who issued it (nobody, where it signed itself)."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    issuer: Identity | None

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def intermediates(self) -> bytes:
        """The chain above this certificate, without the root, in PEM."""
        above = self.issuer
        return b"" if above is None or above.issuer is None else above.pem + above.intermediates

    def write(self, folder: Path, stem: str) -> tuple[str, str]:
        """Write `STEM.pem` (with the chain) and `STEM.key`; return both names."""
        pem, key = folder / f"{stem}.pem", folder / f"{stem}.key"
        pem.write_bytes(self.pem + self.intermediates)
        key.write_bytes(self.key_pem)
        key.chmod(0o600)
        return str(pem), str(key)


def issue(
    common_name: str,
    issuer: Identity | None = None,
    *,
    hosts: tuple[str, ...] = (),
    days: float = 30,
    ca: bool = False,
    ocsp_url: str | None = None,
    usage: x509.ObjectIdentifier | None = None,
    signs_lists: bool | None = None,
    key: rsa.RSAPrivateKey | None = None,
) -> Identity:
    """Make a certificate that expires in `days` (in the past where negative).

    With `signs_lists` it says whether its key may sign revocation lists; without a `key` it gets a new one.
    """
    own = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([_name(host) for host in hosts]), critical=False)
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
    if signs_lists is not None:
        builder = builder.add_extension(_key_usage(signs_lists=signs_lists), critical=True)
    if ocsp_url:
        where = x509.UniformResourceIdentifier(ocsp_url)
        access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, where)
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
    certificate = builder.sign(issuer.key if issuer else own, hashes.SHA256())
    return Identity(certificate, own, issuer)


def _key_usage(*, signs_lists: bool) -> x509.KeyUsage:
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign")
    more = dict.fromkeys((*others, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=True, crl_sign=signs_lists, **more)


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
