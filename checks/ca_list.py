"""CA list: a revocation list or the CA certificates that a CA publishes: are they there, whole, genuine, in date."""

from __future__ import annotations

import time
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal

import msgspec

from checks.check import Noted, Unreachable
from checks.http_exchange import Options, Url
from checks.http_redirects import follow
from checks.phases import Phases

_MOST_REDIRECTS = 5
_HTTPS = "https_certificate_expiry_days"
_RENAMED = {"response_bytes": "size_bytes", "certificate_expiry_days": _HTTPS}


class CaList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a look at what a CA publishes."""

    name: ClassVar[str] = "ca_list"
    summary: ClassVar[str] = "whether a CA's revocation list or certificates can be fetched, are genuine and in date"
    target_help: ClassVar[str] = "address of a CRL or of certificates: http://ca.example/ca.crl, …/ca.crt, …/ca.p7b"
    # Lists are read by `cryptography`, 10 MiB that an agent would never get back, and may themselves be large.
    child_process: ClassVar[bool] = True
    metrics: ClassVar[Mapping[str, str]] = {
        "success": "1 when it is there, whole, in date and, with issuer_file, genuine, else 0",
        "dns_seconds": "time to resolve names, over all redirects, seconds",
        "connect_seconds": "time to connect, over all redirects, seconds",
        "tls_seconds": "time of the TLS handshakes, over all redirects, seconds",
        "first_byte_seconds": "time from the request to the first byte of the response, over all redirects, seconds",
        "response_seconds": "time from the start to the last byte, seconds",
        "status_code": "HTTP status",
        "redirects": "redirects that were followed, count",
        "size_bytes": "length of what came, as far as it was read, bytes",
        "next_update_seconds": "time until the next revocation list is due, seconds; negative when it is overdue",
        "age_seconds": "time since the revocation list was made, seconds",
        "revoked_total": "certificates that the revocation list names, count",
        "certificates": "certificates that came, count",
        "certificate_expiry_days": "days until the first of the certificates expires, negative afterwards",
        "signature_valid": "1 when issuer_file's CA signed it; absent when there is no such file",
        _HTTPS: "days until the certificate of its https expires, negative afterwards",
    }
    unreachable: ClassVar[Mapping[str, float]] = {"success": 0.0}

    issuer_file: Annotated[
        str | None, msgspec.Meta(description="PEM file of CAs one of which must have signed the list or certificates")
    ] = None
    max_body_bytes: Annotated[
        int, msgspec.Meta(ge=1024, le=2**27, description="a longer list is not read, and is a failure")
    ] = 2**24
    verify_tls: Annotated[bool, msgspec.Meta(description="false accepts any certificate for https")] = True
    ca_file: Annotated[str | None, msgspec.Meta(description="PEM file of CAs to trust for https alone")] = None
    ip_version: Annotated[Literal[4, 6] | None, msgspec.Meta(description="for a name: 4 or 6 only")] = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=300, description="deadline of the whole check")] = 30.0

    async def measure(self, target: str) -> dict[str, float]:
        """Fetch and read `target`; `Unreachable` says everything that is wrong with it."""
        from checks import ca_publication as published  # noqa: PLC0415  (cryptography, for the child alone)
        from checks.certificate_chain import load_file  # noqa: PLC0415  (as above)

        url = Url.of_target(target, "http://ca.example/ca.crl")
        issuers = load_file(self.issuer_file, "issuer_file") if self.issuer_file else []
        phases = Phases(self.timeout_seconds)
        body = await self._fetch(phases, url)
        try:
            found = published.read(body, published.kind_of(url.path))
        except published.UnreadableError as exc:
            phases.fail(str(exc))
        report = published.judge(found, issuers, datetime.now(UTC))
        phases.metrics |= report.metrics
        if report.complaints:
            raise Unreachable("; ".join(report.complaints), phases.metrics, report.notes)
        return Noted({"success": 1.0, **phases.metrics}, report.notes)

    async def _fetch(self, phases: Phases, url: Url) -> bytes:
        """Return what is published there; `Unreachable` when it is not there, or too long."""
        options = Options(self.ip_version, self.verify_tls, self.ca_file, None, self.max_body_bytes)
        try:
            response = await follow(phases, url, {}, options, _MOST_REDIRECTS)
        except Unreachable as exc:
            raise Unreachable(exc.reason, _renamed(exc.metrics)) from None
        phases.metrics = _renamed(phases.metrics)
        phases.metrics["response_seconds"] = time.perf_counter() - phases.began
        if response.status != 200:  # noqa: PLR2004  (OK)
            phases.fail(f"HTTP status {response.status}, expected 200")
        if response.cut:
            phases.fail(f"it is longer than max_body_bytes, {self.max_body_bytes} bytes: only so much was read")
        return response.body


def _renamed(metrics: Mapping[str, float]) -> dict[str, float]:
    """Tell the date of the https apart from those of the certificates that came."""
    return {_RENAMED.get(name, name): value for name, value in metrics.items()}
