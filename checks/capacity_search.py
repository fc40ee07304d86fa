"""Find what a line has to give, from the instants at which packets were sent and received. Pure: it is told them all.

The receiver leads. It first orders *pulses*, packets sent at once, each half as long again as the one before, until one
ends in packets that had to wait for each other: the pulse has spent the shaper's burst (its head measures that, never
the rate), and its tail is a first guess at the rate. Since each pulse is only half as long again, at most half the
burst ever waits in the line's queue.

Then it orders one *train* at that rate, and steers it so that a few packets always wait: what arrives while packets
wait is what the line has to give (beside other traffic, its share). It steers by the delay over the smallest seen,
which no offset of the two clocks touches, and aims at a small one, so that other traffic loses nothing. When the rate
has settled it orders a stop: the knee is found, and more bytes would tell no more.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

from checks.capacity_arrivals import Arrivals, Span
from checks.capacity_wire import Do, Order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checks.capacity_wire import Load

SECOND = 1_000_000_000
_MS = 1_000_000

FIRST_PULSE = 4
_GROWTH_NEAR, _GROWTH_FAR = 1.25, 1.5  # a bucket is not refilled between pulses that follow each other at once
_FAR_NS = 10 * _MS
_TAIL_PACKETS = 3
_SURE = ((8, _MS), (4, 3 * _MS))  # a tail of so many packets and so long is believed alone
_PULSE_DELAY_NS = _MS * 2 // 5
_REPEAT_NS = 20 * _MS
_LATE_NS = 30 * _MS
_POLICED_SECONDS = 0.1  # a burst is usually some such time at the rate

_AIM_NS, _LONGEST_AIM_NS = 2 * _MS, 4 * _MS  # a longer path trembles more
_AIM_LOOPS = 0.1
_AIM_PACKETS = 4
_BUSY_SHARE = 3  # packets wait where the delay is at least this part of the aim
_ORDER_EVERY_NS = 2 * _MS
_WINDOW_NS = 8 * _MS
_WINDOW_PACKETS = 6
_GAIN = 0.4
_LESS, _MORE = -0.4, 0.1
_LEAST_LEFT = 0.3
_FASTER, _OVER = 1.25, 1.1
_LOSING = 0.03

_SPAN_NS = 60 * _MS
_SHORT_SPAN = 0.8
_REST_LOOP_NS = 5 * _MS
_REST_SPARE_NS = 5 * _MS
_SPAN_PACKETS = 36
_AGREE = 0.01
_ALONE = 0.95
_SHARED_SPAN_NS = 80 * _MS
_SHARED_AGREE = 0.04  # packets of others come in between: a few more or less of them in either half
_STEADY = 0.05
_RAMP_NS = 40 * _MS
_RAMP_FROM = 0.6
_RAMP_MOST_BURST_NS = 8 * _MS
PARTS = 4


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a direction has to give. Rates in bits per second of the IP layer, delays in seconds.

    `settled` is false where the rate is a lower bound: the caps or the sender came before the knee. `low` and `high`
    are the smallest and largest of the `PARTS` equal parts of the measured span.
    """

    rate: float
    settled: bool
    low: float
    high: float
    span_seconds: float
    queue_delay_seconds: float
    loss_ratio: float
    packets: int
    received: int
    burst_bytes: float | None


class _Tail(NamedTuple):
    """How a pulse ended: the packets that went through at once, the rate of those that waited."""

    burst_packets: int
    rate: float
    sure: bool


class Search:
    """One direction's search, at its receiver. Instants are nanoseconds; a packet's two come from different clocks."""

    def __init__(self, *, packet_bytes: int, max_packets: int, max_rate: int, ends_at: int) -> None:
        """Take the length of an IP packet, and the caps: packets, bit/s, and the instant at which it ends anyhow."""
        self._arrivals = Arrivals(packet_bytes * 8)
        self._max_packets, self._max_rate, self._ends_at = max_packets, max_rate, ends_at
        self._order = Order(1, Do.PULSE, FIRST_PULSE, 0)
        self._ordered_at: dict[int, int] = {}
        self._told_at = -(10**18)
        self._pulse_from = 0
        self._pulse_ends_seen = False
        self._burst_packets: int | None = None
        self._unsure: float | None = None  # the rate of a tail too short to be believed alone
        self._rests_until: int | None = None
        self._ramps_from: int | None = None
        self._train_from = 0
        self._train_order = 0
        self._settling_order = 0
        self._rate = 0.0
        self._guess = 0.0
        self._loop_ns: int | None = None
        self._seen_order = 0
        self._aim_ns = float(_AIM_NS)
        self._span: Span | None = None

    @property
    def done(self) -> bool:
        """Whether the search has ended."""
        return self._order.do is Do.STOP

    @property
    def heard(self) -> int:
        """How many packets have arrived."""
        return len(self._arrivals)

    def packet(self, load: Load, received_at: int) -> None:
        """Take a packet in."""
        self._arrivals.add(load, received_at)
        if load.order > self._seen_order:
            self._seen_order = load.order
            ordered_at = self._ordered_at.get(load.order)
            if ordered_at is not None:
                loop = received_at - ordered_at
                self._loop_ns = loop if self._loop_ns is None else min(loop, self._loop_ns)
        if self._order.do is Do.PULSE and load.order == self._order.number and load.place == self._order.packets - 1:
            self._pulse_ends_seen = True

    def next(self, now: int) -> Order | None:
        """Return the order to send at `now` (the clock of `received_at`), or None while there is nothing new to say."""
        if self._order.do is not Do.STOP and (now >= self._ends_at or self._spent()):
            self._give(Do.STOP, 0, 0)
        elif self._order.do is Do.PULSE:
            self._after_pulse(now)
        elif self._order.do is Do.TRAIN and now - self._told_at >= _ORDER_EVERY_NS:
            self._steer(now)
        if self._order.number not in self._ordered_at:
            self._ordered_at[self._order.number] = self._told_at = now
            return self._order
        if now - self._told_at >= max(_REPEAT_NS, 2 * (self._loop_ns or 0)):  # it may have been lost
            self._told_at = now
            return self._order
        return None

    def wake_at(self) -> int:
        """Return the instant at which `next` is worth asking again, if nothing arrives before."""
        return min(self._ends_at, self._told_at + _REPEAT_NS)

    @property
    def _sent(self) -> int:
        """How many packets have been sent, as far as it shows."""
        return self._arrivals.sequence[-1] + 1 if len(self._arrivals) else 0

    def _spent(self) -> bool:
        return self._sent >= self._max_packets

    def _give(self, do: Do, packets: int, rate: float) -> None:
        self._order = Order(self._order.number + 1, do, packets, round(min(rate, self._max_rate)))

    # Pulses.

    def _after_pulse(self, now: int) -> None:
        arrived = len(self._arrivals) - self._pulse_from
        last = self._arrivals.received[-1] if arrived else now
        if not self._pulse_ends_seen and not (arrived and now - last > _LATE_NS + (self._loop_ns or 0)):
            return
        found = self._tail()
        lost = self._order.packets - arrived
        if found is not None and (self._unsure or found.sure):
            self._burst_packets = found.burst_packets
            self._start_train(min(found.rate, self._unsure or found.rate), now)
        elif lost > max(2, self._order.packets // 4):  # a policer: what is over its burst is thrown away, not queued
            self._burst_packets = 0
            self._start_train(arrived * self._arrivals.bits / _POLICED_SECONDS, now)
        else:
            self._unsure = None if found is None else found.rate
            self._next_pulse(now)
        self._pulse_from, self._pulse_ends_seen = len(self._arrivals), False

    def _next_pulse(self, now: int) -> None:
        far = min(1.0, (self._loop_ns or 0) / _FAR_NS)
        packets = math.ceil(self._order.packets * (_GROWTH_NEAR + (_GROWTH_FAR - _GROWTH_NEAR) * far))
        if self._sent + 2 * packets > self._max_packets:  # no burst we may spend: as fast as we may, then
            sent, received = self._pulse()
            taken = max(received[-1] - received[0], sent[-1] - sent[0], 1)
            self._start_train((len(received) - 1) * self._arrivals.bits * SECOND / taken, now)
        else:
            self._give(Do.PULSE, packets, 0)

    def _tail(self) -> _Tail | None:
        """Describe the packets of the pulse that had to wait; None if none had to."""
        delays = self._arrivals.delays(self._pulse_from, len(self._arrivals) - 1)
        if len(delays) <= _TAIL_PACKETS:
            return None
        at_end = sorted(delays[-_TAIL_PACKETS:])[_TAIL_PACKETS // 2]
        if at_end < _PULSE_DELAY_NS:
            return None
        first = _last_below(delays, at_end // 5) + 1
        half = _last_below(delays, at_end // 2) + 1  # the lower half may be of another making: a moment held up
        if half == len(delays):  # the last one waited for nothing: those before were held up, not queued
            return None
        received = self._pulse()[1]
        count, taken = len(delays) - 1 - half, received[-1] - received[half]
        if count < _TAIL_PACKETS - 1 or taken < (at_end - at_end // 2) * 0.6:  # one gap, as of a processor held up
            return None
        sure = any(count >= packets and taken >= ns for packets, ns in _SURE)
        return _Tail(first, count * self._arrivals.bits * SECOND / taken, sure)

    def _pulse(self) -> tuple[Sequence[int], Sequence[int]]:
        return self._arrivals.sent[self._pulse_from :], self._arrivals.received[self._pulse_from :]

    # The train.

    def _start_train(self, rate: float, now: int) -> None:
        """Spend again what the bucket has taken in since the pulse ended, then go on at the rate of its tail."""
        self._rate = self._guess = min(rate, float(self._max_rate))
        aim = min(_LONGEST_AIM_NS, _AIM_NS + _AIM_LOOPS * (self._loop_ns or 0))
        self._aim_ns = max(aim, _AIM_PACKETS * self._arrivals.bits * SECOND / self._rate)
        self._train_from = len(self._arrivals)
        self._arrivals.begin()
        refilled = (
            self._rate * (now - self._arrivals.received[-1] + (self._loop_ns or 0)) / SECOND / self._arrivals.bits
        )
        prelude = int(min(self._burst_packets or 0, refilled))
        burst_ns = prelude * self._arrivals.bits * SECOND / self._rate
        if (self._loop_ns or 0) > _REST_LOOP_NS and burst_ns < _RAMP_MOST_BURST_NS:
            self._ramps_from, prelude, rate = now, 0, self._rate * _RAMP_FROM
        else:
            self._ramps_from, rate = None, self._rate
        self._give(Do.TRAIN, prelude, rate)
        self._train_order = self._settling_order = self._order.number

    def _ramp(self, now: int) -> None:
        """Rise to the rate gently where we would hear late that it is too much for the others; then spend the burst."""
        assert self._ramps_from is not None  # noqa: S101  (for mypy)
        past = (now - self._ramps_from) / _RAMP_NS
        if past < 1:
            self._give(Do.TRAIN, 0, self._rate * (_RAMP_FROM + (1 - _RAMP_FROM) * past))
            return
        self._ramps_from = None
        self._give(Do.TRAIN, self._burst_packets or 0, self._rate)
        self._settling_order = self._order.number

    def _steer(self, now: int) -> None:
        """Judge what has arrived; end, or say how fast to go on."""
        self._arrivals.judge(self._aim_ns / _BUSY_SHARE, _LOSING)
        if self._rests_until is not None:
            self._after_rest(now)
            return
        window = self._arrivals.latest(_WINDOW_NS, _WINDOW_PACKETS, self._train_from)
        if window is None or self._seen_order < self._train_order:
            if self._ramps_from is not None:
                self._ramp(now)
            return
        loop = self._loop_ns or 0
        alone = self._arrivals.rate(*window) >= _ALONE * self._guess
        on_the_way = min(loop, _SPAN_NS // 2) if alone and loop > _REST_LOOP_NS else 0
        if self._settled(_SPAN_NS - on_the_way):
            if on_the_way:  # what was sent and has not arrived yet completes the span: no need to send more
                self._rests_until = now + loop + _REST_SPARE_NS
                self._give(Do.TRAIN, 0, 0)
            else:
                self._give(Do.STOP, 0, 0)
        elif self._ramps_from is not None and not self._waits(*window):
            self._ramp(now)
        else:
            self._ramps_from = None
            self._follow(*window)
            self._give(Do.TRAIN, 0, self._rate)

    def _waits(self, first: int, last: int) -> bool:
        return (
            min(self._arrivals.delays(first, last)) > self._aim_ns / _BUSY_SHARE
            or self._arrivals.loss(first, last) > _LOSING
        )

    def _after_rest(self, now: int) -> None:
        """Judge the whole span, now that what was on its way has arrived; go on where it does not agree."""
        assert self._rests_until is not None  # noqa: S101  (for mypy)
        if now < self._rests_until and now - self._arrivals.received[-1] < _REST_SPARE_NS + (self._loop_ns or 0):
            return
        self._rests_until = None
        if self._settled(round(_SPAN_NS * _SHORT_SPAN)):
            self._give(Do.STOP, 0, 0)
        else:
            guess = self._guess
            self._start_train(self._rate, now)
            self._guess = guess

    def _follow(self, first: int, last: int) -> None:
        """Set the rate by what the window says is left to us, and by how far its delay is from the aim.

        A queue that grows by s seconds a second on a line of rate R says that we send s R more than what others leave
        (R from the pulse's tail). Where they leave all of it, that is what arrives, however fast we send.
        """
        arrivals = self._arrivals
        arrival, delays, loss = arrivals.rate(first, last), arrivals.delays(first, last), arrivals.loss(first, last)
        delay = min(delays)
        if loss > _LOSING:
            self._aim_ns = min(self._aim_ns, max(_MS, delay / 2))
        if self._waits(first, last):
            taken = arrivals.received[last] - arrivals.received[first]
            growth = (delays[-1] - delays[0]) / max(1, taken)
            left = arrival - growth * self._left_to_others(arrival)
            loop = max(self._loop_ns or 0, _MS) + _WINDOW_NS
            expected = delay + growth * loop  # by the time that our word is heeded
            turn = _GAIN * (self._aim_ns - expected) / loop
            self._rate = max(left, arrival * _LEAST_LEFT) * (1 + max(_LESS, min(_MORE, turn)))
        elif self._seen_order >= self._settling_order:  # the last increase has been seen, and still nothing waits
            # A sender that is held up now and then sends less than it is told: that must not hold the rate down.
            least = min(self._rate * _FASTER, self._guess * _OVER)
            self._rate = max(least, min(self._rate, arrival * _FASTER) * _FASTER)
            self._settling_order = self._order.number + 1

    def _left_to_others(self, rate: float) -> float:
        return self._guess - rate if rate < _ALONE * self._guess else 0.0

    def _settled(self, span_ns: int) -> bool:
        """Whether packets have waited for long enough, the halves of that agree, and their delay stands still.

        A delay that grows is a share taken from others. Where nobody else is (the rate is that of the pulse's tail)
        it may: then the rate does not depend on how fast we send.
        """
        for length in (span_ns, _SHARED_SPAN_NS, 2 * _SHARED_SPAN_NS, 4 * _SHARED_SPAN_NS):
            span = self._arrivals.span(length, _SPAN_PACKETS * length // _SPAN_NS, PARTS)
            if span is None:
                return False
            alone = span.rate >= _ALONE * self._guess
            shared = not alone and length >= _SHARED_SPAN_NS and abs(span.growth) <= _STEADY
            if (alone and span.disagreement() <= _AGREE) or (shared and span.disagreement() <= _SHARED_AGREE):
                self._span = span
                return True
        return False

    # What came of it.

    def estimate(self) -> Estimate | None:
        """Return what was found; None where too few packets came to tell anything."""
        span, arrivals = self._span or self._arrivals.all_waiting(PARTS), self._arrivals
        last = len(arrivals) - 1
        if span is None and last - self._train_from >= PARTS:  # nothing waited: what was sent is what came
            span = Span(arrivals.rate(self._train_from, last), (), 0.0, 0.0, ())
        if span is None:
            return None
        waits = sorted(arrivals.received[i] - arrivals.sent[i] - arrivals.base for i in span.steps)
        sent = max(arrivals.sequence) + 1
        left = 1 - span.growth * self._left_to_others(span.rate) / span.rate
        return Estimate(
            rate=span.rate * left,
            settled=self._span is not None,
            low=min(span.parts, default=span.rate) * left,
            high=max(span.parts, default=span.rate) * left,
            span_seconds=span.seconds,
            queue_delay_seconds=waits[len(waits) // 2] / SECOND if waits else 0.0,
            loss_ratio=max(0.0, 1 - len(arrivals) / sent),
            packets=sent,
            received=len(arrivals),
            burst_bytes=None if self._burst_packets is None else self._burst_packets * arrivals.bits / 8,
        )


def estimate_figures(estimate: Estimate | None) -> dict[str, float]:
    """Return an estimate as figures, for the wire; what is not known is absent."""
    if estimate is None:
        return {}
    return {name: float(value) for name, value in asdict(estimate).items() if value is not None}


def _last_below(delays: Sequence[int], least: int) -> int:
    return max((index for index, delay in enumerate(delays) if delay <= least), default=-1)
