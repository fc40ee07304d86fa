"""Time-stamp tokens of RFC 3161: the question, and what an answer proves.

Imports `rfc3161_client` (13 MiB with `cryptography`), so this belongs into a child process.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import rfc3161_client
from cryptography import x509

from checks.certificate import element
from checks.certificate_chain import UNREADABLE, days_left
from checks.lines import shown

if TYPE_CHECKING:
    from datetime import datetime

_STATUS_WORDS = {
    1: "granted with modifications that nobody asked for",
    2: "rejected",
    3: "waiting",
    4: "granted, with a warning that a revocation is imminent",
    5: "granted, with the notice that a revocation has happened",
}
_DIGESTS = {"sha256": rfc3161_client.HashAlgorithm.SHA256, "sha512": rfc3161_client.HashAlgorithm.SHA512}
_CERTIFICATES = 0xA0
_SIGNED_DATA_DEPTH = 3


class TokenError(Exception):
    """The answer is no time stamp of what was asked: `str` says why.

    `status` is the authority's own, if it gave one; `forged` when a signature was there and is not accepted.
    """

    def __init__(self, reason: str, status: int | None = None, *, forged: bool = False) -> None:
        """Keep all three."""
        super().__init__(reason)
        self.status, self.forged = status, forged


@dataclass(frozen=True, slots=True)
class Token:
    """What an accepted token says. `accuracy_seconds` and `signer_days_left` are None where it does not say."""

    at: datetime
    accuracy_seconds: float | None
    policy: str
    signer_days_left: float | None


class Question:
    """One request for a time stamp of some data, and the judgement of its answer."""

    def __init__(self, data: bytes, digest: str) -> None:
        """Ask for the digest of `data`, with a nonce, and for the authority's certificate."""
        self._data, self._digest = data, digest
        builder = rfc3161_client.TimestampRequestBuilder(data, _DIGESTS[digest])
        self._request = builder.build()

    def encode(self) -> bytes:
        """Return the request as it is sent."""
        return self._request.as_bytes()

    def read(self, der: bytes, roots: list[x509.Certificate]) -> Token:
        """Return the token in an answer; `TokenError` unless it is granted, ours, and (given roots) rightly signed."""
        try:
            response = rfc3161_client.decode_timestamp_response(_in_order(der))
            if response.status != 0:
                said = ": " + shown("; ".join(response.status_string)) if response.status_string else ""
                words = _STATUS_WORDS.get(response.status, f"of unknown status {response.status}")
                raise TokenError(f"the request is {words}{said}", response.status)
            self._compare(response.tst_info)
            if roots:
                self._verify(response, roots)
            return _token(response)
        except UNREADABLE as exc:
            raise TokenError(f"the answer is not a time-stamp response: {shown(str(exc))}") from None

    def _compare(self, info: rfc3161_client.TimeStampTokenInfo) -> None:
        if info.nonce != self._request.nonce:
            raise TokenError("the token carries another nonce than the request: an old answer, replayed", 0)
        if info.message_imprint.message != hashlib.new(self._digest, self._data).digest():
            raise TokenError("the token is for other data than was sent", 0)

    def _verify(self, response: rfc3161_client.TimeStampResponse, roots: list[x509.Certificate]) -> None:
        verifier = rfc3161_client.VerifierBuilder(roots=roots, nonce=self._request.nonce).build()
        try:
            verifier.verify_message(response, self._data)
        except rfc3161_client.VerificationError as exc:
            raise TokenError(f"the token's signature is not accepted: {_brief(str(exc))}", 0, forged=True) from None


def _token(response: rfc3161_client.TimeStampResponse) -> Token:
    info = response.tst_info
    given: rfc3161_client.Accuracy | None = info.accuracy
    accuracy = None
    if given is not None:
        accuracy = (given.seconds or 0) + (given.millis or 0) / 1e3 + (given.micros or 0) / 1e6
    return Token(info.gen_time, accuracy, info.policy.dotted_string, _signer_days_left(response))


def _signer_days_left(response: rfc3161_client.TimeStampResponse) -> float | None:
    with contextlib.suppress(*UNREADABLE):  # what only a date would be read from must not spoil a good token
        signers = {(each.issuer, each.serial_number) for each in response.signed_data.signer_infos}
        for certificate in map(x509.load_der_x509_certificate, response.signed_data.certificates):
            if (certificate.issuer, certificate.serial_number) in signers:
                return days_left(certificate)
    return None


def _in_order(der: bytes) -> bytes:
    """Put the certificates of an answer into the order that DER wants of a set (X.690, 11.6).

    OpenSSL, and so many an authority, sends them as they were configured, which the library refuses. Nothing that is
    signed changes: the signature does not cover them.
    """
    try:
        at = element(der, element(der, 0)[1])[2]  # past PKIStatusInfo: the token
        for _ in range(_SIGNED_DATA_DEPTH):  # ContentInfo; past its type; [0]; SignedData
            at = element(der, at)[1]
            at = element(der, at)[2] if der[at] == 0x06 else at  # noqa: PLR2004  (OBJECT IDENTIFIER)
        for _ in ("version", "digest algorithms", "content"):
            at = element(der, at)[2]
        tag, start, end = element(der, at)
        parts, each = [], start
        while each < end:
            parts.append(der[each : element(der, each)[2]])
            each = element(der, each)[2]
    except (ValueError, IndexError):
        return der  # no token in it: the library says what it is
    return der[:start] + b"".join(sorted(parts)) + der[end:] if tag == _CERTIFICATES and each == end else der


def _brief(text: str) -> str:
    """Return what is worth reading of OpenSSL's pile of errors: the reason it gives first."""
    reason = text.partition('reason: "')[2].partition('"')[0]
    return shown(reason or text.partition(": ErrorStack")[0])
