"""tcp_connect against real listeners, closed ports and silence."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from checks import registry
from checks.run import run
from checks.strict import ConfigError
from checks.tcp_connect import TcpConnect

if TYPE_CHECKING:
    from conftest import Namespace

    from checks.result import Result


async def connect(target: str, **parameters: Any) -> Result:
    return await run(TcpConnect(**parameters), target, site="s", node="n")


async def test_a_listener_is_connected_to(serve: Any) -> None:
    async with serve(lambda reader, _: reader.read()) as port:
        by_address = await connect(f"127.0.0.1:{port}")
        by_name = await connect(f"localhost:{port}", ip_version=4)
    assert by_address.metrics["success"] == 1
    assert 0 < by_address.metrics["connect_seconds"] < 5
    assert "dns_seconds" not in by_address.metrics, "an address needs no resolver"
    assert by_name.metrics["dns_seconds"] > 0


async def test_ipv6_is_written_in_brackets() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "::1", 0)
    async with server:
        assert (await connect(f"[::1]:{server.sockets[0].getsockname()[1]}")).metrics["success"] == 1


async def test_a_closed_port_is_a_measurement(free_tcp_port: int) -> None:
    result = await connect(f"127.0.0.1:{free_tcp_port}")
    assert (result.reason, result.error) == ("connection refused", None)
    assert result.metrics == {"success": 0}


def test_silence_ends_at_the_deadline_and_no_route_at_once(namespace: Namespace) -> None:
    def inside(target: str) -> dict[str, Any]:
        words = ("--target", target, "--set", "timeout_seconds=0.5", "--format", "json")
        done = namespace.nhip("check", "run", "tcp_connect", *words)
        assert done.returncode == 2
        return dict(json.loads(done.stdout))

    assert inside("192.0.2.9:443")["reason"] == "no connection to 192.0.2.9:443 within 0.5 s"
    assert inside("198.51.100.1:443")["reason"] == "network unreachable"
    assert "resolve" in inside("portal.invalid:443")["reason"] or "name" in inside("portal.invalid:443")["reason"]


@pytest.mark.parametrize("target", ["", "10.0.0.1", "10.0.0.1:", ":80", "a:b", "a:0", "a:65536", "fd00::1:80", "[a:80"])
async def test_a_target_without_host_and_port_is_our_error(target: str) -> None:
    result = await connect(target)
    assert result.error == f"target {target!r} is not host:port; write 10.0.0.1:443 or [fd00::1]:443"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"timeout_seconds": 301}, "$.timeout_seconds: expected `float` <= 300.0"),
        ({"ip_version": "6"}, "$.ip_version: '6' is not one of: 4, 6"),
        ({"port": 80}, "$.port: is unknown; there are: ip_version, timeout_seconds"),
    ],
)
def test_a_bad_parameter_says_what_would_be_right(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("tcp_connect", parameters)
    assert message in str(caught.value)
