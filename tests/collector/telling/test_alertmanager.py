"""Alertmanager, both ways, against the real program: it is told of our incidents, and its alerts become ours."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from collector.incident import Incident, Place
from collector.orders import External, entry_of, order_of
from collector.telling.alertmanager import webhook
from collector.telling.message import Message
from collector.web.alertmanager import alerts_of
from collector.web.problems import Problem
from tests.running import answers, free_port, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.running import RunningCollector

Start = Callable[..., "RunningCollector"]
Until = Callable[..., Any]
PROGRAM = "prometheus-alertmanager"
OWN = "data-centre"


class Alertmanager:
    """Debian's Alertmanager on a free port, that posts all it has to one webhook."""

    def __init__(self, folder: Path, webhook: str, token_file: Path) -> None:
        self.port = free_port()
        settings = {
            "route": {"receiver": "nhip", "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h"},
            "receivers": [
                {
                    "name": "nhip",
                    "webhook_configs": [
                        {
                            "url": webhook,
                            "send_resolved": True,
                            "http_config": {"authorization": {"type": "Bearer", "credentials_file": str(token_file)}},
                        }
                    ],
                }
            ],
        }
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(settings))
        log = (folder / "alertmanager.log").open("wb")
        self._process = subprocess.Popen(
            [
                PROGRAM, f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/am",
                f"--web.listen-address=127.0.0.1:{self.port}", "--cluster.listen-address=",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
        log.close()
        until(lambda: answers(self.port), 60, "Alertmanager")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def alerts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self._ask("GET"))
        return found

    def post(self, *alerts: dict[str, Any]) -> None:
        self._ask("POST", json.dumps(alerts).encode())

    def _ask(self, method: str, body: bytes | None = None) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, "/api/v2/alerts", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert answer.status == 200
            return answer.read()
        finally:
            connection.close()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Callable[..., Alertmanager]]:
    running: list[Alertmanager] = []

    def start(webhook: str, token: str) -> Alertmanager:
        (tmp_path / "token").write_text(token)
        running.append(Alertmanager(tmp_path, webhook, tmp_path / "token"))
        return running[-1]

    yield start
    for one in running:
        one.stop()


def fail(collector: RunningCollector, site: str, success: int = 0) -> None:
    for _ in range(3):
        lines = f"tcp_connect,node=gw,target=10.0.0.1:443 success={success} {time.time_ns()}"
        assert collector.write(lines, site).status == 204


def test_a_real_alertmanager_is_told_when_an_incident_begins_and_when_it_ends(
    configured: Start, tmp_path: Path, manager: Callable[..., Alertmanager], until_true: Until
) -> None:
    there = manager("http://127.0.0.1:9/", "x")
    (tmp_path / "am.url").write_text(there.url + "\n")
    channel = {"channel": "am", "kind": "alertmanager", "url_file": str(tmp_path / "am.url"), "language": "en"}
    collector = configured(channels=[channel], sites=[{"site": "31120", "name": "Phường Cái Khế"}])
    site = collector.token("--site", "31120")
    fail(collector, site)
    (alert,) = until_true(there.alerts, what="the alert")
    assert alert["labels"] == {
        "alertname": "nhip_service", "incident": "000001", "severity": "critical", "site": "31120",
        "service": "10.0.0.1:443",
    }  # fmt: skip
    assert alert["annotations"]["summary"] == "🔴 INCIDENT 000001: Phường Cái Khế (31120)"
    assert alert["status"]["state"] == "active"
    fail(collector, site, success=1)
    until_true(lambda: not there.alerts(), what="the end")


def test_a_real_alertmanagers_alert_becomes_an_incident_once_and_ends_when_it_ends(
    configured: Start, manager: Callable[..., Alertmanager], until_true: Until
) -> None:
    collector = configured(services=[{"service": "portal", "name": "Một cửa", "targets": ["10.0.0.1:443"]}])
    operator, viewer = collector.token("--role", "operator"), collector.token("--role", "viewer")
    there = manager(f"http://127.0.0.1:{collector.port}/api/v1/alertmanager", operator)
    alert = {
        "labels": {"alertname": "PortalSlow", "site": "31120", "service": "portal", "severity": "critical"},
        "annotations": {"summary": "p99 above 5 s"},
    }
    there.post(alert)
    (incident,) = until_true(lambda: collector.get("/api/v1/incidents", viewer)["incidents"], what="the incident")
    assert (incident["site"], incident["severity"], incident["cause"]["text"]["en"]) == (
        "31120", "red", "Service Một cửa does not work",
    )  # fmt: skip
    assert incident["evidence"][0]["text"]["en"] == "p99 above 5 s"
    collector.kill()
    collector.start()
    there.post({**alert, "endsAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
    until_true(
        lambda: [i["state"] for i in collector.get("/api/v1/incidents", viewer)["incidents"]] == ["resolved"],
        what="the end",
    )
    until_true(lambda: collector.log().count("nhip.told") == 2, what="both messages")


def hook(*alerts: dict[str, Any]) -> bytes:
    return json.dumps({"version": "4", "groupKey": "x", "alerts": list(alerts)}).encode()


def firing(**labels: str) -> dict[str, Any]:
    return {
        "status": "firing", "labels": {"alertname": "Down", **labels}, "annotations": {},
        "startsAt": "2026-11-24T03:00:00.5Z", "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "00ffee0000000001",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "place", "level"),
    [
        ({"site": "31120", "service": "portal"}, Place("service", "31120", "portal"), "red"),
        ({"instance": "10.0.0.9:9100", "severity": "warning"}, Place("node", OWN, "10.0.0.9:9100"), "yellow"),
        ({"site": "31120", "node": "gw", "instance": "x", "severity": "page"}, Place("node", "31120", "gw"), "red"),
        ({}, Place("node", OWN, "Down"), "red"),
    ],
)
def test_labels_say_what_an_alert_is_about(labels: dict[str, str], place: Place, level: str) -> None:
    (alert,) = alerts_of(hook(firing(**labels)), OWN)
    assert (alert.place, alert.evidence.level, alert.began_at) == (place, level, 1_795_489_200_500_000_000)
    assert alert.key < 0, "no signal's number"
    (over,) = alerts_of(hook({**firing(**labels), "status": "resolved"}), OWN)
    assert (over.key, over.place, over.evidence.level) == (alert.key, alert.place, "green")
    assert order_of(entry_of(External([alert]), 1)) == External([alert]), "as the journal has it"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "Input data was truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"version": "3", "alerts": []}', "Invalid enum value '3' - at `$.version`"),
        (hook({**firing(), "status": "burning"}), "Invalid enum value 'burning' - at `$.alerts[0].status`"),
        (hook({**firing(), "labels": {"a": 1}}), "Expected `str`, got `int` - at `$.alerts[0].labels[...]`"),
        (hook({"status": "firing", "labels": {}}), "Object missing required field `startsAt` - at `$.alerts[0]`"),
        (hook({**firing(), "startsAt": "today"}), "Invalid RFC3339 encoded datetime - at `$.alerts[0].startsAt`"),
    ],
)
def test_what_is_no_webhook_is_refused_with_its_place(body: bytes, words: str) -> None:
    with pytest.raises(Problem) as refused:
        alerts_of(body, OWN)
    assert str(refused.value) == f"the body is not a webhook of Alertmanager's, format version 4: {words}"


def test_nobody_without_an_operators_token_can_make_an_incident(configured: Start) -> None:
    collector = configured()
    viewer = collector.token("--role", "viewer")
    body = hook(firing())
    assert collector.ask("POST", "/api/v1/alertmanager", body).status == 401
    assert collector.ask("POST", "/api/v1/alertmanager", body, token=viewer).status == 403
    assert collector.get("/api/v1/incidents", viewer)["incidents"] == []


def test_our_webhook_has_the_form_that_alertmanagers_receivers_know() -> None:
    one = Incident(id="000007", place=Place("upstream", "", "pop_a"), began_at=10**18, opened_at=10**18, reached=["1"])
    made = webhook([one], "en", Message("t", "b", "opened"))
    assert set(made) == {
        "version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels", "commonLabels",
        "commonAnnotations", "externalURL", "alerts",
    }  # fmt: skip
    assert set(made["alerts"][0]) == {
        "status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint",
    }  # fmt: skip
    assert (made["status"], made["alerts"][0]["endsAt"]) == ("firing", "0001-01-01T00:00:00Z")
    (back,) = alerts_of(json.dumps(made).encode(), OWN)
    assert (back.place, back.evidence.level) == (Place("node", OWN, "nhip_upstream"), "red")
    one.resolved_at = 2 * 10**18
    assert webhook([one], "en", Message("t", "b", "resolved"))["status"] == "resolved"
