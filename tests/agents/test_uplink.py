"""The wire, over real sockets: what is sent, and what becomes of a batch after each answer."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

import pytest
import trustme

from agents.config import Collector
from agents.delivery import Delivery
from agents.spool import Batch, Spool
from agents.uplink import Answer, Fate, Uplink
from checks.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.agents.conftest import FakeCollector

BATCH = Batch(7, b"m,site=31120 f=1 5\n")


def uplink_to(url: str, ca_file: Path | None = None, timeout_seconds: float = 10) -> Uplink:
    collector = Collector(
        url=url,
        token_file="/unused",
        ca_file=None if ca_file is None else str(ca_file),
        timeout_seconds=timeout_seconds,
    )
    return Uplink(collector, Secret("s3cret"), "a1b2", clock=lambda: 1_700_000_000_000_000_000)


@pytest.fixture
def uplink(collector: FakeCollector) -> Iterator[Uplink]:
    link = uplink_to(collector.url)
    yield link
    link.close()


def test_a_batch_is_sent_as_the_contract_says(collector: FakeCollector, uplink: Uplink) -> None:
    assert uplink.send(BATCH) == Answer(Fate.TAKEN)
    (upload,) = collector.uploads
    assert upload.path == "/api/v2/write?org=nhip&bucket=nhip&precision=ns"
    assert upload.token == "Token s3cret"
    assert (upload.agent, upload.sequence, upload.sent_at) == ("a1b2", 7, 1_700_000_000_000_000_000)
    assert (upload.lines, upload.packed) == (["m,site=31120 f=1 5"], False)


def test_batches_share_one_connection_and_long_ones_are_packed(collector: FakeCollector, uplink: Uplink) -> None:
    long = Batch(8, b"m,site=31120 f=1 5\n" * 100)
    assert [uplink.send(batch).fate for batch in (BATCH, long, BATCH)] == [Fate.TAKEN] * 3
    assert [upload.packed for upload in collector.uploads] == [False, True, False]
    assert len(collector.uploads[1].lines) == 100
    assert collector.connections == 1


def test_a_connection_that_the_server_closed_while_idle_is_opened_again(
    collector: FakeCollector, uplink: Uplink, until: Callable[..., None]
) -> None:
    collector.manner.close = True
    for _ in range(3):
        assert uplink.send(BATCH).fate is Fate.TAKEN
    until(lambda: collector.connections == 3)


INVALID = b'{"code":"invalid","message":"line 1: field f has no value","line":1}'


@pytest.mark.parametrize(
    ("status", "body", "headers", "answer"),
    [
        (
            400,
            INVALID,
            {},
            Answer(Fate.PARTLY_REFUSED, "the collector answers 400: line 1: field f has no value"),
        ),
        (400, b"<html>a proxy's own</html>", {}, Answer(Fate.LATER, "the collector answers 400")),
        (
            401,
            b'{"code":"unauthorized","message":"unknown token"}',
            {},
            Answer(
                Fate.LATER,
                "the collector answers 401: unknown token; is the token in token_file the one made for this site?",
            ),
        ),
        (404, b"", {}, Answer(Fate.LATER, "the collector answers 404")),
        (413, b"", {}, Answer(Fate.TOO_LARGE, "the collector answers 413")),
        (429, b"", {"Retry-After": "7"}, Answer(Fate.LATER, "the collector answers 429", 7.0)),
        (503, b"", {"Retry-After": "soon"}, Answer(Fate.LATER, "the collector answers 503")),
        (503, b"[" * 100_000, {}, Answer(Fate.LATER, "the collector answers 503")),
    ],
)
def test_each_answer_has_its_meaning(
    collector: FakeCollector, uplink: Uplink, status: int, body: bytes, headers: dict[str, str], answer: Answer
) -> None:
    collector.manner.status, collector.manner.body, collector.manner.headers = status, body, headers
    assert uplink.send(BATCH) == answer
    collector.manner.status, collector.manner.headers = 204, {}
    assert uplink.send(BATCH) == Answer(Fate.TAKEN)


def test_a_line_that_is_cut_is_told_in_words(collector: FakeCollector, uplink: Uplink) -> None:
    collector.manner.cut = True
    assert uplink.send(BATCH) == Answer(Fate.LATER, "the collector closed the connection without an answer")
    assert len(collector.uploads) == 1  # only a connection that had been idle is tried again


def test_nobody_at_the_port_is_told_in_words(collector: FakeCollector) -> None:
    collector.stop()
    assert uplink_to(collector.url).send(BATCH) == Answer(
        Fate.LATER, "the collector cannot be reached: Connection refused"
    )


def test_a_collector_that_hangs_is_given_up_in_time(collector: FakeCollector) -> None:
    collector.manner.hang_seconds = 60
    link = uplink_to(collector.url, timeout_seconds=0.2)
    assert link.send(BATCH) == Answer(Fate.LATER, "the collector does not answer in time")


def test_an_attempt_that_hangs_can_be_ended_from_outside(collector: FakeCollector, until: Callable[..., None]) -> None:
    collector.manner.hang_seconds = 60
    link = uplink_to(collector.url, timeout_seconds=60)
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(link.send(BATCH)))
    thread.start()
    until(lambda: collector.uploads)
    link.abort()
    thread.join(10)
    assert [answer.fate for answer in answers] == [Fate.LATER]


def test_a_server_that_speaks_no_http_is_told_in_words(start_bad_server: int) -> None:
    answer = uplink_to(f"http://127.0.0.1:{start_bad_server}").send(BATCH)
    assert answer == Answer(Fate.LATER, "the collector's answer makes no sense: BadStatusLine")


@pytest.fixture
def start_bad_server() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(server.getsockname()[1])
        thread.join(10)


def test_a_certificate_is_trusted_by_its_authority_and_no_other(
    start_collector: Callable[..., FakeCollector], tmp_path: Path
) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = start_collector(tls=context)
    for name, ca in (("good.pem", authority), ("bad.pem", stranger)):
        ca.cert_pem.write_to_path(str(tmp_path / name))
    good = uplink_to(server.url, tmp_path / "good.pem")
    assert good.send(BATCH).fate is Fate.TAKEN
    good.close()
    answer = uplink_to(server.url, tmp_path / "bad.pem").send(BATCH)
    assert answer.words.startswith("the collector's certificate is not trusted: ")


class Line:
    """A spool and its delivery to a collector, with what they said."""

    def __init__(self, path: Path, url: str) -> None:
        self.said: list[str] = []
        self.spool = Spool(path, max_bytes=1 << 30, drop="oldest", say=self.said.append)
        self.delivery = Delivery(self.spool, uplink_to(url), say=self.said.append)
        self.delivery.start()

    def write(self, *lines: str) -> None:
        self.spool.add(lines)
        self.delivery.wake()

    def close(self) -> None:
        self.delivery.stop(5)
        self.spool.close()


@pytest.fixture
def line(tmp_path: Path, collector: FakeCollector) -> Iterator[Line]:
    opened = Line(tmp_path / "spool.sqlite", collector.url)
    yield opened
    opened.close()


def test_a_backlog_drains_oldest_first_and_exactly_in_order(
    tmp_path: Path, collector: FakeCollector, start_collector: Callable[..., FakeCollector], until: Callable[..., None]
) -> None:
    collector.stop()
    line = Line(tmp_path / "spool.sqlite", collector.url)
    written = [f"m f={n} {'x' * 200}" for n in range(3000)]
    for start in range(0, 3000, 10):
        line.write(*written[start : start + 10])
    until(lambda: line.said)
    again = start_collector(collector.port)
    until(lambda: line.spool.counters().batches == 0)
    assert again.lines == written
    sequences = [upload.sequence for upload in again.uploads]
    assert sequences == sorted(set(sequences))
    assert len(sequences) <= 12
    assert line.said == [
        "the collector cannot be reached: Connection refused; results wait on disk",
        "the collector takes results again",
    ]
    line.close()


def test_lines_that_are_refused_are_said_and_not_sent_again(
    collector: FakeCollector, line: Line, until: Callable[..., None]
) -> None:
    collector.manner.status, collector.manner.body = 400, INVALID
    line.write("m f=")
    until(lambda: line.delivery.refused_batches == 1)
    assert line.spool.counters().batches == 0
    assert line.said == [
        "the collector answers 400: line 1: field f has no value; the lines it refused are not sent again"
    ]


def test_a_wrong_token_is_said_once_and_the_results_wait(
    collector: FakeCollector, line: Line, until: Callable[..., None]
) -> None:
    collector.manner.status = 401
    line.write("m f=1")
    until(lambda: len(collector.uploads) >= 3)
    collector.manner.status = 204
    until(lambda: line.spool.counters().batches == 0)
    assert collector.lines == ["m f=1"]
    assert len({upload.sequence for upload in collector.uploads}) == 1
    assert [words[:25] for words in line.said] == ["the collector answers 401", "the collector takes resul"]


def test_a_batch_that_is_too_large_is_halved_until_it_fits_and_a_single_line_is_given_up(
    collector: FakeCollector, line: Line, until: Callable[..., None]
) -> None:
    collector.manner.most_bytes = 500
    short = [f"m f={n}" for n in range(100)]
    line.write(*short[:50], "m f=" + "9" * 600, *short[50:])
    until(lambda: line.spool.counters().batches == 0)
    assert sorted(collector.lines) == sorted(short)
    assert line.spool.counters().dropped_batches == 1
    sequences = [upload.sequence for upload in collector.uploads]
    assert sequences == sorted(set(sequences))


def test_a_collector_that_asks_for_time_gets_it(
    collector: FakeCollector, line: Line, until: Callable[..., None]
) -> None:
    collector.manner.status, collector.manner.headers = 429, {"Retry-After": "2"}
    began = time.monotonic()
    line.write("m f=1")
    until(lambda: collector.uploads)
    collector.manner.status, collector.manner.headers = 204, {}
    until(lambda: collector.taken)
    assert time.monotonic() - began >= 2  # a lower bound: however slow the machine, it must not come back sooner


def test_an_attempt_that_a_server_drags_out_is_broken_off(
    collector: FakeCollector, line: Line, until: Callable[..., None]
) -> None:
    collector.manner.hang_seconds = 60
    line.write("m f=1")
    until(lambda: collector.uploads)
    line.delivery.end_attempt_older_than(0)
    until(lambda: line.said)
    collector.manner.hang_seconds = 0
    until(lambda: collector.taken)
    assert collector.lines == ["m f=1"]


def test_another_uplink_takes_over_at_once(
    collector: FakeCollector, line: Line, start_collector: Callable[..., FakeCollector], until: Callable[..., None]
) -> None:
    collector.manner.status, collector.manner.headers = 503, {"Retry-After": "300"}
    line.write("m f=1")
    until(lambda: line.said)
    other = start_collector()
    line.delivery.use(uplink_to(other.url))
    until(lambda: other.taken)
    assert other.lines == ["m f=1"]


def test_the_token_shows_itself_to_no_one_by_accident() -> None:
    token = Secret("s3cret")
    assert "s3cret" not in f"{token} {token!r} {[token]} {token:>20} {token!s}"
    assert token.reveal() == "s3cret"
