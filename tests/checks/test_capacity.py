"""capacity against a real server: on loopback, on lines that the kernel shapes, and against what is no server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from agents.reflector.capacity_server import CapacityLimits, CapacityServer
from bench.lines import Shape, line
from checks import capacity, registry
from checks import capacity_wire as wire
from checks.address import literal
from checks.capacity import Capacity
from checks.run import run
from checks.strict import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from checks.result import Result

ON_THE_WIRE = 1442 / 1428
KEY = "0123456789abcdef" * 4


async def measure(target: str, **parameters: Any) -> Result:
    return await run(Capacity(**parameters), target, site="s", node="n")


@contextlib.asynccontextmanager
async def serving(keys: dict[int, bytes] | None = None, **limits: Any) -> AsyncIterator[str]:
    server = CapacityServer([literal("127.0.0.1", 0)[0]], keys=keys, limits=CapacityLimits(**limits))
    await server.start()
    try:
        yield f"127.0.0.1:{server.ports[0]}"
    finally:
        await server.stop()


def key_file(folder: Path) -> str:
    file = folder / "key"
    file.write_text(KEY)
    file.chmod(0o600)
    return str(file)


def needs_namespaces() -> None:
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("tc") is None:
        pytest.skip("needs root and iproute2 to lay a line")


def on_a_line(up: Shape, down: Shape, *settings: str) -> dict[str, Any]:
    """Measure a line as a user would, and return what `--format json` prints."""
    needs_namespaces()
    words = ("check", "run", "capacity", "--format", "json", *(word for each in settings for word in ("--set", each)))
    with line(up, down) as laid:
        server = laid.start("far", sys.executable, "-m", "bench.capacity", "--serve", laid.target, stdout=-1)
        try:
            assert server.stdout is not None
            server.stdout.readline()
            done = laid.run("near", sys.executable, "nhip.py", *words, "--target", laid.target)
        finally:
            server.kill()
            server.communicate()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("kind", ["tbf", "htb"])
def test_a_shaped_line_is_measured_in_both_directions(kind: str) -> None:
    found = on_a_line(Shape(kind, 10_000_000, 5_000), Shape(kind, 50_000_000, 50_000))
    metrics = found["metrics"]
    assert found["reason"] is None
    assert metrics["capacity_up_bits_per_second"] * ON_THE_WIRE == pytest.approx(10e6, rel=0.03)
    assert metrics["capacity_down_bits_per_second"] * ON_THE_WIRE == pytest.approx(50e6, rel=0.03)
    assert metrics["capacity_up_min_bits_per_second"] <= metrics["capacity_up_bits_per_second"]
    assert (metrics["settled_up"], metrics["settled_down"], metrics["success"], metrics["skipped"]) == (1, 1, 1, 0)
    assert 0 < metrics["bytes_sent"] < 2_000_000
    assert set(metrics) <= set(Capacity.metrics)


def test_tcp_tells_what_it_makes_of_the_line_and_of_a_round_trip() -> None:
    shape = Shape("tbf", 20_000_000, 10_000)
    metrics = on_a_line(shape, shape, "mode=tcp", "max_bytes=3000000")["metrics"]
    for way in ("up", "down"):
        assert (
            10e6 < metrics[f"throughput_{way}_bits_per_second"] < 40e6
        )  # so short a transfer ends in a retransmission
        assert 0.5 < metrics[f"tcp_efficiency_{way}_ratio"] <= 1
        assert metrics[f"buffer_delay_{way}_ratio"] > 0
        assert metrics[f"round_trips_{way}_per_minute"] > 60
    assert metrics["bytes_sent"] >= 2_500_000
    assert set(metrics) <= set(Capacity.metrics)


async def test_a_line_without_a_limit_is_a_lower_bound_within_the_caps() -> None:
    async with serving() as target:
        result = await measure(target, max_bytes=1_000_000)
    assert result.reason is None
    assert result.error is None
    assert result.metrics["settled_up"] == result.metrics["settled_down"] == 0
    assert result.metrics["capacity_up_bits_per_second"] > 1e6
    assert 500_000 < result.metrics["bytes_sent"] < 1_500_000
    assert 500_000 < result.metrics["bytes_received"] < 1_500_000


async def test_one_direction_alone_costs_one_direction() -> None:
    async with serving() as target:
        result = await measure(target, max_bytes=1_000_000, direction="down")
    assert "capacity_down_bits_per_second" in result.metrics
    assert "capacity_up_bits_per_second" not in result.metrics
    assert result.metrics["bytes_sent"] < 200_000


async def test_a_key_opens_a_server_that_asks_for_one(tmp_path: Path) -> None:
    file = key_file(tmp_path)
    async with serving({7: bytes.fromhex(KEY)}) as target:
        good = await measure(target, max_bytes=100_000, ssid=7, key_file=file)
        assert good.metrics["success"] == 1
        none = await measure(target)
        assert none.error == "this server needs a key: give ssid and key_file, as its configuration has them"
        other = await measure(target, ssid=8, key_file=file)
        assert other.error == (
            "the capacity server refuses: this server needs a key: ssid and key_file must be those that it knows"
        )


async def test_a_server_that_does_not_have_our_key_is_not_believed(tmp_path: Path) -> None:
    async with serving() as target:
        result = await measure(target, ssid=7, key_file=key_file(tmp_path))
    assert result.reason == "the server does not prove that it has the key"


async def test_a_key_file_that_all_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    file.chmod(0o644)
    result = await measure("127.0.0.1:1", ssid=7, key_file=str(file))
    assert result.error is not None
    assert result.error.startswith(f"key_file: {file} is open to every user")
    assert KEY not in str(result)


async def test_a_server_that_is_busy_for_long_says_when_to_come_back() -> None:
    async with serving(seconds=200) as target:
        host, port = target.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await reader.readline()
        writer.write(
            b'{"say":"ask","nonce":"%s","mode":"udp","direction":"up","packet_bytes":1428,"bytes":1,"seconds":200}\n'
            % (b"0" * 32)
        )
        assert b"accept" in await reader.readline()
        result = await measure(target)
        writer.transport.abort()
    assert result.error is not None
    assert result.error.startswith("the capacity server refuses: another test runs here; come back in ")


async def test_a_busy_line_is_left_alone_and_that_is_no_failure() -> None:
    needs_namespaces()
    shape = Shape("tbf", 10_000_000, 5_000)
    with line(shape) as laid:
        here = (sys.executable, "-m", "bench.traffic")
        server = laid.start("far", sys.executable, "-m", "bench.capacity", "--serve", laid.target, stdout=-1)
        sender = laid.start("near", *here, "send", laid.target, "9000000", "60", stdout=-1)
        try:
            assert server.stdout is not None
            server.stdout.readline()
            words = ("check", "run", "capacity", "--target", laid.target, "--set", "line_bits_per_second=10000000")
            done = laid.run("near", sys.executable, "nhip.py", *words)
        finally:
            for process in (server, sender):
                process.kill()
                process.communicate()
    assert done.returncode == 0
    assert "capacity 10.2.0.1: OK" in done.stdout
    assert "skipped: the line is busy by " in done.stdout
    assert "capacity_up" not in done.stdout


async def test_where_udp_does_not_come_through_that_is_said(serve: Callable[..., Any]) -> None:
    async def tcp_alone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"say":"greeting","version":1,"nonce":"%s","key_needed":false}\n' % (b"0" * 32))
        await reader.readline()
        writer.write(b'{"say":"accept","cookie":1,"bytes":100000,"seconds":1}\n')
        await reader.read()

    async with serve(tcp_alone) as port:
        result = await measure(f"127.0.0.1:{port}")
    assert result.reason == "no UDP comes through to the server and back"
    assert result.metrics["success"] == 0


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.2\n", "what answers there is no capacity server"),
        (b"x" * 10_000, "what answers there is no capacity server"),
        (b"", "the server closed the connection"),
        (b'{"say":"greeting"', "the server closed the connection"),
        (b'{"say":"ping","number":1}\n', "the capacity server answers something else than it was asked"),
        (
            b'{"say":"greeting","version":9,"nonce":"%s","key_needed":false}\n' % (b"0" * 32),
            "the server speaks version 9 of the test, and this one 1",
        ),
    ],
)
async def test_what_is_no_capacity_server_is_named(serve: Callable[..., Any], said: bytes, reason: str) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()

    async with serve(talk) as port:
        result = await measure(f"127.0.0.1:{port}")
    assert result.reason == reason
    assert result.metrics["success"] == 0


async def test_a_server_that_says_nothing_has_an_end(serve: Callable[..., Any]) -> None:
    async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serve(hang) as port:
        result = await measure(f"127.0.0.1:{port}", timeout_seconds=5.0)
    assert result.reason is not None
    assert "within 5 s" in result.reason


def test_the_agents_part_and_the_wire_agree_on_what_a_packet_may_be() -> None:
    assert (capacity.LEAST_PACKET, capacity.LARGEST_PACKET) == (wire.SMALLEST_PACKET, wire.LARGEST_PACKET)
    assert wire.HEADERS_BYTES[6] + wire.LOAD_HEADER_BYTES == wire.SMALLEST_PACKET


async def test_nobody_there_is_a_measurement(free_tcp_port: int) -> None:
    result = await measure(f"127.0.0.1:{free_tcp_port}")
    assert result.reason == "connection refused"
    assert result.metrics == {"success": 0}


async def test_a_name_without_a_port_means_8620() -> None:
    with socket.socket() as taken, contextlib.suppress(OSError):
        taken.bind(("127.0.0.1", 8620))  # if it is ours, nobody listens there
        result = await measure("127.0.0.1")
        assert result.reason == "connection refused"
    assert (await measure("127.0.0.1/24")).error is not None


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"mode": "icmp"}, "$.mode: "),
        ({"direction": "left"}, "$.direction: "),
        ({"packet_bytes": 20}, "$.packet_bytes: expected `int` >= "),
        ({"skip_above_ratio": 2}, "$.skip_above_ratio: expected `float` <= 1"),
        ({"bytes": 1}, "$.bytes: is unknown; there are: "),
        ({"key_file": "/etc/nhip/key"}, "key_file needs ssid: the server finds the key by it"),
    ],
)
def test_a_bad_parameter_says_what_would_be_right(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("capacity", parameters)
    assert message in str(caught.value)
