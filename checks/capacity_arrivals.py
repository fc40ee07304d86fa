"""The packets that arrived in a direction of a capacity test, and the rate at which they came while some were waiting.

A packet *waits* if its delay is above the smallest one seen by more than a little. Between two that wait, one after the
other, the line was never idle: the time between their arrivals is what it takes to carry one of them (and what others
sent meanwhile). Only such steps count, from stretches long enough to be no accident, so that a sender that was held up
for a moment costs time and no truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checks.capacity_wire import Load

SECOND = 1_000_000_000
_STRETCH_NS = 5_000_000
_STRETCH_PACKETS = 6


@dataclass(frozen=True, slots=True)
class Span:
    """Steps between waiting packets, enough of them to tell a rate: bit/s, of the whole and of its equal parts."""

    rate: float
    parts: tuple[float, ...]
    seconds: float
    growth: float  # of the delay, seconds a second: above 0, some of the rate is taken from others
    steps: tuple[int, ...]

    def disagreement(self) -> float:
        """Return by how much the halves differ, as a share of the whole."""
        middle = len(self.parts) // 2
        one, other = sum(self.parts[:middle]) / middle, sum(self.parts[middle:]) / (len(self.parts) - middle)
        return abs(one - other) / self.rate


class Arrivals:
    """Sequence numbers and instants (nanoseconds; of two clocks, whose offset is never needed) in order of arrival."""

    def __init__(self, bits: int) -> None:
        """Take the bits that a packet counts."""
        self.bits = bits
        self.sequence: list[int] = []
        self.sent: list[int] = []
        self.received: list[int] = []
        self.base = 1 << 80  # the smallest delay seen: it holds the offset of the clocks
        self._steps: list[int] = []  # packets that waited, behind one that waited
        self._stretch: list[int] = []
        self._long = False
        self._judged = 0

    def __len__(self) -> int:
        """Count the packets."""
        return len(self.received)

    def add(self, load: Load, received_at: int) -> None:
        """Take a packet in."""
        self.sequence.append(load.sequence)
        self.sent.append(load.sent_at)
        self.received.append(received_at)
        self.base = min(self.base, received_at - load.sent_at)

    def rate(self, first: int, last: int) -> float:
        """Return the rate at which packets `first` to `last` arrived, bit/s."""
        return (last - first) * self.bits * SECOND / max(1, self.received[last] - self.received[first])

    def delays(self, first: int, last: int) -> list[int]:
        """Return the delay of each packet over the smallest seen, nanoseconds."""
        return [self.received[i] - self.sent[i] - self.base for i in range(first, last + 1)]

    def loss(self, first: int, last: int) -> float:
        """Return the share that is missing between two packets."""
        expected = self.sequence[last] - self.sequence[first]
        return max(0.0, 1 - (last - first) / expected) if expected > 0 else 0.0

    def latest(self, ns: int, packets: int, not_before: int) -> tuple[int, int] | None:
        """Return first and last of the newest packets that make up both so long and so many, or None."""
        last = len(self.received) - 1
        first = last - packets
        while first > not_before and self.received[last] - self.received[first] < ns:
            first -= 1
        if first < not_before or self.received[last] - self.received[first] < ns:
            return None
        return first, last

    def begin(self) -> None:
        """Forget what has waited: another train begins."""
        self._steps.clear()
        self._stretch.clear()
        self._long = False
        self._judged = len(self.received)

    def judge(self, least_ns: float, losing: float) -> None:
        """Look at what is new: who waited at least `least_ns`, or came while more than the share `losing` was lost."""
        first, last = self._judged, len(self.received) - 1
        lost = last - first >= _STRETCH_PACKETS and self.loss(first, last) > losing
        least = self.base + least_ns
        for index in range(first, last + 1):
            if not (lost or self.received[index] - self.sent[index] > least):
                self._stretch.clear()
                self._long = False
            elif self._long:
                self._steps.append(index)
            else:
                self._stretch.append(index)
                taken = self.received[index] - self.received[self._stretch[0]]
                if len(self._stretch) > _STRETCH_PACKETS and taken > _STRETCH_NS:
                    self._steps += self._stretch[1:]
                    self._long = True
        self._judged = last + 1

    def span(self, ns: int, packets: int, parts: int = 1) -> Span | None:
        """Return the newest steps between waiting packets that make up both so long and so many, or None."""
        taken = 0
        for count, index in enumerate(reversed(self._steps), start=1):
            taken += self.received[index] - self.received[index - 1]
            if taken >= ns and count >= packets:
                return self._describe(self._steps[-count:], parts)
        return None

    def all_waiting(self, parts: int) -> Span | None:
        """Return every step of the train, however few."""
        return self._describe(self._steps, parts) if len(self._steps) >= parts else None

    def _describe(self, steps: Sequence[int], parts: int) -> Span:
        marks = [len(steps) * part // parts for part in range(parts + 1)]
        gaps = [self.received[i] - self.received[i - 1] for i in steps]
        taken = max(1, sum(gaps))
        grown = taken - sum(self.sent[i] - self.sent[i - 1] for i in steps)
        rates = [(b - a) * self.bits * SECOND / max(1, sum(gaps[a:b])) for a, b in pairwise(marks)]
        return Span(len(steps) * self.bits * SECOND / taken, tuple(rates), taken / SECOND, grown / taken, tuple(steps))
