"""TLS certificate: the chain a server sends, for whom and until when, and whether it has been revoked."""

from __future__ import annotations

import os
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from checks.address import split_host_port
from checks.check import Unreachable
from checks.http_exchange import Options, Url
from checks.phases import Phases
from checks.tls import tls_words
from checks.tls_handshake import Handshake

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

_MOST_CERTIFICATES = 20
_HAS_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED, which our own words say better


class TlsCertificate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a look at a server's certificates."""

    name: ClassVar[str] = "tls_certificate"
    summary: ClassVar[str] = "the certificates a TLS server sends: trust, name, days left, and revocation by OCSP"
    target_help: ClassVar[str] = "host:port: portal.example:443, or mail.example:25 with starttls=smtp"
    # Certificates and OCSP are read by `cryptography`: 10 MiB that an agent would never get back. A child costs
    # 0.15 s of CPU a look, and certificates are looked at once an hour or so: 4 CPU-seconds a day.
    child_process: ClassVar[bool] = True
    metrics: ClassVar[Mapping[str, str]] = {
        "success": "1 when chain, name and dates are good and nothing speaks of revocation, else 0",
        "dns_seconds": "time to resolve the name, seconds",
        "connect_seconds": "time to connect, seconds",
        "starttls_seconds": "time from the connection to the server's word that TLS may begin, seconds",
        "tls_seconds": "time of the TLS handshake, seconds",
        "tls_version": "version of TLS that was agreed on: 1.2 or 1.3",
        "certificate_expiry_days": "days until the server's own certificate expires, negative afterwards",
        "chain_expiry_days": "days until the first certificate of the chain expires, negative afterwards",
        "chain_certificates": "certificates that the server sends, its own included, count",
        "chain_trusted": "1 when the chain leads to a trusted CA and is valid today, else 0",
        "name_matches": "1 when the certificate is for the name that was asked for, else 0",
        "ocsp_good": "1 when the responder says good, 0 when it says revoked or unknown",
        "ocsp_response_seconds": "time to ask the OCSP responder, from its name to its last byte, seconds",
        "ocsp_next_update_seconds": "time until the responder's answer is out of date, seconds",
    }
    unreachable: ClassVar[Mapping[str, float]] = {"success": 0.0}

    starttls: Annotated[
        Literal["none", "smtp", "imap"], msgspec.Meta(description="how the server is asked to begin TLS")
    ] = "none"
    server_name: Annotated[str | None, msgspec.Meta(description="name to ask for if the target is an IP")] = None
    verify_tls: Annotated[bool, msgspec.Meta(description="false: a chain or name not accepted is no failure")] = True
    ca_file: Annotated[str | None, msgspec.Meta(description="PEM file of CAs to trust instead of the system's")] = None
    ocsp: Annotated[bool, msgspec.Meta(description="ask the OCSP responder that a trusted certificate names")] = True
    ocsp_url: Annotated[str | None, msgspec.Meta(description="ask this responder instead")] = None
    ip_version: Annotated[Literal[4, 6] | None, msgspec.Meta(description="for a name: 4 or 6 only")] = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=300, description="deadline of the whole check")] = 20.0

    def __post_init__(self) -> None:
        """Refuse an address of a responder that cannot be one."""
        if self.ocsp_url is not None:
            try:
                Url.parse(self.ocsp_url)
            except ValueError as exc:
                raise ValueError(f"ocsp_url {exc}; write http://ocsp.example/") from None

    async def measure(self, target: str) -> dict[str, float]:
        """Look at the certificates of `target`; `Unreachable` says everything that is wrong with them."""
        from checks import certificate_chain as chains  # noqa: PLC0415  (cryptography, for the child alone)

        host, port = split_host_port(target)
        phases = Phases(self.timeout_seconds)
        shake = Handshake(phases, host, port, self.server_name or host, self.starttls, self.ip_version)
        await shake.try_both(self.ca_file)
        try:
            chain = [chains.load(der) for der in shake.chain[:_MOST_CERTIFICATES]]
        except ValueError as exc:
            phases.fail(f"the server sends a certificate that cannot be read: {exc}")
        phases.metrics |= _figures(chain, shake)
        complaints = self._complaints(chain, shake)
        if self.ocsp and shake.issuer is not None:  # only a trusted chain has one: no stranger sends us anywhere
            complaints += await self._revocation(phases, chain[0], chains.load(shake.issuer))
        if complaints:
            phases.fail("; ".join(complaints))
        return {"success": 1.0, **phases.metrics}

    def _complaints(self, chain: Sequence[x509.Certificate], shake: Handshake) -> list[str]:
        from checks import certificate_chain as chains  # noqa: PLC0415  (cryptography, for the child alone)

        left = [(each, chains.days_left(each)) for each in chain]
        said = [
            f"the certificate of {chains.owner(each)} expired {-days:.1f} days ago" for each, days in left if days < 0
        ]
        refused = shake.refused
        if self.verify_tls and refused and not (said and refused.verify_code == _HAS_EXPIRED):
            said.append(tls_words(refused))
        if self.verify_tls and not chains.matches(chain[0], shake.name):
            said.append(f"the certificate is for {chains.whom_for(chain[0])}, not for {shake.name}")
        if len(shake.chain) > _MOST_CERTIFICATES:
            said.append(f"the server sends {len(shake.chain)} certificates, of which {_MOST_CERTIFICATES} were read")
        return said

    async def _revocation(self, phases: Phases, leaf: x509.Certificate, issuer: x509.Certificate) -> list[str]:
        """Ask the responder; return what speaks against the certificate, or that nothing could be learned."""
        from checks import ocsp  # noqa: PLC0415  (cryptography, for the child alone)

        address = self.ocsp_url or ocsp.responder_url(leaf)
        if address is None:
            return []
        asked = ocsp.request(leaf, issuer, os.urandom(ocsp.NONCE_BYTES))
        inner = Phases(round(phases.left_seconds, 1) or phases.left_seconds)
        options = Options(None, verify_tls=True, ca_file=None, server_name=None, max_body_bytes=ocsp.MOST_BYTES)
        try:
            async with phases.phase("ocsp_response_seconds", "no answer from the OCSP responder"):
                body = await ocsp.post(inner, Url.parse(address), asked, options)
            answer = ocsp.read(body, asked, issuer, datetime.now(UTC))
        except (Unreachable, ocsp.OcspError, ValueError) as exc:
            return [f"nothing is known about revocation: the OCSP responder {address}: {exc}"]
        phases.metrics["ocsp_good"] = float(answer.status == ocsp.GOOD)
        if answer.next_update is not None:
            phases.metrics["ocsp_next_update_seconds"] = (answer.next_update - datetime.now(UTC)).total_seconds()
        return [] if answer.status == ocsp.GOOD else [answer.words]


def _figures(chain: Sequence[x509.Certificate], shake: Handshake) -> dict[str, float]:
    from checks import certificate_chain as chains  # noqa: PLC0415  (cryptography, for the child alone)

    left = [chains.days_left(each) for each in chain]
    found = {
        "certificate_expiry_days": left[0],
        "chain_trusted": float(shake.refused is None),
        "name_matches": float(chains.matches(chain[0], shake.name)),
    }
    if shake.version is not None:
        found["tls_version"] = shake.version
    if shake.chain_is_whole:
        found["chain_expiry_days"] = min(left)
        found["chain_certificates"] = float(len(shake.chain))
    return found
