"""The far end of capacity tests: one test at a time, never more than asked for, never to an address that did not ask.

A test begins with a TCP connection (the control connection, whose peer has therefore proven its address), and with a
key where there are keys. UDP flows only to the address that sent the test's cookie from the control connection's own
address, in packets no longer than what it sent; it ends when the control connection does, when the other end falls
silent for a second, and at the caps. Everything else costs a line of words and a count, and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
import socket
import time
from collections import Counter, OrderedDict, deque
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from agents.reflector.capacity_session import Session
from checks import capacity_wire as wire
from checks.capacity_wire import Accept, Ask, Data, Greeting, Refuse, WireError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from checks.address import Address

log = logging.getLogger("nhip.reflector.capacity")

_FIRST_WORDS_SECONDS = 5.0
_DATAGRAMS_AT_ONCE = 64
_HOUR = 3600.0
_PORTS_TO_TRY = 20


class CapacityLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one test may take in each direction, and how often one source address may ask."""

    bytes: Annotated[int, Meta(ge=10_000, le=1 << 40)] = 64_000_000
    seconds: Annotated[float, Meta(ge=1, le=300)] = 15.0
    bits_per_second: Annotated[int, Meta(ge=100_000, le=10**11)] = 2_000_000_000
    tests_per_hour: Annotated[int, Meta(ge=1, le=100_000)] = 60
    sources: Annotated[int, Meta(ge=1, le=1_000_000)] = 4096
    connections: Annotated[int, Meta(ge=4, le=10_000)] = 64


class CapacityServer:
    """Serves capacity tests on the given addresses, TCP and UDP, within the running event loop."""

    def __init__(
        self,
        addresses: Sequence[Address],
        *,
        keys: Mapping[int, bytes] | None = None,
        limits: CapacityLimits | None = None,
    ) -> None:
        """Take where to listen; `keys` by session identifier, None where nobody has to prove anything."""
        self.keys = keys
        self.counts: Counter[str] = Counter()
        self._addresses = list(addresses)
        self._limits = limits or CapacityLimits()
        self._servers: list[asyncio.Server] = []
        self._sockets: list[socket.socket] = []
        self._session: Session | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked: OrderedDict[str, deque[float]] = OrderedDict()

    @property
    def ports(self) -> list[int]:
        """Return the port of each address, TCP and UDP alike."""
        return [int(each.getsockname()[1]) for each in self._sockets]

    async def start(self) -> None:
        """Listen. `OSError` where an address cannot be had."""
        try:
            for address in self._addresses:
                tcp, udp = _listen(address)
                self._sockets.append(udp)
                asyncio.get_running_loop().add_reader(udp.fileno(), self._datagrams, udp)
                server = await asyncio.start_server(self._connection, sock=tcp, limit=wire.LONGEST_LINE)
                self._servers.append(server)
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End everything, also a test that runs."""
        for server in self._servers:
            server.close()
        if self._session is not None:
            self._session.end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for udp in self._sockets:
            asyncio.get_running_loop().remove_reader(udp.fileno())
            udp.close()
        self._servers, self._sockets = [], []

    # Connections.

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= self._limits.connections:
            self.counts["refused_crowded"] += 1
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (for mypy: a coroutine runs in a task)
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError, EOFError):
            self.counts["broken_connections"] += 1
        except WireError as exc:
            self.counts["refused_malformed"] += 1
            await _say(writer, Refuse(str(exc)))
        except asyncio.CancelledError:  # the server stops
            pass
        finally:
            self._tasks.discard(task)
            with suppress(OSError, RuntimeError):
                writer.transport.abort() if reader.at_eof() else writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hear the first words of a connection: a test asked for, or load and probes of the one that runs."""
        nonce = secrets.token_hex(16)
        await _say(writer, Greeting(wire.VERSION, nonce, self.keys is not None))
        async with asyncio.timeout(_FIRST_WORDS_SECONDS):
            message = wire.decode(await _line(reader))
        if isinstance(message, Data):
            await self._join(message, reader, writer)
        elif isinstance(message, Ask):
            refusal = self._refusal(message, nonce, _host(writer))
            if refusal is not None:
                await _say(writer, refusal)
                return
            await self._test(message, reader, writer)
        else:
            raise WireError("a connection begins with what it wants: ask, or data")

    def _refusal(self, ask: Ask, nonce: str, host: str) -> Refuse | None:
        """Return why not, or None."""
        key = None if self.keys is None else self.keys.get(ask.ssid)
        if self.keys is not None and not (key and wire.same(ask.proof, wire.proof_of_ask(key, nonce, ask))):
            self.counts["refused_unproven"] += 1
            return Refuse("this server needs a key: ssid and key_file must be those that it knows")
        if ask.version != wire.VERSION:
            self.counts["refused_version"] += 1
            return Refuse(f"this server speaks version {wire.VERSION}, not {ask.version}")
        if self._session is not None:
            self.counts["refused_busy"] += 1
            left = self._session.left_seconds
            return Refuse(f"another test runs here; come back in {left:.0f} s", left)
        wait = self._too_often(host)
        if wait:
            self.counts["refused_often"] += 1
            most = self._limits.tests_per_hour
            return Refuse(f"{most} tests an hour from one address are the most; come back in {wait:.0f} s", wait)
        return None

    def _too_often(self, host: str) -> float:
        """Return after how many seconds this source may ask again; 0 for now, and then it has."""
        now = time.monotonic()
        times = self._asked.setdefault(_source(host), deque(maxlen=self._limits.tests_per_hour))
        self._asked.move_to_end(_source(host))
        while len(self._asked) > self._limits.sources:
            self._asked.popitem(last=False)
        if len(times) == times.maxlen and now - times[0] < _HOUR:
            return _HOUR - (now - times[0])
        times.append(now)
        return 0.0

    async def _test(self, ask: Ask, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        local, peer = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
        cookie = secrets.randbelow(wire.MOST_COOKIE)
        caps = self._limits
        accept = Accept(cookie, min(ask.bytes, caps.bytes), min(ask.seconds, caps.seconds))
        if self.keys is not None:
            accept = msgspec.structs.replace(accept, proof=wire.proof_of_accept(self.keys[ask.ssid], ask.nonce, accept))
        session = self._session = Session(
            ask, accept, local, peer[0], most_rate=caps.bits_per_second, counts=self.counts
        )
        self.counts["tests"] += 1
        try:
            await _say(writer, accept)
            await session.run(reader, writer)
        finally:
            self._session = None
            session.close()

    async def _join(self, data: Data, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Let a connection take part in the test that runs, if it knows its cookie and comes from the same host."""
        session = self._session
        if session is None or session.cookie != data.cookie or session.host != _host(writer):
            self.counts["refused_cookie"] += 1
            await _say(writer, Refuse("no such test runs here"))
            return
        await session.join(data.role, reader, writer)

    # Datagrams.

    def _datagrams(self, udp: socket.socket) -> None:
        """Look for the first datagram of the test that runs; whatever else comes is counted and forgotten."""
        for _ in range(_DATAGRAMS_AT_ONCE):
            try:
                data, peer = udp.recvfrom(wire.OPEN_BYTES + 1)
            except OSError:
                return
            session = self._session
            if session is not None and wire.is_opening(data, session.cookie) and peer[0] == session.host:
                session.open_udp(peer)
            else:
                self.counts["refused_datagrams"] += 1


def _listen(address: Address) -> tuple[socket.socket, socket.socket]:
    """Bind TCP and UDP to one address and the same port, also where the port is 0 for any."""
    family, where = address
    for attempt in range(_PORTS_TO_TRY):
        tcp, udp = socket.socket(family, socket.SOCK_STREAM), socket.socket(family, socket.SOCK_DGRAM)
        try:
            for sock in (tcp, udp):
                sock.setblocking(False)  # noqa: FBT003  (the socket module takes no keyword here)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            tcp.bind(where)
            udp.bind((where[0], tcp.getsockname()[1], *where[2:]))
        except OSError:
            tcp.close()
            udp.close()
            if where[1] or attempt == _PORTS_TO_TRY - 1:
                raise
        else:
            return tcp, udp
    raise AssertionError("the last attempt raises")


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Read a line; `WireError` for one that is too long, `EOFError` where the connection ends first."""
    try:
        return await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError:
        raise WireError(f"a line may be {wire.LONGEST_LINE} bytes long") from None


async def _say(writer: asyncio.StreamWriter, message: wire.Message) -> None:
    writer.write(wire.encode(message))
    with suppress(OSError):
        await writer.drain()


def _host(writer: asyncio.StreamWriter) -> str:
    peer = writer.get_extra_info("peername")
    return str(peer[0]) if peer else ""


def _source(host: str) -> str:
    """Return what counts as one source: an IPv4 address, or a /64 of IPv6."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return host if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))  # noqa: PLR2004  (of IP)
