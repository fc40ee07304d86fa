"""The reflector on real sockets of loopback: what it answers, what it refuses, and never more than it got."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import select
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.reflector.datagrams import ListenError
from agents.reflector.stamp import Limits, StampReflector, next_guess
from checks import stamp_wire as wire
from checks.address import literal
from checks.timestamps import DEPARTURE
from tests.running import CLOCK_ESTIMATE as ESTIMATE
from tests.running import GENEROUS, reflecting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
SSID = 31_120


@contextlib.contextmanager
def sender(
    reflector: StampReflector, host: str = "127.0.0.1", source: tuple[Any, ...] | None = None
) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)  # noqa: FBT003  (the socket module takes no keyword here)
        if source is not None:
            sock.bind(source)
        sock.connect((host, reflector.ports[0]))
        yield sock


async def receive(sock: socket.socket, seconds: float = 20.0) -> bytes:
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 65_536), seconds)


async def refused(reflector: StampReflector, sock: socket.socket, data: bytes, *, count: str) -> None:
    """Send what must be counted as `count` and not be answered."""
    before, reflected = reflector.counts[count], reflector.counts["reflected"]
    sock.send(data)
    for _ in range(2000):
        if reflector.counts[count] > before:
            break
        await asyncio.sleep(0.005)
    assert reflector.counts[count] == before + 1, dict(reflector.counts)
    assert reflector.counts["reflected"] == reflected
    with pytest.raises(BlockingIOError):
        sock.recv(1)


def request(
    sequence: int = 0, *, key: bytes | None = None, extensions: bytes = b"", at: int = 0, ssid: int = SSID
) -> bytes:
    """Return a test packet that leaves now, or at the nanosecond `at`."""
    stamp = wire.ntp_stamp(at or time.time_ns())
    if key is not None and extensions:
        extensions = wire.seal_extensions(extensions, key, sequence)
    return wire.encode_request(wire.Request(sequence, stamp, ESTIMATE, ssid, extensions), key)


@pytest.fixture
async def plain() -> AsyncIterator[tuple[StampReflector, socket.socket]]:
    with reflecting() as reflector, sender(reflector) as sock:
        yield reflector, sock


@pytest.fixture
async def proven() -> AsyncIterator[tuple[StampReflector, socket.socket]]:
    with reflecting(keys={SSID: KEY}) as reflector, sender(reflector) as sock:
        yield reflector, sock


Pair = tuple[StampReflector, socket.socket]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("key", [None, KEY])
async def test_a_reply_holds_the_request_and_when_it_came_and_left(host: str, key: bytes | None) -> None:
    with reflecting(host=host, keys=None if key is None else {SSID: key}) as reflector, sender(reflector, host) as sock:
        before, data = time.time_ns(), request(7, key=key)
        sock.send(data)
        reply, after = wire.decode_reply(await receive(sock), key), time.time_ns()
        sent = wire.decode_request(data, key)
    assert (reply.sender_sequence, reply.sender_stamp, reply.sender_error_estimate) == sent[:3]
    assert (reply.sequence, reply.ssid, reply.error_estimate) == (0, SSID, ESTIMATE)
    received, left = (wire.instant(stamp, ESTIMATE, before) for stamp in (reply.received, reply.left))
    assert before - 1000 <= received <= left <= after + 200_000
    assert reply.ttl == 64, "what Linux sends with by itself"


async def test_it_answers_in_the_class_it_was_asked_in_and_passes_on_no_congestion_mark(plain: Pair) -> None:
    _, sock = plain
    sock.setsockopt(socket.IPPROTO_IP, 13, 1)  # IP_RECVTOS
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 46 << 2 | 3)
    classes = []
    for extensions in (b"", wire.extension(wire.CLASS_OF_SERVICE, wire.class_of_service(wanted=10))):
        sock.send(request(extensions=extensions))
        await asyncio.get_running_loop().run_in_executor(None, _wait_readable, sock)
        data, ancillary, _, _ = sock.recvmsg(2048, 256)
        classes.append(ancillary[0][2][0])
    assert classes == [46 << 2, 10 << 2]
    heard = wire.answered_extensions(wire.decode_reply(data).extensions)[wire.CLASS_OF_SERVICE]
    assert wire.heard_dscp(heard) == 46
    assert heard[1] >> 2 & 3 == 3, "the mark that arrived is told in the extension"


def _wait_readable(sock: socket.socket) -> None:
    select.select([sock], [], [], 20)


async def test_each_reply_tells_when_the_one_before_really_left(plain: Pair) -> None:
    _, sock = plain
    told = []
    for sequence in range(4):
        sock.send(request(sequence, extensions=wire.extension(wire.FOLLOW_UP, bytes(16))))
        reply = wire.decode_reply(await receive(sock))
        value = wire.answered_extensions(reply.extensions)[wire.FOLLOW_UP]
        told.append((reply, wire.followed_up(value)))
    assert told[0][1] is None, "there was none before"
    for (before, _), (after, follow_up) in itertools.pairwise(told):
        assert follow_up is not None
        assert follow_up[0] == before.sequence
        assert before.received < follow_up[1] < after.received


async def test_a_stamp_that_comes_late_or_to_nobody_is_taken_and_does_not_wake_it_for_ever(plain: Pair) -> None:
    reflector, sock = plain
    own = reflector._sockets[0]
    poll = select.poll()
    poll.register(own, select.POLLERR)
    own.sendmsg((b"x",), (DEPARTURE,), 0, sock.getsockname())
    assert poll.poll(20_000), "the kernel's word waits"
    for _ in range(2000):
        if not poll.poll(0):
            break
        await asyncio.sleep(0.005)
    assert not poll.poll(0)


def test_the_guess_of_when_a_reply_leaves_is_rather_too_early_than_too_late() -> None:
    guess, late = 0, 0
    for turn in range(2000):
        lag = 20_000 + (turn * 7919) % 15_000  # 20 to 35 us, in no order
        late += guess > lag
        guess = next_guess(guess, lag)
    assert 18_000 < guess < 28_000
    assert late < 500, "a mean would be too late every second time"
    assert next_guess(20_000, 10**9) < 30_000, "one reply that waited in a queue says little"
    assert next_guess(20_000, -5) == 10_000


async def test_an_unknown_extension_goes_back_marked_and_untouched(plain: Pair) -> None:
    _, sock = plain
    sock.send(request(extensions=wire.extension(200, b"what is this") + wire.extension(1, b"padding")))
    found = wire.extensions(wire.decode_reply(await receive(sock)).extensions)
    assert found == [(wire.UNRECOGNISED, 200, b"what is this"), (0, 1, b"padding")]


async def test_extensions_of_a_proven_sender_come_back_under_a_seal(proven: Pair) -> None:
    _, sock = proven
    padding = wire.extension(1, b"after the seal")
    sealed = wire.seal_extensions(wire.extension(wire.FOLLOW_UP, bytes(16)), KEY, 3)
    sock.send(
        wire.encode_request(wire.Request(3, wire.ntp_stamp(time.time_ns()), ESTIMATE, SSID, sealed + padding), KEY)
    )
    reply = wire.decode_reply(await receive(sock), KEY)
    opened = wire.opened_extensions(reply.extensions, KEY, reply.sequence)
    assert opened is not None
    assert wire.answered_extensions(opened[0]).keys() == {wire.FOLLOW_UP}
    assert wire.extensions(opened[1]) == [(0, 1, b"after the seal")]


@pytest.mark.parametrize("bad", ["another key", "no seal", "of another packet"])
async def test_extensions_that_were_tampered_with_say_so_and_hold_nothing(proven: Pair, bad: str) -> None:
    _, sock = proven
    inner = wire.extension(wire.FOLLOW_UP, bytes(16))
    extensions = {
        "another key": wire.seal_extensions(inner, OTHER_KEY, 3),
        "no seal": inner,
        "of another packet": wire.seal_extensions(inner, KEY, 2),
    }[bad]
    sock.send(wire.encode_request(wire.Request(3, wire.ntp_stamp(time.time_ns()), ESTIMATE, SSID, extensions), KEY))
    reply = wire.decode_reply(await receive(sock), KEY)
    assert {flags for flags, _, _ in wire.extensions(reply.extensions)} == {wire.INTEGRITY}
    assert wire.answered_extensions(reply.extensions) == {}


# --- refusals


@pytest.mark.parametrize("length", [0, 1, 13, 38, 43])
async def test_a_short_packet_is_counted_and_dropped(plain: Pair, length: int) -> None:
    await refused(*plain, bytes(length), count="refused_short")


async def test_an_oversized_packet_is_counted_and_dropped(plain: Pair) -> None:
    await refused(*plain, request() + bytes(2048), count="refused_long")


async def test_strangers_and_forgers_get_no_answer(proven: Pair) -> None:
    await refused(*proven, request(), count="refused_short")
    await refused(*proven, request(key=KEY, ssid=9), count="refused_stranger")
    await refused(*proven, request(key=OTHER_KEY), count="refused_forged")
    await refused(*proven, os.urandom(26) + SSID.to_bytes(2, "big") + os.urandom(84), count="refused_forged")
    await refused(*proven, request(key=KEY)[:111], count="refused_short")
    reflector, sock = proven
    sock.send(request(key=KEY))
    assert len(await receive(sock)) == 112
    assert len(reflector.sessions) == 1, "who was refused left nothing behind"


async def test_a_replay_gets_no_answer_wherever_it_comes_from(proven: Pair) -> None:
    reflector, sock = proven
    data = [request(sequence, key=KEY) for sequence in range(3)]
    for each in data:
        sock.send(each)
        await receive(sock)
    await refused(*proven, data[1], count="refused_replay_or_flood")
    with sender(reflector, source=("127.0.0.3", 0)) as other:
        for each in data:
            await refused(reflector, other, each, count="refused_replay_or_flood")
    assert len(reflector.sessions) == 1


async def test_a_source_that_sends_too_much_is_held_back_and_another_is_not() -> None:
    with reflecting(limits=Limits(1.0, 5, 100)) as reflector, sender(reflector) as greedy:
        for sequence in range(5):
            greedy.send(request(sequence))
            await receive(greedy)
        await refused(reflector, greedy, request(5), count="refused_rate")
        with sender(reflector, source=("127.0.0.3", 0)) as other:
            other.send(request())
            await receive(other)


async def test_a_flood_of_forgeries_from_a_senders_address_does_not_use_up_what_it_is_allowed() -> None:
    with reflecting(limits=Limits(1.0, 5, 100), keys={SSID: KEY}) as reflector, sender(reflector) as sock:
        for _ in range(20):
            await refused(reflector, sock, request(key=OTHER_KEY), count="refused_forged")
        for sequence in range(5):
            sock.send(request(sequence, key=KEY))
            await receive(sock)
        await refused(reflector, sock, request(5, key=KEY), count="refused_rate")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to send from a low port")
async def test_an_answer_to_a_service_or_to_itself_is_never_given() -> None:
    """Two reflectors that were shown each other's address by a forger would answer each other for ever."""
    with reflecting() as reflector:
        with sender(reflector, source=("127.0.0.3", 862)) as other:
            await refused(reflector, other, request(), count="refused_port")
        with sender(reflector, source=("127.0.0.3", reflector.ports[0])) as itself:
            await refused(reflector, itself, request(), count="refused_port")


async def test_a_port_that_is_taken_is_named() -> None:
    with (
        reflecting() as reflector,
        pytest.raises(ListenError, match=rf"address already in use: 127\.0\.0\.1:{reflector.ports[0]}"),
    ):
        StampReflector(
            literal("127.0.0.1", reflector.ports[0]), keys=None, limits=GENEROUS, clock_estimate=lambda: ESTIMATE
        )


async def test_the_clock_it_vouches_for_is_looked_at_again() -> None:
    estimates = iter([1, 0x8001])
    reflector = StampReflector(literal("127.0.0.1"), keys=None, limits=GENEROUS, clock_estimate=lambda: next(estimates))
    reflector.start()
    try:
        with sender(reflector) as sock:
            sock.send(request())
            assert wire.decode_reply(await receive(sock)).error_estimate == 1
            reflector.refresh()
            sock.send(request(1))
            assert wire.decode_reply(await receive(sock)).error_estimate == 0x8001
    finally:
        reflector.close()


# --- whatever comes


class Deaf:
    """Stands where the reflector's socket stands and keeps what it is given to send."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def sendmsg(self, buffers: tuple[bytes], *_: object) -> None:
        self.sent += buffers

    def recvmsg(self, *_: object) -> None:
        raise BlockingIOError


SOURCES = st.tuples(st.sampled_from(["127.0.0.1", "10.0.0.9", "fd00::1"]), st.integers(1, 65_535))
EXTENSIONS = st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=30)), max_size=5).map(
    lambda items: b"".join(bytes([flags, kind]) + len(value).to_bytes(2, "big") + value for flags, kind, value in items)
)


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """Draw what a stranger may send: noise, a packet with any extensions, signed, sealed, or cut short."""
    kind = draw(st.sampled_from(["noise", "plain", "signed", "sealed"]))
    if kind == "noise":
        return draw(st.binary(max_size=200))
    extensions = draw(EXTENSIONS) + draw(st.binary(max_size=6))
    sequence, stamp = draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 2**64 - 1))
    if kind == "sealed":
        extensions = wire.seal_extensions(extensions, KEY, sequence)
    ask = wire.Request(sequence, stamp, draw(st.integers(0, 65_535)), draw(st.sampled_from([SSID, 1])), extensions)
    data = wire.encode_request(ask, None if kind == "plain" else KEY)
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.tuples(packets(), SOURCES), max_size=12), st.booleans())
def test_it_never_crashes_and_never_sends_more_than_it_got(
    heard: list[tuple[bytes, tuple[str, int]]],
    proven: bool,  # noqa: FBT001  (hypothesis gives it)
) -> None:
    sock: Any = Deaf()
    reflector = StampReflector(
        [], keys={SSID: KEY} if proven else None, limits=GENEROUS, clock_estimate=lambda: ESTIMATE
    )
    for data, source in heard:
        before = len(sock.sent)
        reflector._answer(sock, data, [], source)
        answers = sock.sent[before:]
        assert len(answers) <= 1
        assert all(len(answer) == len(data) for answer in answers)
    refusals = sum(value for name, value in reflector.counts.items() if name.startswith("refused"))
    assert refusals + len(sock.sent) == len(heard), "each is answered or counted"
    assert len(reflector._leaving) <= 64


async def test_noise_leaves_nothing_behind(proven: Pair) -> None:
    reflector, sock = proven
    for at in range(2000):
        sock.send(os.urandom(112 + at % 60))
        if at % 50 == 49:
            await asyncio.sleep(0)
    for _ in range(2000):
        if reflector.counts["received"] == 2000:
            break
        await asyncio.sleep(0.005)
    assert reflector.counts["reflected"] == 0
    assert len(reflector.sessions) == len(reflector._buckets) == len(reflector._leaving) == 0
    sock.send(request(key=KEY))
    await receive(sock)
