"""What became of each packet of a train, and what a train says in numbers. Pure: it is told every instant.

Instants are integer nanoseconds, figures are in seconds. A packet that is not back within the train's own Tmax is lost
(RFC 7680 and RFC 2680 ask that this be stated), even if it comes later: then it is also counted as late.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checks.timestamps import USER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SECOND = 1_000_000_000


@dataclass(slots=True)
class Packet:
    """One packet: when it left and came back (nanoseconds), and by which clocks.

    `left_at` and `back_at` are wall clock, the kernel's where it gave them; `left_here` and `back_here` are the
    monotonic clock as this process read it, for the case that the wall clock was set in between.
    """

    left_at: int
    left_here: int
    steps: int
    source: int = USER
    back_at: int | None = None
    back_here: int = 0
    bent: bool = False

    @property
    def round_trip_ns(self) -> int | None:
        """Nanoseconds from leaving to coming back; None for a packet that is not back."""
        if self.back_at is None:
            return None
        return self.back_here - self.left_here if self.bent else self.back_at - self.left_at


class Packets:
    """The book of a train: what was sent, and what came back for it."""

    def __init__(self, tmax_seconds: float) -> None:
        """Take the time after which a packet is lost."""
        self.late = self.duplicate = self.reordered = self.corrupted = 0
        self._tmax_ns = round(tmax_seconds * SECOND)
        self._packets: dict[int, Packet] = {}
        self._next_expected = 0

    def __len__(self) -> int:
        """Count the packets sent."""
        return len(self._packets)

    def sent(self, sequence: int, packet: Packet) -> None:
        """Note a packet on its way."""
        self._packets[sequence] = packet

    def stamped(self, sequence: int, left_at: int, source: int) -> None:
        """Correct the instant at which a packet left: the kernel's own word came after the fact."""
        packet = self._packets.get(sequence)
        if packet is not None:
            packet.left_at, packet.source = left_at, source

    def back(self, sequence: int, back_at: int, back_here: int, steps: int, *, by_kernel: bool) -> bool:
        """Note an answer; return whether it settles its packet: in time, the first, and to one of ours."""
        packet = self._packets.get(sequence)
        if packet is None:
            return False
        if packet.back_at is not None:
            self.duplicate += 1
            return False
        packet.back_at, packet.back_here = back_at, back_here
        if not by_kernel:
            packet.source = USER
        if steps != packet.steps:
            packet.bent, packet.source = True, USER
        if (packet.round_trip_ns or 0) > self._tmax_ns:
            self.late += 1
        if sequence < self._next_expected:  # RFC 4737, 3.3
            self.reordered += 1
        self._next_expected = max(self._next_expected, sequence + 1)
        return True

    def round_trips(self) -> list[float | None]:
        """Return the round trip of each packet in the order sent, in seconds; None for a lost one."""
        trips = (packet.round_trip_ns for packet in self._packets.values())
        return [None if trip is None or trip > self._tmax_ns else max(0, trip) / SECOND for trip in trips]

    def source(self) -> int | None:
        """Return the least sure source of the instants of what came back; None when nothing did."""
        return min((packet.source for packet in self._packets.values() if packet.back_at is not None), default=None)

    def counts(self) -> dict[str, float]:
        """Return how often things went wrong on the way."""
        metrics = {
            "packets_late": float(self.late),
            "packets_duplicate": float(self.duplicate),
            "packets_reordered": float(self.reordered),
            "packets_corrupted": float(self.corrupted),
        }
        source = self.source()
        return metrics if source is None else {**metrics, "timestamp_source": float(source)}


def delay_figures(round_trips: Sequence[float | None]) -> dict[str, float]:
    """Describe round trips in seconds in the order sent, None for a lost packet. What has no value is absent.

    Percentiles are of nearest rank; the median of an even number is the mean of the middle two (RFC 2330, 11.3). The
    variation is |difference| of consecutive packets (RFC 3393) that were both answered.
    """
    answered = sorted(each for each in round_trips if each is not None)
    metrics: dict[str, float] = {}
    if answered:
        metrics = {
            "rtt_min_seconds": answered[0],
            "rtt_median_seconds": median(answered),
            "rtt_mean_seconds": math.fsum(answered) / len(answered),
            "rtt_p95_seconds": percentile(answered, 95),
            "rtt_max_seconds": answered[-1],
        }
    variation = sorted(abs(each) for each in variations(round_trips))
    if variation:
        metrics["ipdv_mean_seconds"] = math.fsum(variation) / len(variation)
        metrics["ipdv_p95_seconds"] = percentile(variation, 95)
    return metrics


def variations(delays: Iterable[float | None]) -> list[float]:
    """Return IPDV (RFC 3393): each delay minus the one before, where both packets arrived."""
    return [b - a for a, b in itertools.pairwise(delays) if a is not None and b is not None]


def interarrival_jitter(differences: Iterable[float], before: float = 0.0) -> float:
    """Return the jitter of RFC 3550, 6.4.1, after these differences of transit: J += (|D| - J) / 16."""
    for difference in differences:
        before += (abs(difference) - before) / 16
    return before


def median(ordered: Sequence[float]) -> float:
    """Return the median of an ordered, non-empty sequence; of an even number, the mean of the middle two."""
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def percentile(ordered: Sequence[float], percent: int) -> float:
    """Return the percentile of nearest rank of an ordered, non-empty sequence."""
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]
