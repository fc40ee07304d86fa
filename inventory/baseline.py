"""`baseline.yml`: what acceptance measured at each site, written by `nhip acceptance report`, read by the collector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import yaml

from checks.strict import ConfigError, build
from inventory.places import compose, given

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from inventory.places import Problems

FILE = "baseline.yml"
_HEAD = """\
# Written by `nhip acceptance report`: how each site measured when it was first accepted, in base units. The
# collector reads it as what is usual there. A site keeps its figures, so that a line which slowly gets worse does not
# become usual; --renew (-e acceptance_baseline_renew=true with playbooks) takes new ones.
"""


class Baseline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One site's figures: when they were measured (RFC 3339), by which profile, and each metric of each check."""

    measured_at: str
    profile: str
    metrics: dict[str, dict[str, float]]


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sites: dict[str, Baseline] = {}


def read_baseline(folder: Path, problems: Problems) -> dict[str, Baseline]:
    """Return each site's baseline; none before the first acceptance. `problems` takes what is wrong in the file."""
    path = folder / FILE
    if not path.exists():
        return {}
    node = compose(path, FILE, problems)
    if node is None:
        return {}
    file = given(node, FILE)
    try:
        return build(_File, file.value).sites
    except ConfigError as exc:
        problems += [(str(file.at(where)), f"{where.removeprefix('$.')}: {words}") for where, words in exc.problems]
        return {}


def write_baseline(folder: Path, baselines: Mapping[str, Baseline]) -> None:
    """Write the file in one step: whoever reads meanwhile has the old one or the new one, never half of it."""
    sites = {site: msgspec.to_builtins(baselines[site]) for site in sorted(baselines)}
    text = yaml.safe_dump({"sites": sites}, allow_unicode=True, sort_keys=True, default_flow_style=None, width=120)
    path = folder / FILE
    part = path.with_suffix(".part.cfg")
    part.write_text(_HEAD + text, encoding="utf-8")
    part.replace(path)
