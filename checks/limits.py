"""Limits: from which value on a metric is yellow or red. Data, in `limits.yml`, read by `nhip check` and the collector.

A limit has two values for each colour. A signal becomes red at `enter` and stops being red only beyond `leave`, so that
a value that trembles around one number does not ring again and again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from checks.strict import ConfigError, load_yaml

Colour = Literal["green", "yellow", "red"]
Language = Literal["vi", "en"]

DEFAULT = Path(__file__).with_name("limits.yml")

_COLOURS: dict[Language, dict[Colour, str]] = {
    "vi": {"green": "xanh", "yellow": "vàng", "red": "đỏ"},
    "en": {"green": "green", "yellow": "yellow", "red": "red"},
}


class Level(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One colour's pair of values: reached at `enter`, over again once past `leave`. They may be equal."""

    enter: float
    leave: float


class Words(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How people say a breach; `{value}` and `{limit}` are put in."""

    vi: str
    en: str


class Limit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of one metric of one check.

    `above` tells which side is bad. A colour counts once `k` of the last `n` values are there. The metric is written
    without its instance: `disk_used_ratio` stands for `disk_used_ratio[/]` and every other disk.

    Where the metric is a share of packets, `packets` names the metric that counts them; then the evidence is counted in
    packets, and k and n say nothing: see `collector/detect/evidence.py`. A limit with `sites` or a `service` is for
    these alone, and goes before the one that is for all; one with both goes before either.
    """

    check: str
    metric: str
    above: bool = True
    yellow: Level | None = None
    red: Level | None = None
    k: Annotated[int, msgspec.Meta(ge=1)] = 2
    n: Annotated[int, msgspec.Meta(ge=1, le=64)] = 3
    packets: str = ""
    sites: list[str] = []
    service: str = ""
    words: Words | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; the message says what would be right."""
        if self.yellow is None and self.red is None:
            raise ValueError("needs a yellow or a red level")
        if self.metric != base_metric(self.metric):
            raise ValueError(f"metric is written without its instance: {base_metric(self.metric)}")
        if self.packets and not (self.above and self.metric.endswith("_ratio")):
            raise ValueError(f"packets are what a share above its limit is counted in, and {self.metric} is none")
        if self.k > self.n:
            raise ValueError(f"k of n: k ({self.k}) must not be more than n ({self.n})")
        side = "at or below" if self.above else "at or above"
        for colour, level in (("yellow", self.yellow), ("red", self.red)):
            if level and self._beyond(level.leave, level.enter) and level.leave != level.enter:
                raise ValueError(f"{colour}: leave ({level.leave:g}) must be {side} enter ({level.enter:g})")
        if self.yellow and self.red and not self._beyond(self.red.enter, self.yellow.enter):
            raise ValueError(
                f"red ({self.red.enter:g}) must be {'above' if self.above else 'below'} yellow ({self.yellow.enter:g})"
            )

    def judge(self, value: float, before: Colour = "green") -> Colour:
        """Return the colour of one value, when the signal was `before`; without a past, `enter` alone decides."""
        for colour, level in (("red", self.red), ("yellow", self.yellow)):
            held = before in ("red", colour)
            if level and self._beyond(value, level.leave if held else level.enter):
                return "red" if colour == "red" else "yellow"
        return "green"

    def breach(self, value: float, colour: Colour, language: Language = "vi", metric: str = "") -> str:
        """Phrase why `value` is `colour`: `loss_ratio 60 % ≥ 50 %`. `metric` may carry its instance."""
        level = self.red if colour == "red" else self.yellow
        name = metric or self.metric
        if colour == "green" or level is None:
            return f"{name} {say(self.metric, value)} ({_COLOURS[language][colour]})"
        template: str = getattr(self.words, language) if self.words else f"{name} {{value}} {self.sign} {{limit}}"
        words = template.replace("{limit}", say(self.metric, level.enter)).replace("{value}", say(self.metric, value))
        _, bracket, instance = name.partition("[")
        return f"{instance.removesuffix(']')}: {words}" if bracket and self.words else words

    @property
    def key(self) -> str:
        """What it is for, in words: no two limits may say it."""
        place = " ".join([*(f"site {site}" for site in sorted(self.sites)), *([self.service] if self.service else [])])
        return f"{self.check} {self.metric}" + (f" at {place}" if place else "")

    @property
    def sign(self) -> str:
        """How a breach compares: ≥ or ≤."""
        return "≥" if self.above else "≤"

    def _beyond(self, value: float, bound: float) -> bool:
        return value >= bound if self.above else value <= bound


def base_metric(name: str) -> str:
    """Return a metric's name without its instance: `disk_used_ratio[/var]` → `disk_used_ratio`."""
    return name.partition("[")[0]


def say(metric: str, value: float) -> str:
    """Write a value as people read it: a ratio in per cent, times and rates in a unit that fits."""
    name = base_metric(metric)
    if name.endswith("_ratio"):
        return f"{value * 100:.4g} %"
    if name.endswith("_seconds"):
        return _time(value)
    if name.endswith("_bits_per_second"):
        return _rate(value)
    return f"{value:.0f}" if value == int(value) else f"{value:.6g}"


def _time(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h")):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.4g} {unit}"
    if abs(seconds) >= 1:
        return f"{seconds:.4g} s"
    return f"{seconds * 1e3:.4g} ms" if abs(seconds) >= 1e-3 or seconds == 0 else f"{seconds * 1e6:.3g} µs"  # noqa: PLR2004  (1 ms)


def _rate(bits_per_second: float) -> str:
    for size, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if abs(bits_per_second) >= size:
            return f"{bits_per_second / size:.4g} {unit}"
    return f"{bits_per_second:.4g} bit/s"


def load_limits(path: Path | None = None) -> list[Limit]:
    """Read a file of limits, the one beside this module by default. `ConfigError` lists everything wrong in it."""
    source = path or DEFAULT
    limits = load_yaml(source, list[Limit])
    seen: dict[str, int] = {}
    problems = []
    for index, limit in enumerate(limits):
        first = seen.setdefault(limit.key, index)
        if first != index:
            problems.append((f"$[{index}]", f"{limit.key} already has its limits at $[{first}]"))
    if problems:
        raise ConfigError(problems, str(source))
    return limits
