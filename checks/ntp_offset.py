"""NTP: how far this node's clock is from a server's, and whether that server knows the time itself."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import time
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from checks.address import UnresolvedError, literal, resolve, split_host_default_port
from checks.check import CheckError
from checks.connect import words
from checks.ntp_wire import Sample, WireError, decode, encode_request, timestamp
from checks.phases import Phases
from checks.timestamps import received_at, switch_on_receive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checks.address import Address
    from checks.ntp_wire import Answer

_PORT = 123
_LONGEST_DATAGRAM = 65_535
_ANCILLARY_BYTES = 256
_UNSYNCHRONISED_LEAP, _UNSYNCHRONISED_STRATUM = 3, 16


class NtpOffset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a burst of questions to one server."""

    name: ClassVar[str] = "ntp_offset"
    summary: ClassVar[str] = "how far this node's clock is from an NTP server's, and whether that one is synchronised"
    target_help: ClassVar[str] = "host or host:port, 123 without one: 10.92.0.1, [fd00::1]:123, ntp.example"
    metrics: ClassVar[Mapping[str, str]] = {
        "success": "1 when a synchronised server answered, else 0",
        "offset_seconds": "the server's clock minus ours, from the answer with the shortest delay, seconds",
        "offset_abs_seconds": "the same without its sign, seconds",
        "delay_seconds": "round trip of that answer, without the server's own time, seconds",
        "dispersion_seconds": "how far off the offset may be by the precision and drift of both clocks, seconds",
        "jitter_seconds": "root mean square of the other answers' distance from the offset, seconds",
        "root_delay_seconds": "round trip from the server to its source of time, seconds",
        "root_dispersion_seconds": "how far off the server says it may be from its source, seconds",
        "root_distance_seconds": "how far off true time the server may be, as seen from here, seconds",
        "stratum": "1 has a clock of its own, 2 asks a 1 …; 16 or 0: not synchronised",
        "leap": "leap indicator: 0 none, 1 a second more tonight, 2 a second less, 3 not synchronised",
        "loss_ratio": "share of the questions without a valid answer in time, 0 to 1",
        "packets_sent": "questions that were sent, count",
        "packets_received": "valid answers in time, count",
    }
    unreachable: ClassVar[Mapping[str, float]] = {"success": 0.0}

    count: Annotated[int, msgspec.Meta(ge=1, le=64, description="questions in the burst")] = 4
    interval_seconds: Annotated[float, msgspec.Meta(ge=0.01, le=60, description="from question to question")] = 0.5
    packet_timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=60, description="after this it is lost")] = 1.0
    ip_version: Annotated[Literal[4, 6] | None, msgspec.Meta(description="for a name: 4 or 6 only")] = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=600, description="deadline of the whole check")] = 10.0

    async def measure(self, target: str) -> dict[str, float]:
        """Ask `target`; `Unreachable` when nobody answers, or when the server says it does not know the time."""
        host, port = split_host_default_port(target, _PORT)
        phases = Phases(self.timeout_seconds)
        burst = Burst(phases, f"port {port} of {host}", self.packet_timeout_seconds)
        address = await _address(phases, host, port, self.ip_version)
        with _open(phases, address) as sock:
            await burst.ask(sock, self.count, self.interval_seconds)
        phases.metrics |= burst.counts()
        if not burst.samples:
            phases.fail(
                burst.complaint or f"no answer from {host} port {port} within {self.packet_timeout_seconds:g} s"
            )
        phases.metrics |= _figures(burst.samples)
        return {"success": 1.0, **phases.metrics}


class Burst:
    """A few questions to one server, one after the other, and what came back."""

    def __init__(self, phases: Phases, server: str, packet_timeout_seconds: float) -> None:
        """Take the budget, whom the words are to name, and how long an answer may take."""
        self.server = server
        self._phases, self._patience = phases, packet_timeout_seconds
        self.samples: list[Sample] = []
        self.complaint: str | None = None
        self._sent = 0

    async def ask(self, sock: socket.socket, count: int, interval_seconds: float) -> None:
        """Ask `count` times, or until the budget ends or the server asks for silence."""
        for left in reversed(range(count)):
            began = time.perf_counter()
            try:
                async with asyncio.timeout(min(self._patience, self._phases.left_seconds)):
                    await self._exchange(sock)
            except TimeoutError:
                pass
            except PermissionError:
                raise CheckError("this machine's own firewall does not let NTP out") from None
            except ConnectionRefusedError:
                self.complaint = f"nothing listens on {self.server}"
            except OSError as exc:
                self.complaint = words(exc)
            pause = interval_seconds - (time.perf_counter() - began)
            if left and self._phases.left_seconds <= max(0.0, pause):
                return
            if left:
                await asyncio.sleep(pause)

    async def _exchange(self, sock: socket.socket) -> None:
        cookie = int.from_bytes(os.urandom(8), "big")
        sent = timestamp(time.time_ns())
        sock.send(encode_request(cookie))
        self._sent += 1
        while True:
            data, received = await _receive(sock)
            try:
                answer = decode(data)
            except WireError as exc:
                self.complaint = f"the answer is not NTP: {exc}"
                continue
            if answer.origin != cookie:
                self.complaint = "an answer came to a question that was not asked: late, or forged"
                continue
            self._judge(answer)
            self.samples.append(Sample.of(answer, sent, received))
            return

    def _judge(self, answer: Answer) -> None:
        """End the measurement when the server says that it does not know the time, or does not want to be asked."""
        self._phases.metrics |= {"stratum": float(answer.stratum), "leap": float(answer.leap)} | self.counts(answered=1)
        if answer.kiss:
            self._phases.fail(f"the server refuses with a kiss-o'-death: {answer.kiss}")
        if answer.leap == _UNSYNCHRONISED_LEAP:
            self._phases.fail("the server is not synchronised: its leap indicator is 3")
        if not 0 < answer.stratum < _UNSYNCHRONISED_STRATUM:
            self._phases.fail(f"the server is not synchronised: its stratum is {answer.stratum}")
        if not answer.sent or not answer.received:
            self._phases.fail("the server answers without telling its time")

    def counts(self, answered: int = 0) -> dict[str, float]:
        """Return what was sent and received; `answered` more than there are samples."""
        received = len(self.samples) + answered
        lost = {"loss_ratio": (self._sent - received) / self._sent} if self._sent else {}
        return {"packets_sent": float(self._sent), "packets_received": float(received), **lost}


def _figures(samples: Sequence[Sample]) -> dict[str, float]:
    best = min(samples, key=lambda sample: sample.delay_seconds)
    found = {
        "offset_seconds": best.offset_seconds,
        "offset_abs_seconds": abs(best.offset_seconds),
        "delay_seconds": best.delay_seconds,
        "dispersion_seconds": best.dispersion_seconds,
        "root_delay_seconds": best.answer.root_delay_seconds,
        "root_dispersion_seconds": best.answer.root_dispersion_seconds,
        "root_distance_seconds": best.root_distance_seconds,
        "stratum": float(best.answer.stratum),
        "leap": float(best.answer.leap),
    }
    if len(samples) > 1:  # RFC 5905, 10
        squares = sum((sample.offset_seconds - best.offset_seconds) ** 2 for sample in samples)
        found["jitter_seconds"] = math.sqrt(squares / (len(samples) - 1))
    return found


async def _address(phases: Phases, host: str, port: int, ip_version: Literal[4, 6] | None) -> Address:
    try:
        if known := literal(host, port, ip_version):
            return known[0]
        async with phases.phase(None, f"no answer from this node's resolver for {host}"):
            return (await resolve(host, port, ip_version))[0]
    except UnresolvedError as exc:
        phases.fail(str(exc))


def _open(phases: Phases, address: Address) -> socket.socket:
    """Return a socket that hears this server alone, on a port that nobody can guess."""
    try:
        sock = socket.socket(address[0], socket.SOCK_DGRAM)
    except OSError as exc:
        raise CheckError(f"cannot open a socket: {exc.strerror}") from None
    try:
        sock.setblocking(False)  # noqa: FBT003  (the socket module takes no keyword here)
        switch_on_receive(sock)
        sock.connect(address[1])
    except OSError as exc:
        sock.close()
        phases.fail(words(exc))
    return sock


async def _receive(sock: socket.socket) -> tuple[bytes, int]:
    """Return the next datagram, and when the kernel got it: a busy event loop must not look like a slow clock."""
    while True:
        with contextlib.suppress(BlockingIOError):
            data, ancillary, _, _ = sock.recvmsg(_LONGEST_DATAGRAM, _ANCILLARY_BYTES)
            return data, timestamp(received_at(ancillary) or time.time_ns())
        await _readable(sock)


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock)
