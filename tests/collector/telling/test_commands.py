"""What a person asks before a night on duty: does the channel work, who would be called, is the configuration right."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from checks.strict import build
from collector.config import Config
from tests.running import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.running import RunningCollector

Start = Callable[..., "RunningCollector"]
PAGE = ROOT / "docs" / "telling.md"


def nhip(*words: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-m", "nhip", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def example() -> dict[str, Any]:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Write the configuration that the page shows, with addresses of this test."""
    settings = example() | {"listen": "127.0.0.1:0", "data": str(tmp_path)}
    address = tmp_path / "url"
    address.write_text("json://127.0.0.1:9/")
    web = tmp_path / "web"
    web.write_text("http://127.0.0.1:9/")
    for channel in settings["channels"]:
        channel["url_file"] = str(web if "kind" in channel else address)
    settings["dead_man"]["url_file"] = str(web)
    path = tmp_path / "collector.yml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def test_the_pages_example_is_right_and_validate_says_who_is_told(config: Path) -> None:
    build(Config, example())
    code, out, err = nhip("collector", "validate", "--config", str(config))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"{config}: is right.")
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "route programs",
        "route one-stop",
        "route night",
        "route day",
    ]


def test_validate_names_the_hours_that_nobody_is_told_in(config: Path) -> None:
    settings = yaml.safe_load(config.read_text())
    for route in settings["routes"]:
        route["hours"] = ["mon-fri 07:30-17:00"]
    config.write_text(yaml.safe_dump(settings))
    code, _, err = nhip("collector", "validate", "--config", str(config))
    assert code == 0
    assert "no route takes a red incident Mon 17:00 – Tue 07:30" in err
    assert err.count("\n") == 1


def test_routes_says_who_would_be_called_now_and_who_next(config: Path) -> None:
    asked = ("collector", "routes", "--config", str(config))
    assert nhip(*asked, "31120", "--at", "2026-11-24T23:00") == (
        0,
        (
            "at once       alerts, officer-1 (officer-1-phone), log  (route programs, night)\n"
            "+10 min       officer-1 (officer-1-phone), lead (lead-phone)  (escalation standard)\n"
            "+30 min       lead (lead-phone), room  (escalation standard)\n"
            "              … again every 30 min, until somebody acknowledges\n"
        ),
        "",
    )
    code, out, _ = nhip(*asked, "one-stop", "--at", "2026-11-25T10:00", "--severity", "yellow")
    assert (code, out) == (0, "in the next digest  alerts, apps-mail, room, log  (route programs, one-stop, day)\n")
    code, _, err = nhip(*asked, "99999")
    assert (code, err) == (3, "'99999' is no site, upstream, service or open incident here\n")
    assert nhip(*asked, "31120", "--at", "noon")[0] == 3


def test_tell_says_whether_a_channel_takes_a_message(config: Path) -> None:
    code, out, err = nhip("collector", "tell", "room", "--config", str(config))
    assert (code, out, err) == (1, "", "channel room: was not taken\n")
    code, out, err = nhip("collector", "tell", "log", "--config", str(config))
    assert (code, "TEST MESSAGE" in err) == (0, True)
    assert out.startswith("channel log: taken after ")
    code, _, err = nhip("collector", "tell", "fax", "--config", str(config))
    assert code == 3
    assert err.startswith("no channel 'fax' is listed; there are: log, room, ")


def test_a_drill_is_started_heard_and_listed_from_the_command_line(configured: Start, tmp_path: Path) -> None:
    collector = configured()
    token = tmp_path / "token"
    token.write_text(collector.token("--role", "operator"))
    options = ("--url", f"http://127.0.0.1:{collector.port}", "--token-file", str(token))
    assert nhip("collector", "drill", "list", *options) == (0, "there was no drill yet\n", "")
    code, _, err = nhip("collector", "drill", "heard", "alarm", *options)
    assert (code, err) == (3, "nhip: no drill has rung that is not over\n")
    code, out, _ = nhip("collector", "drill", "start", "--announce-minutes", "0", *options)
    assert (code, out.split()[3:]) == (0, ["announced", "alarm:", "nobody", "yet"])
    code, out, _ = nhip("collector", "drill", "heard", "alarm", "--by", "officer-1", *options)
    assert code == 0
    assert out.split()[4:] == ["alarm:", "officer-1"]
