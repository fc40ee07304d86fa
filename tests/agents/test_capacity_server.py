"""The capacity server, asked by clients that do not keep to the rules: words and a count for each, and nothing more."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from agents.reflector.capacity_server import CapacityLimits, CapacityServer
from checks import capacity_wire as wire
from checks.address import literal
from checks.capacity_wire import Accept, Ask, Begin, Data, Do, Done, Greeting, Order, Ping, Refuse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

NONCE = "0123456789abcdef" * 2
KEY = b"k" * 32
LIMITS = CapacityLimits(bytes=300_000, seconds=3.0, tests_per_hour=5)
GREEDY = Order(1, Do.TRAIN, 2**32 - 1, 2**64 - 1)
ASK = Ask(NONCE, "udp", "down", 1000, 10**9, 3.0)


@contextlib.asynccontextmanager
async def serving(
    limits: CapacityLimits = LIMITS, keys: dict[int, bytes] | None = None
) -> AsyncIterator[CapacityServer]:
    server = CapacityServer([literal("127.0.0.1", 0)[0]], limits=limits, keys=keys)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class Client:
    """A client by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def hear(self) -> wire.Message:
        async with asyncio.timeout(20):
            return wire.decode(await self.reader.readuntil(b"\n"))

    async def say(self, message: wire.Message | bytes) -> None:
        self.writer.write(message if isinstance(message, bytes) else wire.encode(message))
        await self.writer.drain()

    async def ask(self, message: wire.Message | bytes) -> wire.Message:
        await self.say(message)
        return await self.hear()

    async def is_closed(self) -> bool:
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read(1) == b""
            return True


@contextlib.asynccontextmanager
async def client(server: CapacityServer) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.ports[0])
    talking = Client(reader, writer)
    assert isinstance(await talking.hear(), Greeting)
    try:
        yield talking
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


def udp(server: CapacityServer, address: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)  # noqa: FBT003  (the socket module takes no keyword here)
    sock.bind((address, 0))
    sock.connect(("127.0.0.1", server.ports[0]))
    return sock


async def answer(sock: socket.socket, seconds: float = 10) -> bytes | None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            return await asyncio.get_running_loop().sock_recv(sock, 9000)
    return None


async def done_after(talking: Client, own: socket.socket, order: bytes) -> wire.Message:
    """Give an order again and again, as a receiver does, until the test is done."""
    hearing = asyncio.ensure_future(talking.hear())
    while not hearing.done():
        with contextlib.suppress(OSError):
            own.send(order)
        await asyncio.sleep(0.02)
    return await hearing


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\n",
        b'{"say":"ask"}\n',
        b'{"say":"accept","cookie":1,"bytes":1,"seconds":1}\n',
        b"[" * 2000 + b"\n",
        b"x" * 100_000,
        wire.encode(ASK)[:40] + b"\n",
        wire.encode(Ping(1)),
    ],
)
async def test_what_is_no_request_is_refused_with_words_and_counted(line: bytes) -> None:
    async with serving() as server, client(server) as talking:
        refusal = await talking.ask(line)
        assert isinstance(refusal, Refuse)
        assert refusal.words
        assert await talking.is_closed()
        assert server.counts == {"refused_malformed": 1}


async def test_a_request_that_breaks_off_leaves_nothing_behind(until_async: Callable[..., Awaitable[None]]) -> None:
    async with serving() as server:
        for cut in range(0, 150, 15):
            async with client(server) as talking:
                await talking.say(wire.encode(ASK)[:cut])
                talking.writer.write_eof()
        await until_async(lambda: server.counts["broken_connections"] == 10)
        assert not server._tasks


async def test_the_second_test_is_told_when_to_come_back() -> None:
    async with serving() as server, client(server) as first, client(server) as second:
        assert isinstance(await first.ask(ASK), Accept)
        refusal = await second.ask(ASK)
        assert isinstance(refusal, Refuse)
        assert refusal.words.startswith("another test runs here; come back in ")
        assert refusal.retry_after_seconds is not None
        assert 0 < refusal.retry_after_seconds <= 20
        assert server.counts == {"tests": 1, "refused_busy": 1}


async def test_a_test_that_is_broken_off_makes_room_for_the_next(until_async: Callable[..., Awaitable[None]]) -> None:
    async with serving() as server:
        async with client(server) as first:
            assert isinstance(await first.ask(ASK), Accept)
        await until_async(lambda: server._session is None)
        async with client(server) as second:
            assert isinstance(await second.ask(ASK), Accept)


async def test_a_source_has_so_many_tests_an_hour(until_async: Callable[..., Awaitable[None]]) -> None:
    async with serving(CapacityLimits(tests_per_hour=2)) as server:
        for _ in range(2):
            async with client(server) as talking:
                assert isinstance(await talking.ask(ASK), Accept)
            await until_async(lambda: server._session is None)
        async with client(server) as talking:
            refusal = await talking.ask(ASK)
        assert isinstance(refusal, Refuse)
        assert refusal.words.startswith("2 tests an hour from one address are the most; come back in 3")


async def test_who_does_not_have_the_key_gets_no_test() -> None:
    async with serving(keys={7: KEY}) as server:
        for ask in (ASK, Ask(NONCE, "udp", "down", 1000, 1000, 1.0, ssid=7, proof="0" * 64)):
            async with client(server) as talking:
                refusal = await talking.ask(ask)
                assert isinstance(refusal, Refuse)
                assert refusal.words == "this server needs a key: ssid and key_file must be those that it knows"
        assert server.counts == {"refused_unproven": 2}


async def test_a_proof_heard_on_the_way_is_of_no_use_to_another() -> None:
    async with serving(keys={7: KEY}) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.ports[0])
        greeting = wire.decode(await reader.readline())
        assert isinstance(greeting, Greeting)
        ask = Ask(NONCE, "udp", "down", 1000, 1000, 1.0, ssid=7)
        proven = Ask(NONCE, "udp", "down", 1000, 1000, 1.0, ssid=7, proof=wire.proof_of_ask(KEY, greeting.nonce, ask))
        async with client(server) as other:
            assert isinstance(await other.ask(proven), Refuse)
        writer.write(wire.encode(proven))
        accept = wire.decode(await reader.readline())
        assert isinstance(accept, Accept)
        assert accept.proof == wire.proof_of_accept(KEY, NONCE, accept)
        writer.transport.abort()


async def test_datagrams_that_nobody_asked_for_are_never_answered(until_async: Callable[..., Awaitable[None]]) -> None:
    async with serving() as server:
        with udp(server) as stranger:
            order = wire.write_order(5, Order(1, Do.PULSE, 1000, 0))
            for data in (b"", b"x" * 9000, wire.opening(5), order):
                stranger.send(data)
            await until_async(lambda: server.counts["refused_datagrams"] == 4)
            assert await answer(stranger, 0.2) is None


async def test_a_cookie_is_of_no_use_from_another_address(until_async: Callable[..., Awaitable[None]]) -> None:
    async with serving() as server, client(server) as talking:
        accept = await talking.ask(ASK)
        assert isinstance(accept, Accept)
        with udp(server, "127.0.0.2") as other, udp(server) as own:
            other.send(wire.opening(accept.cookie))
            await until_async(lambda: server.counts["refused_datagrams"] == 1)
            assert await answer(other, 0.2) is None
            own.send(wire.opening(accept.cookie))
            opened = await answer(own)
        assert opened is not None
        assert len(opened) <= len(wire.opening(accept.cookie)), "nothing is amplified"


async def test_no_byte_flows_before_the_cookie_has_come_by_udp() -> None:
    async with serving() as server, client(server) as talking:
        assert isinstance(await talking.ask(ASK), Accept)
        done = await talking.ask(Begin("down"))
        assert done == Done("down", words="no UDP arrived here from the address of the control connection")


async def test_no_order_takes_more_than_the_caps() -> None:
    async with serving() as server, client(server) as talking:
        accept = await talking.ask(ASK)
        assert isinstance(accept, Accept)
        assert (accept.bytes, accept.seconds) == (300_000, 3.0)
        with udp(server) as own:
            own.send(wire.opening(accept.cookie))
            await answer(own)
            await talking.say(Begin("down"))
            done = await done_after(talking, own, wire.write_order(accept.cookie, GREEDY))
        assert isinstance(done, Done)
        assert done.figures["packets"] == 300
        assert server.counts["bytes_sent"] == 300_000


async def test_a_client_that_falls_silent_stops_the_flow() -> None:
    async with serving(CapacityLimits(seconds=60.0)) as server, client(server) as talking:
        accept = await talking.ask(Ask(NONCE, "udp", "down", 1000, 10**8, 60.0))
        assert isinstance(accept, Accept)
        with udp(server) as own:
            own.send(wire.opening(accept.cookie))
            await answer(own)
            await talking.say(Begin("down"))
            own.send(wire.write_order(accept.cookie, Order(1, Do.TRAIN, 0, 1_000_000)))
            await asyncio.sleep(0.1)  # the first may have come before the test listened, like any packet that is lost
            own.send(wire.write_order(accept.cookie, Order(1, Do.TRAIN, 0, 1_000_000)))
            done = await talking.hear()
        assert isinstance(done, Done)
        assert done.words == "the other end fell silent"
        assert done.figures["packets"] < 1000, "a second of 1 Mbit/s, and not a minute"


async def test_the_end_of_the_control_connection_ends_the_flow(until_async: Callable[..., Awaitable[None]]) -> None:
    async with serving(CapacityLimits(seconds=60.0)) as server:
        async with client(server) as talking:
            accept = await talking.ask(Ask(NONCE, "udp", "up", 1000, 10**8, 60.0))
            assert isinstance(accept, Accept)
            with udp(server) as own:
                own.send(wire.opening(accept.cookie))
                await answer(own)
                await talking.say(Begin("up"))
                assert await answer(own) is not None, "an order: the receiver runs"
        await until_async(lambda: server._session is None)


async def test_nobody_else_takes_part_in_a_test() -> None:
    async with serving() as server, client(server) as talking, client(server) as other, client(server) as third:
        accept = await talking.ask(ASK)
        assert isinstance(accept, Accept)
        assert await other.ask(Data(accept.cookie ^ 1, "down")) == Refuse("no such test runs here")
        assert await third.ask(Data(accept.cookie, "down")) == Refuse("this test is not over TCP")


async def test_a_direction_is_run_once_and_only_if_asked_for() -> None:
    async with serving() as server:
        async with client(server) as talking:
            assert isinstance(await talking.ask(ASK), Accept)
            assert await talking.ask(Begin("up")) == Refuse("the direction up was not asked for")
        async with client(server) as talking:
            assert isinstance(await talking.ask(ASK), Accept)
            assert isinstance(await talking.ask(Begin("down")), Done)
            again = await talking.ask(Begin("down"))
            assert again == Refuse("within a test there are begin, once for each direction, and ping")


async def test_a_crowd_is_turned_away_at_the_door() -> None:
    async with serving(CapacityLimits(connections=4)) as server, contextlib.AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(client(server))
        reader, writer = await asyncio.open_connection("127.0.0.1", server.ports[0])
        assert await Client(reader, writer).is_closed()
        assert server.counts["refused_crowded"] == 1
        writer.transport.abort()


async def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    async with serving() as server:
        second = CapacityServer([literal("127.0.0.1", server.ports[0])[0]])
        with pytest.raises(OSError, match="in use"):
            await second.start()
