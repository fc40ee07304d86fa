"""When an incident opens, its site has been looked at: verdict and findings stand in it, in either language."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
import yaml
from hypothesis import given
from hypothesis import strategies as st

from collector.database import news, open_database, outbox
from collector.diagnosis import Diagnoses, read, words_of
from collector.incident import Happened, Incident, Place, Transition
from collector.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.running import RunningCollector

NS = 1_000_000_000
TOLD = {
    "site": "31120", "at": 1, "took_seconds": 1.4, "final": True,
    "verdict": {"where": "line", "text": {"vi": "Đứt", "en": "Cut"}, "next": {"vi": "Gọi", "en": "Call"}},
    "findings": [
        {"state": "well", "probe": "router", "text": {"vi": "Tốt", "en": "The router is well"}},
        {"state": "lost", "probe": "gateway", "text": {"vi": "Mất", "en": "The gateway is lost"}},
        {"state": "unknown", "probe": "login", "text": {"vi": "?", "en": "no key"}},
    ],
}  # fmt: skip


def inventory(folder: Path, port: int) -> Path:
    """Write an inventory whose every address is on loopback, and a service that nobody offers."""
    uplink = [{"interface": "wan", "address": "127.0.9.2/8", "via": "127.0.9.1"}]
    hosts = {"31120-gateway": {"kind": "gateway", "ansible_host": "127.0.9.2", "gateway_uplinks": uplink}}
    site = {"vars": {"site": "31120", "site_name": "Phường Cái Khế", "site_lan": "127.0.20.0/24"}, "hosts": hosts}
    pop = {"vars": {"upstream_name": "Điểm Cái Khế"}, "children": {"site_31120": site}}
    services = [{"service": "web", "name": "Một cửa", "checks": [
        {"check": "http_get", "target": f"http://127.0.0.1:{port}/", "interval_seconds": 30}]}]  # fmt: skip
    province = {"province": "92", "province_name": "Cần Thơ", "data_centre_router": "127.0.0.1", "services": services}
    (folder / "group_vars").mkdir(parents=True)
    (folder / "sites.yml").write_text(yaml.safe_dump({"all": {"children": {"pop": pop}}}), encoding="utf-8")
    (folder / "group_vars/all.yml").write_text(yaml.safe_dump(province), encoding="utf-8")
    return folder


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Yield a port that nobody else can take, and at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield int(sock.getsockname()[1])


def test_what_was_looked_at_stands_in_the_incident(
    configured: Callable[..., RunningCollector], tmp_path: Path, closed_port: int, until_true: Callable[..., Any]
) -> None:
    place = inventory(tmp_path / "inventory", closed_port)
    collector = configured(inventory=str(place), diagnosis={"seconds": 20})
    writer, viewer = collector.token("--site", "31120"), collector.token("--role", "viewer")
    for value in (1, 0, 0, 0):
        collector.write(
            f"http_get,node=gw,target=http://127.0.0.1:{closed_port}/ success={value} {time.time_ns()}", writer
        )
    (opened,) = until_true(lambda: collector.get("/api/v1/incidents", viewer)["incidents"])

    def diagnosed() -> Any:
        told = collector.get(f"/api/v1/incidents/{opened['id']}", viewer)
        return told if told.get("diagnosis", {}).get("final") else None

    told = until_true(diagnosed, 60, "a diagnosis")
    assert told["diagnosis"]["verdict"]["where"] == "service"
    (note,) = [line for line in told["timeline"] if line["kind"] == "diagnosed"]
    assert note["text"]["vi"].startswith("Chẩn đoán: Dịch vụ Một cửa không hoạt động")
    assert "connection refused" in note["text"]["en"]


def test_a_site_that_cannot_be_looked_at_is_said_once_and_everything_goes_on(
    configured: Callable[..., RunningCollector], tmp_path: Path, closed_port: int, until_true: Callable[..., Any]
) -> None:
    place = inventory(tmp_path / "inventory", closed_port)
    collector = configured(inventory=str(place))
    (place / "sites.yml").write_text("all: [")  # somebody is editing it
    writer, viewer = collector.token("--site", "31120"), collector.token("--role", "viewer")
    for value in (1, 0, 0, 1, 1, 1):
        collector.write(
            f"http_get,node=gw,target=http://127.0.0.1:{closed_port}/ success={value} {time.time_ns()}", writer
        )
    until_true(lambda: "site 31120 could not be diagnosed: " in collector.log(), 60)
    until_true(lambda: collector.get("/api/v1/incidents?state=resolved", viewer)["incidents"])
    assert collector.stop() == 0


def test_without_an_inventory_nobody_is_looked_at(collector: RunningCollector, until_true: Callable[..., Any]) -> None:
    writer, viewer = collector.token("--site", "31120"), collector.token("--role", "viewer")
    for value in (1, 0, 0, 0):
        collector.write(f"tcp_connect,node=gw,target=10.0.0.1:1 success={value} {time.time_ns()}", writer)
    (opened,) = until_true(lambda: collector.get("/api/v1/incidents", viewer)["incidents"])
    assert "diagnosis" not in collector.get(f"/api/v1/incidents/{opened['id']}", viewer)


# The table.


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sa.Engine]:
    opened = open_database(tmp_path / "collector.db")
    yield opened
    opened.dispose()


def opened(database: sa.Engine, name: str, at: int, **more: Any) -> None:
    incident = Incident(
        id=name, place=Place("upstream", "", "pop"), began_at=at, opened_at=at, reached=["31123", "31120"], **more
    )
    Record(database).write([Transition(incident, [Happened(at, "began")], at=at)])


def test_an_incident_wants_a_diagnosis_until_it_has_its_last_one(database: sa.Engine) -> None:
    diagnoses, now = Diagnoses(database), 5_000 * NS
    opened(database, "000001", now)
    opened(database, "000002", now - 1_000 * NS)  # long ago
    opened(database, "000003", now, severity="yellow")
    opened(database, "000004", now, resolved_at=now)
    (wanting,) = diagnoses.wanting(now)
    assert (wanting.incident, wanting.reached) == ("000001", ["31123", "31120"])
    assert diagnoses.words("000001", "vi") == []
    diagnoses.keep("000001", {**TOLD, "final": False}, final=False, now=now)
    assert diagnoses.wanting(now)
    diagnoses.keep("000001", TOLD, final=True, now=now)
    diagnoses.keep("000001", TOLD, final=True, now=now)  # a crash between the two: no second line
    assert diagnoses.wanting(now) == []
    with database.connect() as db:
        lines = db.execute(sa.text("select text from timeline where kind = 'diagnosed'")).scalars().all()
    assert [json.loads(line)["en"].split(";")[0] for line in lines] == ["Diagnosis: Cut"]


@pytest.mark.parametrize(("sent_at", "hears"), [(None, False), (4_000, True), (6_000, False)])
def test_who_was_told_before_anything_was_known_hears_of_it_quietly(
    database: sa.Engine,
    sent_at: int | None,
    hears: bool,  # noqa: FBT001  (a row of the table)
) -> None:
    opened(database, "000001", 3_000 * NS)
    message = {"incident": "000001", "what": "opened", "channel": "duty", "due_at": 0, "loud": True}
    sent = None if sent_at is None else sent_at * NS
    with database.begin() as db:
        db.execute(sa.insert(outbox).values(**message, sent_at=sent, attempts=1))
    diagnoses = Diagnoses(database)
    assert not diagnoses.keep("000001", {**TOLD, "final": False}, final=False, now=5_000 * NS)
    assert diagnoses.keep("000001", TOLD, final=True, now=7_000 * NS) == hears
    with database.connect() as db:
        told = db.execute(sa.select(news.c.what).where(news.c.at == 7_000 * NS)).scalars().all()
    assert told == (["updated"] if hears else [])


def test_words_say_the_verdict_what_to_try_and_the_worst_first() -> None:
    assert words_of(TOLD, "en") == [
        "Diagnosis: Cut", "Try first: Call", "Looked at: The gateway is lost; The router is well",
    ]  # fmt: skip


def test_a_line_of_the_child_is_read_whole() -> None:
    found = read(json.dumps(TOLD).encode())
    assert found is not None
    assert (found[0].final, found[1]) == (True, TOLD)


@pytest.mark.parametrize(
    "change", [{"verdict": None}, {"final": "yes"}, {"verdict": {"where": "line", "text": {}, "next": {}}}]
)
def test_anything_else_that_a_child_prints_is_passed_over(change: dict[str, Any]) -> None:
    assert read(json.dumps({**TOLD, **change}).encode()) is None


@given(st.binary())
def test_no_bytes_break_the_reader(line: bytes) -> None:
    read(line)
