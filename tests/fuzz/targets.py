"""Every parser of strangers' bytes, as a function of bytes. A new one is a line in `TARGETS`.

A target returns, or raises what its caller is ready for, which is caught here. Anything else is a finding, and so is an
assertion that fails. Seeds are inputs to begin with: what a friend would send.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import h11
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp as x509_ocsp

from agents.reflector.stamp import Limits, StampReflector
from checks import (
    ca_publication,
    capacity_wire,
    certificate,
    certificate_chain,
    dns_wire,
    http_exchange,
    lan_frames,
    line_protocol,
    mail_wire,
    ntp_wire,
    nut_wire,
    ocsp,
    perfdata,
    refusals,
    route_probe,
    timestamp_token,
)
from checks import stamp_wire as wire
from checks.check import Unreachable
from checks.lines import LineError, Lines
from checks.phases import Phases

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

KEY = bytes(range(32))
SSID = 31_120
AT = 1_800_000_000 * 10**9


class Target(NamedTuple):
    """What is fed, and what it is fed to begin with."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]


def finish(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine that never has to wait, without an event loop: some thousand times cheaper."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise AssertionError("it waits for something")


def lines_of(data: bytes) -> Lines:
    """Let a server say `data`, whatever it is asked, and then hang up."""
    rest = bytearray(data)

    async def receive(size: int) -> bytes:
        piece = bytes(rest[:size])
        del rest[:size]
        return piece

    async def send(_: bytes) -> None:
        pass

    return Lines(receive, send)


# --- STAMP


def stamp_packets(data: bytes) -> None:
    for decode in (wire.decode_request, wire.decode_reply):
        for key in (None, KEY):
            with contextlib.suppress(wire.WireError):
                packet = decode(data, key)
                wire.instant(
                    packet.stamp if isinstance(packet, wire.Request) else packet.left, packet.error_estimate, AT
                )
                wire.clock_error(packet.error_estimate)


def stamp_extensions(data: bytes) -> None:
    back = wire.reflect_extensions(data, {wire.CLASS_OF_SERVICE: bytes(4), wire.FOLLOW_UP: bytes(16)})
    assert len(back) == len(data), "never longer than what came"
    for kind, value in wire.answered_extensions(back).items():
        if kind == wire.FOLLOW_UP:
            wire.followed_up(value)
        elif kind == wire.CLASS_OF_SERVICE:
            wire.heard_dscp(value)
    wire.extensions(data)
    assert wire.opened_extensions(data, KEY, 1) is None, "nobody guesses an HMAC"
    sealed = wire.seal_extensions(data, KEY, 1)
    opened = wire.opened_extensions(sealed, KEY, 1)
    assert opened in (None, (data, b"")), "what is malformed hides its seal; what is not is opened as it was sealed"


class _Deaf:
    """Stands where the reflector's socket stands."""

    family = socket.AF_INET

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def sendmsg(self, buffers: tuple[bytes], *_: object) -> None:
        self.sent += buffers

    def recvmsg(self, *_: object) -> None:
        raise BlockingIOError


_SESSIONS = 50
_REFLECTORS = [
    StampReflector([], keys=keys, limits=Limits(10_000, 1000, _SESSIONS), clock_estimate=lambda: 0x8001)
    for keys in (None, {SSID: KEY})
]


def reflector(data: bytes) -> None:
    """Answer a packet. The first byte says which reflector, from where, and whether the rest is signed or sealed."""
    how, packet, deaf = data[:1] or b"\0", data[1:], _Deaf()
    sock: Any = deaf
    if how[0] & 2 and len(packet) >= wire.AUTHENTICATED_BYTES:
        sequence, extensions = int.from_bytes(packet[:4], "big"), packet[wire.AUTHENTICATED_BYTES :]
        packet = wire.sign(packet[:26] + SSID.to_bytes(2, "big") + packet[28:96], KEY)
        packet += wire.seal_extensions(extensions, KEY, sequence) if how[0] & 4 else extensions
    each = _REFLECTORS[how[0] & 1]
    each._answer(sock, packet, [], (f"10.0.0.{how[0] >> 5}", 40_000 + (how[0] >> 3 & 3)))
    assert [len(answer) for answer in deaf.sent] in ([], [len(packet)]), "one answer at most, exactly as long"
    assert len(each.sessions) <= _SESSIONS
    assert len(each._leaving) <= 64


def reflector_seeds() -> list[bytes]:
    extensions = wire.extension(wire.FOLLOW_UP, bytes(16)) + wire.extension(wire.CLASS_OF_SERVICE, bytes(4))
    request = wire.Request(1, wire.ntp_stamp(time.time_ns()), 0x8001, SSID, extensions)
    return [
        b"\0" + wire.encode_request(request),
        b"\3" + wire.encode_request(request, KEY),
        b"\7" + wire.encode_request(request, KEY),
    ]


# --- names, times, certificates


def dns(data: bytes) -> None:
    question = dns_wire.encode_name("portal.example")
    for type_ in (1, 6, 16, 33):
        with contextlib.suppress(dns_wire.WireError):
            dns_wire.decode(data, 7, question, type_)


def dns_seeds() -> list[bytes]:
    name = dns_wire.encode_name("portal.example")
    seeds = []
    for type_, value in (
        (1, bytes([10, 0, 0, 1])),
        (16, b"\3abc"),
        (33, bytes(6) + name),
        (6, name + name + bytes(20)),
    ):
        question = dns_wire.encode_question(7, name, type_)
        answer = b"\xc0\x0c" + type_.to_bytes(2, "big") + b"\0\1\0\0\0\x3c" + len(value).to_bytes(2, "big") + value
        seeds.append(b"\0\7\x84\0\0\1\0\1\0\0\0\0" + question[12:] + answer)
    return seeds


def ntp(data: bytes) -> None:
    with contextlib.suppress(ntp_wire.WireError):
        sample = ntp_wire.Sample.of(ntp_wire.decode(data), AT, AT + 1000)
        assert sample.root_distance_seconds >= 0


_CA = trustme.CA()
_LEAF = x509.load_pem_x509_certificate(_CA.issue_cert("portal.example").cert_chain_pems[0].bytes())
_ROOT = x509.load_pem_x509_certificate(_CA.cert_pem.bytes())


def _der(one: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415  (only here)

    return one.public_bytes(Encoding.DER)


def certificates(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        certificate.not_after(data)
    with contextlib.suppress(ValueError):
        certificate_chain.load(data)


def certificate_seeds() -> list[bytes]:
    return [_der(_LEAF), _der(_ROOT)]


def ca_files(data: bytes) -> None:
    now = dt.datetime.now(dt.UTC)
    with contextlib.suppress(ca_publication.UnreadableError):
        ca_publication.judge(ca_publication.read(data, None), [_ROOT], now)


_ASKED = x509_ocsp.OCSPRequestBuilder().add_certificate(_LEAF, _ROOT, hashes.SHA1()).build()  # noqa: S303  (as OCSP asks)


def ocsp_answers(data: bytes) -> None:
    with contextlib.suppress(ocsp.OcspError):
        ocsp.read(data, _ASKED, _ROOT, dt.datetime.now(dt.UTC))


_QUESTION = timestamp_token.Question(b"data", "sha256")


def time_stamps(data: bytes) -> None:
    with contextlib.suppress(timestamp_token.TokenError):
        _QUESTION.read(data, [_ROOT])


# --- text


def line_protocol_body(data: bytes) -> None:
    for item in line_protocol.decode(data):
        if not isinstance(item, line_protocol.Point):
            continue
        with contextlib.suppress(ValueError):  # a name that ends in a backslash can be read but not written
            line = line_protocol.encode(item)
            assert list(line_protocol.decode(line.encode())) == [item], "what is written is read as the same"


class _NoWriter:
    def write(self, _: bytes) -> None:
        pass

    async def drain(self) -> None:
        pass


_RUNNER = asyncio.Runner()


def http_response(data: bytes) -> None:
    async def converse() -> None:
        reader, writer = asyncio.StreamReader(), _NoWriter()
        reader.feed_data(data)
        reader.feed_eof()
        url = http_exchange.Url.parse("http://portal.example/")
        events = http_exchange._request(url, {}, http_exchange.Options(None, False, None, None, 1000), None)  # noqa: FBT003
        with contextlib.suppress(Unreachable, h11.RemoteProtocolError):
            sink: Any = writer
            response = await http_exchange._converse(Phases(10), reader, sink, events, 1000)
            assert len(response.body) <= 1000

    _RUNNER.run(converse())


def smtp(data: bytes) -> None:
    async def visit() -> None:
        talk = mail_wire.Smtp(lines_of(data))
        with contextlib.suppress(mail_wire.DialogueError, LineError):
            await talk.greet()
            await talk.capabilities()
            await talk.login("user", "password")
            await talk.verify_recipient("a@b.example")
            await talk.leave()

    finish(visit())


def imap(data: bytes) -> None:
    async def visit() -> None:
        talk = mail_wire.Imap(lines_of(data))
        with contextlib.suppress(mail_wire.DialogueError, LineError):
            await talk.greet()
            await talk.capabilities()
            await talk.login("user", "password")
            await talk.leave()

    finish(visit())


def nut(data: bytes) -> None:
    async def ask() -> None:
        with contextlib.suppress(nut_wire.NutError, LineError):
            await nut_wire.variables(lines_of(data), "ups")

    finish(ask())


def plugin_output(data: bytes) -> None:
    found = perfdata.Output.parse(data.decode(errors="replace"))
    assert all(isinstance(value, float) for value in found.metrics().values())


def capacity(data: bytes) -> None:
    with contextlib.suppress(capacity_wire.WireError):
        assert capacity_wire.decode(capacity_wire.encode(capacity_wire.decode(data)))
    capacity_wire.cookie_of(data)
    capacity_wire.read_load(data, 7)
    capacity_wire.read_order(data, 7)


def capacity_seeds() -> list[bytes]:
    load = bytearray(capacity_wire.LOAD_HEADER_BYTES)
    capacity_wire.write_load(load, 7, capacity_wire.Load(1, 2, 3, AT))
    order = capacity_wire.write_order(7, capacity_wire.Order(1, capacity_wire.Do.TRAIN, 10, 10**8))
    return [capacity_wire.encode(capacity_wire.Ping(number=1)), capacity_wire.opening(7), bytes(load), order]


# --- what routers and neighbours send

_V4, _V6 = (socket.AF_INET, ("10.0.0.1", 1)), (socket.AF_INET6, ("fd00::1", 1))
_PROBES = [
    route_probe.IcmpWire(socket.AF_INET, 1),
    route_probe.IcmpWire(socket.AF_INET6, 1),
    route_probe.UdpWire(_V4, _V4),
    route_probe.UdpWire(_V6, _V6),
    route_probe.PlainUdpWire(),
    route_probe.TcpWire(_V4, _V4),
]


def routers(data: bytes) -> None:
    refusals.read_refusal(data)
    for each in _PROBES:
        for number in (each.quoted(data), each.answered(data)):
            assert number is None or 0 <= number < 2**16


def router_seeds() -> list[bytes]:
    return [bytes.fromhex("6f000000020301000000000000000000020000000a00000100000000"), *(p.packet(3) for p in _PROBES)]


def neighbours(data: bytes) -> None:
    lan_frames.take_in(lan_frames.Heard(), data, 7)


_POINTS = b'stamp,site=1,node=n a=1,b=2i,c="x y",d=t 1800000000000000000\n'
_PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_PIECES = _CONTINUE + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nA: b\r\n\r\n"
_SMTP = b"220 hi\r\n250-mail\r\n250 AUTH PLAIN\r\n334 \r\n235 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n221 bye\r\n"
_IMAP = b"* OK hi\r\n* CAPABILITY IMAP4rev1\r\nn1 OK\r\n+ \r\nn2 OK\r\nn3 OK\r\n"
_NUT = b'BEGIN LIST VAR ups\nVAR ups ups.status "OL \\"x\\""\nEND LIST VAR ups\n'
_PLUGIN = b"OK - fine | 'a b'=1.5ms;2;3;0;10 load=0.1\nmore | x=3%\n"
_ARP = bytes.fromhex("ffffffffffff0200000000010806000108000604000202000000000a0a0000010200000000010a000002")

TARGETS: dict[str, Target] = {
    "stamp_packets": Target(stamp_packets, lambda: [seed[1:] for seed in reflector_seeds()]),
    "stamp_extensions": Target(stamp_extensions, lambda: [seed[45:] for seed in reflector_seeds()[:1]]),
    "reflector": Target(reflector, reflector_seeds),
    "dns": Target(dns, dns_seeds),
    "ntp": Target(ntp, lambda: [b"\x24\1\6\xe9" + bytes(44)]),
    "certificates": Target(certificates, certificate_seeds),
    "ca_files": Target(ca_files, lambda: [*certificate_seeds(), _CA.cert_pem.bytes()]),
    "ocsp": Target(ocsp_answers, lambda: [b"\x30\x03\x0a\x01\x06"]),
    "time_stamps": Target(time_stamps, lambda: [b"\x30\x05\x30\x03\x02\x01\x02"]),
    "line_protocol": Target(line_protocol_body, lambda: [_POINTS]),
    "http": Target(http_response, lambda: [_PAGE, _PIECES]),
    "smtp": Target(smtp, lambda: [_SMTP]),
    "imap": Target(imap, lambda: [_IMAP]),
    "nut": Target(nut, lambda: [_NUT, b"ERR DATA-STALE\n"]),
    "plugin_output": Target(plugin_output, lambda: [_PLUGIN]),
    "capacity": Target(capacity, capacity_seeds),
    "routers": Target(routers, router_seeds),
    "neighbours": Target(neighbours, lambda: [_ARP]),
}
