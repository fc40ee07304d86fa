"""One HTTP request and its response on a fresh connection, in measured steps."""

from __future__ import annotations

import asyncio
import ssl
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h11

from checks.check import CheckError, Unreachable
from checks.connect import connect, words
from checks.phases import Phases
from checks.tls import expiry_days, tls_context, tls_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from checks.address import IpVersion

_CHUNK_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Url:
    """An http or https address, taken apart."""

    text: str
    tls: bool
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, text: str) -> Url:
        """Read an address. `ValueError` says what is wrong with it, without repeating a password in it."""
        try:
            parts = urllib.parse.urlsplit(text)
        except ValueError:
            raise ValueError("has brackets in its host that hold no IPv6 address") from None
        if parts.scheme not in ("http", "https"):
            raise ValueError("is not an http:// or https:// address")
        if parts.username is not None or parts.password is not None:
            raise ValueError("holds a user or password, which would be shown and stored: put it into headers")
        if not parts.hostname or any(char.isspace() for char in text):
            raise ValueError("has no host" if not parts.hostname else "has a space in it")
        try:
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        except ValueError:
            raise ValueError("has a port that is not a number from 1 to 65535") from None
        path = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
        query = "?" + urllib.parse.quote(parts.query, safe="/?%:@!$&'()*+,;=~[]") if parts.query else ""
        return cls(text, parts.scheme == "https", parts.hostname, port, path + query)

    @classmethod
    def of_target(cls, target: str, example: str) -> Url:
        """Read the target of a check; `CheckError` says what is wrong with it and shows an `example`."""
        try:
            return cls.parse(target)
        except ValueError as exc:
            raise CheckError(f"target {exc}; write {example}") from None

    @property
    def origin(self) -> tuple[bool, str, int]:
        """What must stay the same for secrets in headers to follow a redirect."""
        return self.tls, self.host, self.port

    def authority(self, server_name: str | None) -> str:
        """Return the value of the Host header."""
        host = server_name or (f"[{self.host}]" if ":" in self.host else self.host.encode("idna").decode())
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Options:
    """How to connect, whatever the address."""

    ip_version: IpVersion | None
    verify_tls: bool
    ca_file: str | None
    server_name: str | None
    max_body_bytes: int


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: `body` is at most `max_body_bytes` long, and `cut` when there was more."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes
    cut: bool

    @property
    def is_web_page(self) -> bool:
        """Whether the body is markup, whatever its header says: an error page or a login where data should be."""
        return self.body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


async def exchange(
    phases: Phases, url: Url, headers: Mapping[str, str], options: Options, body: bytes | None = None
) -> Response:
    """Send one GET, or a POST where there is a `body`, and read the response.

    The phases collect the times, the status and the bytes on the way.
    """
    reader, writer = await _open(phases, url, options)
    events = _request(url, headers, options, body)
    try:
        return await _converse(phases, reader, writer, events, options.max_body_bytes)
    except OSError as exc:
        phases.fail(f"{words(exc)} before the response was complete")
    except h11.RemoteProtocolError as exc:
        phases.fail(f"the answer is not HTTP: {exc}")
    finally:
        writer.transport.abort()  # at once: a server that never says goodbye must not hold us


def _request(url: Url, headers: Mapping[str, str], options: Options, body: bytes | None) -> list[h11.Event]:
    fields = {
        "host": url.authority(options.server_name),
        "user-agent": "nhip",
        "accept": "*/*",
        "accept-encoding": "identity",
        "connection": "close",
    }
    fields |= {name.lower(): value for name, value in headers.items()}
    sent = [] if body is None else [h11.Data(data=body)]
    if body is not None:
        fields["content-length"] = str(len(body))
    pairs = [(name.encode(), value.encode()) for name, value in fields.items()]
    head = h11.Request(method="GET" if body is None else "POST", target=url.path, headers=pairs)
    return [head, *sent, h11.EndOfMessage()]


async def _open(phases: Phases, url: Url, options: Options) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = tls_context(options.verify_tls, options.ca_file) if url.tls else None
    sock = await connect(phases, url.host, url.port, options.ip_version)
    if context is None:
        return await asyncio.open_connection(sock=sock)
    name = (options.server_name or url.host).partition("%")[0]
    try:
        async with phases.phase("tls_seconds", "no TLS handshake"):
            reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=name)
    except ssl.SSLCertVerificationError as exc:
        await _note_unaccepted(phases, url, options)
        phases.fail(tls_words(exc))
    except OSError as exc:
        phases.fail(tls_words(exc))
    _note_certificate(phases, writer)
    return reader, writer


async def _note_unaccepted(phases: Phases, url: Url, options: Options) -> None:
    """Read the date of a certificate that was refused: a second connection, and no harm if it fails."""
    if phases.left_seconds <= 0:
        return
    again = Phases(phases.left_seconds)
    unverified = Options(options.ip_version, False, None, options.server_name, 0)  # noqa: FBT003  (do not verify)
    try:
        _, writer = await _open(again, url, unverified)
    except Unreachable:
        return
    writer.transport.abort()
    phases.metrics.update({k: v for k, v in again.metrics.items() if k == "certificate_expiry_days"})


def _note_certificate(phases: Phases, writer: asyncio.StreamWriter) -> None:
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    try:
        left = expiry_days(der)
    except ValueError:
        return
    earlier = phases.metrics.get("certificate_expiry_days", left)
    phases.metrics["certificate_expiry_days"] = min(left, earlier)


async def _converse(
    phases: Phases,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    events: Sequence[h11.Event],
    max_body_bytes: int,
) -> Response:
    connection = h11.Connection(h11.CLIENT)
    writer.write(b"".join(connection.send(event) or b"" for event in events))
    async with phases.phase("first_byte_seconds", "no response"):
        await writer.drain()
        data = await reader.read(_CHUNK_BYTES)
        if not data:
            phases.fail("the server closed the connection without a response")
    connection.receive_data(data)
    async with phases.phase(None, "the response was not complete"):
        head = await _next(connection, reader)
        while isinstance(head, h11.InformationalResponse):
            head = await _next(connection, reader)
        if not isinstance(head, h11.Response):
            phases.fail("the server closed the connection without a response")
        phases.metrics["status_code"] = float(head.status_code)
        body, cut = await _body(phases, connection, reader, max_body_bytes)
    return Response(head.status_code, dict(head.headers), body, cut)


async def _body(
    phases: Phases, connection: h11.Connection, reader: asyncio.StreamReader, max_body_bytes: int
) -> tuple[bytes, bool]:
    body = bytearray()
    phases.metrics["response_bytes"] = 0.0
    try:
        while isinstance(event := await _next(connection, reader), h11.Data):
            body += event.data
            phases.metrics["response_bytes"] = float(min(len(body), max_body_bytes))
            if len(body) > max_body_bytes:
                return bytes(body[:max_body_bytes]), True
    except h11.RemoteProtocolError as exc:
        phases.fail(f"the response is not whole: {exc}")
    return bytes(body), False


async def _next(connection: h11.Connection, reader: asyncio.StreamReader) -> object:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(_CHUNK_BYTES))
    return event
