"""The part of the DNS wire format (RFC 1035) that a probe needs: write one question, read its answers.

Our own, because an agent lives on small machines: dnspython costs it 4 to 6 MB of memory (measured), this file 0.1 MB.
Everything read here comes from strangers: no length is believed, and a compression pointer only ever leads backwards.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

TYPES = {
    "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "CAA": 257,
}  # fmt: skip
RCODES = {"NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5}

_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")
_TWO = struct.Struct("!HH")
_RESPONSE, _TRUNCATED, _RECURSE = 0x8000, 0x0200, 0x0100
_INTERNET = 1
_LONGEST_LABEL, _LONGEST_NAME = 63, 255
_POINTER = 0xC0


class WireError(ValueError):
    """Bytes that are not a DNS message, or a name that none can hold: `str` says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """One answer: its type, how long it may be kept (seconds), and its data as people write it."""

    type: int
    ttl_seconds: int
    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """A response. `answers` are those of the asked type; `ttl_seconds` is the least of the whole chain, if any."""

    rcode: int
    truncated: bool
    answers: tuple[Record, ...]
    ttl_seconds: int | None


def encode_name(name: str) -> bytes:
    """Return a name as labels. `WireError` for one that DNS cannot hold; other alphabets go by IDNA."""
    wire = b""
    for label in name.rstrip(".").split(".") if name.rstrip(".") else []:
        try:
            data = label.encode("ascii") if label.isascii() else label.encode("idna")
        except UnicodeError:
            raise WireError(f"{label!r} cannot be part of a name") from None
        if not 0 < len(data) <= _LONGEST_LABEL:
            raise WireError(f"{name!r} has {'an empty part' if not data else 'a part of more than 63 bytes'}")
        wire += bytes([len(data)]) + data
    if len(wire) + 1 > _LONGEST_NAME:
        raise WireError(f"{name!r} is longer than 255 bytes")
    return wire + b"\0"


def encode_question(id_: int, name: bytes, type_: int) -> bytes:
    """Return a query for `name` (of `encode_name`) that asks the server to resolve it to the end."""
    return _HEADER.pack(id_, _RECURSE, 1, 0, 0, 0) + name + _TWO.pack(type_, _INTERNET)


def decode(data: bytes, id_: int, name: bytes, type_: int) -> Message | None:
    """Read the response to one question. None when it answers another; `WireError` when it is not DNS."""
    if len(data) < _HEADER.size:
        raise WireError(f"only {len(data)} bytes")
    got_id, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
    if got_id != id_ or not flags & _RESPONSE:
        return None
    rcode, truncated = flags & 0x0F, bool(flags & _TRUNCATED)
    at = _HEADER.size
    if questions == 1:
        asked, at = _name(data, at)
        if at + _TWO.size > len(data):
            raise WireError("the question is cut short")
        if _lower(asked) != _lower(_name(name, 0)[0]) or _TWO.unpack_from(data, at) != (type_, _INTERNET):
            return None
        at += _TWO.size
    elif questions or rcode == 0:  # a server that cannot read a question may answer without it, but not with success
        return None
    if truncated:
        return Message(rcode, truncated=True, answers=(), ttl_seconds=None)
    records = _records(data, at, answers)
    least = min((record.ttl_seconds for record in records), default=None)
    return Message(rcode, truncated, tuple(record for record in records if record.type == type_), least)


def _records(data: bytes, at: int, count: int) -> list[Record]:
    records = []
    for _ in range(count):
        _, at = _name(data, at)
        if at + _RECORD.size > len(data):
            raise WireError("a record is cut short")
        type_, class_, ttl, length = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        if at + length > len(data):
            raise WireError("a record is longer than the message")
        if class_ == _INTERNET:
            records.append(Record(type_, ttl, _text(data, at, at + length, type_)))
        at += length
    return records


def _name(data: bytes, at: int) -> tuple[list[bytes], int]:
    """Read a name at `at`; return its labels and where the data goes on. Pointers lead backwards, so they end."""
    labels: list[bytes] = []
    after = None
    earliest = at
    size = 1
    while True:
        if at >= len(data):
            raise WireError("a name is cut short")
        length = data[at]
        if length & _POINTER == _POINTER:
            if at + 2 > len(data):
                raise WireError("a name is cut short")
            after = at + 2 if after is None else after
            at = int.from_bytes(data[at : at + 2], "big") & 0x3FFF
            if at >= earliest:
                raise WireError("a name points forwards or at itself")
            earliest = at
            continue
        if length > _LONGEST_LABEL:
            raise WireError("a name has a label of an unknown kind")
        if length == 0:
            return labels, at + 1 if after is None else after
        label = data[at + 1 : at + 1 + length]
        size += length + 1
        if len(label) < length or size > _LONGEST_NAME:
            raise WireError("a name is cut short" if len(label) < length else "a name is longer than 255 bytes")
        labels.append(label)
        at += length + 1


def _lower(labels: list[bytes]) -> list[bytes]:
    return [label.lower() for label in labels]


def _printable(data: bytes, special: str) -> str:
    """Write bytes as zone files do: a backslash before a special character, three digits for an unprintable one."""
    written = []
    for byte in data:
        char = chr(byte)
        if char in special:
            written.append("\\" + char)
        else:
            written.append(char if 0x20 <= byte < 0x7F else f"\\{byte:03d}")  # noqa: PLR2004  (printable ASCII)
    return "".join(written)


def _label(label: bytes) -> str:
    return _printable(label, '"().;\\@$').replace(" ", "\\032")


def _text(data: bytes, at: int, end: int, type_: int) -> str:
    """Write a record's data as people do; `WireError` when it does not fill its length exactly."""
    writer = _WRITERS.get(type_)
    if writer is None:
        return data[at:end].hex()
    text, stop = writer(data, at, end)
    if stop != end:
        raise WireError("a record's data does not have the length it states")
    return text


def _fixed(data: bytes, at: int, end: int, size: int) -> bytes:
    if at + size > end:
        raise WireError("a record's data is cut short")
    return data[at : at + size]


def _host(data: bytes, at: int, _end: int) -> tuple[str, int]:
    labels, at = _name(data, at)
    return ".".join(map(_label, labels)) or ".", at


def _ipv4(data: bytes, at: int, end: int) -> tuple[str, int]:
    return socket.inet_ntop(socket.AF_INET, _fixed(data, at, end, 4)), at + 4


def _ipv6(data: bytes, at: int, end: int) -> tuple[str, int]:
    return socket.inet_ntop(socket.AF_INET6, _fixed(data, at, end, 16)), at + 16


def _numbers_and_host(count: int) -> Callable[[bytes, int, int], tuple[str, int]]:
    def write(data: bytes, at: int, end: int) -> tuple[str, int]:
        numbers = struct.unpack(f"!{count}H", _fixed(data, at, end, 2 * count))
        host, stop = _host(data, at + 2 * count, end)
        return f"{' '.join(map(str, numbers))} {host}", stop

    return write


def _soa(data: bytes, at: int, end: int) -> tuple[str, int]:
    server, at = _host(data, at, end)
    mailbox, at = _host(data, at, end)
    numbers = struct.unpack("!5I", _fixed(data, at, end, 20))
    return f"{server} {mailbox} {' '.join(map(str, numbers))}", at + 20


def _strings(data: bytes, at: int, end: int) -> tuple[str, int]:
    """Join the strings of a TXT record, as its readers do (RFC 7208, 3.3), without quotes."""
    parts = []
    while at < end:
        parts.append(_fixed(data, at + 1, end, data[at]))
        at += 1 + data[at]
    return _printable(b"".join(parts), "\\"), at


def _caa(data: bytes, at: int, end: int) -> tuple[str, int]:
    flags, size = _fixed(data, at, end, 2)
    tag = _fixed(data, at + 2, end, size)
    return f'{flags} {_printable(tag, "")} "{_printable(data[at + 2 + size : end], chr(34) + chr(92))}"', end


_WRITERS: dict[int, Callable[[bytes, int, int], tuple[str, int]]] = {
    TYPES["A"]: _ipv4,
    TYPES["AAAA"]: _ipv6,
    TYPES["NS"]: _host,
    TYPES["CNAME"]: _host,
    TYPES["PTR"]: _host,
    TYPES["MX"]: _numbers_and_host(1),
    TYPES["SRV"]: _numbers_and_host(3),
    TYPES["SOA"]: _soa,
    TYPES["TXT"]: _strings,
    TYPES["CAA"]: _caa,
}
