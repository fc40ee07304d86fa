"""`province.yml`: what only the lab knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from checks.strict import ConfigError, build, load_yaml
from tests.lab.impairment import Impairment

FILE = Path(__file__).with_name("province.yml")


class Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every host has before a playbook touches it."""

    suite: str
    packages: list[str]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    base: Base
    lines: dict[str, dict[str, float | bool]]
    disk_megabytes: Annotated[int, msgspec.Meta(ge=512)] = 6144
    convergence_seconds: Annotated[float, msgspec.Meta(ge=0)] = 1.0

    def impairment(self, kind: str, name: str) -> Impairment:
        """Return what a line does each way when nothing is wrong: as its kind, but for what its name says."""
        return build(Impairment, self.lines.get(kind, {}) | self.lines.get(name, {}), f"$.lines.{name}")


def load_settings(path: Path = FILE) -> Settings:
    """Read the file; ConfigError has every problem in it."""
    settings = load_yaml(path, Settings)
    for name in settings.lines:
        try:
            settings.impairment("", name)
        except ConfigError as exc:
            raise ConfigError(exc.problems, str(path)) from None
    return settings
