"""Time-stamp authority: does it stamp what it is sent, by RFC 3161, and does its clock agree with ours."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from checks.http_exchange import Options, Url, exchange
from checks.phases import Phases

if TYPE_CHECKING:
    from checks.timestamp_token import Token

_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+\Z", re.ASCII)
_MOST_BYTES = 131_072
_DATA_BYTES = 32
_HEADERS = {"content-type": "application/timestamp-query", "accept": "application/timestamp-reply"}


class TimestampAuthority(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of one request for a time stamp of random data."""

    name: ClassVar[str] = "timestamp_authority"
    summary: ClassVar[str] = "whether a time-stamp authority (RFC 3161) stamps rightly, how quickly, and by which clock"
    target_help: ClassVar[str] = "its address: http://tsa.example/"
    # Tokens are read by `rfc3161_client`, 13 MiB that an agent would never get back; a child costs 0.15 s of CPU.
    child_process: ClassVar[bool] = True
    metrics: ClassVar[Mapping[str, str]] = {
        "success": "1 when the token is granted, for our data and nonce, and signed by whom it should be, else 0",
        "dns_seconds": "time to resolve the name, seconds",
        "connect_seconds": "time to connect, seconds",
        "tls_seconds": "time of the TLS handshake, seconds",
        "first_byte_seconds": "time from the request to the first byte of the answer, seconds",
        "response_seconds": "time from the start to the last byte of the answer, seconds",
        "status_code": "HTTP status",
        "response_bytes": "length of the answer, bytes",
        "status": "PKIStatus: 0 granted, 1 granted with modifications, 2 rejected, 3 waiting",
        "signature_valid": "1 when the signature is by a CA of authority_ca_file; absent when there is no such file",
        "clock_offset_seconds": "the authority's clock minus ours, from the middle of the exchange, seconds",
        "clock_uncertainty_seconds": "how far off that may be: half the exchange, stated accuracy, rounding, seconds",
        "clock_difference_seconds": "the least difference between the clocks that explains the token, seconds",
        "signer_expiry_days": "days until the certificate that signs the tokens expires, negative afterwards",
        "certificate_expiry_days": "days until the certificate of its https expires, negative afterwards",
    }
    unreachable: ClassVar[Mapping[str, float]] = {"success": 0.0}

    digest: Annotated[Literal["sha256", "sha512"], msgspec.Meta(description="digest to be stamped")] = "sha256"
    authority_ca_file: Annotated[
        str | None, msgspec.Meta(description="PEM file of CAs one of which must stand behind the token")
    ] = None
    expected_policy: Annotated[str | None, msgspec.Meta(description="policy that the token must state: 1.2.3")] = None
    verify_tls: Annotated[bool, msgspec.Meta(description="false accepts any certificate for https")] = True
    ca_file: Annotated[str | None, msgspec.Meta(description="PEM file of CAs to trust for https alone")] = None
    ip_version: Annotated[Literal[4, 6] | None, msgspec.Meta(description="for a name: 4 or 6 only")] = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=600, description="deadline of the whole check")] = 180.0

    def __post_init__(self) -> None:
        """Refuse a policy that is no object identifier."""
        if self.expected_policy is not None and not _OID.match(self.expected_policy):
            raise ValueError(f"expected_policy {self.expected_policy!r} is not an object identifier, like 1.2.3")

    async def measure(self, target: str) -> dict[str, float]:
        """Have random data stamped by `target`; `Unreachable` says what is wrong with the answer."""
        from checks.certificate_chain import load_file  # noqa: PLC0415  (for the child alone)
        from checks.timestamp_token import Question, TokenError  # noqa: PLC0415  (for the child alone)

        url = Url.of_target(target, "http://tsa.example/")
        roots = load_file(self.authority_ca_file, "authority_ca_file") if self.authority_ca_file else []
        question = Question(os.urandom(_DATA_BYTES), self.digest)
        phases = Phases(self.timeout_seconds)
        sent_at = time.time()
        body = await self._post(phases, url, question.encode())
        received_at = time.time()
        try:
            token = question.read(body, roots)
        except TokenError as exc:
            phases.metrics |= {} if exc.status is None else {"status": float(exc.status)}
            phases.metrics |= {"signature_valid": 0.0} if exc.forged else {}
            phases.fail(str(exc))
        phases.metrics |= {"status": 0.0} | ({"signature_valid": 1.0} if roots else {})
        phases.metrics |= _clocks(token, sent_at, received_at)
        if token.signer_days_left is not None:
            phases.metrics["signer_expiry_days"] = token.signer_days_left
        if self.expected_policy not in (None, token.policy):
            phases.fail(f"the token is by policy {token.policy}, expected {self.expected_policy}")
        return {"success": 1.0, **phases.metrics}

    async def _post(self, phases: Phases, url: Url, request: bytes) -> bytes:
        """Send the request as RFC 3161, 3.4 says, and return what came back."""
        options = Options(self.ip_version, self.verify_tls, self.ca_file, None, _MOST_BYTES)
        response = await exchange(phases, url, _HEADERS, options, request)
        phases.metrics["response_seconds"] = time.perf_counter() - phases.began
        if response.status != 200:  # noqa: PLR2004  (OK)
            phases.fail(f"HTTP status {response.status}, expected 200")
        kind = response.headers.get(b"content-type", b"").decode(errors="replace").partition(";")[0].strip().lower()
        if kind not in ("", _HEADERS["accept"]):
            phases.fail(f"the answer is {kind!r}, expected {_HEADERS['accept']}")
        return response.body


def _clocks(token: Token, sent_at: float, received_at: float) -> dict[str, float]:
    """Compare the clocks. The stamp was made at some instant of the exchange, and is read in whole seconds."""
    offset = token.at.timestamp() + 0.5 - (sent_at + received_at) / 2
    uncertainty = (received_at - sent_at) / 2 + 0.5 + (token.accuracy_seconds or 0.0)
    return {
        "clock_offset_seconds": offset,
        "clock_uncertainty_seconds": uncertainty,
        "clock_difference_seconds": max(0.0, abs(offset) - uncertainty),
    }
