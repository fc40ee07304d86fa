"""Read until when a certificate is valid, straight from its DER bytes.

Python tells the fields of a certificate only when it could verify it, and the date is wanted most when it could not.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z\Z", re.ASCII)  # strptime would cost a module and a locale
_SEQUENCE = 0x30
_VERSION = 0xA0
_UTC_TIME = 0x17
_GENERALIZED_TIME = 0x18
_LONG_FORM = 0x80


def not_after(der: bytes) -> datetime:
    """Return the end of validity (RFC 5280, 4.1.2.5) of an X.509 certificate. `ValueError` when it is not one."""
    certificate = _inside(der, 0, _SEQUENCE)
    fields = _inside(certificate, 0, _SEQUENCE)
    at = 0
    if fields[:1] == bytes([_VERSION]):
        at = element(fields, at)[2]
    for _ in ("serial number", "signature algorithm", "issuer"):
        at = element(fields, at)[2]
    validity = _inside(fields, at, _SEQUENCE)
    tag, start, end = element(validity, element(validity, 0)[2])
    return _time(tag, validity[start:end].decode("ascii"))


def element(data: bytes, at: int) -> tuple[int, int, int]:
    """Return the tag of the DER element at `at`, and where its content starts and ends. `ValueError` past the end."""
    if at + 2 > len(data):
        raise ValueError("the DER is cut short")
    length, start = data[at + 1], at + 2
    if length & _LONG_FORM:
        size = length & ~_LONG_FORM
        length, start = int.from_bytes(data[start : start + size], "big"), start + size
    if start + length > len(data):
        raise ValueError("the DER is cut short")
    return data[at], start, start + length


def _inside(data: bytes, at: int, wanted: int) -> bytes:
    tag, start, end = element(data, at)
    if tag != wanted:
        raise ValueError("this is not a certificate")
    return data[start:end]


def _time(tag: int, text: str) -> datetime:
    if tag == _UTC_TIME:  # two digits of the year: 50 to 99 are 1950 to 1999
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("the certificate has no end of validity")
    parts = _TIME.match(text)
    if parts is None:
        raise ValueError("the certificate's end of validity is not a time")
    year, month, day, hour, minute, second = map(int, parts.groups())
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
