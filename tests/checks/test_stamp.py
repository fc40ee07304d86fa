"""stamp against reflectors: our own, also in the middle of trouble, and strangers that answer as they please."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from checks import registry
from checks import stamp_wire as wire
from checks.icmp_socket import checksum
from checks.run import run
from checks.stamp import Stamp
from checks.strict import ConfigError
from tests.running import RunningReflector, free_udp_port, reflecting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from conftest import Namespace
    from lab import Chain, Lab

    from checks.result import Result

KEY = bytes(range(32))
SSID = 31_120
TRUSTED = wire.error_estimate(0.0001, synchronised=True)
UNKEPT = wire.error_estimate(0.0001, synchronised=False)
COUNTS = dict.fromkeys(("packets_late", "packets_duplicate", "packets_reordered", "packets_corrupted"), 0)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a raw socket")


async def ask(target: str, **parameters: Any) -> Result:
    """Measure with a quick train that is patient with a busy machine."""
    defaults = {"count": 5, "interval_seconds": 0.01, "packet_timeout_seconds": 5.0, "timeout_seconds": 20.0}
    return await run(Stamp(**{**defaults, **parameters}), target, site="s", node="n")


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    path = tmp_path / "key"
    path.write_text(KEY.hex())
    path.chmod(0o600)
    return str(path)


def shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# --- a reflector of ours


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("authenticated", [False, True])
async def test_a_line_is_measured_in_both_directions(host: str, authenticated: bool, key_file: str) -> None:  # noqa: FBT001
    proof = {"key_file": key_file, "ssid": SSID} if authenticated else {}
    with reflecting(host=host, keys={SSID: KEY} if authenticated else None) as reflector:
        result = await ask(shown(host, reflector.ports[0]), **proof)
    assert (result.reason, result.error) == (None, None)
    metrics = result.metrics
    assert (metrics["packets_sent"], metrics["packets_received"], metrics["loss_ratio"]) == (5, 5, 0)
    assert (metrics["loss_forward_ratio"], metrics["loss_backward_ratio"], metrics["hops_forward"]) == (0, 0, 0)
    order = [metrics[f"rtt_{name}_seconds"] for name in ("min", "median", "p95", "max")]
    assert order == sorted(order)
    assert metrics["mos"] == pytest.approx(4.41, abs=0.01)
    assert metrics.keys() <= Stamp.metrics.keys()
    assert metrics.items() >= COUNTS.items()


def test_a_newcomers_two_commands_work(tmp_path: Path) -> None:
    reflector = RunningReflector(tmp_path)
    reflector.start()
    try:
        result = asyncio.run(ask(f"127.0.0.1:{reflector.port}", count=20))
    finally:
        assert reflector.stop() == 0
    assert result.metrics["packets_received"] == 20
    assert "20 packets reflected, 0 refused" in reflector.said()


async def test_two_trains_at_once_do_not_take_each_others_packets() -> None:
    with reflecting() as reflector:
        target = f"127.0.0.1:{reflector.ports[0]}"
        results = await asyncio.gather(*(ask(target, count=20) for _ in range(5)))
    assert [result.metrics["packets_received"] for result in results] == [20] * 5
    assert all(result.metrics["packets_duplicate"] == 0 for result in results)


async def test_another_key_is_met_with_silence(key_file: str) -> None:
    with reflecting(keys={SSID: KEY[::-1], 7: KEY}) as reflector:
        target = f"127.0.0.1:{reflector.ports[0]}"
        wrong_key = await ask(target, count=2, key_file=key_file, ssid=SSID, packet_timeout_seconds=0.2)
        wrong_ssid = await ask(target, count=2, key_file=key_file, ssid=8, packet_timeout_seconds=0.2)
        no_key = await ask(target, count=1, ssid=SSID, packet_timeout_seconds=0.2)
        assert (await ask(target, key_file=key_file, ssid=7)).metrics["loss_ratio"] == 0
    for result in (wrong_key, wrong_ssid):
        assert result.reason == "none of 2 packets was answered within 0.2 s"
        assert result.metrics == {"loss_ratio": 1, "packets_sent": 2, "packets_received": 0, **COUNTS}
    assert no_key.reason == "the packet was not answered within 0.2 s"
    counts = reflector.counts
    assert (counts["refused_forged"], counts["refused_stranger"], counts["refused_short"]) == (2, 2, 1)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_class_of_service_that_arrives_is_told(host: str) -> None:
    with reflecting(host=host) as reflector:
        target = shown(host, reflector.ports[0])
        assert (await ask(target, dscp=46)).metrics["dscp_forward"] == 46
        assert "dscp_forward" not in (await ask(target)).metrics


@pytest.mark.parametrize("padding_bytes", [1, 1400])
async def test_longer_packets_come_back_as_long(padding_bytes: int, key_file: str) -> None:
    with reflecting(keys={SSID: KEY}) as reflector:
        result = await ask(
            f"127.0.0.1:{reflector.ports[0]}", padding_bytes=padding_bytes, dscp=10, key_file=key_file, ssid=SSID
        )
    assert result.metrics["loss_ratio"] == 0
    assert result.metrics["timestamp_source"] == 2, "the kernel's stamps are found in the longer packet too"


async def test_one_way_delay_is_told_when_both_clocks_are_vouched_for_and_only_then() -> None:
    for estimate, trust, told in ((TRUSTED, True, True), (TRUSTED, False, False), (UNKEPT, True, False)):
        with reflecting(estimate=estimate) as reflector:
            parameters = {"trust_clock": trust, "max_clock_error_seconds": 0.0003}
            metrics = (await ask(f"127.0.0.1:{reflector.ports[0]}", **parameters)).metrics
        if trust or not told:
            assert ("delay_forward_median_seconds" in metrics) == told
        if told:
            assert metrics["clock_error_seconds"] == pytest.approx(0.0002, rel=0.03)
            assert metrics["delay_forward_median_seconds"] + metrics["delay_backward_median_seconds"] == pytest.approx(
                metrics["rtt_median_seconds"], abs=0.01
            )


async def test_a_reflector_of_rfc_8762_alone_is_measured_too() -> None:
    with reflecting() as reflector:
        metrics = (await ask(f"127.0.0.1:{reflector.ports[0]}", follow_up=False)).metrics
    assert metrics["loss_ratio"] == 0
    assert metrics["rtt_min_seconds"] > 0


# --- a reflector that is away


async def test_a_closed_port_says_so_at_once() -> None:
    result = await ask(f"127.0.0.1:{free_udp_port()}", packet_timeout_seconds=9)
    assert result.reason == "port unreachable, says 127.0.0.1"
    assert result.metrics["loss_ratio"] == 1
    assert result.duration_seconds < 9, "a refused packet is not waited for"


def test_silence_and_refusals_in_words(namespace: Namespace) -> None:
    for target, words in (
        ("192.0.2.9", "none of 2 packets was answered within 0.3 s"),
        ("[2001:db8::9]:862", "none of 2 packets was answered within 0.3 s"),
        ("198.51.100.1", "network is unreachable (said by this machine)"),
    ):
        done = namespace.nhip(
            "check", "run", "stamp", "--target", target, "--set", "count=2", "--set", "packet_timeout_seconds=0.3"
        )
        assert (done.returncode, words in done.stdout) == (2, True), done.stdout + done.stderr
    namespace.run("nft", "add table ip t; add chain ip t o { type filter hook output priority 0; policy drop; }")
    done = namespace.nhip("check", "run", "stamp", "--target", "127.0.0.1")
    assert (done.returncode, "this machine's own firewall does not let STAMP out" in done.stdout) == (3, True)


# --- in the middle of a network


@pytest.fixture
def path(chain: Chain, tmp_path: Path) -> Iterator[Chain]:
    """Give a chain of routers whose far end reflects."""
    reflector = RunningReflector(tmp_path, listen=["0.0.0.0:862", "[::]:862"])
    reflector.start(within=("ip", "netns", "exec", chain.far.name))
    yield chain
    assert reflector.stop(signal.SIGTERM) == 0


QUICK = {"count": 40, "interval_seconds": 0.01}


def test_what_is_lost_on_the_way_there_is_told_from_what_is_lost_on_the_way_back(path: Chain) -> None:
    path.far.nft("input", "udp dport 862 numgen inc mod 4 0 drop")
    there = path.host.measure("stamp", path.target, **QUICK)["metrics"]
    assert there["loss_ratio"] == pytest.approx(0.25)
    assert there["loss_forward_ratio"] == pytest.approx(0.25)
    assert there["loss_backward_ratio"] == 0
    assert there["hops_forward"] == len(path.routers)
    path.far.run("nft", "flush ruleset")
    path.host.nft("input", "udp sport 862 numgen inc mod 5 0 drop")
    back = path.host.measure("stamp", path.target, **QUICK)["metrics"]
    assert back["loss_ratio"] == pytest.approx(0.2)
    assert back["loss_forward_ratio"] == 0
    assert back["loss_backward_ratio"] == pytest.approx(0.2)


def test_a_class_of_service_that_a_router_erases_is_noticed_over_ipv6_too(path: Chain) -> None:
    router = path.routers[1]
    for target in (path.target, path.wait_for_ipv6().target6):
        assert path.host.measure("stamp", target, count=3, dscp=46)["metrics"]["dscp_forward"] == 46
    router.run("nft", "add table inet t; add chain inet t f { type filter hook forward priority -150; }")
    router.run("nft", "add rule inet t f ip dscp set cs1; add rule inet t f ip6 dscp set cs1")
    for target in (path.target, path.target6):
        assert path.host.measure("stamp", target, count=3, dscp=46)["metrics"]["dscp_forward"] == 8


# --- strangers that answer as they please


@contextlib.asynccontextmanager
async def stranger(
    answer: Callable[[wire.Request, int], list[bytes | float]], key: bytes | None = None
) -> AsyncIterator[str]:
    """Answer every request with the datagrams that `answer` returns; a number among them is a pause in seconds."""
    loop, number = asyncio.get_running_loop(), 0

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.DatagramTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
            nonlocal number
            after = 0.0
            for item in answer(wire.decode_request(data, key), number):
                if isinstance(item, float):
                    after += item
                else:
                    loop.call_later(after, functools.partial(self.transport.sendto, item, source))
            number += 1

    transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    try:
        yield f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()


def reply(request: wire.Request, number: int, key: bytes | None = None, **changes: Any) -> bytes:
    now = wire.ntp_stamp(time.time_ns())
    plain = wire.Reply(number, now, UNKEPT, request.ssid, now, *request[:3], 255)
    return wire.encode_reply(plain._replace(**changes), key)


async def test_an_answer_that_comes_twice_is_a_duplicate() -> None:
    async with stranger(lambda request, number: [reply(request, number)] * 2) as target:
        result = await ask(target, count=10)
    assert result.metrics["loss_ratio"] == 0
    assert result.metrics["packets_duplicate"] >= 9, "that of the last packet may come too late to be heard"


async def test_answers_that_overtake_each_other_are_reordered() -> None:
    async with stranger(lambda request, number: [0.25 if number == 3 else 0.0, reply(request, number)]) as target:
        metrics = (await ask(target, count=8)).metrics
    assert (metrics["loss_ratio"], metrics["packets_reordered"]) == (0, 1)


async def test_an_answer_that_comes_too_late_is_lost_and_counted() -> None:
    async with stranger(lambda request, number: [0.6 if number == 0 else 0.0, reply(request, number)]) as target:
        metrics = (await ask(target, count=20, interval_seconds=0.1, packet_timeout_seconds=0.5)).metrics
    assert metrics["packets_late"] == 1
    assert metrics["loss_ratio"] == pytest.approx(1 / 20)


@pytest.mark.parametrize("cut", [28, 38, 43])
async def test_an_answer_that_is_cut_is_corrupted_and_its_packet_lost(cut: int) -> None:
    async with stranger(lambda request, number: [reply(request, number)[: cut if number == 1 else 44]]) as target:
        metrics = (await ask(target, count=5, packet_timeout_seconds=0.3)).metrics
    assert metrics["packets_corrupted"] == 1
    assert metrics["loss_ratio"] == pytest.approx(0.2)


async def test_noise_and_answers_to_what_was_never_sent_are_nothing() -> None:
    def answer(request: wire.Request, number: int) -> list[bytes | float]:
        other = reply(request, number, sender_stamp=request.stamp ^ 1)
        return [b"", b"x", os.urandom(27), other, reply(request, number, sender_sequence=99), reply(request, number)]

    async with stranger(answer) as target:
        metrics = (await ask(target, count=5)).metrics
    assert metrics["loss_ratio"] == 0
    assert metrics.items() >= COUNTS.items()


async def test_only_who_holds_the_key_answers(key_file: str) -> None:
    def forged(request: wire.Request, number: int) -> list[bytes | float]:
        return [reply(request, number, KEY[::-1])]

    def unsealed(request: wire.Request, number: int) -> list[bytes | float]:
        return [reply(request, number, KEY, extensions=wire.reflect_extensions(request.extensions[:-1] + b"?", {}))]

    for answer in (forged, unsealed):
        async with stranger(answer, KEY) as target:
            result = await ask(target, count=2, key_file=key_file, ssid=1, packet_timeout_seconds=0.3)
        assert result.metrics["loss_ratio"] == 1
        assert result.metrics["packets_corrupted"] == 2


async def test_a_reflector_that_sends_extensions_back_untouched_has_seen_no_class() -> None:
    async with stranger(lambda request, number: [reply(request, number, extensions=request.extensions)]) as target:
        metrics = (await ask(target, dscp=46)).metrics
    assert metrics["loss_ratio"] == 0
    assert "dscp_forward" not in metrics, "0 would say that the class was erased"


@pytest.mark.parametrize("shift_seconds", [-3600, 3600, 2**31])
async def test_a_reflector_whose_instants_make_no_sense_bends_no_round_trip(shift_seconds: int) -> None:
    def answer(request: wire.Request, number: int) -> list[bytes | float]:
        left = (wire.ntp_stamp(time.time_ns()) + (shift_seconds << 32)) % 2**64
        return [reply(request, number, left=left)]

    async with stranger(answer) as target:
        metrics = (await ask(target, packet_timeout_seconds=5)).metrics
    assert metrics["loss_ratio"] == 0
    assert 0 < metrics["rtt_median_seconds"] < 5


async def test_a_follow_up_from_another_life_of_the_reflector_is_not_taken() -> None:
    stale = wire.ntp_stamp(time.time_ns() - 600 * 10**9)

    def answer(request: wire.Request, number: int) -> list[bytes | float]:
        value = wire.follow_up(number, stale)
        filled = wire.reflect_extensions(request.extensions, {wire.FOLLOW_UP: value})
        return [0.02, reply(request, number, extensions=filled)]

    async with stranger(answer) as target:
        metrics = (await ask(target)).metrics
    assert metrics["rtt_min_seconds"] >= 0.02, "the round trip is that of the packets"


# --- routers that quote our packets


def _quoting_router(data: bytes, port: int, *, whole: bool) -> bytes:
    """Return an ICMP "host unreachable" for a packet of ours: its first 8 bytes, or padded with an MPLS extension."""
    sport = int.from_bytes(data[:2], "big")
    udp = struct.pack("!HHHH", sport, port, 8 + len(data) - 2, 0)
    inner = udp + data[2:] if whole else udp
    loopback = bytes([127, 0, 0, 1])
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + 8 + len(data) - 2, 1, 0, 64, 17, 0) + loopback + loopback
    quoted = ip + inner
    if whole:  # RFC 4884: padded to 128 bytes, then a header of version 2 and an object: one MPLS label
        label = struct.pack("!HBBI", 8, 1, 1, 0x000641FF)
        extension = struct.pack("!BBH", 0x20, 0, 0) + label
        extension = struct.pack("!BBH", 0x20, 0, checksum(extension)) + label
        quoted = quoted.ljust(128, b"\0") + extension
    header = struct.pack("!BBHBBH", 3, 1, 0, 0, 32 if whole else 0, 0)
    return struct.pack("!BBHBBH", 3, 1, checksum(header + quoted), 0, 32 if whole else 0, 0) + quoted


@as_root
@pytest.mark.parametrize("whole", [True, False])
async def test_a_router_that_quotes_little_or_adds_its_labels_is_understood(whole: bool) -> None:  # noqa: FBT001
    loop = asyncio.get_running_loop()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent,
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw,
    ):
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]

        def refuse() -> None:
            data, source = silent.recvfrom(2048)
            raw.sendto(_quoting_router(struct.pack("!H", source[1]) + data, port, whole=whole), ("127.0.0.1", 0))

        loop.add_reader(silent, refuse)
        try:
            result = await ask(f"127.0.0.1:{port}", count=3, packet_timeout_seconds=9)
        finally:
            loop.remove_reader(silent)
    assert result.reason == "host unreachable, says 127.0.0.1"
    assert result.duration_seconds < 9, "each packet is settled by its refusal"


# --- all the time


CONTINUOUS = {"continuous": True, "interval_seconds": 0.02, "packet_timeout_seconds": 1.0, "idle_seconds": 1.0}


async def ended(count: Callable[[], int]) -> None:
    """Return once `count` stands still: the session that nobody asks about any more has ended."""
    for _ in range(200):
        before = count()
        await asyncio.sleep(0.3)
        if count() == before:
            return
    pytest.fail("the session goes on")


async def test_consecutive_results_cover_every_packet_exactly_once() -> None:
    with reflecting() as reflector:
        target = f"127.0.0.1:{reflector.ports[0]}"
        results = []
        for _ in range(8):
            results.append(await ask(target, **CONTINUOUS))
            await asyncio.sleep(0.15)
        told = sum(result.metrics["packets_sent"] for result in results)
        heard = reflector.counts["received"]
        await ended(lambda: reflector.counts["received"])
    assert all((result.reason, result.error) == (None, None) for result in results)
    assert [result.metrics["loss_ratio"] for result in results] == [0] * 8
    assert told <= heard, "no packet twice"
    (session,) = dict(reflector.sessions.items()).values()
    assert (session.count.missing, session.count.duplicate) == (0, 0)
    assert told > 8, "what was settled since is told together"


async def test_a_session_goes_on_while_somebody_asks_and_no_longer() -> None:
    with reflecting() as reflector:
        target = f"127.0.0.1:{reflector.ports[0]}"
        for _ in range(15):
            assert (await ask(target, **CONTINUOUS)).metrics["loss_ratio"] == 0
            await asyncio.sleep(0.1)
        assert len(reflector.sessions) == 1, "one session for all of it"
        await ended(lambda: reflector.counts["received"])
        assert (await ask(target, **CONTINUOUS)).metrics["loss_ratio"] == 0
        assert len(reflector.sessions) == 2, "who asks again gets a new one"
        await ended(lambda: reflector.counts["received"])


async def test_a_minutes_figures_are_of_120_packets() -> None:
    fast = {**CONTINUOUS, "interval_seconds": 0.005}
    with reflecting() as reflector:
        target, counts = f"127.0.0.1:{reflector.ports[0]}", []
        since = 0
        for _ in range(400):
            metrics = (await ask(target, **fast)).metrics
            since += int(metrics["packets_sent"])
            if "packets_sent[minute]" in metrics:
                assert metrics["packets_sent[minute]"] == 120
                assert metrics["rtt_p95_seconds[minute]"] > 0
                counts.append(since)
                since = 0
            if len(counts) == 2:
                break
            await asyncio.sleep(0.05)
        await ended(lambda: reflector.counts["received"])
    assert len(counts) == 2
    assert all(count >= 120 for count in counts)


async def test_a_long_train_has_no_minute() -> None:
    with reflecting() as reflector:
        metrics = (await ask(f"127.0.0.1:{reflector.ports[0]}", count=130, interval_seconds=0.001)).metrics
    assert metrics["packets_received"] == 130
    assert not any("[minute]" in name for name in metrics)


async def test_a_reflector_that_restarts_in_the_middle_is_an_outage_and_then_well_again() -> None:
    port = free_udp_port()
    target, results = f"127.0.0.1:{port}", []

    async def look(until: Callable[[Result], bool]) -> Result:
        for _ in range(300):
            result = await ask(target, **CONTINUOUS)
            results.append(result)
            if until(result):
                return result
            await asyncio.sleep(0.05)
        pytest.fail(f"not seen: {results[-1]}")

    with reflecting(port=port):
        await look(lambda result: result.metrics["loss_ratio"] == 0)
    gone = await look(lambda result: result.metrics["loss_ratio"] == 1)
    assert gone.reason == "port unreachable, says 127.0.0.1"
    with reflecting(port=port) as again:
        back = await look(lambda result: result.metrics["loss_ratio"] == 0)
        await ended(lambda: again.counts["received"])
        assert len(again.sessions) == 1
        (session,) = dict(again.sessions.items()).values()
        assert session.count.missing == 0, "it cannot know what was sent before it began"
    assert back.reason is None
    assert all(0 <= result.metrics.get("loss_forward_ratio", 0) <= 1 for result in results)


_ASK_FOR_EVER = """
import asyncio
from checks.run import run
from checks.stamp import Stamp
async def main():
    check = Stamp(continuous=True, interval_seconds=0.1, packet_timeout_seconds=0.5, idle_seconds=1)
    while True:
        print((await run(check, "10.92.9.9", site="s", node="n")).metrics["loss_ratio"])
        await asyncio.sleep(0.3)
asyncio.run(main())
"""


def test_a_session_finds_its_way_again_when_another_line_takes_over(lab: Lab, tmp_path: Path) -> None:
    """Its socket has the address of the line that is dead: on that, no answer would ever come back."""
    host, far = lab.node(), lab.node("net.ipv4.conf.all.rp_filter=0")
    lab.link(host, far, 0)
    lab.link(host, far, 1, names=("second", "other"))
    far.ip("address add 10.92.9.9/32 dev lo")
    host.ip("route add 10.92.9.9/32 via 10.92.0.2")
    reflector = RunningReflector(tmp_path, listen=["0.0.0.0:862"])
    reflector.start(within=("ip", "netns", "exec", far.name))
    agent = lab.started(host, sys.executable, "-uc", _ASK_FOR_EVER)
    assert agent.stdout is not None

    def seen(loss_ratio: float) -> bool:
        return any(agent.stdout.readline().strip() == str(loss_ratio) for _ in range(100))

    try:
        assert seen(0.0)
        far.nft("input", "iifname left drop")
        far.nft("output", "oifname left drop")
        assert seen(1.0)
        host.ip("route replace 10.92.9.9/32 via 10.92.1.2")
        assert seen(0.0)
    finally:
        assert reflector.stop() == 0


async def test_late_answers_leave_nothing_behind_in_a_session_that_goes_on() -> None:
    """A line whose delay exceeds the timeout for weeks must not fill the agent."""
    parameters = {**CONTINUOUS, "packet_timeout_seconds": 0.05}
    check = Stamp(**parameters, timeout_seconds=10)
    async with stranger(lambda request, number: [0.15, reply(request, number)]) as target:
        session = await check.open(target)
        session.go_on(lambda: True)
        late = 0.0
        for _ in range(300):
            await asyncio.sleep(0.05)
            session.take()
            late += session.packets.take_counts()["packets_late"]
            if late > 20:
                break
        session.close()
    assert late > 20
    assert len(session._replies) <= 4
    assert not session._refused


async def test_a_session_that_cannot_send_any_more_says_why_and_a_new_one_begins(namespace: Namespace) -> None:
    script = (
        "import asyncio, subprocess\n"
        "from checks.stamp import Stamp\n"
        "from checks.run import run\n"
        "from tests.running import reflecting\n"
        "def nft(words): subprocess.run(['nft', words], check=True)\n"
        "async def main():\n"
        "    check = Stamp(continuous=True, interval_seconds=0.02, timeout_seconds=10)\n"
        "    with reflecting() as reflector:\n"
        "        async def ask():\n"
        "            return await run(check, f'127.0.0.1:{reflector.ports[0]}', site='s', node='n')\n"
        "        print((await ask()).metrics['loss_ratio'])\n"
        "        nft('add table ip t; add chain ip t o { type filter hook output priority 0; policy drop; }')\n"
        "        await asyncio.sleep(0.2)\n"
        "        print((await ask()).error)\n"
        "        nft('flush ruleset')\n"
        "        print((await ask()).metrics['loss_ratio'])\n"
        "asyncio.run(main())\n"
    )
    done = namespace.run(namespace.python, "-c", script)
    assert done.stdout.splitlines() == ["0.0", "this machine's own firewall does not let STAMP out", "0.0"]


async def test_a_train_that_was_held_up_tells_what_it_has() -> None:
    """Not "no answer within 2 s", and a line taken for dead: this process was busy, not the line."""
    tight = {"count": 3, "interval_seconds": 0.3, "packet_timeout_seconds": 0.5, "timeout_seconds": 1.35}
    with reflecting() as reflector:
        asyncio.get_running_loop().call_later(0.1, time.sleep, 1.15)
        result = await ask(f"127.0.0.1:{reflector.ports[0]}", **tight)
    assert result.reason is None
    assert 1 <= result.metrics["packets_received"] < 3


# --- what cannot be measured


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("", "target '' is not a host; write a name or an address, without port or path"),
        ("http://a/", "target 'http://a/' is not host:port; write 10.0.0.1:443 or [fd00::1]:443"),
        ("127.0.0.1:0", "target '127.0.0.1:0' is not host:port; write 10.0.0.1:443 or [fd00::1]:443"),
        ("portal.invalid", "no packet was sent: "),
    ],
)
async def test_a_target_that_is_none_is_our_error(target: str, words: str) -> None:
    result = await ask(target)
    assert result.error is not None
    assert result.error.startswith(words)


async def test_what_this_machine_lacks_is_our_error(tmp_path: Path, key_file: str) -> None:
    foreign = await ask("127.0.0.1:9", source="192.0.2.77")
    assert foreign.error == "cannot send from source 192.0.2.77: Cannot assign requested address"
    other = await ask("127.0.0.1:9", ip_version=6)
    assert other.error == "no packet was sent: 127.0.0.1 is not an IPv6 address"
    broadcast = await ask("255.255.255.255")
    assert broadcast.error == "this machine refuses to send there: a broadcast address, or a prohibited route"
    missing = await ask("127.0.0.1:9", key_file=str(tmp_path / "none"), ssid=1)
    assert missing.error == f"key_file: {tmp_path}/none cannot be read: No such file or directory"
    os.chmod(key_file, 0o644)  # noqa: PTH101  (a path as text)
    open_to_all = await ask("127.0.0.1:9", key_file=key_file, ssid=1)
    assert open_to_all.error is not None
    assert "is open to every user of this machine" in open_to_all.error
    assert KEY.hex() not in open_to_all.error


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"count": 0}, "$.count: expected `int` >= 1"),
        ({"count": 10_001}, "$.count: expected `int` <= 10000"),
        ({"interval_seconds": 0}, "$.interval_seconds: expected `float` >= 0.001"),
        ({"packet_timeout_seconds": 0}, "$.packet_timeout_seconds: expected `float` > 0.0"),
        ({"continuous": 1}, "$.continuous: expected `bool`, got `int`"),
        ({"idle_seconds": 0}, "$.idle_seconds: expected `float` >= 1.0"),
        ({"ssid": 65_536}, "$.ssid: expected `int` <= 65535"),
        ({"dscp": 64}, "$.dscp: expected `int` <= 63"),
        ({"padding_bytes": 1401}, "$.padding_bytes: expected `int` <= 1400"),
        ({"max_clock_error_seconds": 0}, "$.max_clock_error_seconds: expected `float` > 0.0"),
        ({"ip_version": 5}, "$.ip_version: 5 is not one of: 4, 6"),
        ({"key": "5e5e"}, "$.key: is unknown; there are: continuous, count, dscp"),
        ({"key_file": "/etc/nhip/key"}, "key_file needs ssid: the reflector finds the key by it"),
        (
            {"count": 200},
            "(10) must be at least 21.15: (count - 1) x interval_seconds + packet_timeout_seconds + 0.25",
        ),
        (
            {"continuous": True, "interval_seconds": 10},
            "(10) must be at least 11.25: interval_seconds + packet_timeout_seconds + 0.25",
        ),
    ],
)
def test_a_bad_parameter_says_what_would_be_right(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("stamp", parameters)
    assert message in str(caught.value)
