"""A web address that holds a secret: read from a file, asked, and never shown."""

from __future__ import annotations

import base64
import http.client
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

_GOOD: Final = range(200, 300)


class AddressError(Exception):
    """An address is none, or was not answered as asked. Says why, without the address."""


class Address:
    """Where to ask, and as whom."""

    def __init__(self, file: Path, path: str = "") -> None:
        """Read the address from `file`, and go to `path` below it; `AddressError` when it is none."""
        try:
            parts = urlsplit(file.read_text(encoding="utf-8", errors="replace").strip())
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:
            raise AddressError(f"{file}: must hold an address that begins with http:// or https://") from None
        if parts.scheme not in ("http", "https") or not self._host:
            raise AddressError(f"{file}: must hold an address that begins with http:// or https://")
        self._secure = parts.scheme == "https"
        self._path = (parts.path.rstrip("/") + path if path else parts.path) or "/"
        self._path += f"?{parts.query}" if parts.query else ""
        self._headers = {"User-Agent": "nhip"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"

    def ask(self, method: str, timeout_seconds: float, body: bytes | None = None, **headers: str) -> None:
        """Ask once; `AddressError` where the answer is not a good one."""
        connection = self._open(timeout_seconds)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, self._path, body, self._headers | named)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise AddressError(type(exc).__name__) from None
        finally:
            connection.close()
        if status not in _GOOD:
            raise AddressError(f"HTTP {status}")

    def _open(self, timeout_seconds: float) -> http.client.HTTPConnection:
        if not self._secure:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout_seconds)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout_seconds, context=context)
