"""One capacity test at the server: its control connection, its UDP socket, its TCP loads and probes."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from checks import capacity_wire as wire
from checks.capacity_bulk import Meter, drain, pour
from checks.capacity_flow import Receiver, Sender, prepare
from checks.capacity_search import Search, estimate_figures
from checks.capacity_wire import Begin, Done, Ping, Refuse, WireError

if TYPE_CHECKING:
    from collections import Counter

    from checks.capacity_wire import Accept, Ask

SECOND = 1_000_000_000
_IDLE_SECONDS = 10.0
_SPARE_SECONDS = 10.0
_PROBES = 2000

Direction = Literal["up", "down"]


class Session:
    """The test that runs."""

    def __init__(
        self, ask: Ask, accept: Accept, local: tuple[object, ...], host: str, *, most_rate: int, counts: Counter[str]
    ) -> None:
        """Take what was asked and agreed, and the two addresses of the control connection."""
        self.host, self.cookie = host, accept.cookie
        self._ask, self._accept, self._most_rate, self._counts = ask, accept, most_rate, counts
        self._local = local
        self._udp: socket.socket | None = None
        self._over = threading.Event()
        directions = 2 if ask.direction == "both" else 1
        self._ends_at = time.monotonic() + directions * accept.seconds + _SPARE_SECONDS
        self._begun: Direction | None = None
        self._meter: Meter | None = None
        self._loads = 0
        self._loads_over = asyncio.Event()
        self._probes = 0

    @property
    def left_seconds(self) -> float:
        """Return how long it may still take, at most."""
        return max(1.0, self._ends_at - time.monotonic())

    def end(self) -> None:
        """End what runs in a thread."""
        self._over.set()

    def close(self) -> None:
        """End, and give the socket back."""
        self.end()
        if self._udp is not None:
            with suppress(ValueError, RuntimeError):
                asyncio.get_running_loop().remove_reader(self._udp.fileno())
            self._udp.close()
            self._udp = None

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Do what the client says line by line, until it ends, falls silent or has had its time."""
        done: set[str] = set()
        while (left := self._ends_at - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(min(left, _IDLE_SECONDS)):
                    line = await reader.readuntil(b"\n")
            except (EOFError, TimeoutError):
                return
            except asyncio.LimitOverrunError:
                raise WireError(f"a line may be {wire.LONGEST_LINE} bytes long") from None
            message = wire.decode(line)
            if isinstance(message, Ping):
                answer: wire.Message = self._echo(message)
            elif isinstance(message, Begin) and message.direction not in done:
                done.add(message.direction)
                answer = await self._direction(message.direction, reader)
            else:
                raise WireError("within a test there are begin, once for each direction, and ping")
            writer.write(wire.encode(answer))
            await writer.drain()
        writer.write(wire.encode(Refuse("the time of this test is over")))

    def _echo(self, ping: Ping) -> Ping:
        self._probes += 1
        if self._probes > _PROBES:
            raise WireError(f"{_PROBES} pings are the most for a test")
        return ping

    async def _direction(self, direction: Direction, reader: asyncio.StreamReader) -> Done:
        """Run one direction beside a look at the control connection: with it, the test ends."""
        if self._ask.direction not in ("both", direction):
            raise WireError(f"the direction {direction} was not asked for")
        work = self._bulk(direction) if self._ask.mode == "tcp" else self._flow(direction)
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(_until_closed(reader))
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise EOFError
            return await task
        finally:
            if not task.done():
                self.end()
            gone.cancel()
            if self._ask.mode == "tcp":
                task.cancel()  # what runs in a thread ends by itself, at once, and must before its socket goes
            await asyncio.gather(task, gone, return_exceptions=True)

    # UDP.

    def open_udp(self, peer: tuple[object, ...]) -> None:
        """Open the test's own socket, connected to the peer who knows the cookie, and answer its OPEN."""
        if self._udp is not None:
            return
        sock = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            prepare(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(self._local)
            sock.connect(peer)
        except OSError:
            sock.close()
            raise
        self._udp = sock
        self._answer_opening()
        asyncio.get_running_loop().add_reader(sock.fileno(), self._opened)

    def _opened(self) -> None:
        """Answer an OPEN that comes again, because the answer was lost."""
        assert self._udp is not None  # noqa: S101  (for mypy: this is its reader)
        with suppress(OSError):
            if wire.is_opening(self._udp.recv(wire.OPEN_BYTES + 1), self.cookie):
                self._answer_opening()

    def _answer_opening(self) -> None:
        assert self._udp is not None  # noqa: S101  (for mypy)
        with suppress(OSError):
            self._udp.send(wire.opening(self.cookie))

    async def _flow(self, direction: Direction) -> Done:
        """Run one direction over UDP in a thread, which alone reads the socket meanwhile."""
        if self._udp is None:
            return Done(direction, words="no UDP arrived here from the address of the control connection")
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._udp.fileno())
        try:
            return await asyncio.to_thread(self._listen if direction == "up" else self._send, self._udp)
        finally:
            if self._udp is not None:
                loop.add_reader(self._udp.fileno(), self._opened)

    def _listen(self, udp: socket.socket) -> Done:
        ask, seconds = self._ask, self._accept.seconds
        search = Search(
            packet_bytes=ask.packet_bytes,
            max_packets=max(1, self._accept.bytes // ask.packet_bytes),
            max_rate=self._most_rate,
            ends_at=time.time_ns() + round(seconds * SECOND),
        )
        flow = Receiver(udp, self.cookie, search, seconds=seconds, stopped=self._over.is_set).run()
        self._counts["bytes_received"] += flow.packets * ask.packet_bytes
        figures = estimate_figures(search.estimate())
        figures |= {"orders": float(flow.orders), "dropped_here": float(flow.dropped_here)}
        return Done("up", figures, flow.trouble)

    def _send(self, udp: socket.socket) -> Done:
        ask, seconds = self._ask, self._accept.seconds
        flow = Sender(
            udp,
            self.cookie,
            packet_bytes=ask.packet_bytes,
            headers_bytes=wire.HEADERS_BYTES[6 if ":" in self.host else 4],
            max_packets=max(1, self._accept.bytes // ask.packet_bytes),
            most_rate=self._most_rate,
            seconds=seconds,
            stopped=self._over.is_set,
        ).run()
        self._counts["bytes_sent"] += flow.packets * ask.packet_bytes
        return Done("down", {"packets": float(flow.packets), "orders": float(flow.orders)}, flow.trouble)

    # TCP.

    async def _bulk(self, direction: Direction) -> Done:
        """Let connections carry load one way until all of them have ended, and say what they carried."""
        self._meter, self._begun = Meter(self._accept.bytes, self._accept.seconds), direction
        self._loads_over.clear()
        try:
            async with asyncio.timeout(self._accept.seconds + _SPARE_SECONDS / 2):
                await self._loads_over.wait()
        except TimeoutError:
            return Done(direction, words="the load did not end in time")
        finally:
            self._begun = None
        meter = self._meter
        if direction == "up":
            self._counts["bytes_received"] += meter.bytes
            return Done(direction, meter.receiving_figures())
        self._counts["bytes_sent"] += meter.bytes
        return Done(direction, meter.sending_figures())

    async def join(
        self, role: Literal["up", "down", "probe"], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Take a connection in: it carries load in the direction that has begun, or probes."""
        if self._ask.mode != "tcp":
            raise WireError("this test is not over TCP")
        if role == "probe":
            await self._probe(reader, writer)
            return
        if role != self._begun or self._meter is None:
            raise WireError(f"the direction {role} has not begun")
        self._loads += 1
        try:
            await (drain(reader, self._meter) if role == "up" else pour(writer, self._meter))
            if role == "down":
                await drain(reader, Meter(1, 1.0))  # until the client has all of it and closes
        finally:
            self._meter.look(writer.get_extra_info("socket"), last=True)
            self._loads -= 1
            if not self._loads:
                self._loads_over.set()

    async def _probe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(EOFError, TimeoutError, asyncio.LimitOverrunError):
            async with asyncio.timeout(self.left_seconds):
                while isinstance(message := wire.decode(await reader.readuntil(b"\n")), Ping):
                    writer.write(wire.encode(self._echo(message)))
                    await writer.drain()


async def _until_closed(reader: asyncio.StreamReader) -> None:
    while not reader.at_eof() and reader.exception() is None:  # noqa: ASYNC110  (a reader tells it in no other way)
        await asyncio.sleep(0.1)
