"""The near end of a TCP capacity test: load over several connections, and small questions beside it.

Throughput, TCP efficiency and buffer delay are those of RFC 6349. Responsiveness is round trips a minute under load in
the manner of the IETF's draft (draft-ietf-ippm-responsiveness): the mean of what a new connection takes to be made,
what a small question on it takes, and what the loaded connections themselves take; without TLS and HTTP, which are not
the line's.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from checks import capacity_wire as wire
from checks.capacity_bulk import Meter, drain, pour
from checks.capacity_wire import Begin, Data, Done, Ping, WireError

if TYPE_CHECKING:
    from checks.capacity_client import Conversation, Direction
    from checks.capacity_wire import Accept
    from checks.phases import Phases

_PROBE_EVERY_SECONDS = 0.1
_SETTLE_SECONDS = 0.3
_IDLE_PINGS = 8
_MINUTE = 60.0
_TRIMMED_SHARE = 0.95


class TcpTest:
    """A TCP test that the server has agreed to."""

    def __init__(self, conversation: Conversation, accept: Accept, phases: Phases, streams: int) -> None:
        """Take what was agreed, and over how many connections."""
        self._conversation, self._accept, self._phases, self._streams = conversation, accept, phases, streams
        self.bytes_sent = self.bytes_received = 0
        self._base = float("inf")

    async def idle_round_trip(self) -> float:
        """Return the shortest of some round trips without load: the base of everything that follows."""
        for number in range(_IDLE_PINGS):
            began = time.perf_counter()
            await self._conversation.ask(Ping(number), Ping)
            self._base = min(self._base, time.perf_counter() - began)
        return self._base

    async def run(self, direction: Direction) -> dict[str, float]:
        """Load one direction; return `throughput`, `efficiency`, `buffer_delay`, `round_trips_per_minute`, `bytes`."""
        seconds = min(self._accept.seconds, self._phases.left_seconds - 1)
        meter = Meter(self._accept.bytes, seconds)
        begun = asyncio.ensure_future(self._conversation.ask(Begin(direction), Done))
        probes: list[float] = []
        async with AsyncExitStack() as stack:
            stack.callback(begun.cancel)
            streams = [await self._stream(direction, stack) for _ in range(self._streams)]
            probing = asyncio.ensure_future(self._probe(probes))
            stack.callback(probing.cancel)
            await asyncio.gather(*(self._load(direction, each, meter) for each in streams))
            probing.cancel()
            for _, writer in streams:
                meter.look(writer.get_extra_info("socket"), last=True)
                writer.close()
            done = await begun
        if done.words:
            self._phases.fail(f"no measurement {direction}: {done.words}")
        sending, receiving = meter.sending_figures(), meter.receiving_figures()
        self.bytes_sent += meter.line_sent
        self.bytes_received += meter.line_received
        if direction == "up":
            receiving = done.figures
        else:
            sending = done.figures
        return self._figures(sending, receiving, probes)

    def _figures(self, sending: dict[str, float], receiving: dict[str, float], probes: list[float]) -> dict[str, float]:
        figures: dict[str, float] = {}
        if "throughput" in receiving:
            figures["throughput"] = receiving["throughput"]
        if sending.get("sent"):
            figures["efficiency"] = 1 - sending.get("retransmitted", 0.0) / sending["sent"]
        loaded = sending.get("loaded_rtt")
        if loaded is not None:
            base = min(self._base, sending.get("least_rtt", self._base))
            figures["buffer_delay"] = max(0.0, (loaded - base) / base)
        if probes and loaded is not None:
            kept = sorted(probes)[: max(1, int(len(probes) * _TRIMMED_SHARE))]
            figures["round_trips_per_minute"] = _MINUTE / ((sum(kept) / len(kept) + loaded) / 2)
        return figures

    async def _stream(
        self, direction: Direction, stack: AsyncExitStack
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open one more connection to the server, for load."""
        reader, writer = await self._join(direction)
        stack.callback(writer.transport.abort)
        return reader, writer

    async def _join(self, role: Direction | str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self._conversation.peer[:2]
        local = (self._conversation.local[0], 0)
        async with self._phases.phase(None, "no further connection to the capacity server"):
            try:
                reader, writer = await asyncio.open_connection(host, port, local_addr=local)
                await reader.readuntil(b"\n")  # the greeting, which says nothing new
            except (OSError, EOFError, asyncio.LimitOverrunError):
                self._phases.fail("the server takes no further connection")
        writer.write(wire.encode(Data(self._accept.cookie, role)))  # type: ignore[arg-type]  # a role is a direction
        return reader, writer

    async def _load(
        self, direction: Direction, stream: tuple[asyncio.StreamReader, asyncio.StreamWriter], meter: Meter
    ) -> None:
        reader, writer = stream
        if direction == "up":
            await pour(writer, meter)
            await drain(reader, Meter(1, 5.0))  # until the server has all of it
        else:
            await drain(reader, meter)

    async def _probe(self, probes: list[float]) -> None:
        """Ask small questions on connections of their own, once the load has begun to be felt."""
        await asyncio.sleep(_SETTLE_SECONDS)
        with suppress(OSError, EOFError, WireError, asyncio.LimitOverrunError):
            for number in range(1000):
                began = time.perf_counter()
                host, port = self._conversation.peer[:2]
                reader, writer = await asyncio.open_connection(host, port)
                probes.append(time.perf_counter() - began)
                try:
                    await reader.readuntil(b"\n")
                    writer.write(wire.encode(Data(self._accept.cookie, "probe")))
                    asked = time.perf_counter()
                    writer.write(wire.encode(Ping(number)))
                    wire.decode(await reader.readuntil(b"\n"))
                    probes.append(time.perf_counter() - asked)
                finally:
                    writer.transport.abort()
                await asyncio.sleep(_PROBE_EVERY_SECONDS)
