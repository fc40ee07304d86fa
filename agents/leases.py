"""The collector's leave to load the line, asked for before a test and given back after it. No answer is no leave."""

from __future__ import annotations

import http.client
import json
import ssl
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode, urlsplit

import msgspec

from agents.uplink import retry_after_seconds

if TYPE_CHECKING:
    from agents.config import Collector
    from checks.secret import Secret

_PATH = "/api/v1/leases"
_LONGEST_ANSWER_BYTES = 65_536
_RETRY_SECONDS = 60.0
_CREATED, _NO_CONTENT = 201, 204


class Leave(NamedTuple):
    """The collector's answer: the lease's `id`, or none and after how many seconds to ask again, and why."""

    id: str | None
    retry_seconds: float = _RETRY_SECONDS
    words: str = ""


class _Granted(msgspec.Struct):
    id: str


class _Refused(msgspec.Struct):
    message: str


class LeaseClient:
    """Asks the collector, one request a connection. It blocks, so it belongs into a thread."""

    def __init__(self, collector: Collector, token: Secret) -> None:
        """Prepare. `OSError` (`ssl.SSLError` is one) where the `ca_file` holds no certificate."""
        parts = urlsplit(collector.url)
        self._host, self._port, self._timeout = parts.hostname or "", parts.port, collector.timeout_seconds
        self._prefix = parts.path.rstrip("/")
        self._token = token
        self._tls = ssl.create_default_context(cafile=collector.ca_file) if parts.scheme == "https" else None

    def ask(self, server: str, size: int, seconds: float) -> Leave:
        """Ask for leave to load the line with so many bytes for so long. Never raises for what a line does."""
        body = json.dumps({"server": server, "bytes": size, "seconds": seconds})
        try:
            status, text, retry = self._request("POST", _PATH, body)
            if status == _CREATED:
                return Leave(msgspec.json.decode(text, type=_Granted).id)
            words = msgspec.json.decode(text, type=_Refused).message
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as exc:
            return Leave(None, words=f"the collector cannot be asked: {exc}"[:300])
        return Leave(None, _RETRY_SECONDS if retry is None else max(1.0, retry), " ".join(words.split())[:300])

    def give_back(self, lease: str, bytes_used: int | None) -> bool:
        """Give a lease back, and say how much was used if that is known. If it fails, the lease expires by itself."""
        query = "" if bytes_used is None else "?" + urlencode({"bytes_used": bytes_used})
        try:
            return self._request("DELETE", f"{_PATH}/{lease}{query}")[0] == _NO_CONTENT
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def _request(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes, float | None]:
        connection = (
            http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)
            if self._tls is not None
            else http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        )
        headers = {"Authorization": f"Token {self._token.reveal()}", "Content-Type": "application/json"}
        with closing(connection):
            connection.request(method, self._prefix + path, body, headers)
            response = connection.getresponse()
            text = response.read(_LONGEST_ANSWER_BYTES)
            return response.status, text, retry_after_seconds(response.headers.get("Retry-After"))
