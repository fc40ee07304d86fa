"""Which metrics each check gives, by name alone: `metrics.yml`. Loading the checks would cost what they cost."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import yaml

_FILE = Path(__file__).with_name("metrics.yml")


@lru_cache(maxsize=1)
def metrics_by_check() -> dict[str, list[str]]:
    """Return the metrics of every check, without instances (`disk_used_ratio`, not `disk_used_ratio[/]`)."""
    known: dict[str, list[str]] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return known
