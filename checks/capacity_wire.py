"""What a capacity test says on the wire: lines of JSON over TCP, and three kinds of datagram.

The control connection carries one JSON object a line, at most `LONGEST_LINE` bytes. Datagrams begin with a magic
number, their kind and the test's cookie, which only the two ends of the control connection know:

* OPEN: "here I am", from the client; the server answers with the same, so nothing is amplified;
* LOAD: a packet of the test itself, with its sequence number, the order that it obeys and when it was sent;
* ORDER: what the receiver wants next: so many packets at once, a train at a rate, or an end.

Everything here comes from strangers: whatever is not exactly as described is `None` or `WireError`, and costs nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from enum import IntEnum
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

VERSION = 1
LONGEST_LINE = 2048
MOST_COOKIE = (1 << 62) - 1
HEADERS_BYTES = {4: 28, 6: 48}  # IP and UDP, which an IP-layer rate counts (RFC 9097, 6.3)
SMALLEST_PACKET, LARGEST_PACKET = 88, 9000  # the smallest: IPv6, UDP and the head of a LOAD

_MAGIC = b"NhCa"
_HEAD = struct.Struct("!4sBxxxQ")
_LOAD = struct.Struct("!4sBxxxQIIIxxxxQ")
_ORDER = struct.Struct("!4sBxxxQIBxxxIxxxxQ")
OPEN_BYTES = LOAD_HEADER_BYTES = _LOAD.size
ORDER_BYTES = _ORDER.size

Hex = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
Digest = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$")]
Count = Annotated[int, Meta(ge=0, le=1 << 50)]
Amount = Annotated[float, Meta(ge=0, le=1e15)]
Words = Annotated[str, Meta(max_length=400)]


class WireError(ValueError):
    """A line that is no message: `str` says what is wrong with it."""


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="say"):
    """One line of the control connection."""


class Greeting(_Message, frozen=True, tag="greeting"):
    """The server's first words: its version, and a number to sign."""

    version: int
    nonce: Hex
    key_needed: bool


class Ask(_Message, frozen=True, tag="ask"):
    """What a client wants, signed over both nonces where the server needs a key."""

    nonce: Hex
    mode: Literal["udp", "tcp"]
    direction: Literal["up", "down", "both"]
    packet_bytes: Annotated[int, Meta(ge=SMALLEST_PACKET, le=LARGEST_PACKET)]
    bytes: Annotated[int, Meta(ge=1, le=1 << 40)]
    seconds: Annotated[float, Meta(gt=0, le=3600)]
    version: int = VERSION
    ssid: Annotated[int, Meta(ge=0, le=65_535)] = 0
    proof: Digest = ""


class Accept(_Message, frozen=True, tag="accept"):
    """The server agrees: the test's cookie, and the caps that hold; signed where there is a key."""

    cookie: Annotated[int, Meta(ge=0, le=MOST_COOKIE)]
    bytes: Count
    seconds: Amount
    proof: Digest = ""


class Refuse(_Message, frozen=True, tag="refuse"):
    """The server does not, and says why; `retry_after_seconds` if it would later."""

    words: Words
    retry_after_seconds: Amount | None = None


class Begin(_Message, frozen=True, tag="begin"):
    """The client is ready for one direction."""

    direction: Literal["up", "down"]


class Done(_Message, frozen=True, tag="done"):
    """What the server found or spent in a direction, as figures; `words` where it failed."""

    direction: Literal["up", "down"]
    figures: dict[Annotated[str, Meta(max_length=64)], Amount] = {}
    words: Words = ""


class Data(_Message, frozen=True, tag="data"):
    """First line of a TCP connection that carries load one way, or probes, for the test with this cookie."""

    cookie: Annotated[int, Meta(ge=0, le=MOST_COOKIE)]
    role: Literal["up", "down", "probe"]


class Ping(_Message, frozen=True, tag="ping"):
    """A small question under load; the server sends the same back."""

    number: Annotated[int, Meta(ge=0, le=1 << 31)]


Message = Greeting | Ask | Accept | Refuse | Begin | Done | Data | Ping
_DECODER = msgspec.json.Decoder(Message)


def encode(message: Message) -> bytes:
    """Write a message as a line."""
    return msgspec.json.encode(message) + b"\n"


def decode(line: bytes) -> Message:
    """Read a line; `WireError` for what is no message of ours."""
    try:
        message: Message = _DECODER.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise WireError(f"not a message of a capacity test: {exc}"[:200]) from None
    return message


def proof_of_ask(key: bytes, server_nonce: str, ask: Ask) -> str:
    """Sign a request: HMAC-SHA-256 over the server's nonce and the request without its proof."""
    plain = msgspec.json.encode(msgspec.structs.replace(ask, proof=""))
    return hmac.new(key, b"ask" + server_nonce.encode() + plain, hashlib.sha256).hexdigest()


def proof_of_accept(key: bytes, client_nonce: str, accept: Accept) -> str:
    """Sign an agreement, so that the client knows whose figures it will get."""
    plain = msgspec.json.encode(msgspec.structs.replace(accept, proof=""))
    return hmac.new(key, b"accept" + client_nonce.encode() + plain, hashlib.sha256).hexdigest()


def same(one: str, other: str) -> bool:
    """Compare two proofs in a time that tells nothing."""
    return hmac.compare_digest(one, other)


class Kind(IntEnum):
    """What a datagram is."""

    OPEN = 1
    LOAD = 2
    ORDER = 3


class Load(NamedTuple):
    """A packet of the test. `place` counts within the order; `sent_at` is the sender's clock, nanoseconds."""

    sequence: int
    order: int
    place: int
    sent_at: int


class Do(IntEnum):
    """What an order asks for."""

    STOP = 0
    PULSE = 1
    TRAIN = 2


class Order(NamedTuple):
    """What the receiver wants: `PULSE`: `packets` at once; `TRAIN`: `packets` at once, then a `rate` (IP bit/s)."""

    number: int
    do: Do
    packets: int
    rate: int


def opening(cookie: int) -> bytes:
    """Write an OPEN datagram."""
    return _HEAD.pack(_MAGIC, Kind.OPEN, cookie).ljust(OPEN_BYTES, b"\0")


def is_opening(data: bytes, cookie: int | None = None) -> bool:
    """Tell whether `data` is an OPEN, of this test if a cookie is given."""
    if len(data) != OPEN_BYTES:
        return False
    magic, kind, its = _HEAD.unpack_from(data)
    return bool(magic == _MAGIC and kind == Kind.OPEN and cookie in (None, its))


def cookie_of(data: bytes) -> int | None:
    """Return the cookie of an OPEN, or None for anything else."""
    return int(_HEAD.unpack_from(data)[2]) if is_opening(data) else None


def write_load(buffer: bytearray, cookie: int, load: Load) -> None:
    """Write a packet's head into the buffer that is sent again and again."""
    _LOAD.pack_into(buffer, 0, _MAGIC, Kind.LOAD, cookie, *load)


def read_load(data: bytes | memoryview, cookie: int) -> Load | None:
    """Read a packet of this test, or return None."""
    if len(data) < LOAD_HEADER_BYTES:
        return None
    magic, kind, its, sequence, order, place, sent_at = _LOAD.unpack_from(data)
    if magic != _MAGIC or kind != Kind.LOAD or its != cookie:
        return None
    return Load(sequence, order, place, sent_at)


def write_order(cookie: int, order: Order) -> bytes:
    """Write an order."""
    return _ORDER.pack(_MAGIC, Kind.ORDER, cookie, *order)


def read_order(data: bytes, cookie: int) -> Order | None:
    """Read an order of this test, or return None."""
    if len(data) != ORDER_BYTES:
        return None
    magic, kind, its, number, do, packets, rate = _ORDER.unpack_from(data)
    if magic != _MAGIC or kind != Kind.ORDER or its != cookie or do not in (Do.STOP, Do.PULSE, Do.TRAIN):
        return None
    return Order(number, Do(do), packets, rate)
