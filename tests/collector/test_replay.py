"""`nhip collector replay` as a command: a recording in, what would have been found out, and every bad line named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
START = 1_790_000_000
NS = 1_000_000_000


def at(second: float) -> int:
    return (START * NS) + int(second * NS)


def line(success: int, second: float, site: str = "31120", target: str = "10.0.0.1:443") -> str:
    return f"tcp_connect,node=gw,site={site},target={target} success={success} {at(second)}"


OUTAGE = [line(value, second) for second, value in enumerate([1, 1, 1, 0, 0, 0, 1, 1])]


def replay(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nhip", "collector", "replay", *words]
    return subprocess.run(
        command, cwd=ROOT, input=given, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip


def found(*words: str, given: str = "") -> list[dict[str, Any]]:
    done = replay(*words, "--format", "json", given=given)
    assert done.returncode == 0, done.stderr
    return [json.loads(text) for text in done.stdout.splitlines()]


def test_a_recording_in_a_file_or_on_standard_input_finds_the_same(tmp_path: Path) -> None:
    recording = "\n".join(OUTAGE)
    path = tmp_path / "night.lp"
    path.write_text(recording, encoding="utf-8")
    here = found(str(path))
    assert here
    assert here == found("-", given=recording)


def test_several_files_are_one_recording_in_the_order_of_time(tmp_path: Path) -> None:
    late, early = tmp_path / "late.lp", tmp_path / "early.lp"
    late.write_text("\n".join(OUTAGE[4:]), encoding="utf-8")
    early.write_text("\n".join(reversed(OUTAGE[:4])), encoding="utf-8")
    assert found(str(late), str(early)) == found("-", given="\n".join(OUTAGE))


def test_each_line_of_json_is_what_the_contract_says() -> None:
    rows = found("-", given="\n".join(OUTAGE))
    assert [row["type"] for row in rows] == ["signal", "signal", "incident", "signal", "incident"]
    signal, opened = rows[1], rows[2]
    assert signal == {
        "type": "signal", "at": at(4), "site": "31120", "node": "gw", "check": "tcp_connect", "target": "10.0.0.1:443",
        "metric": "success", "from": "green", "to": "red", "began_at": at(3), "value": 0.0,
    }  # fmt: skip
    assert {key: opened[key] for key in ("type", "at", "id", "state", "sites", "began_at")} == {
        "type": "incident", "at": at(4), "id": "000001", "state": "open", "sites": ["31120"], "began_at": at(3),
    }  # fmt: skip
    assert opened["cause"]["place"] == "10.0.0.1:443"
    assert (rows[4]["id"], rows[4]["state"], rows[4]["at"]) == ("000001", "resolved", at(7))
    assert all(isinstance(row["at"], int) and row["at"] >= row.get("began_at", 0) for row in rows)


def test_silence_is_found_too_and_no_time_passes_after_the_last_point() -> None:
    beats = [f"agent,node=gw,site=1 uptime_seconds={s} {at(s)}" for s in range(3)]
    other = [f"agent,node=pc,site=1 uptime_seconds={s} {at(s)}" for s in range(20)]
    rows = found("-", given="\n".join(beats + other))
    assert [(row["type"], row["at"]) for row in rows] == [("signal", at(12)), ("incident", at(12))]
    assert (rows[0]["node"], rows[0]["from"], rows[0]["to"]) == ("gw", "green", "unknown")
    assert rows[1]["cause"]["kind"] == "agent"  # pc, at the same site, is heard: so it is not the line


def test_text_can_be_read_by_a_person() -> None:
    lines = replay("-", given="\n".join(OUTAGE)).stdout.splitlines()
    assert lines[1] == "21/09/2026 21:13:24  signal  green → red  site 31120 tcp_connect 10.0.0.1:443 success"
    assert lines[2] == (
        "21/09/2026 21:13:24  INCIDENT 000001 opened     site 31120: Service 10.0.0.1:443 does not work"
        " [tcp_connect 10.0.0.1:443: cannot be connected to]"
    )
    assert "INCIDENT 000001 resolved   site 31120" in lines[4]


def test_bad_lines_are_named_and_the_rest_is_judged() -> None:
    bad = [
        "nonsense",
        "tcp_connect,node=gw,target=x success=0 1790000001000000000",
        "tcp_connect,node=gw,site=1,target=x success=0",
        "# a comment is no mistake",
        'tcp_connect,site=1 reason="two\nlines" soon',
        "tcp_connect,site=1,node=gw success=",
    ]
    done = replay("-", "--format", "json", given="\n".join([*bad, *OUTAGE]))
    assert done.returncode == 0
    assert [json.loads(text) for text in done.stdout.splitlines()] == found("-", given="\n".join(OUTAGE))
    assert done.stderr.splitlines() == [
        "-: line 1: no fields: expected 'measurement,tag=value field=value timestamp'",
        "-: line 2: no site tag: the point cannot be placed",
        "-: line 3: no timestamp: the point cannot be placed",
        "-: line 5: timestamp 'soon' is not a whole number",
        "-: line 7: field 'success' has no value",
    ]


def test_a_threshold_is_tried_on_a_recording_before_it_wakes_anyone(tmp_path: Path) -> None:
    config = tmp_path / "collector.yml"
    config.write_text(
        "limits: [{check: tcp_connect, metric: success, above: false, red: {enter: 0.5, leave: 0.5}, k: 4, n: 4}]",
        encoding="utf-8",
    )
    rows = found("-", "--config", str(config), given="\n".join(OUTAGE))
    assert [row for row in rows if row["type"] == "incident"] == []


def test_nothing_in_is_nothing_out() -> None:
    done = replay("-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("name", "words"), [("no.lp", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str, words: str) -> None:
    path = tmp_path / name
    done = replay(str(path))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"nhip collector replay: {path}: {words}\n")


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "long.lp"
    values = [line(number // 2 % 2, number) for number in range(40_000)]
    path.write_text("\n".join(values), encoding="utf-8")
    command = f"{sys.executable} -m nhip collector replay {path} | head -1"
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")
