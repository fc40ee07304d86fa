"""ntp_offset against a real chronyd, and against servers of our own that lie."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks import registry
from checks.ntp_offset import NtpOffset
from checks.ntp_wire import SECOND, Answer, Sample, WireError, decode, encode_request, timestamp
from checks.run import run
from checks.strict import ConfigError
from tests.checks.conftest import datagram_server, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from checks.result import Result

_PACKET = struct.Struct("!BBbbII4sQQQQ")


async def ask(target: str | int, **parameters: Any) -> Result:
    quick = {"interval_seconds": 0.01, **parameters}
    where = f"127.0.0.1:{target}" if isinstance(target, int) else target
    return await run(NtpOffset(**quick), where, site="s", node="n")


@contextlib.contextmanager
def chronyd(folder: Path, *lines: str) -> Iterator[int]:
    """Run a real chronyd that serves time on loopback and leaves this machine's clock alone; give its port."""
    program = shutil.which("chronyd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None or os.geteuid() != 0:
        pytest.skip("needs root and chronyd (apt install chrony)")
    port = free_port(socket.SOCK_DGRAM)
    settings = [f"port {port}", "bindaddress 127.0.0.1", "cmdport 0", "bindcmdaddress /", "allow 127.0.0.1"]
    settings += [f"pidfile {folder}/pid", f"driftfile {folder}/drift", *lines]
    (folder / "chrony.conf").write_text("\n".join(settings) + "\n", encoding="ascii")
    words = [program, "-x", "-d", "-f", str(folder / "chrony.conf")]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for_an_answer(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _wait_for_an_answer(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.2)
        sock.connect(("127.0.0.1", port))
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError):
                sock.send(encode_request(1))
                sock.recv(100)
                return
    pytest.fail("chronyd did not answer within 20 s")


async def test_a_real_server_on_this_machine_has_our_own_time(tmp_path: Path) -> None:
    with chronyd(tmp_path, "local stratum 8") as port:
        result = await ask(port)
    assert (result.reason, result.error) == (None, None)
    metrics = result.metrics
    assert set(metrics) == set(NtpOffset.metrics)
    assert (metrics["success"], metrics["stratum"], metrics["leap"], metrics["loss_ratio"]) == (1, 8, 0, 0)
    assert (metrics["packets_sent"], metrics["packets_received"]) == (4, 4)
    assert metrics["offset_abs_seconds"] == abs(metrics["offset_seconds"])
    # It is the same clock: whatever is not 0 is the time the packets took, and half of that bounds the error.
    assert metrics["offset_abs_seconds"] <= metrics["root_distance_seconds"]


async def test_a_real_server_that_has_no_source_says_so(tmp_path: Path) -> None:
    with chronyd(tmp_path) as port:
        result = await ask(port)
    assert result.reason == "the server is not synchronised: its leap indicator is 3"
    assert (result.metrics["success"], result.metrics["leap"]) == (0, 3)
    assert "offset_seconds" not in result.metrics, "its time is worth nothing"


def reply(query: bytes, **changes: Any) -> bytes:
    """Answer as a good server of stratum 2 would; `ahead` is by how many seconds its clock is wrong."""
    said = {"leap": 0, "stratum": 2, "id": b"GPS\0", "origin": query[40:48], "ahead": 0.0, "mode": 4} | changes
    now = timestamp(time.time_ns()) + int(said["ahead"] * SECOND)
    times = (int.from_bytes(said["origin"], "big"), said.get("received", now % 2**64), said.get("sent", now % 2**64))
    first = said["leap"] << 6 | 4 << 3 | said["mode"]
    return _PACKET.pack(first, said["stratum"], 6, -20, 655, 1311, said["id"], 0, *times)


@pytest.mark.parametrize("ahead", [30.0, -30.0, 2.5e8])
async def test_a_server_whose_clock_is_wrong_is_told_by_how_much_and_in_which_direction(ahead: float) -> None:
    async with datagram_server(lambda query: [reply(query, ahead=ahead)]) as port:
        result = await ask(port, count=2)
    assert result.metrics["offset_seconds"] == pytest.approx(ahead, abs=0.5)
    assert result.metrics["offset_abs_seconds"] == abs(result.metrics["offset_seconds"])
    assert result.metrics["success"] == 1, "it answers; the limits judge what it says"
    assert result.metrics["root_delay_seconds"] == pytest.approx(0.01, abs=1e-4)
    assert result.metrics["root_dispersion_seconds"] == pytest.approx(0.02, abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stratum": 0, "id": b"RATE", "leap": 3}, "the server refuses with a kiss-o'-death: RATE"),
        ({"stratum": 0, "id": b"DENY"}, "the server refuses with a kiss-o'-death: DENY"),
        ({"leap": 3}, "the server is not synchronised: its leap indicator is 3"),
        ({"stratum": 16}, "the server is not synchronised: its stratum is 16"),
        ({"stratum": 0, "id": b"\0\0\0\0"}, "the server is not synchronised: its stratum is 0"),
        ({"sent": 0}, "the server answers without telling its time"),
        ({"origin": b"guessed!"}, "an answer came to a question that was not asked: late, or forged"),
        ({"mode": 3}, "the answer is not NTP: it is of mode 3, not that of a server (4)"),
    ],
)
async def test_a_server_that_gives_no_time_says_why(changes: dict[str, Any], reason: str) -> None:
    heard = []

    def answer(query: bytes) -> list[bytes]:
        heard.append(query)
        return [reply(query, **changes)]

    async with datagram_server(answer) as port:
        result = await ask(port, count=2, packet_timeout_seconds=0.3)
    assert result.reason == reason
    assert result.metrics["success"] == 0
    assert "offset_seconds" not in result.metrics
    if "kiss" in reason:
        assert len(heard) == 1, "who asks for silence is left in peace (RFC 5905, 7.4)"


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([b"hello"], "the answer is not NTP: it has only 5 bytes of 48"),
        ([b"\x24" + b"\0" * 46], "the answer is not NTP: it has only 47 bytes of 48"),
        ([b"\xff" * 60_000], "the answer is not NTP: it is of mode 7"),
        ([], "no answer from 127.0.0.1 port "),
    ],
)
async def test_what_is_no_answer_is_said(answers: list[bytes], reason: str) -> None:
    async with datagram_server(lambda _: answers) as port:
        result = await ask(port, count=2, packet_timeout_seconds=0.2)
    assert result.reason is not None
    assert result.reason.startswith(reason)
    assert (result.metrics["loss_ratio"], result.metrics["packets_sent"]) == (1, 2)


async def test_forgeries_and_noise_are_passed_over_when_the_right_answer_follows() -> None:
    def answer(query: bytes) -> list[bytes]:
        return [b"noise", reply(query, origin=b"guessed!", ahead=99), reply(query), reply(query)]

    async with datagram_server(answer) as port:
        result = await ask(port, count=3)
    assert (result.reason, result.metrics["packets_received"]) == (None, 3)
    assert result.metrics["offset_abs_seconds"] < 5


async def test_lost_answers_are_counted() -> None:
    heard: list[bytes] = []

    def answer(query: bytes) -> list[bytes]:
        heard.append(query)
        return [reply(query)] if len(heard) % 2 else []

    async with datagram_server(answer) as port:
        result = await ask(port, packet_timeout_seconds=1.5)
    assert result.metrics["success"] == 1
    assert (result.metrics["packets_received"], result.metrics["loss_ratio"]) == (2, 0.5)


async def test_nobody_there_is_a_measurement(free_udp_port: int) -> None:
    result = await ask(free_udp_port, count=1)
    assert result.reason == f"nothing listens on port {free_udp_port} of 127.0.0.1"
    assert result.metrics == {"success": 0, "packets_sent": 1, "packets_received": 0, "loss_ratio": 1}


async def test_a_burst_too_long_for_the_deadline_ends_with_what_it_has() -> None:
    async with datagram_server(lambda query: [reply(query)]) as port:
        result = await ask(port, count=64, interval_seconds=0.5, timeout_seconds=2)
    assert result.metrics["success"] == 1
    assert 1 <= result.metrics["packets_sent"] < 64


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("a b", "target 'a b' is not a host; write a name or an address, without port or path"),
        ("127.0.0.1:x", "target '127.0.0.1:x' is not host:port; write 10.0.0.1:443 or [fd00::1]:443"),
        ("[::1]:70000", "target '[::1]:70000' is not host:port; write 10.0.0.1:443 or [fd00::1]:443"),
    ],
)
async def test_a_target_that_is_no_server_is_our_error(target: str, error: str) -> None:
    assert (await ask(target)).error == error


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"count": 0}, "$.count: expected `int` >= 1"),
        ({"interval_seconds": 0}, "$.interval_seconds: expected `float` >= 0.01"),
        ({"port": 123}, "$.port: is unknown; there are: count"),
    ],
)
def test_a_bad_parameter_says_what_would_be_right(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("ntp_offset", parameters)
    assert message in str(caught.value)


# The packet and its arithmetic.

_instants = st.integers(0, 4_000_000_000 * 10**9)  # 1970 to 2096: both sides of the end of NTP's first era
_durations = st.integers(0, 10 * 10**9)


def answer_of(received: int, sent: int) -> Answer:
    return Answer(0, 1, 1e-6, 0.0, 0.0, b"GPS\0", 0, timestamp(received), timestamp(sent))


@given(_instants, st.integers(-(10**18), 10**18), _durations, _durations)
def test_offset_and_delay_are_right_in_every_year(begin: int, ahead: int, away: int, inside: int) -> None:
    """The packet takes as long there as back, so the offset is exact: `ahead`, up to 31 years, in nanoseconds."""
    received, back = begin + ahead + away, begin + ahead + away + inside
    sample = Sample.of(answer_of(received, back), timestamp(begin), timestamp(begin + 2 * away + inside))
    assert sample.offset_seconds == pytest.approx(ahead / 1e9, rel=1e-9, abs=2e-9)
    assert sample.delay_seconds == pytest.approx(2 * away / 1e9, rel=1e-9, abs=2e-9)


def test_the_first_second_of_the_next_era_follows_the_last_of_this_one() -> None:
    last = 2_085_978_495 * 10**9 + 999_999_999  # 2036-02-07 06:28:15.999999999
    assert timestamp(last) > timestamp(last + 10)
    sample = Sample.of(answer_of(last + 500_000_000, last + 500_000_000), timestamp(last), timestamp(last))
    assert sample.offset_seconds == pytest.approx(0.5)


@given(st.binary(max_size=100) | st.binary(min_size=48, max_size=60).map(lambda rest: b"\x24" + rest))
def test_random_bytes_end_in_an_answer_or_in_words(noise: bytes) -> None:
    answer = None
    with contextlib.suppress(WireError):
        answer = decode(noise)
    if answer is not None:
        assert len(noise) >= 48
        assert answer.kiss is None or len(answer.kiss) == 4
        sample = Sample.of(answer, timestamp(0), timestamp(10**9))
        assert sample.delay_seconds >= 0
        assert abs(sample.offset_seconds) <= 2**32


@given(st.integers(0, 2**64 - 1))
def test_a_question_carries_nothing_but_its_cookie(cookie: int) -> None:
    packet = encode_request(cookie)
    assert len(packet) == 48
    assert packet[0] == 0o43, "version 4, mode 3 of a client"
    assert packet[1:40] == bytes(39)
    assert int.from_bytes(packet[40:], "big") == cookie
