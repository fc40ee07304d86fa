"""Has a certificate been revoked: the question and the answer of OCSP (RFC 6960), the answer believed only when proven.

Imports `cryptography` (10 MiB), so this belongs into a child process.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from checks.certificate_chain import UNREADABLE, is_signed, issued_by, owner
from checks.http_exchange import exchange
from checks.lines import shown

if TYPE_CHECKING:
    from checks.http_exchange import Options, Url
    from checks.phases import Phases

GOOD, REVOKED, UNKNOWN = range(3)
MOST_BYTES = 65_536
"""No response is longer than this."""
NONCE_BYTES = 32
_CLOCK_SKEW = timedelta(minutes=5)
_STATUS_WORDS = {
    ocsp.OCSPResponseStatus.MALFORMED_REQUEST: "it could not read the request",
    ocsp.OCSPResponseStatus.INTERNAL_ERROR: "it has an internal error",
    ocsp.OCSPResponseStatus.TRY_LATER: "it asks to try later",
    ocsp.OCSPResponseStatus.SIG_REQUIRED: "it wants signed requests",
    ocsp.OCSPResponseStatus.UNAUTHORIZED: "it does not answer for this certificate (unauthorized)",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a responder says of a certificate, its signature verified.

    `status` is numbered as CertStatus of RFC 6960, 4.2.1: 0 good, 1 revoked, 2 unknown; `words` say it. `delegate` is
    who signed in the issuer's place, None where the issuer did itself.
    """

    status: int
    words: str
    this_update: datetime
    next_update: datetime | None
    delegate: x509.Certificate | None


class OcspError(Exception):
    """The response tells nothing that may be believed: `str` says why.

    `answer` is what it tells all the same where it is genuine, and only out of date or of the future.
    """

    def __init__(self, reason: str, answer: Answer | None = None) -> None:
        """Keep both."""
        super().__init__(reason)
        self.answer = answer


def responder_url(certificate: x509.Certificate) -> str | None:
    """Return the http address of the responder that the certificate names, if it names one (RFC 5280, 4.2.2.1)."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, ValueError):
        return None
    urls = [
        each.access_location.value
        for each in access
        if each.access_method == AuthorityInformationAccessOID.OCSP
        and isinstance(each.access_location, x509.UniformResourceIdentifier)
    ]
    return next((url for url in urls if url.startswith(("http://", "https://"))), None)


def request(certificate: x509.Certificate, issuer: x509.Certificate, nonce: bytes | None = None) -> ocsp.OCSPRequest:
    """Ask for one certificate; by SHA-1, because responders must know that one (RFC 5019, 2.1.1)."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())  # noqa: S303  (an identifier)
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build()


async def post(phases: Phases, url: Url, asked: ocsp.OCSPRequest, options: Options) -> bytes:
    """Send a request as RFC 6960, A.1 says and return what came back; `Unreachable` when that is no response.

    The phases take the times of the exchange, and all of it as `response_seconds`.
    """
    headers = {"content-type": "application/ocsp-request", "accept": "application/ocsp-response"}
    response = await exchange(phases, url, headers, options, asked.public_bytes(Encoding.DER))
    phases.metrics["response_seconds"] = time.perf_counter() - phases.began
    if response.status != 200:  # noqa: PLR2004  (OK)
        phases.fail(f"it answers with HTTP status {response.status}")
    if response.is_web_page:
        phases.fail("it answers with a web page, not with an OCSP response")
    if response.cut:
        phases.fail(f"its answer is longer than {options.max_body_bytes} bytes, which no OCSP response is")
    return response.body


def read(
    der: bytes, asked: ocsp.OCSPRequest, issuer: x509.Certificate, now: datetime, *, nonce_required: bool = False
) -> Answer:
    """Return what a response says of the certificate `asked` for, by the rules of RFC 6960, 3.2.

    `OcspError` when it is for another question, too old, or not signed by `issuer` or by whom it authorised.
    """
    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise OcspError(_STATUS_WORDS[response.response_status])
        signer = _signer(response, issuer)
        _check_signature(response, signer, issuer, now)
        _check_nonce(response, asked, required=nonce_required)
        answer = _answer(_single(response, asked), None if signer == issuer else signer)
    except UNREADABLE as exc:
        raise OcspError(f"its answer is not an OCSP response that can be read: {shown(str(exc))}") from None
    if answer.this_update > now + _CLOCK_SKEW:
        raise OcspError(f"its answer is of the future: {answer.this_update:%Y-%m-%d %H:%M} UTC", answer)
    if answer.next_update is not None and answer.next_update < now - _CLOCK_SKEW:
        raise OcspError(f"its answer is out of date since {answer.next_update:%Y-%m-%d %H:%M} UTC", answer)
    return answer


def _answer(single: ocsp.OCSPSingleResponse, delegate: x509.Certificate | None) -> Answer:
    status, words = GOOD, "the certificate is good"
    if single.certificate_status == ocsp.OCSPCertStatus.REVOKED:
        why = f" ({single.revocation_reason.value})" if single.revocation_reason else ""
        status, words = REVOKED, f"the certificate was revoked on {single.revocation_time_utc:%Y-%m-%d}{why}"
    elif single.certificate_status == ocsp.OCSPCertStatus.UNKNOWN:
        status, words = UNKNOWN, "the certificate is unknown to the OCSP responder"
    return Answer(status, words, single.this_update_utc, single.next_update_utc, delegate)


def _single(response: ocsp.OCSPResponse, asked: ocsp.OCSPRequest) -> ocsp.OCSPSingleResponse:
    for single in response.responses:
        same_issuer = (single.issuer_name_hash, single.issuer_key_hash) == (
            asked.issuer_name_hash,
            asked.issuer_key_hash,
        )
        if same_issuer and single.serial_number == asked.serial_number:
            return single
    raise OcspError("its answer is about another certificate")


def _check_nonce(response: ocsp.OCSPResponse, asked: ocsp.OCSPRequest, *, required: bool) -> None:
    """Refuse another nonce than ours. None at all is usual: most responders sign ahead (RFC 9654, 2.1)."""
    ours, theirs = _nonce(asked.extensions), _nonce(response.extensions)
    if ours is None or (theirs is None and not required):
        return
    if theirs is None:
        raise OcspError("its answer carries no nonce: it may be an old one, replayed")
    if theirs != ours:
        raise OcspError("its answer carries another nonce than the request: an old answer, replayed")


def _nonce(extensions: x509.Extensions) -> bytes | None:
    try:
        return extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return None


def _check_signature(
    response: ocsp.OCSPResponse, signer: x509.Certificate, issuer: x509.Certificate, now: datetime
) -> None:
    if signer != issuer:
        _check_authority(signer, issuer, now)
    try:
        signed = is_signed(signer, response.signature, response.tbs_response_bytes, response.signature_hash_algorithm)
    except UnsupportedAlgorithm:
        oid = response.signature_algorithm_oid.dotted_string
        raise OcspError(f"its answer is signed in a way that is not known here ({oid})") from None
    if not signed:
        raise OcspError("the signature of its answer is wrong: the answer is forged or damaged")


def _signer(response: ocsp.OCSPResponse, issuer: x509.Certificate) -> x509.Certificate:
    """Return whose certificate the responder names as its own: the issuer's, or one that came along."""
    for candidate in (issuer, *response.certificates):
        key_hash = x509.SubjectKeyIdentifier.from_public_key(candidate.public_key()).digest
        if response.responder_name == candidate.subject or response.responder_key_hash == key_hash:
            return candidate
    raise OcspError("its answer is signed by somebody whose certificate did not come along")


def _check_authority(signer: x509.Certificate, issuer: x509.Certificate, now: datetime) -> None:
    """Refuse a signer whom the issuer did not authorise to answer in its place (RFC 6960, 4.2.2.2)."""
    name = owner(signer)
    if not issued_by(signer, issuer):
        raise OcspError(f"its answer is signed by {name}, whom the certificate's issuer did not authorise")
    try:
        usage = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    if ExtendedKeyUsageOID.OCSP_SIGNING not in usage:
        raise OcspError(f"its answer is signed by {name}, whose certificate is not for OCSP")
    if not signer.not_valid_before_utc - _CLOCK_SKEW <= now <= signer.not_valid_after_utc + _CLOCK_SKEW:
        raise OcspError(f"its answer is signed by {name}, whose certificate is not valid now")
