"""Sending: once, in order, whatever a channel does; and nobody waits for a channel that hangs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal

import pytest
import sqlalchemy as sa

from checks.strict import build
from collector.config import Config
from collector.database import open_database, outbox
from collector.history import History
from collector.incident import Evidence, Happened, Incident, Place, Transition
from collector.naming import Names
from collector.record import Record
from collector.telling.channel import ChannelError
from collector.telling.channels import AppriseChannel
from collector.telling.message import Message
from collector.telling.notifier import Notifier
from collector.telling.plan import Traits
from collector.telling.settings import Channel as Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.running import RunningCollector

Start = Callable[..., "RunningCollector"]
Until = Callable[..., Any]
NS = 1_000_000_000
BEGAN = 1_790_000_000 * NS
SECRET = "sEcReT-4711"


class Webhook:
    """A real web server that people's messages go to. `answer` is a status, or None for never an answer."""

    def __init__(self) -> None:
        hook = self
        self.answer: int | None = 200
        self.heard: list[dict[str, Any]] = []
        self.over = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                if hook.answer is None:
                    hook.over.wait(60)
                    return
                self.send_response(hook.answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://watch:{SECRET}@127.0.0.1:{self._server.server_port}/{SECRET}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def titles(self) -> list[str]:
        return [message["title"] for message in self.heard]

    def stop(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def hooks() -> Iterator[list[Webhook]]:
    started = [Webhook(), Webhook()]
    yield started
    for hook in started:
        hook.stop()


def channel(folder: Path, name: str, hook: Webhook, **more: object) -> dict[str, object]:
    path = folder / f"{name}.url"
    path.write_text(hook.url + "\n", encoding="utf-8")
    return {"channel": name, "url_file": str(path), **more}


def fail(collector: RunningCollector, site: str, success: int = 0, target: str = "10.0.0.1:443") -> None:
    for _ in range(3):
        lines = f"tcp_connect,node=gw,target={target} success={success} {time.time_ns()}"
        assert collector.write(lines, site).status == 204


def test_a_channel_that_hangs_delays_neither_judging_nor_the_log_nor_another_channel(
    configured: Start, tmp_path: Path, hooks: list[Webhook], until_true: Until
) -> None:
    hanging, good = hooks
    hanging.answer = None
    collector = configured(
        channels=[channel(tmp_path, "hangs", hanging, timeout_seconds=50), channel(tmp_path, "works", good)]
    )
    site, viewer = collector.token("--site", "31120"), collector.token("--role", "viewer")
    fail(collector, site)
    until_true(lambda: hanging.heard, what="the hanging channel's turn")
    fail(collector, site, target="10.0.0.2:443")
    fail(collector, site, success=1, target="10.0.0.2:443")
    until_true(lambda: len(good.heard) == 3, 10, "the other channel")
    until_true(lambda: collector.log().count("nhip.told") == 3, 10, "the log")
    states = [i["state"] for i in collector.get("/api/v1/incidents", viewer)["incidents"]]
    assert sorted(states) == ["open", "resolved"]
    assert len(hanging.heard) == 1
    began = time.monotonic()
    assert collector.stop() == 0
    assert time.monotonic() - began < 40, "stopping waited for the channel"


def test_a_crash_between_sending_and_marking_tells_once_more_and_never_not_at_all(
    configured: Start, tmp_path: Path, hooks: list[Webhook], until_true: Until
) -> None:
    hook, _ = hooks
    hook.answer = None
    collector = configured(channels=[channel(tmp_path, "sms", hook, timeout_seconds=50)])
    fail(collector, collector.token("--site", "31120"))
    until_true(lambda: len(hook.heard) == 1, what="the message")
    collector.kill()  # sent, and not marked
    hook.answer = 200
    collector.start()
    until_true(lambda: len(hook.heard) == 2, what="telling once more")
    viewer = collector.token("--role", "viewer")
    waiting = b"nhip_messages_waiting 0.0\n"
    until_true(lambda: waiting in collector.ask("GET", "/metrics", token=viewer).body, what="marking")
    collector.stop()
    collector.start()
    (incident,) = collector.get("/api/v1/incidents", viewer)["incidents"]
    told = collector.get(f"/api/v1/incidents/{incident['id']}", viewer)["timeline"]
    assert sorted(item["text"]["en"] for item in told if item["kind"] == "told") == ["Told: log", "Told: sms"]
    assert hook.titles == ["🔴 SỰ CỐ 000001: 31120"] * 2


def test_the_address_with_its_secret_stands_in_no_log_no_data_and_no_answer(
    configured: Start, tmp_path: Path, hooks: list[Webhook], until_true: Until
) -> None:
    refusing, hanging = hooks
    refusing.answer, hanging.answer = 500, None
    gone = Webhook()
    gone.stop()
    collector = configured(
        channels=[
            channel(tmp_path, "refuses", refusing),
            channel(tmp_path, "hangs", hanging, timeout_seconds=1),
            channel(tmp_path, "gone", gone),
        ]
    )
    fail(collector, collector.token("--site", "31120"))
    for name in ("refuses", "hangs", "gone"):
        until_true(lambda name=name: f"channel {name}: was not taken; it is tried again" in collector.log())
    viewer = collector.token("--role", "viewer")
    answers = b"".join(
        collector.ask("GET", path, token=viewer).body for path in ("/metrics", "/api/v1/incidents/000001")
    )
    collector.stop()
    kept = b"".join(path.read_bytes() for path in collector.folder.rglob("*") if path.is_file())
    assert SECRET.encode() not in kept + answers


def test_whatever_understands_alertmanagers_webhook_is_told_of_beginning_and_end(
    configured: Start, tmp_path: Path, hooks: list[Webhook], until_true: Until
) -> None:
    hook, _ = hooks
    path = tmp_path / "hook.url"
    path.write_text(hook.url.replace("json://", "http://"))
    settings = {"channel": "hook", "kind": "alertmanager_webhook", "url_file": str(path), "language": "en"}
    collector = configured(channels=[settings])
    site = collector.token("--site", "31120")
    fail(collector, site)
    until_true(lambda: len(hook.heard) == 1, what="the beginning")
    fail(collector, site, success=1)
    until_true(lambda: len(hook.heard) == 2, what="the end")
    assert [told["status"] for told in hook.heard] == ["firing", "resolved"]
    alerts = [told["alerts"][0] for told in hook.heard]
    assert alerts[0]["fingerprint"] == alerts[1]["fingerprint"]
    assert alerts[0]["labels"] == alerts[1]["labels"]
    assert alerts[0]["annotations"]["summary"] == "🔴 INCIDENT 000001: 31120"


def test_an_address_that_apprise_does_not_know_is_refused_at_start_in_one_line(
    configured: Start, tmp_path: Path
) -> None:
    path = tmp_path / "pigeon.url"
    path.write_text(f"carrierpigeon://{SECRET}", encoding="utf-8")
    with pytest.raises(AssertionError) as refused:
        configured(channels=[{"channel": "pigeon", "url_file": str(path)}])
    log = (tmp_path / "c0" / "log").read_text(encoding="utf-8")
    assert "Traceback" not in log
    (line,) = [text for text in log.splitlines() if text.startswith("nhip")]
    assert line == f"nhip collector: {path}: is not an address that apprise knows (for example mailto://…)"
    assert SECRET not in log + str(refused.value)


class Clock:
    def __init__(self) -> None:
        self.now = BEGAN

    def __call__(self) -> int:
        return self.now


class Memory:
    """A channel that remembers, and refuses as long as it is told to."""

    def __init__(self, language: Literal["vi", "en"] = "vi", name: str = "memory") -> None:
        self.name = name
        self.language: Literal["vi", "en"] = language
        self.traits = Traits()
        self.refusing = False
        self.tries = 0
        self.told: list[tuple[str, str]] = []

    def send(self, message: Message) -> None:
        self.tries += 1
        if self.refusing:
            raise ChannelError("is having none of it")
        self.told.append((message.title, message.body))


def incident(number: int = 1) -> Incident:
    evidence = Evidence(
        node="gw", check="http_get", target="https://một.example/", metric="success", level="red", at=BEGAN,
        value=0, words={"vi": "dịch vụ không trả lời đúng", "en": "the service does not answer"}, reason="timed out",
    )  # fmt: skip
    return Incident(
        id=f"{number:06d}", place=Place("service", "31120", "portal"), began_at=BEGAN, opened_at=BEGAN,
        evidence={7: evidence}, told=True,
    )  # fmt: skip


def opened(number: int = 1) -> Transition:
    return Transition(incident(number), [Happened(BEGAN, "opened")], "opened", BEGAN)


def resolved(number: int = 1, after_seconds: int = 75) -> Transition:
    over = incident(number)
    over.resolved_at = BEGAN + after_seconds * NS
    over.evidence = {}
    return Transition(over, [Happened(over.resolved_at, "resolved")], "resolved", over.resolved_at)


class Office:
    """An outbox, channels, a clock that the test moves, and a notifier."""

    def __init__(self, folder: Path, channels: Sequence[Memory], settings: dict[str, Any]) -> None:
        self.clock = Clock()
        self.database = open_database(folder / "collector.db")
        url = folder / "no.url"
        url.write_text("json://127.0.0.1:9")
        listed = [{"channel": channel.name, "url_file": str(url)} for channel in channels]
        config = build(Config, {"channels": listed, **settings})
        self.notifier = Notifier(self.database, channels, config, self.clock)
        self.record = Record(self.database, self.notifier.wake)
        self.notifier.start()

    def write(self, *transitions: Transition) -> None:
        self.record.write(transitions)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += int(seconds * NS)
        self.notifier.wake()
        for sender in self.notifier.senders:
            sender.loop.wake()

    def rows(self) -> list[dict[str, Any]]:
        with self.database.connect() as db:
            query = sa.select(outbox).where(outbox.c.channel != "log").order_by(outbox.c.id)
            return [dict(row) for row in db.execute(query).mappings()]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Callable[..., Office]]:
    opened_offices: list[Office] = []

    def start(*channels: Memory, **settings: Any) -> Office:
        opened_offices.append(Office(tmp_path, channels, settings))
        return opened_offices[-1]

    yield start
    for one in opened_offices:
        one.notifier.stop()
        one.database.dispose()


def test_a_refused_message_is_tried_again_with_growing_pauses_and_then_told_once(
    office: Callable[..., Office], until_true: Until
) -> None:
    memory = Memory()
    memory.refusing = True
    here = office(memory)
    here.write(opened())
    pauses = []
    for attempt in range(1, 8):
        row = until_true(lambda attempt=attempt: (r := here.rows()) and r[0]["attempts"] == attempt and r[0])
        assert (row["error"], row["sent_at"]) == ("is having none of it", None)
        pauses.append((row["due_at"] - here.clock.now) // NS)
        memory.refusing = attempt < 7
        here.pass_time(pauses[-1])
    assert pauses == [5, 10, 20, 40, 60, 60, 60]
    row = until_true(lambda: (r := here.rows()[0])["sent_at"] and r)
    assert (row["attempts"], row["error"], memory.tries) == (8, None, 8)
    here.pass_time(3600)
    here.write(opened(), opened(2))  # the same again, as after a crash, and another
    until_true(lambda: len(memory.told) == 2)
    until_true(lambda: here.notifier.waiting() == 0)
    assert memory.tries == 9


def test_an_end_is_never_told_before_its_beginning_and_what_is_over_meanwhile_is_one_message(
    office: Callable[..., Office], until_true: Until
) -> None:
    memory = Memory("en")
    memory.refusing = True
    here = office(memory)
    here.write(opened())
    until_true(lambda: here.rows() and here.rows()[0]["attempts"])
    memory.refusing = False
    here.write(resolved(), opened(2))
    until_true(lambda: here.notifier.waiting() == 2 and len(here.rows()) == 3, what="what does not wait")
    assert [row["what"] for row in here.rows() if not row["sent_at"]] == ["opened", "resolved"]
    assert len(memory.told) == 1
    here.pass_time(5)
    until_true(lambda: here.notifier.waiting() == 0)
    assert [title for title, _ in memory.told] == ["🔴 INCIDENT 000002: 31120", "🟢 CAME AND WENT 000001: 31120"]
    assert "(lasted 1 min 15 s)" in memory.told[1][1]


def test_an_outbox_that_cannot_be_marked_does_not_ring_the_phone_again_and_again(
    office: Callable[..., Office], until_true: Until
) -> None:
    memory, other = Memory(), Memory(name="other")
    here = office(memory, other)
    with here.database.begin() as db:
        db.execute(sa.text("create trigger full before update on outbox begin select raise(abort, 'disk full'); end"))
    here.write(opened())
    until_true(lambda: memory.told and other.told)
    time.sleep(2)  # four looks: what must not happen has no event to wait for
    assert (memory.tries, other.tries) == (1, 1)
    with here.database.begin() as db:
        db.execute(sa.text("drop trigger full"))
    until_true(lambda: here.notifier.waiting() == 0, what="marking")
    assert (memory.tries, other.tries) == (1, 1)


def test_each_channel_speaks_its_language_and_says_where_what_since_when_and_what_to_do(
    office: Callable[..., Office], until_true: Until
) -> None:
    vietnamese, english = Memory("vi", "vi"), Memory("en", "en")
    sites = [{"site": "31120", "name": "Phường Cái Khế", "population": 61_000}]
    services = [{"service": "portal", "name": "Một cửa", "targets": ["x:1"]}]
    here = office(vietnamese, english, sites=sites, services=services)
    here.write(opened())
    until_true(lambda: vietnamese.told and english.told)
    here.write(resolved())
    until_true(lambda: len(vietnamese.told) == len(english.told) == 2)
    assert vietnamese.told == [
        (
            "🔴 SỰ CỐ 000001: Phường Cái Khế (31120)",
            (
                "Dịch vụ Một cửa không hoạt động\nTừ: 21/09/2026 21:13:20\nẢnh hưởng: khoảng 61.000 người\n"
                "Dấu hiệu: http_get https://một.example/: dịch vụ không trả lời đúng (timed out)\n"
                "Việc đầu tiên: mở thử dịch vụ từ điểm khác; nếu chỉ điểm này lỗi, xem DNS và tường lửa của điểm"
            ),
        ),
        (
            "🟢 ĐÃ KHẮC PHỤC 000001: Phường Cái Khế (31120)",
            (
                "Dịch vụ Một cửa không hoạt động\nTừ: 21/09/2026 21:13:20\n"
                "Đến: 21/09/2026 21:14:35 (kéo dài 1 phút 15 giây)\nẢnh hưởng: khoảng 61.000 người"
            ),
        ),
    ]
    assert english.told[1][1].splitlines()[1:3] == [
        "Since: 21/09/2026 21:13:20",
        "Until: 21/09/2026 21:14:35 (lasted 1 min 15 s)",
    ]
    assert "Seen: http_get https://một.example/: the service does not answer (timed out)" in english.told[0][1]


def test_a_pile_is_one_summary_that_leaves_nothing_out_and_what_comes_late_says_so(
    office: Callable[..., Office], until_true: Until
) -> None:
    memory = Memory("en")
    memory.refusing = True
    here = office(memory, telling={"limit": {"messages": 3, "seconds": 600}})
    here.write(*(opened(number) for number in range(1, 51)))
    until_true(lambda: len([row for row in here.rows() if row["attempts"]]) >= 1)
    memory.refusing = False
    here.pass_time(3600)
    until_true(lambda: here.notifier.waiting() == 0)
    (title, body) = memory.told[0]
    assert (len(memory.told), title) == (1, "🔴 50 INCIDENTS: 50 open, 0 resolved")
    assert body.startswith(
        "This comes 1 h late.\n🔴 000001 31120: Service portal does not work (21/09/2026 21:13:20)\n"
    )
    assert all(f"{number:06d}" in body for number in range(1, 51))
    here.write(opened(51), opened(52))
    until_true(lambda: len(memory.told) == 3)
    here.write(opened(53), opened(54))
    until_true(lambda: here.rows()[-1]["incident"] == "000054")
    time.sleep(1)  # what must not happen has no event to wait for
    assert len(memory.told) == 3
    here.pass_time(600)
    until_true(lambda: len(memory.told) == 4)
    assert memory.told[3][0] == "🔴 2 INCIDENTS: 2 open, 0 resolved"


def test_a_channel_that_takes_messages_again_is_told_at_once_what_waited(
    office: Callable[..., Office], until_true: Until
) -> None:
    memory = Memory("en")
    memory.refusing = True
    here = office(memory)
    here.write(opened())
    for pause in (5, 10, 20, 40, 60):
        until_true(lambda: all(row["due_at"] > here.clock.now for row in here.rows()) and here.rows())
        here.pass_time(pause)
    until_true(lambda: here.rows()[0]["due_at"] > here.clock.now)
    memory.refusing = False
    here.write(opened(2))
    until_true(lambda: len(memory.told) == 2, what="telling what had a minute to wait")
    assert "This comes 2 min 15 s late: the channel did not take it." in memory.told[1][1]


def test_a_channel_that_refuses_for_an_hour_is_asked_now_and_then_not_for_each_message(
    office: Callable[..., Office], until_true: Until
) -> None:
    memory, other = Memory("en"), Memory("en", "other")
    memory.refusing = True
    here = office(memory, other, telling={"limit": {"messages": 1000, "seconds": 1}})
    here.write(*(opened(number) for number in range(1, 101)))
    until_true(lambda: len(other.told) == 100, what="the other channel")
    for _ in range(60):
        mine = [row for row in here.rows() if row["channel"] == "memory"]
        until_true(lambda: all(row["due_at"] > here.clock.now for row in here.rows() if not row["sent_at"]))
        here.pass_time(60)
    assert len(mine) == 100
    assert memory.tries < 400, "nearly a hundred messages, sixty minutes"
    memory.refusing = False
    here.pass_time(60)
    until_true(lambda: here.notifier.waiting() == 0)
    said = "\n".join(title + body for title, body in memory.told)
    assert all(f"{number:06d}" in said for number in range(1, 101))


def test_yellow_is_told_once_a_day_quietly_and_never_rings(office: Callable[..., Office], until_true: Until) -> None:
    memory = Memory("en")
    here = office(memory, telling={"digest_at": ["07:30"]})
    for number in (1, 2):
        yellow = incident(number)
        yellow.severity = "yellow"
        here.write(Transition(yellow, [Happened(BEGAN, "opened")], "digest", BEGAN + number))
    until_true(lambda: len(here.rows()) == 2)
    assert not any(row["loud"] for row in here.rows())
    assert {row["due_at"] for row in here.rows()} == {1_790_037_000 * NS}  # 22 September, 07:30 in Vietnam
    here.pass_time(3600)
    assert memory.told == []
    here.pass_time(10 * 3600)
    until_true(lambda: memory.told)
    ((title, body),) = memory.told
    assert title == "🟡 2 WARNINGS: 2 open, 0 over"
    assert [line[:8] for line in body.splitlines()] == ["🟡 000001", "🟡 000002"]


ON_CALL: dict[str, Any] = {
    "people": [{"person": "one", "channels": ["one"]}, {"person": "two", "channels": ["two"]}],
    "routes": [{"route": "all", "tell": ["one"], "escalation": "standard"}],
    "escalations": [
        {"escalation": "standard", "steps": [{"after_minutes": 10, "tell": ["two"]}], "repeat_minutes": 20}
    ],
}


def titles(memory: Memory) -> list[str]:
    return [title.rpartition(" 0")[0] for title, _ in memory.told]


def test_the_next_one_is_called_until_somebody_takes_it_and_both_hear_the_end(
    office: Callable[..., Office], until_true: Until
) -> None:
    one, two = Memory("en", "one"), Memory("en", "two")
    here = office(one, two, **ON_CALL)
    here.write(opened())
    until_true(lambda: one.told)
    here.pass_time(9 * 60)
    here.pass_time(60)
    until_true(lambda: two.told)
    assert titles(two) == ["🔴 NOBODY HAS TAKEN IT"]
    assert two.told[0][1].startswith("Nobody has taken it for 10 minutes.\n")
    here.pass_time(20 * 60)
    until_true(lambda: len(two.told) == 2)
    history = History(here.database, Names(Config()), here.clock)
    history.acknowledge("000001", by="two", comment="")
    here.pass_time(3600)
    here.write(resolved())
    until_true(lambda: len(one.told) == 2 and len(two.told) == 3)
    assert (titles(one), titles(two)[1:]) == (["🔴 INCIDENT", "🟢 RESOLVED"], ["🔴 NOBODY HAS TAKEN IT", "🟢 RESOLVED"])


def test_who_took_it_while_the_call_could_not_be_made_is_not_called(
    office: Callable[..., Office], until_true: Until
) -> None:
    one, two = Memory("en", "one"), Memory("en", "two")
    two.refusing = True
    here = office(one, two, **ON_CALL)
    here.write(opened())
    until_true(lambda: one.told)
    here.pass_time(10 * 60)
    until_true(lambda: two.tries)
    History(here.database, Names(Config()), here.clock).comment("000001", "on my way", by="one")
    two.refusing = False
    here.pass_time(60)
    until_true(lambda: here.notifier.waiting() == 0, what="dropping the call")
    assert two.told == []


def test_an_incident_that_opens_again_calls_again_though_it_was_taken_before(
    office: Callable[..., Office], until_true: Until
) -> None:
    one, two = Memory("en", "one"), Memory("en", "two")
    here = office(one, two, **ON_CALL)
    here.write(opened())
    until_true(lambda: one.told)
    here.clock.now += 60 * NS
    History(here.database, Names(Config()), here.clock).acknowledge("000001", by="one", comment="")
    here.write(resolved())
    until_true(lambda: len(one.told) == 2)
    here.clock.now += 60 * NS
    here.write(Transition(incident(), [Happened(here.clock.now, "reopened")], "reopened", here.clock.now))
    until_true(lambda: len(one.told) == 3)
    here.pass_time(10 * 60)
    until_true(lambda: two.told)
    assert (titles(one), titles(two)) == (["🔴 INCIDENT", "🟢 RESOLVED", "🔴 REOPENED"], ["🔴 NOBODY HAS TAKEN IT"])


def test_what_was_planned_before_a_crash_goes_out_after_it_and_news_that_was_not_planned_is(
    office: Callable[..., Office], until_true: Until
) -> None:
    memory = Memory("en")
    memory.refusing = True
    here = office(memory)
    here.write(opened())
    until_true(lambda: here.rows() and here.rows()[0]["attempts"])
    here.notifier.stop()
    Record(here.database).write([opened(2)])  # written down, and killed before anybody planned it
    again = Memory("en")
    office(again).clock.now = here.clock.now + 60 * NS
    until_true(lambda: len(again.told) == 2)
    assert sorted(title for title, _ in again.told) == ["🔴 INCIDENT 000001: 31120", "🔴 INCIDENT 000002: 31120"]


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # apprise looks for it, and does without
@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_real_channel_that_refuses_says_so_without_its_address(
    tmp_path: Path, hooks: list[Webhook], status: int
) -> None:
    hook, _ = hooks
    hook.answer = status
    path = tmp_path / "url"
    path.write_text(hook.url, encoding="utf-8")
    real = AppriseChannel(Settings(channel="sms", url_file=path))
    with pytest.raises(ChannelError) as refused:
        real.send(Message("title", "body", "test"))
    assert str(refused.value) == "was not taken"
    hook.answer = 200
    real.send(Message("tựa đề", "nội dung\nhai dòng", "test"))
    assert (hook.heard[-1]["title"], hook.heard[-1]["message"]) == ("tựa đề", "nội dung\nhai dòng")
