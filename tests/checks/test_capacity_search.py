"""The search for a line's capacity, on lines made of arithmetic: a token bucket, a queue, a delay, other traffic."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.capacity_search import Search
from checks.capacity_wire import Do, Load, Order

if TYPE_CHECKING:
    from checks.capacity_search import Estimate

SECOND = 1_000_000_000
MS = 1_000_000
PACKET = 1428
OTHERS = 1242


@dataclass
class MadeLine:
    """A shaper to `rate` (bit/s) with a bucket of `burst` bytes and a queue, `delay_ns` long each way.

    Beside the test, others send at `others` bit/s. `policed` throws away what the bucket does not hold.
    """

    rate: float
    burst: int = 10_000
    queue_bytes: int = 1_000_000
    delay_ns: int = 0
    others: float = 0.0
    policed: bool = False
    lost_others: int = 0
    longest_wait_ns: float = 0.0
    _tokens: float = 0.0
    _at: float = 0.0
    _next_others: float = 0.0
    _free_at: float = 0.0

    def __post_init__(self) -> None:
        self._tokens = float(self.burst)

    def carry(self, now: float, size: int) -> float | None:
        """Return when a packet that comes at `now` has passed; None for a lost one. Times must not go backwards."""
        while self.others and self._next_others <= now:
            if self._pass(self._next_others, OTHERS) is None:
                self.lost_others += 1
            self._next_others += OTHERS * 8 * SECOND / self.others
        return self._pass(now, size)

    def _pass(self, now: float, size: int) -> float | None:
        begin = max(now, self._free_at)
        if self.policed:
            begin = now
        tokens = min(self.burst, self._tokens + (begin - self._at) * self.rate / 8 / SECOND)
        missing = size - tokens
        if missing > 0 and self.policed:
            return None
        leaves = begin + max(0.0, missing) * 8 * SECOND / self.rate
        if (leaves - now) * self.rate / 8 / SECOND > self.queue_bytes:
            return None
        self._tokens, self._at = max(0.0, tokens - size), leaves
        self._free_at = leaves
        self.longest_wait_ns = max(self.longest_wait_ns, leaves - now)
        return leaves


@dataclass
class Run:
    """A search over a made line, with a sender that does as it is told and is held up at the given instants."""

    line: MadeLine
    fastest: float = 1e9
    held_up: dict[int, int] = field(default_factory=dict)
    max_packets: int = 20_000
    sent: int = 0

    def find(self) -> Estimate | None:
        offset = 7_777 * SECOND  # the clocks of the ends have nothing in common
        search = Search(packet_bytes=PACKET, max_packets=self.max_packets, max_rate=10**11, ends_at=offset + 5 * SECOND)
        orders: list[tuple[float, Order]] = []
        arrivals: list[tuple[float, int, Load]] = []
        order, index, now, next_at = Order(0, Do.PULSE, 0, 0), 0, 0.0, 0.0
        ask_at = 0.0
        while order.do is not Do.STOP and now < 6 * SECOND:
            while orders and orders[0][0] <= now:
                _, newest = heapq.heappop(orders)
                if newest.number > order.number:
                    order, index = newest, 0
                    next_at = now if order.do is Do.TRAIN and order.rate else next_at
                    for _ in range(min(order.packets, self.max_packets - self.sent)):
                        now += PACKET * 8 * SECOND / self.fastest
                        self._send(now, order, index, arrivals)
                        index += 1
            if order.do is Do.TRAIN and order.rate and now >= next_at and self.sent < self.max_packets:
                self._send(now, order, index, arrivals)
                index += 1
                next_at = now + max(PACKET * 8 * SECOND / order.rate, PACKET * 8 * SECOND / self.fastest)
                next_at += self.held_up.get(self.sent, 0)
            while arrivals and arrivals[0][0] <= now:
                at, _, load = heapq.heappop(arrivals)
                search.packet(load, offset + round(at))
                ask_at = now
            if now >= ask_at:
                told = search.next(offset + round(now))
                if told is not None:
                    heapq.heappush(orders, (now + self.line.delay_ns, told))
                ask_at = now + MS
            upcoming = [ask_at]
            upcoming += [orders[0][0]] if orders else []
            upcoming += [arrivals[0][0]] if arrivals else []
            if order.do is Do.TRAIN and order.rate and self.sent < self.max_packets:
                upcoming.append(next_at)
            now = max(now + 1, min(upcoming))
        return search.estimate()

    def _send(self, now: float, order: Order, index: int, arrivals: list[tuple[float, int, Load]]) -> None:
        passed = self.line.carry(now, PACKET)
        if passed is not None:
            load = Load(self.sent, order.number, index, round(now))
            heapq.heappush(arrivals, (passed + self.line.delay_ns, self.sent, load))
        self.sent += 1


@settings(max_examples=40, deadline=None)
@given(
    rate=st.floats(min_value=2e6, max_value=3e8),
    burst_ms=st.floats(min_value=0, max_value=20),
    delay_ms=st.floats(min_value=0, max_value=40),
)
def test_a_shaped_line_is_measured_within_one_percent(rate: float, burst_ms: float, delay_ms: float) -> None:
    burst = max(2 * PACKET, int(rate / 8 * burst_ms / 1000))
    line = MadeLine(rate, burst, max(100_000, int(rate / 8 * 0.1)), delay_ns=int(delay_ms * MS))
    run = Run(line)
    found = run.find()
    assert found is not None
    assert found.settled
    assert found.rate == pytest.approx(rate, rel=0.01)
    assert found.loss_ratio == 0


@pytest.mark.parametrize("rate", [1e7, 2e7, 5e7, 1e8, 2e8])
@pytest.mark.parametrize("delay_ns", [0, 10 * MS])
def test_it_costs_a_fiftieth_of_ten_seconds_of_the_line(rate: float, delay_ns: int) -> None:
    run = Run(MadeLine(rate, max(3000, int(rate / 8 * 0.004)), delay_ns=delay_ns))
    assert run.find() is not None
    assert run.sent * PACKET < rate / 8 * 10 / 50


@pytest.mark.parametrize("rate", [1e7, 5e7, 2e8])
@pytest.mark.parametrize("delay_ns", [0, 10 * MS])
def test_half_of_the_line_is_used_by_others_who_lose_nothing(rate: float, delay_ns: int) -> None:
    line = MadeLine(rate, max(3000, int(rate / 8 * 0.004)), int(rate / 8 * 0.1), delay_ns, others=rate / 2)
    found = Run(line).find()
    assert found is not None
    assert found.settled
    assert found.rate == pytest.approx(rate / 2, rel=0.1)
    assert line.lost_others == 0
    assert line.longest_wait_ns < 40 * MS


def test_a_policer_that_queues_nothing_is_measured_too() -> None:
    found = Run(MadeLine(2e7, 30_000, policed=True)).find()
    assert found is not None
    assert found.rate == pytest.approx(2e7, rel=0.05)
    assert found.loss_ratio > 0


def test_a_queue_of_a_few_packets_loses_some_and_leaves_the_rate_right() -> None:
    found = Run(MadeLine(2e7, 3000, queue_bytes=5 * PACKET)).find()
    assert found is not None
    assert found.rate == pytest.approx(2e7, rel=0.02)


def test_a_line_faster_than_the_sender_is_a_lower_bound_and_says_so() -> None:
    found = Run(MadeLine(1e11, 10**9), fastest=3e8, max_packets=3000).find()
    assert found is not None
    assert not found.settled
    assert found.rate <= 3.1e8


@pytest.mark.parametrize("delay_ns", [0, 10 * MS])
def test_a_sender_held_up_half_of_the_time_costs_time_and_no_truth(delay_ns: int) -> None:
    held_up = dict.fromkeys(range(60, 20_000, 60), 15 * MS)
    found = Run(MadeLine(5e7, 25_000, delay_ns=delay_ns), held_up=held_up).find()
    assert found is not None
    assert found.rate == pytest.approx(5e7, rel=0.01)


def test_where_nothing_arrives_nothing_is_claimed() -> None:
    assert Run(MadeLine(1e7, 0, queue_bytes=0)).find() is None


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=1, max_size=40))
def test_a_pulse_may_arrive_with_any_gaps_and_delays(packets: list[tuple[int, int]]) -> None:
    """Whoever is held up, and whenever: there is an order to give, or nothing to say."""
    search = Search(packet_bytes=PACKET, max_packets=20_000, max_rate=10**11, ends_at=5 * SECOND)
    order = search.next(0)
    assert order is not None
    sent, arrivals = SECOND, []
    for index, (gap, delay) in enumerate(packets):
        sent += gap * MS
        arrivals.append((sent + delay * MS, Load(index, order.number, index, sent)))
    for at, load in sorted(arrivals, key=lambda arrival: arrival[0]):
        search.packet(load, at)
    search.next(sent + SECOND)
