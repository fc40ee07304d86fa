"""The whole stream with real processes: a collector, an agent, a web server, and what befalls them."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import yaml

from tests.running import ROOT, RunningCollector, answers, free_port, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SITE = "31120"


class Process:
    """A child process that can be stopped, killed and started again."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.command, self.folder = command, folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(self.command, cwd=ROOT, stdout=output, stderr=output)

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(20)


class Site:
    """A commune: an agent that watches a web server."""

    def __init__(self, folder: Path, collector: RunningCollector) -> None:
        self.collector, self.folder = collector, folder
        self.viewer = collector.token("--role", "viewer")
        self.web_port = free_port()
        (folder / "www").mkdir()
        web = [
            sys.executable,
            "-m",
            "http.server",
            str(self.web_port),
            "--bind",
            "127.0.0.1",
            "-d",
            str(folder / "www"),
        ]
        self.web = Process(web, folder)
        token = folder / "token"
        token.write_text(collector.token("--site", SITE))
        token.chmod(0o600)
        config = {
            "site": SITE, "node": "gateway", "data": str(folder / "agent"), "heartbeat_seconds": 1,
            "collector": {"url": f"http://127.0.0.1:{collector.port}", "token_file": str(token), "flush_seconds": 0.3},
            "checks": [
                {"check": "http_get", "target": self.page, "interval_seconds": 1, "with": {"timeout_seconds": 1}},
                {"check": "tcp_connect", "target": self.address, "interval_seconds": 1, "with": {"timeout_seconds": 1}},
                {"check": "icmp_echo", "target": "127.0.0.1", "interval_seconds": 1, "with": {"count": 2}},
            ],
        }  # fmt: skip
        (folder / "agent.yml").write_text(yaml.safe_dump(config))
        self.agent = Process(
            [sys.executable, "-m", "nhip", "agent", "run", "--config", str(folder / "agent.yml")], folder
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.web_port}"

    @property
    def page(self) -> str:
        return f"http://{self.address}/"

    def incidents(self, state: str = "all") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.collector.get(f"/api/v1/incidents?state={state}", self.viewer)["incidents"]
        return found

    def level(self) -> str:
        sites = self.collector.get("/api/v1/sites", self.viewer)["sites"]
        return next((site["level"] for site in sites if site["site"] == SITE), "absent")


@pytest.fixture
def site(tmp_path: Path, configured: Callable[..., RunningCollector]) -> Iterator[Site]:
    collector = configured(sites=[{"site": SITE, "name": "Phường Cái Khế", "group": "Ninh Kiều"}], silence_seconds=4)
    made = Site(tmp_path, collector)
    made.web.start()
    until(lambda: answers(made.web_port), what="the web server's answer")
    made.agent.start()
    until(lambda: made.level() == "green", what="a green site")
    yield made
    made.agent.end()
    made.web.end(signal.SIGKILL)


def test_a_stopped_service_is_one_incident_that_names_it_and_ends_when_it_is_back(site: Site) -> None:
    site.web.end(signal.SIGKILL)
    (incident,) = until(lambda: site.incidents("open"), what="an incident")
    assert incident["cause"] == {
        "kind": "service",
        "place": site.address,
        "text": {"vi": f"Dịch vụ {site.address} không hoạt động", "en": f"Service {site.address} does not work"},
    }
    assert incident["site_name"] == "Phường Cái Khế"
    until(lambda: len(site.incidents("open")[0]["evidence"]) == 2, what="the second witness")
    assert {e["check"] for e in site.incidents("open")[0]["evidence"]} == {"http_get", "tcp_connect"}
    assert {e["reason"] for e in site.incidents("open")[0]["evidence"]} == {"connection refused"}
    assert site.level() == "red"
    site.web.start()
    until(lambda: not site.incidents("open"), what="the end of the incident")
    (over,) = site.incidents()
    assert over["id"] == incident["id"]
    timeline = site.collector.get(f"/api/v1/incidents/{over['id']}", site.viewer)["timeline"]
    kinds = [line["kind"] for line in timeline]
    assert kinds[0] == "began"
    assert [kind for kind in kinds if kind in ("opened", "resolved")] == ["opened", "resolved"]
    until(lambda: "RESOLVED" in site.collector.log(), what="the message that it is over")
    assert [line.split()[4] for line in site.collector.log().splitlines() if "nhip.told" in line] == ["🔴", "🟢"]


def test_a_killed_collector_loses_nothing_it_acknowledged_and_rings_once(site: Site) -> None:
    site.web.end(signal.SIGKILL)
    until(lambda: site.incidents("open"), what="an incident")
    site.collector.kill()
    time.sleep(1)  # the agent measures on meanwhile, and spools
    site.collector.start()
    until(lambda: site.level() == "red", what="the same state as before")
    assert len(site.incidents()) == 1
    site.web.start()
    until(lambda: not site.incidents("open"), what="the end of the incident")
    assert len(site.incidents()) == 1
    site.agent.end()
    journal = sqlite3.connect(site.collector.folder / "data" / "journal.db")
    sequences = [
        row[0] for row in journal.execute("select sequence from entries where agent is not null order by position")
    ]
    journal.close()
    assert sequences == list(range(1, len(sequences) + 1))


def test_a_killed_agent_is_a_silence_that_ends_when_it_speaks_again(site: Site) -> None:
    site.agent.end(signal.SIGKILL)
    (incident,) = until(lambda: site.incidents("open"), what="a silence")
    assert (incident["cause"]["kind"], incident["cause"]["place"]) == ("silence", "gateway")
    assert site.level() == "red"
    site.agent.start()
    until(lambda: not site.incidents("open"), what="the end of the silence")
    assert len(site.incidents()) == 1


def test_a_long_absence_of_the_collector_is_nobody_s_silence_and_the_backlog_rings_nobody(site: Site) -> None:
    site.collector.kill()
    site.web.end(signal.SIGKILL)
    time.sleep(6)  # longer than a silence; what was measured now comes late
    site.web.start()
    time.sleep(3)
    site.collector.start()
    until(lambda: site.level() == "green", what="a green site")
    assert [i["cause"]["kind"] for i in site.incidents()].count("silence") == 0


def test_over_tls_an_agent_trusts_only_the_authority_it_was_given(
    tmp_path: Path, configured: Callable[..., RunningCollector]
) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "collector.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    stranger.cert_pem.write_to_path(tmp_path / "stranger.pem")
    pem = str(tmp_path / "collector.pem")
    collector = configured(tls={"certificate": pem, "key": pem})
    collector.authority = str(tmp_path / "ca.pem")
    site = Site(tmp_path, collector)
    written = (tmp_path / "agent.yml").read_text()
    url = f"url: https://127.0.0.1:{collector.port}"
    for ca_file, level in (("stranger.pem", "absent"), ("ca.pem", "green")):
        settings = yaml.safe_load(written)
        settings["collector"] |= {"url": url.removeprefix("url: "), "ca_file": str(tmp_path / ca_file)}
        settings["checks"] = settings["checks"][2:]
        (tmp_path / "agent.yml").write_text(yaml.safe_dump(settings))
        site.agent.start()
        try:
            if level == "absent":
                until(lambda: b"certificate" in (tmp_path / "output").read_bytes(), what="a word about the certificate")
            assert until(lambda level=level: site.level() == level, what=f"a site that is {level}")
        finally:
            site.agent.end()


def test_the_collector_stops_cleanly_when_told(site: Site) -> None:
    assert site.collector.stop() == 0
    assert (site.collector.folder / "data" / "judge.npz").exists()
