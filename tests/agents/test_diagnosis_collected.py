"""From a cut line to an incident that knows where it is cut: collector, child and line are real."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.agents.province import Province
from tests.checks.lab import made_lab
from tests.running import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

URL = "http://127.0.0.1:8443"


class Watched:
    """A province whose sites' heartbeats reach a collector, which runs at its data centre."""

    def __init__(self, province: Province, folder: Path) -> None:
        self.province = province
        (folder / "data").mkdir()
        settings = {
            "listen": "127.0.0.1:8443", "data": str(folder / "data"), "inventory": str(province.inventory),
            "silence_seconds": 4, "loopback_reads": True, "diagnosis": {"seconds": 20},
        }  # fmt: skip
        (folder / "collector.yml").write_text(json.dumps(settings))  # JSON is YAML
        program = [sys.executable, "-m", "nhip"]
        province.lab.started(province.dc, *program, "collector", "serve", "--config", str(folder / "collector.yml"))
        until(lambda: self.ask("/health"), 40, "a collector")
        made = province.dc.run(*program, "token", "new", "--data", str(folder / "data"), "--role", "admin")
        self.token = made.stdout.strip()

    def ask(self, path: str) -> Any:
        done = self.province.dc.run("curl", "-sf", "--max-time", "10", URL + path, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def beat(self, *sites: str) -> None:
        lines = "\n".join(f"agent,site={site},node={site}-gateway uptime_seconds=1 {time.time_ns()}" for site in sites)
        where = f"{URL}/api/v2/write?org=o&bucket=b"
        self.province.dc.run("curl", "-sf", "-H", f"Authorization: Token {self.token}", "--data-binary", lines, where)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with made_lab() as lab:
        yield Watched(Province(lab, tmp_path), tmp_path)


def test_a_cut_line_opens_an_incident_that_knows_where_it_is_cut(watched: Watched) -> None:
    for _ in range(6):
        watched.beat("31120", "31123", "31150")
        time.sleep(0.3)
    watched.province.cut(watched.province.pop_one, "to-a")

    def diagnosed() -> Any:
        watched.beat("31123", "31150")
        found = watched.ask("/api/v1/incidents")["incidents"]
        told = watched.ask(f"/api/v1/incidents/{found[0]['id']}") if found else {}
        return told if told.get("diagnosis", {}).get("final") else None

    told = until(diagnosed, 60, "a diagnosed incident")
    assert told["site"] == "31120"
    assert told["diagnosis"]["verdict"]["where"] == "line_or_power"
    assert [line["kind"] for line in told["timeline"]].count("diagnosed") == 1
