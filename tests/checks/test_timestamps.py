"""The kernel's own stamps, on loopback: between our readings of the clock, and each with its own packet."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from typing import TYPE_CHECKING

import pytest

from checks.clock_quality import clock_quality, stamp_error_estimate
from checks.icmp_echo import IcmpEcho
from checks.run import run
from checks.stamp_socket import StampSocket
from checks.stamp_wire import clock_error
from checks.timestamps import (
    BOTH,
    DEPARTURE,
    RECEIVE,
    Steps,
    error_queue,
    received_at,
    switch_on,
    switch_on_receive,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SLACK_NS = 1_000  # the kernel and this process read the same clock, but not by the same instruction


@contextlib.contextmanager
def pair(family: socket.AddressFamily, host: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.socket(family, socket.SOCK_DGRAM) as left, socket.socket(family, socket.SOCK_DGRAM) as right:
        right.bind((host, 0))
        left.connect(right.getsockname())
        left.setblocking(False)  # noqa: FBT003  (the socket module takes no keyword here)
        right.settimeout(20)
        yield left, right


def departures(sock: socket.socket, count: int) -> list[tuple[bytes, int]]:
    """Wait for so many stamps of departure; return what they are of, and when."""
    found: list[tuple[bytes, int]] = []
    poll = select.poll()
    poll.register(sock, select.POLLERR)
    while len(found) < count and poll.poll(20_000):
        found += [(looped.data, looped.sent_at) for looped in error_queue(sock) if looped.sent_at is not None]
    return found


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_both_stamps_lie_between_our_own_readings_of_the_clock(family: socket.AddressFamily, host: str) -> None:
    with pair(family, host) as (left, right):
        assert switch_on(left) == BOTH
        assert switch_on_receive(right) == RECEIVE
        before = time.time_ns()
        left.send(b"one packet")
        data, ancillary, _, _ = right.recvmsg(100, 256)
        after = time.time_ns()
        came = received_at(ancillary)
        (looped, left_at), *more = departures(left, 1)
    assert data == b"one packet"
    assert looped.endswith(b"one packet")
    assert not more
    assert came is not None
    assert before - SLACK_NS <= left_at <= came <= after + SLACK_NS


def test_each_of_many_packets_in_flight_has_its_own_stamp_and_its_bytes_say_whose() -> None:
    with pair(socket.AF_INET, "127.0.0.1") as (left, _):
        switch_on(left)
        around = []
        for number in range(100):
            before = time.time_ns()
            left.send(struct.pack("!I", number))
            around.append((before, time.time_ns()))
        found = {int.from_bytes(data[-4:], "big"): at for data, at in departures(left, 100)}
    assert found.keys() == set(range(100))
    for number, (before, after) in enumerate(around):
        assert before - SLACK_NS <= found[number] <= after + SLACK_NS


def test_only_the_packet_that_asks_for_it_has_its_departure_told() -> None:
    with pair(socket.AF_INET, "127.0.0.1") as (left, _):
        switch_on_receive(left)
        left.send(b"silent")
        left.sendmsg((b"told",), (DEPARTURE,))
        assert [data[-4:] for data, _ in departures(left, 1)] == [b"told"]
        assert list(error_queue(left)) == []


def test_a_socket_that_asks_for_nothing_is_told_nothing() -> None:
    with pair(socket.AF_INET, "127.0.0.1") as (left, right):
        left.send(b"x")
        _, ancillary, _, _ = right.recvmsg(100, 256)
        assert received_at(ancillary) is None
        assert list(error_queue(left)) == []


def test_a_socket_whose_kernel_stamps_nothing_falls_back_to_our_own_clock() -> None:
    """A socket that is closed takes no option, as one of a kernel that does not know them."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.close()
    assert (switch_on(sock), switch_on_receive(sock)) == (0, 0)
    assert list(error_queue(sock)) == []


@pytest.mark.parametrize(
    "ancillary",
    [
        [],
        [(socket.SOL_SOCKET, 37, b"short")],
        [(socket.SOL_SOCKET, 37, bytes(48))],
        [(socket.IPPROTO_IP, 37, struct.pack("@qq", 1, 1) * 3)],
    ],
)
def test_what_is_no_stamp_is_none(ancillary: list[tuple[int, int, bytes]]) -> None:
    assert received_at(ancillary) is None


def test_a_refusal_in_the_error_queue_is_not_a_stamp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.bind(("127.0.0.1", 0))
            where = gone.getsockname()
        sock.connect(where)
        sock.setblocking(False)  # noqa: FBT003  (the socket module takes no keyword here)
        switch_on(sock)
        sock.send(b"to nobody")
        poll = select.poll()
        poll.register(sock, select.POLLERR)
        found = []
        while not any(looped.refusal for looped in found) and poll.poll(20_000):
            found += list(error_queue(sock))
    refusals = [looped for looped in found if looped.refusal is not None]
    assert [looped.sent_at for looped in refusals] == [None]
    assert refusals[0].data == b"to nobody", "a refusal quotes the packet without the headers"
    assert all(looped.sent_at is not None for looped in found if looped.refusal is None)


async def test_icmp_echo_is_timed_by_the_kernel_at_both_ends_on_loopback() -> None:
    try:
        result = await run(IcmpEcho(count=5, interval_seconds=0.01), "127.0.0.1", site="s", node="n")
    except PermissionError:
        pytest.skip("this user may not send ICMP")
    if result.error:
        pytest.skip(result.error)
    assert result.metrics["timestamp_source"] == BOTH


def test_a_stamp_socket_gives_each_packet_its_own_departure_however_many_are_on_their_way() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with StampSocket(
            (socket.AF_INET, silent.getsockname()), key=None, ssid=1, dscp=0, padding_bytes=10, follow_up=True,
            source=None, clock_estimate=lambda: 1,
        ) as sock:  # fmt: skip
            sent = {}
            for sequence in range(50):
                packet = sock.send(sequence)
                sent[sequence] = (packet.left_at, time.time_ns())
            told = {}
            poll = select.poll()
            poll.register(sock, select.POLLERR)
            while len(told) < 50 and poll.poll(20_000):
                told |= {answer.sequence: answer.left_at for answer, _ in sock.errors()}
    assert told.keys() == sent.keys()
    for sequence, (before, after) in sent.items():
        assert told[sequence] is not None
        assert before - SLACK_NS <= told[sequence] <= after + SLACK_NS


def test_a_clock_that_nobody_sets_has_no_steps() -> None:
    steps = Steps()
    for _ in range(2000):
        assert steps.look() == 0


def test_a_step_is_counted_once_and_a_slew_is_none() -> None:
    """The wall clock cannot be set here: the offset that was seen last stands for it."""
    steps = Steps()
    steps._offset += 5_000_000_000
    assert [_until_looked(steps, 1), steps.look(), steps.look()] == [1, 1, 1]
    steps._offset -= 50_000
    assert steps.look() == 1


def _until_looked(steps: Steps, wanted: int) -> int:
    """Look until a look was not held up between the two clocks."""
    for _ in range(1000):
        if steps.look() == wanted:
            break
    return steps.count


def test_what_the_kernel_says_of_its_clock_is_a_claim_of_a_packet() -> None:
    quality = clock_quality()
    assert 0 <= quality.error_seconds < 1000
    claimed = clock_error(stamp_error_estimate(trust_clock=False))
    assert (claimed is None) == (not quality.synchronised)
    assert claimed is None or claimed >= quality.error_seconds * 0.9
    trusted = clock_error(stamp_error_estimate(trust_clock=True))
    assert trusted == pytest.approx(0.0001, rel=0.02)
