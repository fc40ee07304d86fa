"""Every story in tests/scenarios: a stream in, exactly these incidents out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from checks.strict import build
from collector.config import Config
from collector.replay import replay
from tests.collector.judging import NS, START, Told, judge, lines_of, sites_of

STORIES = sorted((Path(__file__).parents[1] / "scenarios").glob("*.yml"))
LOUD = ("opened", "escalated", "reopened", "resolved", "digest", "due")


def config_of(story: dict[str, Any]) -> Config:
    settings = dict(story.get("config", {}))
    if "places" in story:  # `upstream: [sites]`, and what each of those hangs on
        settings["sites"] = [
            {"site": site, "name": f"Commune {site}", "upstream": upstream}
            for upstream, sites in story["places"].items()
            for site in sites_of(sites)
        ] + settings.get("sites", [])
    return build(Config, settings)


def shown(told: Told) -> dict[str, Any]:
    words = {"state": told.state, "kind": told.cause, "place": told.name, "site": told.site, "tell": told.tell}
    return {**words, "severity": told.severity, "at": told.at, "began_at": told.began_at, "members": told.members}


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_story_ends_as_it_says(path: Path) -> None:
    story = yaml.safe_load(path.read_text(encoding="utf-8"))
    told = judge(
        lines_of(story["stream"]), config_of(story), restarts=story.get("restarts", ()), until=story.get("until")
    )
    wanted_tells = {wanted["tell"] for wanted in story["incidents"] if "tell" in wanted}
    found = [shown(item) for item in told if item.tell in LOUD or item.tell in wanted_tells]
    assert [{k: f[k] for k in ("state", "kind", "place")} for f in found] == [
        {k: wanted[k] for k in ("state", "kind", "place")} for wanted in story["incidents"]
    ]
    for one, wanted in zip(found, story["incidents"], strict=True):
        for exact in ("site", "tell", "severity", "members"):
            assert one[exact] == wanted.get(exact, one[exact])
        for number in ("at", "began_at"):
            if number in wanted:
                assert abs(one[number] - wanted[number]) <= 1


EARLY = [path for path in STORIES if "findings" in yaml.safe_load(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("path", EARLY, ids=lambda path: path.stem)
def test_what_is_found_early_is_what_the_story_says(path: Path) -> None:
    story = yaml.safe_load(path.read_text(encoding="utf-8"))
    config = build(Config, story.get("config", {}))
    found = [
        one
        for one in replay(lines_of(story["stream"]), config)
        if one["type"] == "shift" or (one["type"] == "signal" and "yellow" in (one["from"], one["to"]))
    ]
    assert len(found) == len(story["findings"]), found
    for one, wanted in zip(found, story["findings"], strict=True):
        instants = {name: round(one[name] / NS) - START for name in ("at", "began_at") if name in one}
        assert {name: {**one, **instants}[name] for name in wanted} == wanted


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_same_stream_gives_the_same_findings_to_the_letter(path: Path) -> None:
    story = yaml.safe_load(path.read_text(encoding="utf-8"))
    config, lines = config_of(story), lines_of(story["stream"])
    assert list(replay(lines, config)) == list(replay(lines, config))


def test_nothing_is_known_before_the_last_point_it_is_drawn_from() -> None:
    for path in STORIES:
        story = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = list(replay(lines_of(story["stream"]), config_of(story)))
        assert [f["at"] for f in found if f["type"] == "signal"] == sorted(
            f["at"] for f in found if f["type"] == "signal"
        )
        assert all(f["began_at"] <= f["at"] for f in found if "began_at" in f)
        assert all(f["at"] >= START * NS for f in found)
