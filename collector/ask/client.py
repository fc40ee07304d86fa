"""A collector's answers over HTTP, with the standard library alone: these commands start quickly."""

from __future__ import annotations

import json
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    import argparse

DEFAULT_URL = "http://127.0.0.1:8080"
_TIMEOUT_SECONDS = 15
_LONG_TIMEOUT_SECONDS = 300


class AskError(Exception):
    """The collector cannot be asked, or does not answer as asked. Says why."""


class Client:
    """One collector, and the token to ask it with."""

    def __init__(self, url: str, token_file: Path | None = None, ca_file: Path | None = None) -> None:
        """Ask at `url`; the token is read from a file, so that it stands in no process list."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise AskError(f"--url {url!r} is not an address: write http://127.0.0.1:8080 or https://host:8443")
        self._url = url.rstrip("/")
        self._context = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        self._headers = {"Content-Type": "application/json"}
        if token_file is not None:
            try:
                self._headers["Authorization"] = f"Token {token_file.read_text(encoding='ascii').strip()}"
            except (OSError, ValueError) as exc:
                raise AskError(f"--token-file {token_file}: {getattr(exc, 'strerror', None) or exc}") from None

    def get(self, path: str, *names: str, **query: object) -> Any:
        """Return the answer to a GET of `path`; `names` are further parts of it, `query` what is asked."""
        return _document(self._ask("GET", f"{path}{_parts(names)}?{_query(query)}"))

    def text(self, path: str, *names: str, **query: object) -> str:
        """Return the answer to a GET as it is: a page, a table, a draft."""
        return self._ask("GET", f"{path}{_parts(names)}?{_query(query)}", timeout=_LONG_TIMEOUT_SECONDS).decode()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Return the answer to a POST."""
        return _document(self._ask("POST", path, json.dumps(body).encode()))

    def delete(self, path: str, *names: str) -> None:
        """Take something away."""
        self._ask("DELETE", path + _parts(names))

    def _ask(self, method: str, path: str, body: bytes | None = None, timeout: float = _TIMEOUT_SECONDS) -> bytes:
        request = urllib.request.Request(self._url + path, body, self._headers, method=method)  # noqa: S310  (checked)
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=self._context) as answer:  # noqa: S310
                return bytes(answer.read())
        except urllib.error.HTTPError as exc:
            raise AskError(_words(exc)) from None
        except urllib.error.URLError as exc:
            raise AskError(f"{self._url} does not answer: {exc.reason}") from None
        except (OSError, ValueError) as exc:
            raise AskError(f"{self._url} does not answer as a collector: {exc}") from None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say whom to ask, as whom, and how to print it."""
    add_address(parser)
    parser.add_argument("--language", choices=("vi", "en"), default="en")
    parser.add_argument("--json", action="store_true", help="the collector's own answer, for programs")


def add_address(parser: argparse.ArgumentParser) -> None:
    """Add the options that say whom to ask, and as whom."""
    url = os.environ.get("NHIP_URL", DEFAULT_URL)
    parser.add_argument("--url", default=url, help="the collector; default %(default)s, or the variable NHIP_URL")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="file with a token; not needed beside `nhip up`"
    )
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="authority of the collector's certificate")


def _parts(names: tuple[str, ...]) -> str:
    return "".join(f"/{quote(name, safe='')}" for name in names)


def _query(query: dict[str, object]) -> str:
    return urlencode({name: value for name, value in query.items() if value is not None})


def _document(answer: bytes) -> Any:
    try:
        return json.loads(answer) if answer else None
    except ValueError as exc:
        raise AskError(f"the answer is not a collector's: {exc}") from None


def _words(exc: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(exc)["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {exc.code} {exc.reason}"
    finally:
        exc.close()
