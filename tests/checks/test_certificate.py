"""The end of a certificate's validity, beside the `cryptography` library."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from checks.certificate import not_after

KEY = ec.generate_private_key(ec.SECP256R1())
START = datetime(1990, 1, 1, tzinfo=UTC)


def certificate(until: datetime, name: str = "a") -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, KEY.public_key(), x509.random_serial_number(), START, until)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


GOOD = certificate(datetime(2030, 1, 1, tzinfo=UTC))


@given(st.integers(1, 10**10), st.text("abcdefgh", min_size=1, max_size=60))
def test_the_date_is_that_of_the_certificate_before_and_after_2050(seconds: int, name: str) -> None:
    until = START + timedelta(seconds=seconds)
    assert not_after(certificate(until, name)) == until


def test_two_digits_of_the_year_reach_from_1950_to_2049() -> None:
    for year in (1999, 2000, 2049, 2050, 9999):
        assert not_after(certificate(datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC))).year == year


@given(st.data())
def test_a_damaged_certificate_is_a_value_error_and_never_a_crash(data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(GOOD)))
    at = data.draw(st.integers(0, min(cut, 120)))
    damaged = GOOD[:at] + data.draw(st.binary(max_size=20)) + GOOD[at:cut]
    found: datetime | None = None
    with contextlib.suppress(ValueError):
        found = not_after(damaged)
    assert found is None or found.tzinfo is UTC


def test_what_is_no_certificate_says_so() -> None:
    with pytest.raises(ValueError, match="cut short"):
        not_after(b"")
    with pytest.raises(ValueError, match="this is not a certificate"):
        not_after(b"\x02\x01\x00")
