"""A collector that speaks the wire over a real socket, as well or as badly as a story asks."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import zlib
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path


@dataclass
class Upload:
    """One request that reached the collector."""

    agent: str
    sequence: int
    sent_at: int
    token: str
    path: str
    packed: bool
    lines: list[str]
    status: int


@dataclass
class Manner:
    """How the collector answers: a status, what goes with it, or a way of failing."""

    status: int = 204
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hang_seconds: float = 0.0
    cut: bool = False
    close: bool = False
    most_bytes: int = 1 << 30


class FakeCollector:
    """Keeps every upload in the order of arrival; `manner` may be changed while it serves."""

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.manner = Manner()
        self.uploads: list[Upload] = []
        self.connections = 0
        self._release = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                collector.connections += 1
                super().setup()

            def do_POST(self) -> None:
                collector._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_: object) -> None:
                pass  # an agent that is killed or breaks off is part of the story

        self._server = Server(("127.0.0.1", port), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port; connections that are open die with their next request."""
        self.manner = Manner(cut=True)
        self._release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def taken(self) -> list[Upload]:
        """The uploads that were answered well."""
        return [upload for upload in self.uploads if upload.status == 204]

    @property
    def lines(self) -> list[str]:
        """Every line that was taken, once for each time it came."""
        return [line for upload in self.taken for line in upload.lines]

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        raw = request.rfile.read(int(request.headers["Content-Length"]))
        packed = request.headers.get("Content-Encoding") == "gzip"
        body = zlib.decompress(raw, wbits=31) if packed else raw
        manner = self.manner
        status = 413 if len(body) > manner.most_bytes else manner.status
        upload = Upload(
            agent=request.headers["Nhip-Agent"],
            sequence=int(request.headers["Nhip-Sequence"]),
            sent_at=int(request.headers["Nhip-Sent-At"]),
            token=request.headers["Authorization"],
            path=request.path,
            packed=packed,
            lines=body.decode().split("\n")[:-1],
            status=0 if manner.cut or manner.hang_seconds else status,
        )
        self.uploads.append(upload)
        if manner.hang_seconds:
            self._release.wait(manner.hang_seconds)
        if manner.cut or manner.hang_seconds:
            request.close_connection = True
            return
        request.send_response(status)
        if status != 204:
            request.send_header("Content-Length", str(len(manner.body)))
        for name, value in manner.headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(manner.body if status != 204 else b"")
        request.close_connection = manner.close


@pytest.fixture
def collector() -> Iterator[FakeCollector]:
    server = FakeCollector()
    yield server
    server.stop()


@pytest.fixture
def start_collector() -> Iterator[Callable[..., FakeCollector]]:
    """Start collectors, for example a second one at the port where the first was."""
    started: list[FakeCollector] = []

    def start(port: int = 0, tls: ssl.SSLContext | None = None) -> FakeCollector:
        started.append(FakeCollector(port, tls))
        return started[-1]

    yield start
    for server in started:
        with contextlib.suppress(OSError):
            server.stop()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("s3cret-of-31120\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait for a condition, in bounded time, from a test that is not a coroutine."""

    def wait(condition: Callable[[], object], within_seconds: float = 30.0) -> None:
        deadline = time.monotonic() + within_seconds
        while not condition():
            assert time.monotonic() < deadline, "what was waited for did not happen"
            time.sleep(0.01)

    return wait


@pytest.fixture
def until_async() -> Callable[..., Awaitable[None]]:
    """Wait for a condition, in bounded time, while the event loop goes on."""

    async def wait(condition: Callable[[], object], within_seconds: float = 30.0) -> None:
        deadline = time.monotonic() + within_seconds
        while not condition():
            assert time.monotonic() < deadline, "what was waited for did not happen"
            await asyncio.sleep(0.01)

    return wait
