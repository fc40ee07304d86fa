"""What a Nagios plugin prints: words for people, performance data for machines (Monitoring Plugins' guidelines, 2.6).

    PING OK - Packet loss = 0%|rta=0.035ms;10;100;0 'packet loss'=0%;10;50;0

Words and performance data may go on in further lines: after the first bar of those, all is performance data.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MOST_ITEMS = 200
_LONGEST_LABEL = 100
# Possessive (`*+`): a plugin may print 64 KiB of quotes, and nobody is to wait until each was tried with each.
_TOKEN = re.compile(r"\S+")
_LABEL = re.compile(r"(?:'((?:[^']|'')*+)'|([^\s=']++))=")
_VALUE = re.compile(r"(U|[-+]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][-+]?[0-9]++)?)([^\s;]*+)(?:;\S*+)?")
_KIBI = 1024
_SIZES = {"B": 0, "kB": 1, "KB": 1, "KiB": 1, "MB": 2, "MiB": 2, "GB": 3, "GiB": 3, "TB": 4, "TiB": 4}
_UNITS: dict[str, tuple[str, float]] = {
    "": ("", 1),
    "s": ("_seconds", 1),
    "ms": ("_seconds", 1e-3),
    "us": ("_seconds", 1e-6),
    "µs": ("_seconds", 1e-6),
    "ns": ("_seconds", 1e-9),
    "%": ("_ratio", 0.01),
    "c": ("_total", 1),
    **{unit: ("_bytes", _KIBI**power) for unit, power in _SIZES.items()},
    "C": ("_celsius", 1),
    "°C": ("_celsius", 1),
    "V": ("_volts", 1),
    "W": ("_watts", 1),
    "Hz": ("_hertz", 1),
}


@dataclass(frozen=True, slots=True)
class Item:
    """One value of performance data; None where the plugin does not know it (`U`)."""

    label: str
    value: float | None
    unit: str


@dataclass(frozen=True, slots=True)
class Output:
    """What a plugin printed: its first line's words, and its performance data."""

    words: str
    items: tuple[Item, ...]

    @classmethod
    def parse(cls, text: str) -> Output:
        """Read everything a plugin printed. What is no performance data is passed over."""
        first, _, rest = text.strip("\n").partition("\n")
        words, _, data = first.partition("|")
        _, _, more = rest.partition("|")
        return cls(words.strip(), tuple(parse_items(f"{data} {more}")))

    def metrics(self) -> Mapping[str, float]:
        """Return the values by metric, in base units: `rta=35ms` is `value_seconds[rta]` 0.035."""
        found: dict[str, float] = {}
        for item in self.items:
            if item.value is not None:
                ending, size = _UNITS.get(item.unit, ("", 1))
                label = _label(item.label if item.unit in _UNITS else f"{item.label} {item.unit}")
                value = item.value / 100 if ending == "_ratio" else item.value * size
                if math.isfinite(value):
                    found.setdefault(f"value{ending}[{label}]", value)
        return found


def parse_items(text: str) -> Iterator[Item]:
    """Read `label=value[unit][;warning;critical;minimum;maximum]`, at most 200 of them.

    The limits are passed over: by them the plugin itself has judged.
    """
    at = count = 0
    while count < _MOST_ITEMS and (token := _TOKEN.search(text, at)):
        label = _LABEL.match(text, token.start())
        value = label and _VALUE.match(text, label.end())
        if not label or not value:
            at = token.end()
            continue
        at, count = value.end(), count + 1
        name = label[2] if label[1] is None else label[1].replace("''", "'")
        yield Item(name, None if value[1] == "U" else float(value[1]), value[2])


def _label(text: str) -> str:
    """Return a label that can be part of a metric's name and of a line of line protocol."""
    plain = "".join(char if char.isprintable() else "?" for char in text[:_LONGEST_LABEL])
    return plain.replace("[", "(").replace("]", ")").replace("\\", "/")
