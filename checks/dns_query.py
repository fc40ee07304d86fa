"""DNS query: does a given server answer a question, rightly and quickly."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from checks.address import UnresolvedError, literal, resolve
from checks.check import CheckError
from checks.connect import connect, words
from checks.dns_wire import RCODES, TYPES, Message, WireError, decode, encode_name, encode_question
from checks.phases import Phases

if TYPE_CHECKING:
    from checks.address import Address

_RESOLV_CONF = Path("/etc/resolv.conf")
_SENDS = 2
_LONGEST_DATAGRAM = 65_535


class DnsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of one question, and of what counts as the right answer."""

    name: ClassVar[str] = "dns_query"
    summary: ClassVar[str] = "whether a DNS server answers a question rightly, and how quickly"
    target_help: ClassVar[str] = "the name to ask for: portal.example (for type PTR an address will do)"
    metrics: ClassVar[Mapping[str, str]] = {
        "success": "1 when the answer is as expected, else 0",
        "response_seconds": "time from the first packet to the complete answer, seconds",
        "rcode": "response code: 0 NOERROR, 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED",
        "answers": "records of the asked type in the answer, count",
        "ttl_seconds": "how long the answer may be kept, the least of its records, seconds",
    }
    unreachable: ClassVar[Mapping[str, float]] = {"success": 0.0}

    server: Annotated[str | None, msgspec.Meta(description="whom to ask; the first of /etc/resolv.conf if none")] = None
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535, description="port of the server")] = 53
    type: Annotated[
        Literal["A", "AAAA", "CNAME", "MX", "NS", "TXT", "SOA", "PTR", "SRV", "CAA"],
        msgspec.Meta(description="record type"),
    ] = "A"
    expected_answer: Annotated[str | None, msgspec.Meta(description="one of the answers: 10.0.0.1, 10 mail.x")] = None
    expected_rcode: Annotated[
        Literal["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"],
        msgspec.Meta(description="right response code"),
    ] = "NOERROR"
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=300, description="deadline of the whole check")] = 5.0

    def __post_init__(self) -> None:
        """Refuse two expectations that cannot both be met."""
        if self.expected_answer is not None and self.expected_rcode != "NOERROR":
            raise ValueError(f"expected_answer needs expected_rcode NOERROR: with {self.expected_rcode} none comes")

    async def measure(self, target: str) -> dict[str, float]:
        """Ask for `target`; `Unreachable` says what was wrong with the answer, or that none came."""
        try:
            name = encode_name(_reversed(target) if self.type == "PTR" else target)
        except WireError as exc:
            raise CheckError(f"target {exc}; write portal.example") from None
        server = self.server or first_server(_read(_RESOLV_CONF))
        phases = Phases(self.timeout_seconds)
        question = Question(phases, server, self.port, name, TYPES[self.type])
        message = await question.ask()
        phases.metrics["rcode"] = float(message.rcode)
        phases.metrics["answers"] = float(len(message.answers))
        if message.ttl_seconds is not None:
            phases.metrics["ttl_seconds"] = float(message.ttl_seconds)
        if complaint := self._complaint(message):
            phases.fail(complaint)
        return {"success": 1.0, **phases.metrics}

    def _complaint(self, message: Message) -> str | None:
        if message.rcode != RCODES[self.expected_rcode]:
            got = {number: name for name, number in RCODES.items()}.get(message.rcode, str(message.rcode))
            return f"response code {got}, expected {self.expected_rcode}"
        if message.rcode == 0 and not message.answers:
            return f"the name has no {self.type} record"
        texts = [record.text for record in message.answers]
        if self.expected_answer is None or _plain(self.expected_answer) in map(_plain, texts):
            return None
        return f"the answer is {', '.join(texts)}, expected {self.expected_answer}"


class Question:
    """One question on its way: over UDP, and once more over TCP when the answer did not fit."""

    def __init__(self, phases: Phases, server: str, port: int, name: bytes, type_: int) -> None:
        """Take the budget, whom to ask, and what."""
        self._phases, self._server, self._port, self._name, self._type = phases, server, port, name, type_
        self._id = int.from_bytes(os.urandom(2), "big")
        self._query = encode_question(self._id, name, type_)

    async def ask(self) -> Message:
        """Return the answer and add `response_seconds` to the phases."""
        address = await self._address()
        missing = f"no answer from {self._server} port {self._port}"
        async with self._phases.phase("response_seconds", missing):
            try:
                message = await self._over_udp(address)
                return await self._over_tcp() if message.truncated else message
            except WireError as exc:
                self._phases.fail(f"the answer is not DNS: {exc}")
            except PermissionError:
                raise CheckError("this machine's own firewall does not let DNS out") from None
            except ConnectionRefusedError:
                self._phases.fail(f"nothing listens on port {self._port} of {self._server}")
            except (OSError, EOFError) as exc:
                why = words(exc) if isinstance(exc, OSError) else "the connection was closed in the middle"
                self._phases.fail(f"{missing}: {why}")

    async def _address(self) -> Address:
        if known := literal(self._server, self._port):
            return known[0]
        try:
            async with self._phases.phase(None, f"no answer from this node's resolver for {self._server}"):
                return (await resolve(self._server, self._port))[0]
        except UnresolvedError as exc:
            raise CheckError(f"server: {exc}") from None

    async def _over_udp(self, address: Address) -> Message:
        """Send, and once more half-way through the budget: a single lost packet is no fault of the server."""
        with socket.socket(address[0], socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)  # noqa: FBT003  (the socket module takes no keyword here)
            sock.connect(address[1])  # the kernel picks a random port, and drops what others send
            for remaining in range(_SENDS, 0, -1):
                sock.send(self._query)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._phases.left_seconds / remaining if remaining > 1 else None):
                        return await self._receive(sock)
        raise AssertionError("the last wait has no end of its own")

    async def _receive(self, sock: socket.socket) -> Message:
        loop = asyncio.get_running_loop()
        while True:
            message = decode(await loop.sock_recv(sock, _LONGEST_DATAGRAM), self._id, self._name, self._type)
            if message is not None:
                return message

    async def _over_tcp(self) -> Message:
        inner = Phases(self._phases.left_seconds)
        sock = await connect(inner, self._server, self._port)
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            writer.write(len(self._query).to_bytes(2, "big") + self._query)
            await writer.drain()
            size = int.from_bytes(await reader.readexactly(2), "big")
            message = decode(await reader.readexactly(size), self._id, self._name, self._type)
        finally:
            writer.transport.abort()
        if message is None or message.truncated:
            raise WireError("it is truncated or to another question, even over TCP")
        return message


def first_server(resolv_conf: str) -> str:
    """Return the first name server of a resolver configuration; `CheckError` when it names none."""
    for line in resolv_conf.splitlines():
        parts = line.split()
        if len(parts) > 1 and parts[0] == "nameserver":
            return parts[1]
    raise CheckError(f"{_RESOLV_CONF} names no server to ask: give the parameter server")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as exc:
        raise CheckError(f"{path} cannot be read ({exc.strerror}): give the parameter server") from None


def _reversed(target: str) -> str:
    """Return the name that holds an address' name (RFC 1035, 3.5; RFC 3596, 2.5); a name stays as it is."""
    with contextlib.suppress(OSError):
        return ".".join(reversed([str(byte) for byte in socket.inet_pton(socket.AF_INET, target)])) + ".in-addr.arpa"
    with contextlib.suppress(OSError):
        return ".".join(reversed(socket.inet_pton(socket.AF_INET6, target).hex())) + ".ip6.arpa"
    return target


def _plain(text: str) -> str:
    """Make two ways of writing an answer alike: names have no case, and a final dot says nothing."""
    return " ".join(part.rstrip(".") or "." for part in text.lower().split())
