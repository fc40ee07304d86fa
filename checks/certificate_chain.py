"""What stands in the certificates of a chain: whom they are for, until when, and who signed them.

Imports `cryptography` (10 MiB), so this belongs into a child process.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

from checks.check import CheckError
from checks.lines import shown

if TYPE_CHECKING:
    from cryptography.hazmat.primitives import hashes

UNREADABLE = (
    *(ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)
"""What `cryptography` raises, as fuzzing showed, for bytes that are almost a certificate."""

_DAY = timedelta(days=1)
_MANY_NAMES = 3


def load(der: bytes) -> x509.Certificate:
    """Read a certificate. `ValueError` when it is none, or holds what cannot be read."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        names(certificate), owner(certificate)  # extensions and names are only read when they are asked for
    except UNREADABLE as exc:
        raise ValueError(shown(str(exc))) from None
    return certificate


def load_file(path: str, parameter: str) -> list[x509.Certificate]:
    """Read the certificates of the PEM file that `parameter` names. `CheckError` says what is wrong with it."""
    try:
        return x509.load_pem_x509_certificates(Path(path).read_bytes())
    except OSError as exc:
        raise CheckError(f"{parameter} {path} cannot be read: {exc.strerror}") from None
    except UNREADABLE:
        raise CheckError(f"{parameter} {path} holds no certificate in PEM form") from None


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether `issuer` signed `certificate`, by its name and by the signature."""
    try:
        return certificate.issuer == issuer.subject and is_signed(
            *(issuer, certificate.signature, certificate.tbs_certificate_bytes),
            certificate.signature_hash_algorithm,
            certificate.signature_algorithm_parameters,
        )
    except UNREADABLE:
        return False


def is_signed(
    signer: x509.Certificate,
    signature: bytes,
    data: bytes,
    algorithm: hashes.HashAlgorithm | None,
    parameters: object = None,
) -> bool:
    """Tell whether a signature over `data` is by the key of `signer`. `UnsupportedAlgorithm` where we cannot know.

    SHA-1 is good enough here, unlike in the library's own functions: old CAs sign with it, and to call their lists
    forged would be untrue.
    """
    key = signer.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey) and algorithm:
            how = parameters if isinstance(parameters, padding.PSS) else padding.PKCS1v15()
            key.verify(signature, data, how, algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm:
            key.verify(signature, data, ec.ECDSA(algorithm))
        elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, data)
        else:
            raise UnsupportedAlgorithm("a signature of a kind that is not known here")
    except InvalidSignature:
        return False
    return True


def days_left(certificate: x509.Certificate) -> float:
    """Return the days until a certificate expires; negative afterwards."""
    return (certificate.not_valid_after_utc - datetime.now(UTC)) / _DAY


def names(certificate: x509.Certificate) -> list[str | ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return the host names and addresses a certificate is for. The common name has not counted since RFC 9525."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [each for each in found.get_values_for_type(x509.IPAddress) if not hasattr(each, "prefixlen")]
    return [*found.get_values_for_type(x509.DNSName), *addresses]


def matches(certificate: x509.Certificate, wanted: str) -> bool:
    """Tell whether a certificate is for the host `wanted`, by RFC 9525, 6.3: a `*` stands for one whole label."""
    try:
        return ipaddress.ip_address(wanted.partition("%")[0]) in names(certificate)
    except ValueError:
        pass
    try:
        host = wanted.encode("idna").decode().lower().rstrip(".")
    except UnicodeError:
        return False
    _, _, parent = host.partition(".")
    offered = {each.lower().rstrip(".") for each in names(certificate) if isinstance(each, str)}
    return host in offered or (bool(parent) and f"*.{parent}" in offered)


def whom_for(certificate: x509.Certificate) -> str:
    """Say for whom a certificate is: a few of its names."""
    found = [str(each) for each in names(certificate)]
    more = f" and {len(found) - _MANY_NAMES} more" if len(found) > _MANY_NAMES else ""
    return shown(", ".join(found[:_MANY_NAMES])) + more if found else "no host name at all"


def owner(certificate: x509.Certificate) -> str:
    """Say whose certificate it is, by its subject."""
    return shown_name(certificate.subject)


def shown_name(name: x509.Name) -> str:
    """Write a distinguished name as people read it: `CN=…,O=…`."""
    return shown(name.rfc4514_string() or "(no name)")
