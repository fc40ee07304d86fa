"""Open ports: which of a host's ports answer, seen from here, and whether those are the ones that should."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from typing import Annotated, ClassVar, NamedTuple

import msgspec

from checks.address import UnresolvedError, resolve
from checks.check import CheckError, Noted
from checks.dns_wire import encode_name, encode_question

_MOST_PORTS = 65_535
_AT_ONCE = 200
_SPAN = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)

# A service answers only what it understands. Others get a byte, which some answer with an error.
_QUESTIONS = {
    53: encode_question(1, encode_name("."), 2),
    123: b"\x23" + bytes(47),  # NTP version 4, client
    161: bytes.fromhex(  # SNMP version 3, engine discovery (RFC 3414)
        "303a020103300f02024a69020300ffe30401040201030410300e04000201000201000400040004003012040004"
        "00a00c020237f00201000201003000"
    ),
    862: struct.pack("!LQH", 0, 0, 1) + bytes(30),  # STAMP
}


class Port(NamedTuple):
    """A protocol and a number, written `tcp/22`."""

    protocol: str
    number: int

    def __str__(self) -> str:
        """Return it as people write it."""
        return f"{self.protocol}/{self.number}"


class OpenPorts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a look at one host's ports."""

    name: ClassVar[str] = "open_ports"
    summary: ClassVar[str] = "which ports of a host answer, and whether those are the ones that should"
    target_help: ClassVar[str] = "an address or a name: 10.92.240.6"
    metrics: ClassVar[Mapping[str, str]] = {
        "ports_asked": "ports that were asked, count",
        "ports_answering": "ports that answered, count",
        "ports_unexpected": "ports that answered and should not, count",
        "ports_missing": "ports that should answer and did not, count",
    }
    unreachable: ClassVar[Mapping[str, float]] = {}

    tcp: Annotated[str, msgspec.Meta(description="TCP ports to ask: 22,80,8000-8100")] = "1-1024"
    udp: Annotated[str, msgspec.Meta(description="UDP ports to ask; only an answer tells")] = "53,67,123,161,514,862"
    expected: Annotated[tuple[str, ...], msgspec.Meta(description="the ports that should answer: [tcp/22]")] = ()
    port_timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=30, description="how long each may take")] = 1.0
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=600, description="deadline of the whole check")] = 60.0

    def __post_init__(self) -> None:
        """Refuse what is no port."""
        _ports("tcp", self.tcp)
        _ports("udp", self.udp)
        for text in self.expected:
            _port(text)

    async def measure(self, target: str) -> dict[str, float]:
        """Ask every port once; that nothing answers is a measurement too."""
        expected = {_port(text) for text in self.expected}
        asked = sorted({*_ports("tcp", self.tcp), *_ports("udp", self.udp), *expected})
        try:
            family, where = (await resolve(target, 0, None))[0]
        except UnresolvedError as exc:
            raise CheckError(str(exc)) from None
        turn = asyncio.Semaphore(_AT_ONCE)
        told = await asyncio.gather(*(self._answers(turn, family, str(where[0]), port) for port in asked))
        answering = {port for port, answers in zip(asked, told, strict=True) if answers}
        wrong, missing = sorted(answering - expected), sorted(expected - answering)
        metrics = {
            "ports_asked": float(len(asked)),
            "ports_answering": float(len(answering)),
            "ports_unexpected": float(len(wrong)),
            "ports_missing": float(len(missing)),
        }
        notes = [f"{port} answers and should not" for port in wrong] + [f"{port} does not answer" for port in missing]
        return Noted(metrics, notes)

    async def _answers(self, turn: asyncio.Semaphore, family: socket.AddressFamily, host: str, port: Port) -> bool:
        async with turn:
            kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
            with socket.socket(family, kind) as sock:
                sock.setblocking(False)  # noqa: FBT003  (the socket module takes no keyword here)
                loop = asyncio.get_running_loop()
                try:
                    async with asyncio.timeout(self.port_timeout_seconds):
                        await loop.sock_connect(sock, (host, port.number))
                        if kind == socket.SOCK_DGRAM:
                            await loop.sock_sendall(sock, _QUESTIONS.get(port.number, b"\0"))
                            await loop.sock_recv(sock, 1)
                except (OSError, TimeoutError):
                    return False
                return True


def _ports(protocol: str, text: str) -> list[Port]:
    """Read `22,80,8000-8100`; `ValueError` says what is wrong."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _SPAN.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= _MOST_PORTS:
            raise ValueError(f"{protocol}: {part!r} is no port; write 22 or 8000-8100, separated by commas")
        found += [Port(protocol, number) for number in range(first, last + 1)]
    return found


def _port(text: str) -> Port:
    protocol, _, number = text.partition("/")
    if (
        protocol not in ("tcp", "udp")
        or not number.isascii()
        or not number.isdigit()
        or not 1 <= int(number) <= _MOST_PORTS
    ):
        raise ValueError(f"expected: {text!r} is no port; write tcp/22 or udp/161")
    return Port(protocol, int(number))
