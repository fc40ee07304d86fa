"""What the pages say is so: the commented configuration loads, and its values are the defaults."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import yaml

from checks.strict import build
from collector.config import Config

README = Path(__file__).parents[2] / "collector" / "README.md"


def written() -> str:
    return re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[0]


def test_the_commented_configuration_is_right_and_leaves_out_no_key() -> None:
    text = written()
    build(Config, yaml.safe_load(text))
    uncommented = yaml.safe_load(re.sub(r"(?m)^# (\w+: \{)", r"\1", text))
    assert set(uncommented) == {field.name for field in msgspec.structs.fields(Config)}
    with_all = {name: value for name, value in uncommented.items() if name != "channels"}
    assert build(Config, with_all).forward is not None


def test_the_values_it_shows_are_the_defaults() -> None:
    shown, default = build(Config, yaml.safe_load(written())), Config()
    for name in (
        "listen",
        "data",
        "loopback_reads",
        "silence_seconds",
        "silence",
        "incidents",
        "own",
        "restart_grace_seconds",
        "late_seconds",
        "stale_seconds",
        "write",
        "journal",
        "store",
        "channels",
        "people",
        "rotas",
        "routes",
        "escalations",
        "telling",
        "drill",
        "dead_man",
        "tls",
        "forward",
    ):
        assert getattr(shown, name) == getattr(default, name), name
