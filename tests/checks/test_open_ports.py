"""open_ports against real listeners: what answers, what should, and what only seems silent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from checks import registry
from checks.open_ports import OpenPorts
from checks.run import run
from checks.strict import ConfigError


class Answering(asyncio.DatagramProtocol):
    """Sends back what comes."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)


async def test_only_what_answers_and_should_not_is_unexpected(serve: Any, free_tcp_port: int) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Answering, local_addr=("127.0.0.1", 0))
    udp = transport.get_extra_info("sockname")[1]
    async with serve(lambda reader, _: reader.read()) as tcp:
        check = OpenPorts(tcp=f"{tcp},{free_tcp_port}", udp=str(udp), expected=(f"tcp/{tcp}",))
        result = await run(check, "127.0.0.1", site="s", node="n")
    transport.close()
    assert result.metrics == {"ports_asked": 3, "ports_answering": 2, "ports_unexpected": 1, "ports_missing": 0}
    assert result.notes == (f"udp/{udp} answers and should not",)


async def test_a_port_that_should_answer_and_does_not_is_missing(free_tcp_port: int) -> None:
    check = OpenPorts(tcp="", udp="", expected=(f"tcp/{free_tcp_port}",))
    result = await run(check, "127.0.0.1", site="s", node="n")
    assert result.metrics == {"ports_asked": 1, "ports_answering": 0, "ports_unexpected": 0, "ports_missing": 1}
    assert result.notes == (f"tcp/{free_tcp_port} does not answer",)


async def test_a_silent_udp_port_does_not_answer() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    check = OpenPorts(tcp="", udp=str(transport.get_extra_info("sockname")[1]), port_timeout_seconds=0.1)
    result = await run(check, "127.0.0.1", site="s", node="n")
    transport.close()
    assert (result.metrics["ports_asked"], result.metrics["ports_answering"]) == (1, 0)


async def test_a_target_that_cannot_be_resolved_is_no_measurement() -> None:
    result = await run(OpenPorts(tcp="1", udp=""), "no-such-host.invalid", site="s", node="n")
    assert result.error
    assert not result.metrics


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"tcp": "1-99999"}, "tcp: '1-99999' is no port; write 22 or 8000-8100, separated by commas"),
        ({"udp": "90-80"}, "udp: '90-80' is no port; write 22 or 8000-8100, separated by commas"),
        ({"tcp": "ssh"}, "tcp: 'ssh' is no port; write 22 or 8000-8100, separated by commas"),
        ({"expected": ["22"]}, "expected: '22' is no port; write tcp/22 or udp/161"),
        ({"expected": ["sctp/22"]}, "expected: 'sctp/22' is no port; write tcp/22 or udp/161"),
    ],
)
def test_what_is_no_port_is_named(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        registry.make("open_ports", parameters)
    assert words in str(refused.value)
