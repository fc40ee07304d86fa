"""HTTP GET: does the service answer as people need it to, and which phase takes the time."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from checks.http_exchange import Options, Url
from checks.http_redirects import follow
from checks.phases import Phases

if TYPE_CHECKING:
    from checks.http_exchange import Response

_ACCEPTED = range(200, 400)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_HEADER_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*\Z")
_SERVER_NAME = re.compile(r"[A-Za-z0-9._-]+\Z")
_CHARSET = re.compile(rb"charset=\"?([A-Za-z0-9_.:-]+)")

Status = Annotated[int, msgspec.Meta(ge=100, le=599)]


class HttpGet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a GET, and of what counts as a good answer."""

    name: ClassVar[str] = "http_get"
    summary: ClassVar[str] = "whether a web service answers as expected, by phases, and how long its certificate lasts"
    target_help: ClassVar[str] = "an address: https://portal.example/path"
    metrics: ClassVar[Mapping[str, str]] = {
        "success": "1 when the answer is as expected, else 0",
        "dns_seconds": "time to resolve names, over all redirects, seconds",
        "connect_seconds": "time to connect, over all redirects, seconds",
        "tls_seconds": "time of the TLS handshakes, over all redirects, seconds",
        "first_byte_seconds": "time from the request to the first byte of the response, over all redirects, seconds",
        "total_seconds": "time from the start to the last byte, seconds",
        "status_code": "status of the last response",
        "response_bytes": "length of the last response's body, as far as it was read, bytes",
        "redirects": "redirects that were followed, count",
        "certificate_expiry_days": "days until the certificate expires, negative afterwards; the earliest of all hops",
    }
    unreachable: ClassVar[Mapping[str, float]] = {"success": 0.0}

    expected_status: Annotated[tuple[Status, ...], msgspec.Meta(description="good statuses; none: 200 to 399")] = ()
    expected_phrase: Annotated[str | None, msgspec.Meta(description="words that the body must hold")] = None
    max_redirects: Annotated[int, msgspec.Meta(ge=0, le=20, description="0 takes a redirect as the answer")] = 5
    headers: Annotated[dict[str, str], msgspec.Meta(description="more request headers; never sent elsewhere")] = {}
    verify_tls: Annotated[bool, msgspec.Meta(description="false accepts any certificate, also self-signed")] = True
    ca_file: Annotated[str | None, msgspec.Meta(description="PEM file of CAs to trust instead of the system's")] = None
    server_name: Annotated[str | None, msgspec.Meta(description="name for TLS and Host if the target is an IP")] = None
    ip_version: Annotated[Literal[4, 6] | None, msgspec.Meta(description="for a name: 4 or 6 only")] = None
    max_body_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**26, description="read no more of the body")] = 2**20
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=300, description="deadline of the whole check")] = 10.0

    def __post_init__(self) -> None:
        """Refuse headers that HTTP cannot carry, without repeating their values: they may be secret."""
        for name, value in self.headers.items():
            if not _HEADER_NAME.match(name):
                raise ValueError(f"headers: {name!r} cannot be the name of a header")
            if not _HEADER_VALUE.match(value):
                raise ValueError(f"headers: the value of {name} has a line feed or another control character")
        if self.server_name is not None and not _SERVER_NAME.match(self.server_name):
            raise ValueError(f"server_name {self.server_name!r} is not a host name; write portal.example")
        if self.expected_phrase is not None and not self.expected_phrase.strip():
            raise ValueError("expected_phrase is empty: leave it out, or write words that the page shows")

    async def measure(self, target: str) -> dict[str, float]:
        """Fetch `target`; `Unreachable` says in which phase it failed or how the answer differs."""
        url = Url.of_target(target, "https://portal.example/path")
        phases = Phases(self.timeout_seconds)
        options = Options(self.ip_version, self.verify_tls, self.ca_file, self.server_name, self.max_body_bytes)
        response = await follow(phases, url, self.headers, options, self.max_redirects, self.expected_status)
        phases.metrics["total_seconds"] = time.perf_counter() - phases.began
        if complaint := self._complaint(response):
            phases.fail(complaint)
        return {"success": 1.0, **phases.metrics}

    def _complaint(self, response: Response) -> str | None:
        if response.status not in (self.expected_status or _ACCEPTED):
            wanted = ", ".join(map(str, self.expected_status)) or "200 to 399"
            return f"status {response.status}, expected {wanted}"
        if self.expected_phrase is None or _holds(response, self.expected_phrase):
            return None
        where = f"within the first {self.max_body_bytes} bytes of the response" if response.cut else "in the response"
        return f"the phrase {self.expected_phrase!r} is not {where}"


def _holds(response: Response, phrase: str) -> bool:
    """Look for a phrase, however its letters with diacritics are composed (Hòa is written in two ways)."""
    charset = _CHARSET.search(response.headers.get(b"content-type", b""))
    try:
        text = response.body.decode(charset[1].decode() if charset else "utf-8", errors="replace")
    except LookupError:
        text = response.body.decode(errors="replace")
    if phrase in text or phrase.isascii():
        return phrase in text
    from unicodedata import normalize  # noqa: PLC0415  (a megabyte of tables: only for those who need it)

    return normalize("NFC", phrase) in normalize("NFC", text)
