"""Search for the largest packet that passes: in volleys of several sizes, so that it takes seconds on any path."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checks.icmp_socket import HEADER_BYTES, EchoSocket

if TYPE_CHECKING:
    from collections.abc import Iterable

    from checks.address import Address

_PACING_SECONDS = 0.02
_SIZES_AT_ONCE = 16
_SURE = 5
_SURE_ROUNDS = 3
_RTTS_TO_WAIT, _SECONDS_TO_WAIT = 4, 0.25
_HEADERS = {socket.AF_INET: 20 + HEADER_BYTES, socket.AF_INET6: 40 + HEADER_BYTES}
_DO_NOT_FRAGMENT = {
    # IP_MTU_DISCOVER and IPV6_MTU_DISCOVER, "probe": whole packets, whatever the kernel believes of the path
    socket.AF_INET: (socket.IPPROTO_IP, 10, 3),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 23, 3),
}


@dataclass(slots=True)
class Outcome:
    """What became of one packet: it came back, or somebody refused it, or neither."""

    passed: bool = False
    refusal: str | None = None
    next_mtu: int | None = None

    @property
    def settled(self) -> bool:
        """Tell whether there is nothing to wait for."""
        return self.passed or self.refusal is not None


class Volleys:
    """Sends packets of several sizes at once. Each has a socket of its own, so that no error meets another's packet."""

    def __init__(self, address: Address, source: str | None, patience_seconds: float, ends_at: float) -> None:
        """Take the path, after how long a packet is lost, and when (the loop's clock) all must end."""
        self.sent = 0
        self._address, self._source, self._ends_at = address, source, ends_at
        self._patience = self._hurried = patience_seconds

    @property
    def over(self) -> bool:
        """Tell whether there is no time left for another volley."""
        return asyncio.get_running_loop().time() + self._patience > self._ends_at

    def hurry(self, round_trip_seconds: float) -> None:
        """Wait for the packets to come no longer than such a round trip suggests."""
        self._hurried = min(self._patience, _RTTS_TO_WAIT * round_trip_seconds + _SECONDS_TO_WAIT)

    async def fire(self, sizes: Iterable[int], *, patiently: bool = False) -> dict[int, Outcome]:
        """Send one packet of each size (bytes, with the IP header) and return what became of them."""
        loop = asyncio.get_running_loop()
        patience = self._patience if patiently else self._hurried
        stirred = asyncio.Event()
        flying: dict[int, tuple[EchoSocket, Outcome]] = {}
        with contextlib.ExitStack() as stack:
            for size in sizes:
                echo = stack.enter_context(EchoSocket(self._address, self._source, size - self._headers))
                _do_not_fragment(echo, self._address[0])
                loop.add_reader(echo.fileno(), stirred.set)
                stack.callback(loop.remove_reader, echo.fileno())
                flying[size] = (echo, Outcome())
                echo.send(0)
                self.sent += 1
                await self._take_in(flying, stirred, loop.time() + _PACING_SECONDS)
            await self._take_in(flying, stirred, min(loop.time() + patience, self._ends_at))
        return {size: outcome for size, (_, outcome) in flying.items()}

    async def passes(self, size: int, tries: int) -> bool:
        """Tell whether one of several packets of a size comes back."""
        for _ in range(tries):
            if (await self.fire([size]))[size].passed:
                return True
        return False

    @property
    def _headers(self) -> int:
        return _HEADERS[socket.AddressFamily(self._address[0])]

    @staticmethod
    async def _take_in(flying: dict[int, tuple[EchoSocket, Outcome]], stirred: asyncio.Event, until: float) -> None:
        """Read what comes back until then, or until everything has."""
        while not all(outcome.settled for _, outcome in flying.values()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await stirred.wait()
            if not stirred.is_set():
                return
            stirred.clear()
            for echo, outcome in flying.values():
                for answer in echo.read():
                    if answer.refusal is not None:
                        outcome.refusal, outcome.next_mtu = answer.refusal, answer.next_mtu
                    elif answer.left_at is None:
                        outcome.passed = True


class Search:
    """Two bounds that move towards each other: the largest size that passes, the smallest that does not."""

    def __init__(self, volleys: Volleys, passing: int, most: int, probes: int) -> None:
        """Take a size that passes, the largest worth a try, and how many packets must be lost to condemn a size."""
        self.largest_passing, self.smallest_failing = passing, most + 1
        self.told_by: str | None = None
        self._promised: int | None = None
        self._volleys, self._most, self._probes = volleys, most, probes

    async def run(self) -> None:
        """Search. A path that loses packets is not believed to swallow them before many more were lost."""
        if self.largest_passing < self._most:
            await self._try([self._most], self._probes)
        for _ in range(_SURE_ROUNDS):
            while not self.finished and not self._volleys.over:
                await self._try(self._candidates(), self._probes)
            if self.smallest_failing > self._most or self.told_by is not None or self._volleys.over:
                return
            doubtful = self.smallest_failing
            self.smallest_failing = self._most + 1
            await self._try(sorted({doubtful, self._most}), _SURE, patiently=True)
            if self.smallest_failing == doubtful:
                return

    @property
    def finished(self) -> bool:
        """Tell whether the time sufficed to bring the bounds together."""
        return self.smallest_failing - self.largest_passing == 1

    def notes(self, interface: int) -> list[str]:
        """Say in words what limits the path, if anything does."""
        if not self.finished:
            return [f"the time was over before it was known which packets above {self.largest_passing} bytes pass"]
        if self.smallest_failing > interface:
            return []
        if self.told_by is not None:
            return [self.told_by]
        return [f"packets of {self.smallest_failing} bytes and more vanish, and no router says so"]

    def _candidates(self) -> list[int]:
        """Return what to try next: what a router has promised, else sizes spread evenly between the bounds."""
        if self._promised == self.smallest_failing - 1:
            return [self._promised]
        span = self.smallest_failing - self.largest_passing
        steps = {self.largest_passing + span * each // (_SIZES_AT_ONCE + 1) for each in range(1, _SIZES_AT_ONCE + 1)}
        return sorted(steps - {self.largest_passing})

    async def _try(self, sizes: list[int], probes: int, *, patiently: bool = False) -> None:
        """Send each size until it passes or is refused. A size is condemned only once all its packets are lost."""
        for _ in range(probes):
            if self._volleys.over:
                return
            for size, outcome in (await self._volleys.fire(sizes, patiently=patiently)).items():
                if outcome.passed:
                    self._passes(size)
                elif outcome.next_mtu is not None:
                    self._refused(size, outcome)
            sizes = [size for size in sizes if self.largest_passing < size < self.smallest_failing]
            if not sizes:
                return
        self.smallest_failing, self.told_by = min(sizes), None

    def _passes(self, size: int) -> None:
        self.largest_passing = max(self.largest_passing, size)
        if size >= self.smallest_failing:  # it was only lost before
            self.smallest_failing, self.told_by = self._most + 1, None

    def _refused(self, size: int, outcome: Outcome) -> None:
        """Believe a router as far as it makes sense: what it would let through is less than what it refused."""
        promised = outcome.next_mtu or 0
        failing = promised + 1 if self.largest_passing <= promised < size else size
        if self.largest_passing < failing < self.smallest_failing:
            self.smallest_failing, self.told_by, self._promised = failing, outcome.refusal, promised


def _do_not_fragment(echo: EchoSocket, family: int) -> None:
    with socket.socket(fileno=os.dup(echo.fileno())) as same:
        same.setsockopt(*_DO_NOT_FRAGMENT[socket.AddressFamily(family)])
