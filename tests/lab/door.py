"""A door for people: the collector's board on this machine's loopback, by plain HTTP.

The collector speaks TLS by the province's own authority, which no browser knows, inside a namespace that no browser
reaches. The door checks that certificate in the browser's place, and adds a token of a viewer where the browser has
signed in as nobody. A viewer only reads: a page from elsewhere that finds the door can change nothing, and whoever
wants to acknowledge signs in on the page. Requests that name another host than the door are refused (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from typing import TYPE_CHECKING

from tests.lab.forwarder import within

if TYPE_CHECKING:
    from pathlib import Path

HEAD_BYTES = 65_536
_WAIT_SECONDS = 10
_OWN_HOSTS = ("127.0.0.1", "localhost")


class Door:
    """One open door."""

    def __init__(self, space: str, target: tuple[str, int], authority: Path, token: str) -> None:
        """Lead from loopback to `target` as it is reached in a namespace; `authority` signed its certificate."""
        self._space, self._target, self._token = space, target, token
        self._tls = ssl.create_default_context(cafile=authority)
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self, port: int) -> None:
        """Listen on loopback, on a free port for 0."""
        self._server = await asyncio.start_server(self._through, "127.0.0.1", port, limit=HEAD_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = admitted(await reader.readuntil(b"\r\n\r\n"), self.port, self._token)
            if head is None:
                writer.write(answer(403, "this door leads to 127.0.0.1 and nowhere else"))
            else:
                await self._relay(head, reader, writer)
            await writer.drain()
        writer.close()

    async def _relay(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.wait_for(self._connect(), _WAIT_SECONDS)
        except (OSError, TimeoutError) as exc:
            said = str(exc) or "no answer"
            writer.write(answer(502, f"the collector at {self._target[0]}:{self._target[1]} cannot be reached: {said}"))
            return
        back.write(head)
        up = asyncio.create_task(_copy(reader, back))
        await _copy(there, writer)
        up.cancel()
        back.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        with within(self._space):
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await asyncio.get_running_loop().sock_connect(sock, self._target)
            return await asyncio.open_connection(sock=sock, ssl=self._tls, server_hostname=self._target[0])
        except BaseException:
            sock.close()
            raise


def admitted(head: bytes, port: int, token: str) -> bytes | None:
    """Return a request's head as the collector is to get it: one request a connection, with a viewer's token.

    Whoever brings a token or a session of their own keeps it. None where the request names another host than the door.
    """
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    fields = [line.partition(b":")[::2] for line in lines]
    named = {name.strip().lower(): value.strip().decode("latin-1") for name, value in fields}
    if named.get(b"host") not in {f"{host}:{port}" for host in _OWN_HOSTS}:
        return None
    kept = [line for line, (name, _) in zip(lines, fields, strict=True) if name.strip().lower() != b"connection"]
    if b"authorization" not in named and b"cookie" not in named:
        kept.append(f"Authorization: Token {token}".encode())
    return b"\r\n".join([first, *kept, b"Connection: close", b"", b""])


def answer(status: int, words: str) -> bytes:
    """Return a short answer of the door's own."""
    body = f"{re.sub(r'[^ -~]', '?', words)}\n".encode()
    head = f"HTTP/1.1 {status} {'Forbidden' if status == 403 else 'Bad Gateway'}\r\nContent-Type: text/plain\r\n"
    return head.encode() + f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await source.read(65_536):
            sink.write(piece)
            await sink.drain()
