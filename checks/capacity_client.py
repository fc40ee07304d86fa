"""The near end of a capacity test: the control connection, and one direction over UDP."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, Self, TypeVar

import msgspec

from checks import capacity_wire as wire
from checks.capacity_flow import Receiver, Sender, prepare
from checks.capacity_search import Search, estimate_figures
from checks.capacity_wire import Accept, Ask, Begin, Done, Greeting, Refuse, WireError
from checks.check import CheckError
from checks.connect import connect, words
from checks.tcp_info import tcp_info

if TYPE_CHECKING:
    from collections.abc import Callable

    from checks.address import IpVersion
    from checks.phases import Phases

SECOND = 1_000_000_000
_OPEN_EVERY_SECONDS = 0.1
_OPENINGS = 30
_FASTEST = 10_000_000_000

Direction = Literal["up", "down"]
M = TypeVar("M", bound=wire.Message)


class Refused(Exception):  # noqa: N818  (not an error: the server has its reasons, and may have time later)
    """The server does not want this test: `str` says why, `retry_after_seconds` when it would."""

    def __init__(self, refuse: Refuse) -> None:
        """Take the server's words."""
        super().__init__(refuse.words)
        self.retry_after_seconds = refuse.retry_after_seconds


class Conversation:
    """A control connection: what is said on it, each step within the budget of the phases."""

    def __init__(self, phases: Phases, sock: socket.socket) -> None:
        """Take a connected socket."""
        self._phases, self.socket = phases, sock
        self.local, self.peer = sock.getsockname(), sock.getpeername()
        self.ip_version: IpVersion = 6 if sock.family == socket.AF_INET6 else 4

    @classmethod
    async def open(cls, phases: Phases, host: str, port: int, ip_version: IpVersion | None) -> Self:
        """Connect. `Unreachable` says why not."""
        return cls(phases, await connect(phases, host, port, ip_version))

    async def __aenter__(self) -> Self:
        """Return itself."""
        self._reader, self._writer = await asyncio.open_connection(sock=self.socket, limit=wire.LONGEST_LINE)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection, and with it the test."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def agree(self, ask: Ask, key: bytes | None) -> Accept:
        """Ask for a test. `Refused` has the server's words; `CheckError` says which key is missing or wrong."""
        greeting = await self.hear(Greeting)
        if greeting.version != wire.VERSION:
            self._phases.fail(f"the server speaks version {greeting.version} of the test, and this one {wire.VERSION}")
        if greeting.key_needed and key is None:
            raise CheckError("this server needs a key: give ssid and key_file, as its configuration has them")
        ask = msgspec.structs.replace(ask, nonce=secrets.token_hex(16))
        if key is not None:
            ask = msgspec.structs.replace(ask, proof=wire.proof_of_ask(key, greeting.nonce, ask))
        accept = await self.ask(ask, Accept)
        if key is not None and not wire.same(accept.proof, wire.proof_of_accept(key, ask.nonce, accept)):
            self._phases.fail("the server does not prove that it has the key")
        return accept

    async def ask(self, message: wire.Message, wanted: type[M]) -> M:
        """Say a line and hear its answer."""
        self._writer.write(wire.encode(message))
        return await self.hear(wanted)

    async def hear(self, wanted: type[M]) -> M:
        """Hear a line. `Refused` if the server refuses, `Unreachable` if it says anything else or nothing."""
        async with self._phases.phase(None, "no answer from the capacity server"):
            try:
                message = wire.decode(await self._reader.readuntil(b"\n"))
            except (asyncio.LimitOverrunError, WireError):
                self._phases.fail("what answers there is no capacity server")
            except EOFError:
                self._phases.fail("the server closed the connection")
            except OSError as exc:
                self._phases.fail(words(exc))
        if isinstance(message, Refuse):
            raise Refused(message)
        if not isinstance(message, wanted):
            self._phases.fail("the capacity server answers something else than it was asked")
        return message

    def bytes_used(self) -> tuple[int, int]:
        """Return what this connection has sent and received, in bytes of the IP layer."""
        info = tcp_info(self.socket)
        return (0, 0) if info is None else info.ip_bytes(20 if self.ip_version == 4 else 40)  # noqa: PLR2004  (IP's)


class UdpTest:
    """A UDP test that the server has agreed to: its socket, and a direction at a time."""

    def __init__(self, conversation: Conversation, accept: Accept, phases: Phases, packet_bytes: int) -> None:
        """Take what was agreed."""
        self._conversation, self._accept, self._phases = conversation, accept, phases
        self._packet_bytes = packet_bytes
        self._headers = wire.HEADERS_BYTES[conversation.ip_version]
        self._order_bytes = wire.ORDER_BYTES + self._headers
        self.bytes_sent = self.bytes_received = 0

    async def __aenter__(self) -> Self:
        """Open the socket, and show the server from where it will come."""
        family = socket.AF_INET6 if self._conversation.ip_version == 6 else socket.AF_INET  # noqa: PLR2004  (IP's)
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            prepare(self._socket)
            self._socket.bind((self._conversation.local[0], 0))
            self._socket.connect(self._conversation.peer)
            await self._open()
        except BaseException:
            self._socket.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the socket."""
        self._socket.close()

    async def _open(self) -> None:
        """Send OPEN until it comes back."""
        opening = wire.opening(self._accept.cookie)
        for _ in range(_OPENINGS):
            with suppress(OSError):  # a refusal by ICMP, of this or of the one before
                self._socket.send(opening)
                self.bytes_sent += wire.OPEN_BYTES + self._headers
            if await self._is_opened():
                return
        self._phases.fail("no UDP comes through to the server and back")

    async def _is_opened(self) -> bool:
        began = time.monotonic()
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(_OPEN_EVERY_SECONDS):
                while True:
                    data = await asyncio.get_running_loop().sock_recv(self._socket, wire.OPEN_BYTES + 1)
                    self.bytes_received += len(data) + self._headers
                    if wire.is_opening(data, self._accept.cookie):
                        return True
        await asyncio.sleep(max(0.0, began + _OPEN_EVERY_SECONDS - time.monotonic()))
        return False

    async def run(self, direction: Direction) -> dict[str, float]:
        """Measure one direction; return an estimate's figures. `Unreachable` says what went wrong."""
        seconds = min(self._accept.seconds, self._phases.left_seconds)
        over = threading.Event()
        work = self._send if direction == "up" else self._listen
        thread = asyncio.ensure_future(asyncio.to_thread(work, seconds, over.is_set))
        try:
            done = await self._conversation.ask(Begin(direction), Done)
        finally:
            over.set()  # an end that the other has declared, or that we declare
            found, trouble = await asyncio.shield(thread)
        if direction == "up":
            found = done.figures
            self.bytes_received += int(found.get("orders", 0)) * self._order_bytes
        else:
            self.bytes_received += int(done.figures.get("packets", 0)) * self._packet_bytes
        if "rate" not in found:
            why = done.words or trouble or "too few packets arrived"
            self._phases.fail(f"no measurement {direction}: {why}")
        return found

    def _send(self, seconds: float, stopped: Callable[[], bool]) -> tuple[dict[str, float], str]:
        flow = Sender(
            self._socket,
            self._accept.cookie,
            packet_bytes=self._packet_bytes,
            headers_bytes=self._headers,
            max_packets=max(1, self._accept.bytes // self._packet_bytes),
            most_rate=_FASTEST,
            seconds=seconds,
            stopped=stopped,
        ).run()
        self.bytes_sent += flow.packets * self._packet_bytes
        return {}, flow.trouble

    def _listen(self, seconds: float, stopped: Callable[[], bool]) -> tuple[dict[str, float], str]:
        search = Search(
            packet_bytes=self._packet_bytes,
            max_packets=max(1, self._accept.bytes // self._packet_bytes),
            max_rate=_FASTEST,
            ends_at=time.time_ns() + round(seconds * SECOND),
        )
        flow = Receiver(self._socket, self._accept.cookie, search, seconds=seconds, stopped=stopped).run()
        self.bytes_sent += flow.orders * self._order_bytes
        return {**estimate_figures(search.estimate()), "dropped_here": float(flow.dropped_here)}, flow.trouble
