"""STAMP's packets against another codec (scapy's), by the RFCs' own numbers, and as strangers would write them."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib.stamp import (
    ErrorEstimate,
    STAMPSessionReflectorTestUnauthenticated,
    STAMPSessionSenderTestUnauthenticated,
    STAMPTestTLV,
)

from checks import stamp_wire as wire

SECOND = 1_000_000_000
KEY = bytes(range(32))
AT = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()) * SECOND + 123_456_789
U32, U64, U16, U8 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**16 - 1), st.integers(0, 255)
REQUESTS = st.builds(wire.Request, U32, U64, U16, U16)
REPLIES = st.builds(wire.Reply, U32, U64, U16, U16, U64, U32, U64, U16, U8)
TLVS = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 240, 255]), st.binary(max_size=40)), max_size=6
)
KEYS = st.none() | st.just(KEY)


def tlvs(items: list[tuple[int, bytes]]) -> bytes:
    return b"".join(wire.extension(kind, value) for kind, value in items)


@given(REQUESTS, TLVS)
def test_another_codec_reads_our_requests(request: wire.Request, items: list[tuple[int, bytes]]) -> None:
    data = wire.encode_request(request._replace(extensions=tlvs(items)))
    theirs = STAMPSessionSenderTestUnauthenticated(data)
    assert theirs.seq == request.sequence
    assert theirs.ssid == request.ssid
    assert theirs.mbz == 0
    assert int.from_bytes(data[4:12], "big") == request.stamp
    assert bytes(theirs.err_estimate) == request.error_estimate.to_bytes(2, "big")
    assert [(int(tlv.flags), tlv.type, tlv.value) for tlv in theirs.tlv_objects] == [(0x80, k, v) for k, v in items]


@given(REPLIES, TLVS)
def test_another_codec_reads_our_replies(reply: wire.Reply, items: list[tuple[int, bytes]]) -> None:
    theirs = STAMPSessionReflectorTestUnauthenticated(wire.encode_reply(reply._replace(extensions=tlvs(items))))
    assert (theirs.seq, theirs.ssid, theirs.seq_sender, theirs.ttl_sender) == (
        *(reply.sequence, reply.ssid, reply.sender_sequence, reply.ttl),
    )
    assert (theirs.mbz1, theirs.mbz2) == (0, 0)
    assert bytes(theirs.err_estimate) == reply.error_estimate.to_bytes(2, "big")
    assert bytes(theirs.err_estimate_sender) == reply.sender_error_estimate.to_bytes(2, "big")
    assert [(tlv.type, tlv.value) for tlv in theirs.tlv_objects] == items


@given(U32, U16, st.integers(0, 63), st.integers(1, 255), TLVS)
def test_we_read_another_codecs_packets(
    number: int, ssid: int, scale: int, multiplier: int, items: list[tuple[int, bytes]]
) -> None:
    estimate = ErrorEstimate(S=1, Z=0, scale=scale, multiplier=multiplier)
    objects = [STAMPTestTLV(flags=0x80, type=kind, len=len(value), value=value) for kind, value in items]
    request = wire.decode_request(
        bytes(
            STAMPSessionSenderTestUnauthenticated(
                seq=number, ts=4_000_000_000, err_estimate=estimate, ssid=ssid, tlv_objects=objects
            )
        )
    )
    assert (request.sequence, request.stamp >> 32, request.ssid) == (number, 4_000_000_000, ssid)
    assert wire.clock_error(request.error_estimate) == pytest.approx(multiplier * 2.0**scale / 2**32)
    assert [(kind, value) for _, kind, value in wire.extensions(request.extensions)] == items
    reply = wire.decode_reply(
        bytes(
            STAMPSessionReflectorTestUnauthenticated(
                seq=1, ts=4_000_000_002, err_estimate=estimate, ssid=ssid, ts_rx=4_000_000_001, seq_sender=number,
                ts_sender=4_000_000_000, err_estimate_sender=estimate, ttl_sender=250, tlv_objects=objects,
            )
        )
    )  # fmt: skip
    assert (reply.sequence, reply.left >> 32, reply.received >> 32) == (1, 4_000_000_002, 4_000_000_001)
    assert (reply.sender_sequence, reply.sender_stamp >> 32, reply.ttl) == (number, 4_000_000_000, 250)


@given(REQUESTS, KEYS, st.binary(max_size=64))
def test_a_request_reads_back_as_it_was_written(request: wire.Request, key: bytes | None, more: bytes) -> None:
    request = request._replace(extensions=more)
    assert wire.decode_request(wire.encode_request(request, key), key) == request


@given(REPLIES, KEYS, st.binary(max_size=64))
def test_a_reply_reads_back_as_it_was_written(reply: wire.Reply, key: bytes | None, more: bytes) -> None:
    reply = reply._replace(extensions=more)
    assert wire.decode_reply(wire.encode_reply(reply, key), key) == reply


def test_the_sizes_and_the_hmac_are_those_of_rfc_8762() -> None:
    request = wire.Request(1, 2, 3, 4)
    assert len(wire.encode_request(request)) == 44
    signed = wire.encode_request(request, KEY)
    assert len(signed) == 112
    assert signed[96:] == hmac.new(KEY, signed[:96], hashlib.sha256).digest()[:16], "truncated to 128 bits"
    assert signed[:4] + signed[16:24] + signed[24:26] + signed[26:28] == wire.encode_request(request)[:16]
    reply = wire.encode_reply(wire.Reply(1, 2, 3, 4, 5, 6, 7, 8, 9), KEY)
    assert len(reply) == 112
    assert (reply[32:40], reply[48:52], reply[64:72], reply[80]) == (
        *((5).to_bytes(8, "big"), (6).to_bytes(4, "big"), (7).to_bytes(8, "big"), 9),
    )


@pytest.mark.parametrize("length", [0, 1, 3, 38, 43])
def test_a_packet_that_is_cut_is_refused_in_words(length: int) -> None:
    for decode in (wire.decode_request, wire.decode_reply):
        with pytest.raises(wire.WireError, match=f"^{length} bytes are too short: a test packet has 44$"):
            decode(bytes(length))


@pytest.mark.parametrize("length", [0, 44, 111])
def test_an_authenticated_packet_that_is_cut_is_refused_in_words(length: int) -> None:
    for decode in (wire.decode_request, wire.decode_reply):
        with pytest.raises(
            wire.WireError, match=f"^{length} bytes are too short: an authenticated test packet has 112$"
        ):
            decode(bytes(length), KEY)


@given(REQUESTS, st.integers(0, 111), st.integers(1, 255))
def test_no_byte_of_an_authenticated_packet_can_be_changed(request: wire.Request, at: int, change: int) -> None:
    data = bytearray(wire.encode_request(request, KEY))
    data[at] ^= change
    with pytest.raises(wire.WireError, match=r"^the HMAC is wrong: another key, or not from whom it should be$"):
        wire.decode_request(bytes(data), KEY)


@given(st.binary(max_size=300), KEYS)
def test_random_bytes_are_read_or_refused_and_nothing_else(data: bytes, key: bytes | None) -> None:
    for decode in (wire.decode_request, wire.decode_reply):
        with contextlib.suppress(wire.WireError):
            decode(data, key)
    wire.extensions(data)
    wire.answered_extensions(data)
    wire.opened_extensions(data, KEY, 1)
    assert len(wire.reflect_extensions(data, {})) == len(data), "never a byte more than came"


# --- time


@pytest.mark.parametrize(
    ("at", "stamp"),
    [
        (0, 2_208_988_800 << 32),
        (500_000_000, (2_208_988_800 << 32) + 2**31),
        (int(datetime(2036, 2, 7, 6, 28, 15, tzinfo=UTC).timestamp()) * SECOND, (2**32 - 1) << 32),
        (int(datetime(2036, 2, 7, 6, 28, 16, tzinfo=UTC).timestamp()) * SECOND, 0),
    ],
)
def test_known_instants_have_their_stamp(at: int, stamp: int) -> None:
    assert wire.ntp_stamp(at) == stamp
    assert wire.instant(stamp, 0, at) == at


@given(st.integers(0, 2**33 * SECOND), st.integers(-(2**31) + 1, 2**31 - 1))
def test_a_stamp_tells_its_nanosecond_to_who_is_within_68_years(at: int, away_seconds: int) -> None:
    assert wire.instant(wire.ntp_stamp(at), 0, at + away_seconds * SECOND) == at


def test_the_day_after_the_era_ends_follows_the_day_before() -> None:
    eve = int(datetime(2036, 2, 7, 6, 28, 15, 999_999, tzinfo=UTC).timestamp() * 1_000_000) * 1000
    after = eve + 2000
    assert wire.ntp_stamp(after) < wire.ntp_stamp(eve), "the stamp itself begins anew"
    assert wire.instant(wire.ntp_stamp(after), 0, eve) - wire.instant(wire.ntp_stamp(eve), 0, after) == 2000


@given(st.integers(0, 2**31 * SECOND))
def test_a_ptp_stamp_is_seconds_and_nanoseconds_since_1970(at: int) -> None:
    seconds, nanoseconds = divmod(at, SECOND)
    assert wire.instant(seconds << 32 | nanoseconds, 0x4001, at + 5 * SECOND) == at


@given(st.floats(0, 1e6), st.booleans())
def test_an_error_estimate_is_never_0_and_never_claims_less_than_given(
    seconds: float,
    synchronised: bool,  # noqa: FBT001  (hypothesis gives it)
) -> None:
    estimate = wire.error_estimate(seconds, synchronised=synchronised)
    assert estimate & 0xFF, "RFC 4656, 4.1.2: a multiplier of 0 is no error estimate"
    assert not estimate & 0x4000, "our stamps are NTP's"
    assert bool(estimate & 0x8000) == synchronised
    claimed = wire.clock_error(estimate | 0x8000)
    assert claimed is not None
    assert seconds <= claimed <= seconds * 1.02 + 2 / 2**32, "two units on the wire at most above it"
    assert (wire.clock_error(estimate) is None) == (not synchronised)


@given(U16)
def test_whatever_a_stranger_claims_of_its_clock_is_a_number_or_nothing(estimate: int) -> None:
    claimed = wire.clock_error(estimate)
    assert claimed is None or 0 < claimed < 2**40
    assert claimed is None or estimate & 0xFF, "a multiplier of 0 is not believed"


# --- extensions


def test_class_of_service_is_where_rfc_8972_puts_it() -> None:
    value = wire.class_of_service(wanted=46, heard=(34 << 2) | 3)
    bits = f"{int.from_bytes(value, 'big'):032b}"
    assert bits == f"{46:06b}{34:06b}{3:02b}" + "0" * 18
    assert wire.heard_dscp(value) == 34


def test_follow_up_telemetry_is_where_rfc_8972_puts_it() -> None:
    value = wire.follow_up(7, 2**40)
    assert (value[:4], value[4:12], value[12:]) == (b"\0\0\0\7", (2**40).to_bytes(8, "big"), b"\2\0\0\0")
    assert wire.followed_up(value) == (7, 2**40)
    assert wire.followed_up(bytes(16)) is None, "a reflector that has told of none yet"


def flags(data: bytes) -> list[int]:
    return [each[0] for each in wire.extensions(data)]


def test_a_reflector_says_what_it_does_not_recognise_and_no_more() -> None:
    data = tlvs([(1, b"xx"), (3, b"abcd"), (200, b"")])
    back = wire.reflect_extensions(data, {})
    assert flags(back) == [0, wire.UNRECOGNISED, wire.UNRECOGNISED]
    assert [each[1:] for each in wire.extensions(back)] == [each[1:] for each in wire.extensions(data)]


@pytest.mark.parametrize(
    "bad",
    [
        wire.extension(wire.CLASS_OF_SERVICE, b"123"),
        wire.extension(wire.FOLLOW_UP, bytes(17)),
        wire.extension(wire.HMAC_TLV, bytes(15)),
        b"\x80\x01\x00\x05abcd",
        b"\x80\x07\x00",
        b"\x80",
    ],
)
def test_a_malformed_extension_says_so_and_from_there_on_bytes_go_back_as_they_came(bad: bytes) -> None:
    good, more = wire.extension(1, b"pad"), wire.extension(200, b"?") if len(bad) > 8 else b""
    back = wire.reflect_extensions(good + bad + more, {wire.CLASS_OF_SERVICE: b"abcd", wire.FOLLOW_UP: bytes(16)})
    assert back[: len(good)] == b"\0" + good[1:]
    assert back[len(good)] == wire.MALFORMED
    assert back[len(good) + 1 :] == (bad + more)[1:]


def test_extensions_with_a_wrong_hmac_say_so_and_stay_empty() -> None:
    data = tlvs([(wire.FOLLOW_UP, bytes(16)), (wire.HMAC_TLV, bytes(16))])
    back = wire.reflect_extensions(data, {wire.FOLLOW_UP: b"x" * 16}, refused=True)
    assert flags(back) == [wire.INTEGRITY, wire.INTEGRITY]
    assert [each[2] for each in wire.extensions(back)] == [bytes(16), bytes(16)]
    assert wire.answered_extensions(back) == {}


@given(st.binary(max_size=200), st.booleans())
def test_what_goes_back_is_exactly_as_long_as_what_came(data: bytes, refused: bool) -> None:  # noqa: FBT001  (hypothesis gives it)
    values = {wire.CLASS_OF_SERVICE: bytes(4), wire.FOLLOW_UP: bytes(16)}
    assert len(wire.reflect_extensions(data, values, refused=refused)) == len(data)


@given(TLVS)
def test_what_a_reflector_understood_is_read_and_what_it_did_not_is_not(items: list[tuple[int, bytes]]) -> None:
    """A value that goes back untouched must not be taken for what the reflector saw."""
    untouched = tlvs(items)
    assert wire.answered_extensions(untouched) == {}
    for kind, value in wire.answered_extensions(wire.reflect_extensions(untouched, {})).items():
        assert (kind, len(value)) in ((wire.CLASS_OF_SERVICE, 4), (wire.FOLLOW_UP, 16), (wire.HMAC_TLV, 16))


def test_a_seal_holds_the_extensions_their_order_and_their_packet() -> None:
    inner = tlvs([(wire.FOLLOW_UP, bytes(16)), (1, b"pad")])
    sealed = wire.seal_extensions(inner, KEY, 77)
    assert sealed[-16:] == hmac.new(KEY, (77).to_bytes(4, "big") + inner, hashlib.sha256).digest()[:16]
    assert wire.opened_extensions(sealed, KEY, 77) == (inner, b"")
    assert wire.opened_extensions(sealed, KEY, 78) is None, "not of another packet"
    assert wire.opened_extensions(sealed, os.urandom(32), 77) is None
    assert wire.opened_extensions(inner, KEY, 77) is None, "no seal"
    assert wire.opened_extensions(b"", KEY, 77) is None


def test_padding_may_follow_the_seal_and_nothing_else() -> None:
    sealed = wire.seal_extensions(tlvs([(wire.FOLLOW_UP, bytes(16))]), KEY, 1)
    assert wire.opened_extensions(sealed + wire.extension(1, bytes(9)), KEY, 1) is not None
    for after in (wire.extension(wire.CLASS_OF_SERVICE, bytes(4)), b"\x80\x01\x00\x09", b"\x80"):
        assert wire.opened_extensions(sealed + after, KEY, 1) is None


@given(TLVS, U32, st.data())
def test_no_byte_under_a_seal_can_be_changed(items: list[tuple[int, bytes]], number: int, data: st.DataObject) -> None:
    inner = tlvs([(kind, value) for kind, value in items if kind != wire.HMAC_TLV])
    sealed = bytearray(wire.seal_extensions(inner, KEY, number))
    at = data.draw(
        st.integers(0, len(sealed) - 1).filter(lambda at: at != len(inner))
    )  # the seal's own flags may change
    sealed[at] ^= data.draw(st.integers(1, 255))
    assert wire.opened_extensions(bytes(sealed), KEY, number) is None
