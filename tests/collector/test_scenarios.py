"""Every story in tests/scenarios: a stream in, exactly these incidents out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from checks.strict import build
from collector.config import Config
from collector.replay import replay

STORIES = sorted((Path(__file__).parents[1] / "scenarios").glob("*.yml"))
START = 1_790_000_000
NS = 1_000_000_000


def lines_of(story: dict[str, Any]) -> list[tuple[int, bytes]]:
    lines = []
    for part in story["stream"]:
        for second in np.arange(part["from"], part["to"], part["every"]).tolist():
            at = START * NS + round(second * NS)
            lines.append((at, f"{part['line']} {at}".encode()))
    return sorted(lines, key=lambda line: line[0])


def shown(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "state": found["state"], "kind": found["cause"]["kind"], "place": found["cause"]["place"],
        "site": found["cause"]["site"], "at": found["at"], "began_at": found["began_at"],
    }  # fmt: skip


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_story_ends_as_it_says(path: Path) -> None:
    story = yaml.safe_load(path.read_text(encoding="utf-8"))
    config = build(Config, story.get("config", {}))
    found = [shown(f) for f in replay(lines_of(story), config) if f["type"] == "incident"]
    assert [{k: f[k] for k in ("state", "kind", "place")} for f in found] == [
        {k: wanted[k] for k in ("state", "kind", "place")} for wanted in story["incidents"]
    ]
    for one, wanted in zip(found, story["incidents"], strict=True):
        assert one["site"] == wanted.get("site", one["site"])
        for instant in ("at", "began_at"):
            if instant in wanted:
                assert abs((one[instant] / NS - START) - wanted[instant]) <= 1


EARLY = [path for path in STORIES if "findings" in yaml.safe_load(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("path", EARLY, ids=lambda path: path.stem)
def test_what_is_found_early_is_what_the_story_says(path: Path) -> None:
    story = yaml.safe_load(path.read_text(encoding="utf-8"))
    config = build(Config, story.get("config", {}))
    found = [
        one
        for one in replay(lines_of(story), config)
        if one["type"] == "shift" or (one["type"] == "signal" and "yellow" in (one["from"], one["to"]))
    ]
    assert len(found) == len(story["findings"]), found
    for one, wanted in zip(found, story["findings"], strict=True):
        instants = {name: round(one[name] / NS) - START for name in ("at", "began_at") if name in one}
        assert {name: {**one, **instants}[name] for name in wanted} == wanted


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_same_stream_gives_the_same_findings_to_the_letter(path: Path) -> None:
    story = yaml.safe_load(path.read_text(encoding="utf-8"))
    config, lines = build(Config, story.get("config", {})), lines_of(story)
    assert list(replay(lines, config)) == list(replay(lines, config))


def test_nothing_is_known_before_the_last_point_it_is_drawn_from() -> None:
    for path in STORIES:
        story = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = list(replay(lines_of(story), build(Config, story.get("config", {}))))
        assert [f["at"] for f in found if f["type"] == "signal"] == sorted(
            f["at"] for f in found if f["type"] == "signal"
        )
        assert all(f["began_at"] <= f["at"] for f in found if "began_at" in f)
