"""The wire of a capacity test: what is written can be read, and nothing else can."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks import capacity_wire as wire
from checks.capacity_wire import Accept, Ask, Begin, Data, Do, Done, Greeting, Load, Order, Ping, Refuse

u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
cookies = st.integers(0, wire.MOST_COOKIE)
NONCE = "0123456789abcdef" * 2
ASK = Ask(NONCE, "udp", "both", 1428, 1_000_000, 5.0, ssid=7)


@given(cookies, u32, u32, u32, u64)
def test_a_packet_of_load_comes_back_as_it_was(cookie: int, sequence: int, order: int, index: int, at: int) -> None:
    buffer = bytearray(1400)
    load = Load(sequence, order, index, at)
    wire.write_load(buffer, cookie, load)
    assert wire.read_load(buffer, cookie) == load
    assert wire.read_load(buffer, cookie ^ 1) is None, "another test's"


@given(cookies, u32, st.sampled_from(Do), u32, u64)
def test_an_order_comes_back_as_it_was(cookie: int, number: int, do: Do, packets: int, rate: int) -> None:
    order = Order(number, do, packets, rate)
    data = wire.write_order(cookie, order)
    assert wire.read_order(data, cookie) == order
    assert wire.read_order(data, cookie ^ 1) is None
    assert all(wire.read_order(data[:cut], cookie) is None for cut in range(len(data)))


@given(st.binary(max_size=200), cookies)
def test_random_datagrams_are_nothing(data: bytes, cookie: int) -> None:
    assert wire.read_load(data, cookie) is None
    assert wire.read_order(data, cookie) is None
    assert not wire.is_opening(data, cookie)


def test_an_opening_is_of_one_test_and_no_shorter_than_its_answer() -> None:
    data = wire.opening(5)
    assert len(data) == wire.OPEN_BYTES
    assert wire.is_opening(data, 5)
    assert not wire.is_opening(data, 6)
    assert not wire.is_opening(data + b"\0", 5)


@pytest.mark.parametrize(
    "message",
    [
        Greeting(1, NONCE, key_needed=True),
        ASK,
        Accept(5, 10, 1.0),
        Refuse("another test runs here", 3.0),
        Begin("up"),
        Done("down", {"rate": 1.0}),
        Data(5, "probe"),
        Ping(1),
    ],
)
def test_a_line_comes_back_as_it_was(message: wire.Message) -> None:
    line = wire.encode(message)
    assert line.endswith(b"\n")
    assert len(line) <= wire.LONGEST_LINE
    assert wire.decode(line) == message
    for cut in range(len(line) - 1):
        with pytest.raises(wire.WireError):
            wire.decode(line[:cut])


@given(st.binary(max_size=300))
def test_random_lines_are_errors_with_words(line: bytes) -> None:
    with pytest.raises(wire.WireError, match="not a message of a capacity test"):
        wire.decode(line)


def test_a_line_may_not_hold_more_or_other_than_it_should() -> None:
    for line in (b'{"say":"ping"}', b'{"say":"ping","number":-1}', b'{"say":"ping","number":1,"x":2}', b"[" * 2000):
        with pytest.raises(wire.WireError):
            wire.decode(line)


def test_a_proof_is_good_for_one_request_one_nonce_and_one_key() -> None:
    key, proof = b"k" * 16, wire.proof_of_ask(b"k" * 16, NONCE, ASK)
    assert wire.same(proof, wire.proof_of_ask(key, NONCE, ASK))
    assert not wire.same(proof, wire.proof_of_ask(b"x" * 16, NONCE, ASK))
    assert not wire.same(proof, wire.proof_of_ask(key, NONCE[::-1], ASK))
    more = Ask(NONCE, "udp", "both", 1428, 2_000_000, 5.0, ssid=7)
    assert not wire.same(proof, wire.proof_of_ask(key, NONCE, more))
