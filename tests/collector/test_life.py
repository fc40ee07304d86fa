"""What people do about an incident, over HTTP and from a terminal: each act stands in its timeline."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.running import ROOT, RunningCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start = Callable[..., RunningCollector]
    Until = Callable[..., Any]

SITES = [{"site": str(n), "name": f"Xã {n}", "upstream": "pop_1"} for n in range(1, 4)]
TOPOLOGY = {"sites": SITES, "upstreams": [{"upstream": "pop_1", "name": "Điểm kết nối Một"}]}


@pytest.fixture
def province(configured: Start) -> RunningCollector:
    """Return a collector that knows three sites behind one upstream."""
    return configured(**TOPOLOGY, own={"site": "data-centre", "uplink": []})


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    """Yield such a collector for questions that change nothing."""
    running = RunningCollector(tmp_path_factory.mktemp("lasting"), {**TOPOLOGY})
    running.start()
    yield running
    running.stop()


@pytest.fixture
def who(province: RunningCollector, tmp_path: Path) -> list[str]:
    return operator_of(province, tmp_path)


def operator_of(collector: RunningCollector, folder: Path) -> list[str]:
    token = folder / "token"
    token.write_text(collector.token("--role", "operator"))
    return ["--url", f"http://127.0.0.1:{collector.port}", "--token-file", str(token)]


def nhip(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "nhip", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else f"{done.returncode}: {done.stderr}"


def break_service(collector: RunningCollector, site: str = "1") -> None:
    writer = collector.token("--role", "admin")
    for _ in range(2):
        line = f"tcp_connect,site={site},node=gw,target=10.0.0.1:443 success=0 {time.time_ns()}"
        assert collector.write(line, writer).status == 204


def the_incident(collector: RunningCollector, until_true: Until) -> dict[str, Any]:
    viewer = collector.token("--role", "viewer")
    (found,) = until_true(lambda: collector.get("/api/v1/incidents?state=open", viewer)["incidents"])
    return dict(found)


def kinds(collector: RunningCollector, incident: str) -> list[str]:
    viewer = collector.token("--role", "viewer")
    return [line["kind"] for line in collector.get(f"/api/v1/incidents/{incident}", viewer)["timeline"]]


def test_it_is_taken_on_given_away_commented_called_serious_and_ended_by_hand(
    province: RunningCollector, who: list[str], until_true: Until
) -> None:
    break_service(province)
    number = the_incident(province, until_true)["id"]
    assert "acknowledged by operator #" in nhip("incidents", "acknowledge", number, *who)
    assert "→ Lan, the network team" in nhip("incidents", "assign", number, "--to", "Lan, the network team", *who)
    assert number in nhip("incidents", "comment", number, "--comment", "the switch was replaced", *who)
    told = json.loads(nhip("incidents", "serious", number, "--json", *who))
    assert [each["hours"] for each in told["reports"]] == [24, 72]
    assert "reports" not in json.loads(nhip("incidents", "serious", number, "--no", "--json", *who))
    assert "resolved" in nhip("incidents", "resolve", number, "--comment", "works again", *who)
    happened = kinds(province, number)
    for kind in ("acknowledged", "assigned", "comment", "serious", "not serious", "closed", "resolved"):
        assert happened.count(kind) == 1, (kind, happened)
    shown = nhip("incidents", "show", number, *who)
    for said in ("the switch was replaced", "Assigned to: Lan, the network team (operator #", "Closed by: operator #"):
        assert said in shown
    assert nhip("incidents", "resolve", number, *who) == f"3: nhip: incident {number} is over already\n"


def test_what_was_ended_by_hand_stays_ended_through_a_kill(province: RunningCollector, until_true: Until) -> None:
    break_service(province)
    number, operator = the_incident(province, until_true)["id"], province.token("--role", "operator")
    answer = province.ask("POST", f"/api/v1/incidents/{number}/resolve", token=operator)
    assert (answer.status, answer.json["state"]) == (200, "resolved")
    province.kill()
    province.start()
    assert province.get("/api/v1/incidents?state=open", operator)["incidents"] == []
    break_service(province)  # it goes on failing, as known: nothing new
    assert province.get("/api/v1/incidents?state=open", operator)["incidents"] == []


@pytest.mark.parametrize("act", ["acknowledge", "assign", "comment", "resolve", "serious"])
def test_acting_needs_an_operator_and_an_incident(shared: RunningCollector, act: str) -> None:
    body = json.dumps({"to": "x", "comment": "x", "serious": True})
    keys = {"assign": ["to"], "comment": ["comment"], "serious": ["serious"]}.get(act, [])
    body = json.dumps({key: value for key, value in json.loads(body).items() if key in keys})
    path = f"/api/v1/incidents/1/{act}"
    for token, status in (
        (None, 401),
        (shared.token("--role", "viewer"), 403),
        (shared.token("--role", "operator"), 404),
    ):
        assert shared.ask("POST", path, body.encode(), token=token, Content_Type="application/json").status == status
    operator = shared.token("--role", "operator")
    bad = shared.ask("POST", path, b'{"command": 1}', token=operator, Content_Type="application/json")
    assert bad.status == 400


def test_many_cut_lines_are_told_under_the_name_that_people_call_their_upstream(
    configured: Start, until_true: Until
) -> None:
    collector = configured(**TOPOLOGY)
    writer, viewer = collector.token("--role", "admin"), collector.token("--role", "viewer")
    sites = "1", "2", "3"
    collector.write("\n".join(f"agent,site={s},node=gw uptime_seconds=1 {time.time_ns()}" for s in sites), writer)
    (found,) = until_true(lambda: collector.get("/api/v1/incidents", viewer)["incidents"], 30)
    assert (found["site"], found["site_name"]) == ("", "Điểm kết nối Một")
    assert found["cause"]["text"]["vi"] == "Điểm kết nối Một mất kết nối: 3 điểm phía sau không liên lạc được"
    assert [(m["site"], m["site_name"]) for m in found["members"]] == [(s, f"Xã {s}") for s in sites]
    page = collector.get(f"/api/v1/incidents/{found['id']}", viewer)
    (joined,) = [line for line in page["timeline"] if line["kind"] == "joined"]
    assert joined["text"]["en"] == "Reached as well: Xã 1 (1) gw, Xã 2 (2) gw, Xã 3 (3) gw"
    draft = collector.ask("GET", f"/api/v1/incidents/{found['id']}/report?hours=72&language=vi", token=viewer)
    assert draft.headers["content-type"].startswith("text/markdown")
    text = draft.body.decode()
    assert "# Báo cáo nguyên nhân và phạm vi của sự cố nghiêm trọng" in text
    assert "3 điểm: Xã 1 (1), Xã 2 (2), Xã 3 (3)" in text
    assert "331/2026/NĐ-CP" in text
    bad = collector.ask("GET", f"/api/v1/incidents/{found['id']}/report?hours=48", token=viewer)
    assert (bad.status, bad.json["message"]) == (400, "hours: reports are due after 24 and 72, not 48")


def test_work_is_planned_announced_and_called_off(province: RunningCollector, who: list[str]) -> None:
    assert nhip("maintenance", "list", *who) == "nothing is planned\n"
    words = ["--upstream", "pop_1", "--start", "2031-12-06T22:00", "--end", "2031-12-07T02:00", "--reason", "Firmware"]
    planned = nhip("maintenance", "plan", "firmware", *words, *who)
    assert planned.startswith("firmware  2031-12-0")
    assert "pop_1  (announce by 2031-11-27)  Firmware" in planned
    assert nhip("maintenance", "list", *who) == planned
    notice = nhip("maintenance", "notice", "firmware", "--language", "vi", *who)
    for said in (
        "Tạm ngừng từ: 22:00 06/12/2031", "Hoạt động trở lại: 02:00 07/12/2031",
        "Điểm kết nối Một (3 điểm phía sau)", "Điều 13 Nghị định 224/2026/NĐ-CP", "chậm nhất ngày 27/11/2031 (7 ngày",
    ):  # fmt: skip
        assert said in notice
    province.kill()
    province.start()
    who[1] = f"http://127.0.0.1:{province.port}"
    assert nhip("maintenance", "list", *who) == planned
    assert nhip("maintenance", "cancel", "firmware", *who) == "firmware: is called off\n"
    assert nhip("maintenance", "list", *who) == "nothing is planned\n"
    assert nhip("maintenance", "cancel", "firmware", *who) == "3: nhip: no work 'firmware' is planned\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--site", "1"], "needs either start and end (2026-12-05T22:00:00+07:00), or weekly ([sun 01:00-03:00])"),
        (["--weekly", "sun 01:00-03:00"], "touches nothing: name sites, upstreams, services or everything: true"),
        (["--site", "1", "--weekly", "sunday"], "weekly 'sunday' is no span of a week"),
        (["--site", "1", "--start", "2031-01-02T03:00", "--end", "2031-01-02T02:00"], "ends before it starts"),
        (["--site", "1", "--start", "2021-01-02T03:00", "--end", "2021-01-02T04:00"], "is over already"),
        (["--upstream", "pop_9", "--weekly", "daily 01:00-02:00"], "upstreams: nobody knows 'pop_9'; there are: pop_1"),
        (["--site", "9", "--weekly", "daily 01:00-02:00"], "sites: nobody knows '9'; there are: 1, 2, 3"),
        (["--site", "1", "--weekly", "daily 01:00-02:00", "--time-zone", "Mars"], "time_zone 'Mars' is not known here"),
    ],
)
def test_bad_plans_are_told_what_would_be_right(
    lasting: RunningCollector, tmp_path: Path, words: list[str], said: str
) -> None:
    who = operator_of(lasting, tmp_path)
    answer = nhip("maintenance", "plan", "w", *words, *who)
    assert answer.startswith("3: nhip: ")
    assert said in answer
    assert nhip("maintenance", "list", *who) == "nothing is planned\n"


def test_nobody_is_called_to_what_is_under_planned_work_and_its_end_finds_what_is_still_broken(
    province: RunningCollector, until_true: Until
) -> None:
    operator, ends = province.token("--role", "operator"), time.time() + 6
    stamp = lambda at: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))  # noqa: E731  (twice, here)
    window = {"window": "w", "sites": ["1"], "start": stamp(ends - 60), "end": stamp(ends)}
    body = json.dumps(window).encode()
    kind = "application/json"
    assert province.ask("POST", "/api/v1/maintenance", body, token=operator, Content_Type=kind).status == 201
    break_service(province)
    (listed,) = province.get("/api/v1/maintenance", operator)["windows"]
    assert listed["on"] is True
    assert province.get("/api/v1/incidents", operator)["incidents"] == []
    (found,) = until_true(lambda: province.get("/api/v1/incidents", operator)["incidents"], 30)
    assert found["opened_at"] >= stamp(ends - 1)[:19]
    assert kinds(province, found["id"]).count("suppressed") == 1
