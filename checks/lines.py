"""Lines of text from a stranger: bounded in length, whoever sends them and however slowly."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

LONGEST_LINE_BYTES = 8192
_CHUNK_BYTES = 4096
_SHOWN_LETTERS = 200


class LineError(Exception):
    """No line came: `str` says in words what did."""


class Lines:
    """A dialogue in lines, over a plain socket or over TLS."""

    def __init__(self, receive: Callable[[int], Awaitable[bytes]], send: Callable[[bytes], Awaitable[None]]) -> None:
        """Take how to receive at most so many bytes (none at the end), and how to send."""
        self._receive, self._send = receive, send
        self._buffer = bytearray()

    @classmethod
    def over_socket(cls, sock: socket.socket) -> Lines:
        """Talk over a connected socket; what is not yet received stays in the kernel, for TLS to begin with."""
        loop = asyncio.get_running_loop()
        return cls(lambda size: loop.sock_recv(sock, size), lambda data: loop.sock_sendall(sock, data))

    @classmethod
    def over_streams(cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Lines:
        """Talk over asyncio's streams."""

        async def send(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        return cls(reader.read, send)

    @property
    def unread(self) -> bool:
        """Whether more has come than was asked for."""
        return bool(self._buffer)

    async def line(self) -> str:
        """Return the next line without its end. `LineError` when it is too long, or when none comes any more."""
        while (end := self._buffer.find(b"\n")) < 0 and len(self._buffer) <= LONGEST_LINE_BYTES:
            data = await self._receive(_CHUNK_BYTES)
            if not data:
                raise LineError("the server closed the connection" + (" in the middle of a line" * self.unread))
            self._buffer += data
        if not 0 <= end <= LONGEST_LINE_BYTES:
            raise LineError(f"the server sends a line of more than {LONGEST_LINE_BYTES} bytes")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.removesuffix(b"\r").decode(errors="replace")

    async def send(self, line: str) -> None:
        """Send one line."""
        await self._send(line.encode() + b"\r\n")


def shown(text: str) -> str:
    """Return a stranger's words fit for a terminal and a log: no control characters, and not too many of them."""
    plain = "".join(char if char.isprintable() else "?" for char in text)
    return plain if len(plain) <= _SHOWN_LETTERS else plain[:_SHOWN_LETTERS] + "…"
