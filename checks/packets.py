"""What became of each packet of a train, and what a train says in numbers. Pure: it is told every instant.

Instants are integer nanoseconds, figures are in seconds. A packet that is not back within the train's own Tmax is lost
(RFC 7680 and RFC 2680 ask that this be stated), even if it comes later: then it is also counted as late.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checks.timestamps import BOTH, RECEIVE, USER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one packet: a reply, a corrupted one, or a refusal in words (`host unreachable`).

    Or, with `left_at`, no answer but the kernel's word on when the packet left. Instants are nanoseconds: `back_at` of
    the wall clock, `back_here` of this process' monotonic one. `next_mtu` comes with the refusal of a packet that is
    too large: what would pass, bytes.
    """

    sequence: int
    back_at: int = 0
    back_here: int = 0
    by_kernel: bool = False
    corrupted: bool = False
    refusal: str | None = None
    left_at: int | None = None
    next_mtu: int | None = None


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
        self.refusal: str | None = None
        self._late = self._duplicate = self._reordered = self._corrupted = 0
        self._tmax_ns = round(tmax_seconds * SECOND)
        self._packets: dict[int, Packet] = {}
        self._next_expected = 0

    def __getitem__(self, sequence: int) -> Packet:
        """Return one packet."""
        return self._packets[sequence]

    def sent(self, sequence: int, packet: Packet) -> None:
        """Note a packet on its way."""
        self._packets[sequence] = packet

    def note(self, answer: Answer, steps: int) -> bool:
        """Note what was heard of a packet; return whether it is settled by that, so that nobody waits for it longer."""
        packet = self._packets.get(answer.sequence)
        if packet is None:
            return False
        if answer.refusal is not None:
            self.refusal = answer.refusal
            return True
        if answer.left_at is not None:
            packet.left_at = answer.left_at
            if packet.source == RECEIVE:  # what already came back by another clock stays of that clock
                packet.source = BOTH
            return False
        if answer.corrupted:
            self._corrupted += 1
            return False
        return self._back(packet, answer, steps)

    def _back(self, packet: Packet, answer: Answer, steps: int) -> bool:
        if packet.back_at is not None:
            self._duplicate += 1
            return False
        packet.back_at, packet.back_here = answer.back_at, answer.back_here
        if not answer.by_kernel:
            packet.source = USER
        if steps != packet.steps:
            packet.bent, packet.source = True, USER
        if self.is_late(packet):
            self._late += 1
        if answer.sequence < self._next_expected:  # RFC 4737, 3.3
            self._reordered += 1
        self._next_expected = max(self._next_expected, answer.sequence + 1)
        return True

    def is_late(self, packet: Packet) -> bool:
        """Tell whether a packet came back after it was given up."""
        return (packet.round_trip_ns or 0) > self._tmax_ns

    def round_trips(self) -> list[float | None]:
        """Return the round trip of each packet in the order sent, in seconds; None for a lost one."""
        return [
            None if packet.round_trip_ns is None or self.is_late(packet) else max(0, packet.round_trip_ns) / SECOND
            for packet in self._packets.values()
        ]

    def source(self) -> int | None:
        """Return the least sure source of the instants of what came back; None when nothing did."""
        return min((packet.source for packet in self._packets.values() if packet.back_at is not None), default=None)

    def forget_before(self, here: int, sequence: int) -> list[int]:
        """Forget packets before `sequence` that left before an instant of the monotonic clock; return their numbers."""
        forgotten = []
        for each, packet in self._packets.items():
            if each >= sequence or packet.left_here >= here:
                break
            forgotten.append(each)
        for each in forgotten:
            del self._packets[each]
        return forgotten

    def take_counts(self) -> dict[str, float]:
        """Return how often things went wrong on the way since this was last asked."""
        counts = {
            "packets_late": float(self._late),
            "packets_duplicate": float(self._duplicate),
            "packets_reordered": float(self._reordered),
            "packets_corrupted": float(self._corrupted),
        }
        self._late = self._duplicate = self._reordered = self._corrupted = 0
        return counts


COUNTS_HELP = {
    "packets_late": "packets answered after they were given up for lost, count",
    "packets_duplicate": "answers beyond the first to the same packet, count",
    "packets_reordered": "answers that came after that to a later packet (RFC 4737), count",
    "packets_corrupted": "answers that were not what had been sent; their packets are lost, count",
}


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
