"""A time server's answer is moved, and nothing else is touched."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from tests.lab.ntp_shift import shifted

ETHERNET, IPV4_UDP = b"\x02" * 12 + b"\x08\x00", 20 + 8


def frame(ntp: bytes, port: int = 123) -> bytes:
    udp = struct.pack("!HHHH", port, 40000, 8 + len(ntp), 0xBEEF)
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(ntp), 1, 0, 64, 17, 0, b"\x0a\x5c\0\x0a", b"\x0a\x5c\1\x0b")
    return ETHERNET + header + udp + ntp


def answer(seconds: int) -> bytes:
    stamp = struct.pack("!II", seconds, 0)
    return bytes([0x24, 2, 6, 0xE9]) + bytes(12) + stamp + b"client's" + stamp + stamp


def test_an_answer_comes_from_a_clock_that_is_thirty_seconds_ahead() -> None:
    moved = shifted(frame(answer(1000)), 30.0)
    assert moved[14 + IPV4_UDP :] == answer(1030)
    assert moved[14 + 26 : 14 + 28] == b"\0\0", "a checksum that no longer fits is left out"


def test_a_question_and_other_traffic_pass_as_they_are() -> None:
    question = bytes([0x23]) + bytes(47)
    for other in (frame(question), frame(answer(5), port=53), frame(answer(5)[:40]), b"", ETHERNET):
        assert shifted(other, 30.0) == other


@given(st.binary(max_size=200), st.floats(-1e6, 1e6))
def test_no_frame_changes_its_length(junk: bytes, seconds: float) -> None:
    assert len(shifted(junk, seconds)) == len(junk)
    assert len(shifted(frame(junk), seconds)) == len(frame(junk))
