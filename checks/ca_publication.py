"""What a CA publishes, read and judged: revocation lists (RFC 5280, 5) and certificates, in DER, PEM or PKCS #7.

Imports `cryptography` (10 MiB), so this belongs into a child process.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7

from checks.certificate_chain import UNREADABLE, days_left, is_signed, issued_by, owner, shown_name
from checks.lines import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Kind = Literal["list", "certificates"]
Published = x509.CertificateRevocationList | list[x509.Certificate]

_CLOCK_SKEW = timedelta(minutes=5)
_MOST_LINES = 10
_SEQUENCE = 0x30
_LONG_FORM = 0x80
_LONGEST_LENGTH_BYTES = 4
_WORDS: dict[Kind | None, str] = {
    "list": "a revocation list",
    "certificates": "a certificate",
    None: "a revocation list or a certificate",
}
_SUFFIXES: dict[str, Kind] = {
    ".crl": "list",
    ".crt": "certificates",
    ".cer": "certificates",
    ".p7b": "certificates",
    ".p7c": "certificates",
}
_ARMOUR = re.compile(rb"^-----(BEGIN|END) ([A-Z0-9 #]{1,40})-----\s*$", re.MULTILINE)


class UnreadableError(Exception):
    """What came is not what was wanted, or only a part of it: `str` says what it is instead."""


@dataclass(slots=True)
class Report:
    """What was found: figures, what is wrong, and a line for people about each thing."""

    metrics: dict[str, float] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def kind_of(path: str) -> Kind | None:
    """Tell from the end of an address what it should hold; None where that says nothing."""
    name = path.partition("?")[0].lower()
    return next((kind for suffix, kind in _SUFFIXES.items() if name.endswith(suffix)), None)


def read(body: bytes, wanted: Kind | None) -> Published:
    """Read what was fetched. `UnreadableError` says in words what it is instead of what is `wanted`."""
    if not body.strip():
        raise UnreadableError(f"this is empty, not {_WORDS[wanted]}")
    if body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise UnreadableError(f"this is a web page, not {_WORDS[wanted]}")
    found = _read_pem(body, wanted) if _ARMOUR.search(body) else _read_der(body, wanted)
    kind: Kind = "certificates" if isinstance(found, list) else "list"
    if wanted not in (None, kind):
        raise UnreadableError(f"this is {_WORDS[kind]}, not {_WORDS[wanted]}")
    return found


def _certificates(load: Callable[[bytes], list[x509.Certificate]]) -> Callable[[bytes], list[x509.Certificate]]:
    """Read certificates with `load`, and their names and dates, which it puts off until they are asked for."""

    def loaded(data: bytes) -> list[x509.Certificate]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of BER where DER should be: it is read all the same
            found = load(data)
        if not found:
            raise ValueError("no certificate is in it")
        for each in found:
            owner(each), days_left(each), each.not_valid_before_utc
        return found

    return loaded


def _list(load: Callable[[bytes], x509.CertificateRevocationList]) -> Callable[[bytes], x509.CertificateRevocationList]:
    """Read a revocation list with `load`, and what it puts off until it is asked for."""

    def loaded(data: bytes) -> x509.CertificateRevocationList:
        found = load(data)
        shown_name(found.issuer), found.last_update_utc, found.next_update_utc, len(found)
        return found

    return loaded


_PEM: dict[bytes, Callable[[bytes], Published]] = {
    b"X509 CRL": _list(x509.load_pem_x509_crl),
    b"CERTIFICATE": _certificates(x509.load_pem_x509_certificates),
    b"PKCS7": _certificates(pkcs7.load_pem_pkcs7_certificates),
}
_DER: tuple[Callable[[bytes], Published], ...] = (
    _list(x509.load_der_x509_crl),
    _certificates(lambda data: [x509.load_der_x509_certificate(data)]),
    _certificates(pkcs7.load_der_pkcs7_certificates),
)


def _read_pem(body: bytes, wanted: Kind | None) -> Published:
    lines = [(each[1], each[2]) for each in _ARMOUR.finditer(body)]
    label = lines[0][1]
    if lines[-1][0] == b"BEGIN":
        raise UnreadableError(f"it is cut short: the line that ends its {label.decode()} is missing")
    if label not in _PEM:
        raise UnreadableError(f"this is a PEM file of {label.decode()}, not {_WORDS[wanted]}")
    try:
        return _PEM[label](body)
    except UNREADABLE:
        raise UnreadableError(f"this is a PEM file whose {label.decode()} is damaged") from None


def _read_der(body: bytes, wanted: Kind | None) -> Published:
    for load in _DER:
        try:
            return load(body)
        except UNREADABLE:
            continue
    stated = _stated_bytes(body)
    if stated is not None and stated > len(body):
        raise UnreadableError(f"it is cut short: {len(body)} of {stated} bytes are there")
    begins = shown(body[:24].decode(errors="replace"))
    raise UnreadableError(f"this is not {_WORDS[wanted]}: {len(body)} bytes that begin {begins!r}")


def _stated_bytes(der: bytes) -> int | None:
    """Return how long a DER sequence says it is, header included; None when this is not the beginning of one."""
    if len(der) < 2 or der[0] != _SEQUENCE:  # noqa: PLR2004  (tag and length)
        return None
    if not der[1] & _LONG_FORM:
        return 2 + der[1]
    size = der[1] & ~_LONG_FORM
    if not 0 < size <= min(_LONGEST_LENGTH_BYTES, len(der) - 2):
        return None
    return 2 + size + int.from_bytes(der[2 : 2 + size], "big")


def judge(found: Published, issuers: Sequence[x509.Certificate], now: datetime) -> Report:
    """Return the figures of what was published, and everything that speaks against it.

    Where there are `issuers`, one of them must have signed the list, or each of the certificates.
    """
    if isinstance(found, list):
        return _judge_certificates(found, issuers, now)
    return _judge_list(found, issuers, now)


def _judge_list(crl: x509.CertificateRevocationList, issuers: Sequence[x509.Certificate], now: datetime) -> Report:
    made, due = crl.last_update_utc, crl.next_update_utc
    report = Report({"revoked_total": float(len(crl)), "age_seconds": (now - made).total_seconds()})
    until = f", the next one due on {due:%Y-%m-%d %H:%M} UTC" if due else ", which does not say when the next one comes"
    report.notes.append(f"revocation list of {shown_name(crl.issuer)}, made on {made:%Y-%m-%d %H:%M} UTC{until}")
    if made > now + _CLOCK_SKEW:
        report.complaints.append(f"the list is of the future: {made:%Y-%m-%d %H:%M} UTC")
    if due is not None:
        report.metrics["next_update_seconds"] = (due - now).total_seconds()
        if due < now:
            report.complaints.append(f"the list is overdue: the next one was due on {due:%Y-%m-%d %H:%M} UTC")
    if issuers:
        try:
            complaint = _list_signature(crl, issuers)
            report.metrics["signature_valid"] = float(complaint is None)
        except UNREADABLE:  # UnsupportedAlgorithm above all
            complaint = (
                f"the list is signed in a way that is not known here ({crl.signature_algorithm_oid.dotted_string})"
            )
        report.complaints += [complaint] if complaint else []
    return report


def _list_signature(crl: x509.CertificateRevocationList, issuers: Sequence[x509.Certificate]) -> str | None:
    """Say what speaks against a list's signature by RFC 5280, 6.3.3 (f) and (g), if anything does."""
    named = [each for each in issuers if each.subject == crl.issuer]
    if not named:
        return f"the list is of {shown_name(crl.issuer)}, not of {owner(issuers[0])} (issuer_file)"
    what = (crl.signature, crl.tbs_certlist_bytes, crl.signature_hash_algorithm, crl.signature_algorithm_parameters)
    signers = [each for each in named if is_signed(each, *what)]
    if not signers:
        return "the signature of the list is wrong: the list is forged or damaged, or the CA has a new key"
    if not any(_signs_lists(each) for each in signers):
        return f"the list is signed by {owner(signers[0])}, whose certificate is not for signing lists"
    return None


def _signs_lists(issuer: x509.Certificate) -> bool:
    """Tell whether a certificate may sign lists: one that says nothing about its key's usage may."""
    try:
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except (x509.ExtensionNotFound, *UNREADABLE):
        return True


def _judge_certificates(
    found: Sequence[x509.Certificate], issuers: Sequence[x509.Certificate], now: datetime
) -> Report:
    by_date = sorted(found, key=lambda each: each.not_valid_after_utc)
    report = Report({"certificates": float(len(found)), "certificate_expiry_days": days_left(by_date[0])})
    report.notes += [f"certificate of {owner(each)} until {each.not_valid_after_utc:%Y-%m-%d}" for each in by_date]
    for each in by_date:
        if (days := days_left(each)) < 0:
            report.complaints.append(f"the certificate of {owner(each)} expired {-days:.1f} days ago")
        if each.not_valid_before_utc > now + _CLOCK_SKEW:
            begins = f"{each.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
            report.complaints.append(f"the certificate of {owner(each)} is valid only from {begins}")
    if issuers:
        strangers = [each for each in found if not any(issued_by(each, issuer) for issuer in issuers)]
        report.metrics["signature_valid"] = float(not strangers)
        if strangers:
            report.complaints.append(f"the certificate of {owner(strangers[0])} was not issued by issuer_file's CA")
    return Report(report.metrics, _first(report.complaints), _first(report.notes))


def _first(lines: list[str]) -> list[str]:
    more = len(lines) - _MOST_LINES
    return lines if more <= 0 else [*lines[:_MOST_LINES], f"and {more} more"]
