"""One batch, one request: the wire between an agent and its collector, and what each answer means.

It blocks, so it belongs into a thread of its own. One connection is kept open from batch to batch.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
import zlib
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.config import Collector
    from agents.spool import Batch
    from checks.secret import Secret

_WRITE = "/api/v2/write?org=nhip&bucket=nhip&precision=ns"
_WORTH_PACKING_BYTES = 1_000
_LONGEST_ANSWER_BYTES = 65_536
_GZIP = 16 + zlib.MAX_WBITS


class Fate(Enum):
    """What becomes of a batch after an attempt."""

    TAKEN = "taken"
    PARTLY_REFUSED = "partly refused"  # what was good is kept over there; sending again would change nothing
    TOO_LARGE = "too large"
    LATER = "later"


class _Error(msgspec.Struct):
    """InfluxDB's shape of an error; more may stand beside it."""

    code: str
    message: str


class Answer(NamedTuple):
    """What came of an attempt: `words` for a person, `wait_seconds` if the collector named a time."""

    fate: Fate
    words: str = ""
    wait_seconds: float | None = None


class Uplink:
    """A connection to the collector, opened when it is first needed."""

    def __init__(
        self, collector: Collector, token: Secret, agent: str, *, clock: Callable[[], int] = time.time_ns
    ) -> None:
        """Prepare for `collector`. `OSError` (`ssl.SSLError` is one) where its `ca_file` holds no certificate."""
        parts = urlsplit(collector.url)
        self._head = (
            f"POST {parts.path.rstrip('/')}{_WRITE} HTTP/1.1\r\n"
            f"Host: {parts.netloc.encode('idna').decode()}\r\n"
            f"Authorization: Token {token.reveal()}\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            f"Nhip-Agent: {agent}\r\n"
        )
        self._clock = clock
        host, timeout = parts.hostname or "", collector.timeout_seconds
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=collector.ca_file)
            self._connection = http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=context)
        else:
            self._connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)

    def send(self, batch: Batch) -> Answer:
        """Send one batch and say what came of it. Never raises for what a line or a server does."""
        for _ in range(2):
            reused = self._connection.sock is not None
            try:
                return self._exchange(batch)
            except (OSError, http.client.HTTPException, ValueError) as exc:
                self.close()
                gone = isinstance(exc, http.client.RemoteDisconnected | BrokenPipeError | ConnectionResetError)
                if not (reused and gone):  # a server may close an idle connection: that is no failure of the line
                    return Answer(Fate.LATER, _failure(exc))
        return Answer(Fate.LATER, "the collector closes every connection")

    def close(self) -> None:
        """Close the connection; the next batch opens another."""
        self._connection.close()

    def abort(self) -> None:
        """End an attempt that hangs, from another thread."""
        sock = self._connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _exchange(self, batch: Batch) -> Answer:
        """Send head and body in one piece: one packet on the line where `http.client` makes two, and half its cost."""
        body, head = batch.body, f"{self._head}Nhip-Sequence: {batch.sequence}\r\n"
        if len(body) > _WORTH_PACKING_BYTES:
            packer = zlib.compressobj(level=6, wbits=_GZIP, memLevel=6)
            body = packer.compress(body) + packer.flush()
            head += "Content-Encoding: gzip\r\n"
        if self._connection.sock is None:
            self._connection.connect()
        head += f"Content-Length: {len(body)}\r\nNhip-Sent-At: {self._clock()}\r\n\r\n"
        self._connection.sock.sendall(head.encode() + body)
        with contextlib.closing(http.client.HTTPResponse(self._connection.sock, method="POST")) as response:
            response.begin()
            text = response.read(_LONGEST_ANSWER_BYTES)
            if response.will_close or not response.isclosed():  # more than we care to read: no further use
                self.close()
        return _judge(response.status, text, response.headers.get("Retry-After"))


def _judge(status: int, text: bytes, retry_after: str | None) -> Answer:
    if status in (200, 204):
        return Answer(Fate.TAKEN)
    code, message = _explanation(text)
    words = f"the collector answers {status}{': ' if message else ''}{message}"
    if status == http.client.BAD_REQUEST and code == "invalid":  # any other 400 may be a proxy's, and keeps nothing
        return Answer(Fate.PARTLY_REFUSED, words)
    if status == http.client.REQUEST_ENTITY_TOO_LARGE:
        return Answer(Fate.TOO_LARGE, words)
    if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        words += "; is the token in token_file the one made for this site?"
    return Answer(Fate.LATER, words, retry_after_seconds(retry_after))


def _explanation(text: bytes) -> tuple[str, str]:
    """Return the code and the message of an error; both are empty where it has another shape."""
    try:
        found = msgspec.json.decode(text, type=_Error)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "", ""
    return found.code, " ".join(found.message.split())[:300]


def retry_after_seconds(retry_after: str | None) -> float | None:
    """Read `Retry-After` where it is in seconds (RFC 9110, 10.2.3); a date would trust two clocks."""
    if retry_after is None or not retry_after.strip().isdecimal():
        return None
    return float(retry_after)


def _failure(exc: Exception) -> str:
    if isinstance(exc, TimeoutError):
        return "the collector does not answer in time"
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"the collector's certificate is not trusted: {exc.verify_message}"
    if isinstance(exc, http.client.RemoteDisconnected):
        return "the collector closed the connection without an answer"
    if isinstance(exc, OSError):
        return f"the collector cannot be reached: {exc.strerror or exc}"
    return f"the collector's answer makes no sense: {type(exc).__name__}"
