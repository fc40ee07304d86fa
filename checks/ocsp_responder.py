"""OCSP responder: does a CA's responder answer for a certificate that is known, rightly, freshly and provably."""

from __future__ import annotations

import os
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from checks.check import CheckError, Noted
from checks.http_exchange import Options, Url
from checks.phases import Phases

if TYPE_CHECKING:
    from cryptography import x509

    from checks.ocsp import Answer

_STATUS = {"good": 0, "revoked": 1, "unknown": 2}


class OcspResponder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of one request for the status of a certificate."""

    name: ClassVar[str] = "ocsp_responder"
    summary: ClassVar[str] = "whether a CA's OCSP responder (RFC 6960) answers for a known certificate, and rightly"
    target_help: ClassVar[str] = "its address: http://ocsp.example/"
    # Responses are read by `cryptography`, 10 MiB that an agent would never get back; a child costs 0.11 s of CPU.
    child_process: ClassVar[bool] = True
    metrics: ClassVar[Mapping[str, str]] = {
        "success": "1 when the answer is the expected one, in date, and signed by whom it should be, else 0",
        "dns_seconds": "time to resolve the name, seconds",
        "connect_seconds": "time to connect, seconds",
        "tls_seconds": "time of the TLS handshake, seconds",
        "first_byte_seconds": "time from the request to the first byte of the answer, seconds",
        "response_seconds": "time from the start to the last byte of the answer, seconds",
        "status_code": "HTTP status",
        "response_bytes": "length of the answer, bytes",
        "status": "what it says of the certificate: 0 good, 1 revoked, 2 unknown; absent when nothing is proven",
        "this_update_age_seconds": "time since what it says was known to be true, seconds",
        "next_update_seconds": "time until its answer is out of date, seconds; negative afterwards",
        "responder_certificate_expiry_days": "days until the certificate that signs in the CA's place expires",
        "known_certificate_expiry_days": "days until the certificate asked about expires, negative afterwards",
        "certificate_expiry_days": "days until the certificate of its https expires, negative afterwards",
    }
    unreachable: ClassVar[Mapping[str, float]] = {"success": 0.0}

    certificate_file: Annotated[str, msgspec.Meta(description="PEM file of the certificate to ask about")]
    issuer_file: Annotated[str, msgspec.Meta(description="PEM file of the CA that issued it")]
    expected_status: Annotated[
        Literal["good", "revoked", "unknown"], msgspec.Meta(description="what the responder must say of it")
    ] = "good"
    nonce: Annotated[
        Literal["none", "optional", "required"],
        msgspec.Meta(description="a nonce is not sent; sent; sent and must come back: no answer made ahead"),
    ] = "optional"
    verify_tls: Annotated[bool, msgspec.Meta(description="false accepts any certificate for https")] = True
    ca_file: Annotated[str | None, msgspec.Meta(description="PEM file of CAs to trust for https alone")] = None
    ip_version: Annotated[Literal[4, 6] | None, msgspec.Meta(description="for a name: 4 or 6 only")] = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=300, description="deadline of the whole check")] = 20.0

    async def measure(self, target: str) -> dict[str, float]:
        """Ask the responder `target`; `Unreachable` says what is wrong with its answer."""
        from checks import certificate_chain as chains  # noqa: PLC0415  (cryptography, for the child alone)
        from checks import ocsp  # noqa: PLC0415  (cryptography, for the child alone)

        url = Url.of_target(target, "http://ocsp.example/")
        certificate, issuer = self._known()
        asked = ocsp.request(certificate, issuer, None if self.nonce == "none" else os.urandom(ocsp.NONCE_BYTES))
        phases = Phases(self.timeout_seconds)
        phases.metrics["known_certificate_expiry_days"] = chains.days_left(certificate)
        options = Options(self.ip_version, self.verify_tls, self.ca_file, None, ocsp.MOST_BYTES)
        body = await ocsp.post(phases, url, asked, options)
        now = datetime.now(UTC)
        try:
            answer = ocsp.read(body, asked, issuer, now, nonce_required=self.nonce == "required")
        except ocsp.OcspError as exc:
            phases.metrics |= _dates(exc.answer, now) if exc.answer else {}
            phases.fail(str(exc))
        phases.metrics |= {"status": float(answer.status), **_dates(answer, now)}
        if answer.status != _STATUS[self.expected_status]:
            phases.fail(f"{answer.words}, expected {self.expected_status}")
        signer = chains.owner(answer.delegate or issuer)
        return Noted({"success": 1.0, **phases.metrics}, [f"{answer.words}, says {signer}"])

    def _known(self) -> tuple[x509.Certificate, x509.Certificate]:
        """Read the certificate to ask about, and who issued it; `CheckError` when the files do not belong together."""
        from checks import certificate_chain as chains  # noqa: PLC0415  (cryptography, for the child alone)

        certificate = chains.load_file(self.certificate_file, "certificate_file")[0]
        for issuer in chains.load_file(self.issuer_file, "issuer_file"):
            if chains.issued_by(certificate, issuer):
                return certificate, issuer
        raise CheckError(
            f"issuer_file {self.issuer_file} does not hold the CA that issued {chains.owner(certificate)}: "
            f"that is {chains.shown_name(certificate.issuer)}"
        )


def _dates(answer: Answer, now: datetime) -> dict[str, float]:
    from checks import certificate_chain as chains  # noqa: PLC0415  (cryptography, for the child alone)

    found = {"this_update_age_seconds": (now - answer.this_update).total_seconds()}
    if answer.next_update is not None:
        found["next_update_seconds"] = (answer.next_update - now).total_seconds()
    if answer.delegate is not None:
        found["responder_certificate_expiry_days"] = chains.days_left(answer.delegate)
    return found
