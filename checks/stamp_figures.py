"""What a stretch of STAMP test packets says in numbers, in both directions. Pure.

A packet has four instants: T1 it left, T2 it reached the reflector, T3 its reply left there, T4 that came back. T1 and
T4 are of our clock, T2 and T3 of the reflector's. The round trip (T4 - T1) - (T3 - T2) and every difference within one
direction are free of what the two clocks disagree by; a one-way delay is not, and is given only where both are good.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checks import mos
from checks.packets import SECOND, delay_figures, interarrival_jitter, median, percentile, variations

if TYPE_CHECKING:
    from collections.abc import Sequence

_SMALLEST_STEP_NS = 2_000_000
_ENOUGH = 16  # packets: of fewer nobody can tell a step from jitter
_WIDE_NS = 1 << 80


@dataclass(frozen=True, slots=True)
class Exchange:
    """One packet that came back in time: its number, the reflector's, the delays (nanoseconds), and both clocks.

    `forward_ns` is T2 - T1 and `backward_ns` T4 - T3, each with the clocks' difference in it; these and the round trip
    are None where our own clock was set in between. `clock_error_seconds` is what both clocks claim to be wrong by at
    most together; None when one of them is not kept by anybody. `ttl` is what was left of 255 at the reflector, `dscp`
    the class it saw. `steps` counts how often our own clock had been set when the packet left.
    """

    sequence: int
    number: int
    round_trip_ns: int | None
    forward_ns: int | None
    backward_ns: int | None
    clock_error_seconds: float | None = None
    ttl: int = 0
    dscp: int | None = None
    steps: int = 0

    @property
    def round_trip_seconds(self) -> float | None:
        """Round trip without the time that the reflector took, never below 0; None where it is not known."""
        return None if self.round_trip_ns is None else max(0, self.round_trip_ns) / SECOND


@dataclass(slots=True)
class Attribution:
    """Which direction lost what: the reflector numbers its answers, so a gap in its numbers was lost on the way back.

    Carried from stretch to stretch, because what was lost after the last answer can be told only by the next one. Holds
    for a stateful reflector (RFC 8762, 4); one that repeats our own numbers would put all loss on the way back.
    """

    sequence: int = -1
    number: int = -1
    sent: int = 0
    lost_forward: int = 0
    lost_backward: int = 0

    def take(self, exchange: Exchange) -> None:
        """Look at the next packet that came back, in the order sent."""
        between = exchange.sequence - self.sequence - 1
        answered = exchange.number - self.number - 1
        if between >= 0 and answered >= 0:  # else the reflector began to count anew: what was lost there is not known
            backward = min(between, answered)
            self.lost_backward += backward
            self.lost_forward += between - backward
            self.sent += between + 1
        self.sequence, self.number = exchange.sequence, exchange.number

    def figures(self) -> dict[str, float]:
        """Return the loss ratio of each direction since this was last asked; absent when nothing came back."""
        sent, forward, backward = self.sent, self.lost_forward, self.lost_backward
        self.sent = self.lost_forward = self.lost_backward = 0
        if not sent:
            return {}
        metrics = {"loss_forward_ratio": forward / sent}
        return {**metrics, "loss_backward_ratio": backward / (sent - forward)} if sent > forward else metrics


@dataclass(slots=True)
class Jitter:
    """The interarrival jitter of RFC 3550 in each direction, which is a running figure; nanoseconds between packets."""

    forward_seconds: float = 0.0
    backward_seconds: float = 0.0
    before: Exchange | None = None

    def take(self, exchanges: Sequence[Exchange]) -> dict[str, float]:
        """Go on with what came back; return both figures, absent while there was never a pair."""
        pairs = [*([self.before] if self.before else []), *exchanges]
        for part in _between_steps(pairs):
            self.forward_seconds = interarrival_jitter(variations(_forward(part)), self.forward_seconds)
            self.backward_seconds = interarrival_jitter(variations(_backward(part)), self.backward_seconds)
        self.before = pairs[-1] if pairs else None
        if len(pairs) <= 1:
            return {}
        return {"jitter_forward_seconds": self.forward_seconds, "jitter_backward_seconds": self.backward_seconds}


def figures(stretch: Sequence[Exchange | None]) -> dict[str, float]:
    """Describe packets in the order sent, None for a lost one. What has no value is absent."""
    metrics: dict[str, float] = {}
    answered = [each for each in stretch if each is not None]
    if stretch:
        metrics["loss_ratio"] = 1 - len(answered) / len(stretch)
        metrics["packets_sent"] = float(len(stretch))
        metrics["packets_received"] = float(len(answered))
    if not answered:
        return metrics
    metrics |= delay_figures([None if each is None else each.round_trip_seconds for each in stretch])
    parts = _between_steps(stretch)
    metrics |= _direction("forward", [_forward(part) for part in parts])
    metrics |= _direction("backward", [_backward(part) for part in parts])
    if "rtt_median_seconds" in metrics:
        rating = mos.transmission_rating(metrics["rtt_median_seconds"] / 2, metrics["loss_ratio"])
        metrics["mos"] = mos.mean_opinion_score(rating)
    return metrics


def one_way(exchanges: Sequence[Exchange], most_error_seconds: float) -> dict[str, float]:
    """Return the median delay of each direction, only where both clocks claim to be good enough for every packet.

    And only where the claim can be true: no packet arrives before it left by more than the clocks may be wrong.
    """
    errors = [each.clock_error_seconds for each in exchanges]
    known = [each for each in errors if each is not None]
    if not exchanges or len(known) < len(errors) or max(known) > most_error_seconds:
        return {}
    forward = sorted(each for each in _forward(exchanges) if each is not None)
    backward = sorted(each for each in _backward(exchanges) if each is not None)
    if not forward or not backward or min(forward[0], backward[0]) < -max(known):
        return {}
    return {
        "delay_forward_median_seconds": median(forward),
        "delay_backward_median_seconds": median(backward),
        "clock_error_seconds": max(known),
    }


def _forward(stretch: Sequence[Exchange | None]) -> list[float | None]:
    return [None if each is None or each.forward_ns is None else each.forward_ns / SECOND for each in stretch]


def _backward(stretch: Sequence[Exchange | None]) -> list[float | None]:
    return [None if each is None or each.backward_ns is None else each.backward_ns / SECOND for each in stretch]


def _direction(name: str, parts: Sequence[Sequence[float | None]]) -> dict[str, float]:
    """Return the variation of one direction: PDV (RFC 5481: delay minus the least) and IPDV (RFC 3393, unsigned)."""
    above: list[float] = []
    changes: list[float] = []
    for delays in parts:
        heard = [each for each in delays if each is not None]
        above += [each - min(heard) for each in heard]
        changes += [abs(each) for each in variations(delays)]
    metrics = {f"pdv_{name}_p95_seconds": percentile(sorted(above), 95)} if above else {}
    if changes:
        metrics[f"ipdv_{name}_mean_seconds"] = math.fsum(changes) / len(changes)
        metrics[f"ipdv_{name}_p95_seconds"] = percentile(sorted(changes), 95)
    return metrics


def _between_steps(stretch: Sequence[Exchange | None]) -> list[list[Exchange | None]]:
    """Cut a stretch where one of the two clocks was set: a difference of delays across that would be one of clocks.

    A packet that waited q longer than the fastest, in whichever direction, puts twice the clocks' difference within q
    of (T2 - T1) - (T4 - T3). Where two packets cannot both be right, a clock was set. The fastest of a few may itself
    have waited: what the median waited is allowed for that, so that jitter is not taken for a step.
    """
    trips = sorted(each.round_trip_ns for each in stretch if each is not None and each.round_trip_ns is not None)
    allowed = 2 * (_SMALLEST_STEP_NS + median(trips) - trips[0]) if len(trips) >= _ENOUGH else _WIDE_NS
    parts: list[list[Exchange | None]] = [[]]
    low, high, steps = -_WIDE_NS, _WIDE_NS, None
    for each in stretch:
        if each is not None and each.forward_ns is not None and each.backward_ns is not None:
            waited, twice = (each.round_trip_ns or 0) - trips[0], each.forward_ns - each.backward_ns
            least, most = twice - waited, twice + waited
            if max(least - high, low - most) > allowed or steps not in (None, each.steps):
                parts.append([])
                low, high = least, most
            low, high, steps = max(low, least), min(high, most), each.steps
        parts[-1].append(each)
    return parts
