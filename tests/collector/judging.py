"""Stories judged without files or processes: streams of line protocol in, transitions out, restarts where wanted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from collector.catalogue import Catalogue
from collector.columns import Decoder
from collector.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from collector.config import Config
    from collector.incident import Transition
    from collector.orders import Order

START = 1_790_000_000
NS = 1_000_000_000


@dataclass(slots=True)
class Told:
    """One thing that people are told: how an incident stood at that moment."""

    tell: str | None
    id: str
    kind: str
    cause: str
    site: str
    name: str
    severity: str
    state: str
    at: float
    began_at: float
    sites: list[str]
    members: int
    happened: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, transition: Transition) -> Told:
        incident = transition.incident
        return cls(
            transition.tell, incident.id, incident.place.kind, incident.cause or incident.place.kind,
            incident.place.site, incident.place.name, incident.severity, "open" if incident.open else "resolved",
            seconds(transition.at), seconds(incident.began_at), list(incident.sites), len(incident.members),
            [item.kind for item in transition.happened],
        )  # fmt: skip


def seconds(at: int) -> float:
    """Return an instant as seconds since the story began."""
    return at / NS - START


def instant(second: float) -> int:
    """Return a second of the story as nanoseconds since 1970."""
    return START * NS + round(second * NS)


class Judge:
    """An engine with a clock; `restart` saves it and goes on with another one."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.catalogue = Catalogue(max_signals_per_site=1 << 40)
        self.engine, self.decoder = Engine(config, self.catalogue), Decoder(self.catalogue)
        self.told: list[Told] = []

    def arrive(self, body: bytes, at: int, sent_at: int | None = None) -> None:
        """Let a body arrive at an instant."""
        self.pass_until(at)
        columns, errors = self.decoder.decode(body, arrived_at=at)
        assert errors == []
        self._take(self.engine.step(columns, arrived_at=at, sent_at=sent_at).transitions)

    def pass_until(self, at: int) -> None:
        """Let time pass."""
        self._take(self.engine.tick(at).transitions)

    def order(self, order: Order, at: int) -> None:
        """Do what a person says."""
        self.pass_until(at)
        self._take(self.engine.order(order, at).transitions)

    def restart(self, at: int, away: float = 0) -> None:
        """End, and begin again from a checkpoint, `away` seconds later."""
        self.pass_until(at)
        columns, plain = self.engine.save()
        other = Catalogue(max_signals_per_site=1 << 40)
        other.restore(self.catalogue.series, [(s.series_id, s.metric) for s in self.catalogue.signals])
        self.catalogue = other
        self.engine, self.decoder = Engine(self.config, other), Decoder(other)
        self.engine.load({name: np.array(column) for name, column in columns.items()}, plain)
        self.engine.resume(at + round(away * NS))

    def _take(self, transitions: Iterable[Transition]) -> None:
        self.told += [Told.of(transition) for transition in transitions]


def judge(
    lines: Sequence[tuple[int, bytes]], config: Config, *, restarts: Iterable[float] = (), until: float | None = None
) -> list[Told]:
    """Judge lines, each arriving at its own instant, and let time pass until a second of the story."""
    judged, pending = Judge(config), sorted(restarts, reverse=True)
    index = 0
    while index < len(lines):
        at, end = lines[index][0], index
        while end < len(lines) and lines[end][0] == at:
            end += 1
        while pending and instant(pending[-1]) <= at:
            judged.restart(instant(pending.pop()))
        judged.arrive(b"\n".join(line for _, line in lines[index:end]), at)
        index = end
    if until is not None:
        judged.pass_until(instant(until))
    return judged.told


def lines_of(stream: Sequence[dict[str, Any]]) -> list[tuple[int, bytes]]:
    """Return a story's stream as lines, each with the instant at which it arrives.

    `{site}` in a line stands for each of `sites`; `phase` sets them apart by so many seconds.
    """
    lines = []
    for part in stream:
        for number, site in enumerate(sites_of(part.get("sites", [""]))):
            begin = part["from"] + number * part.get("phase", 0) % part["every"]
            for second in np.arange(begin, part["to"], part["every"]).tolist():
                text = part["line"].replace("{site}", site)
                for name, rule in part.get("rising", {}).items():  # a value that grows with time, from zero at `from`
                    text += f",{name}={second - part['from'] + rule:g}"
                at = instant(second)
                lines.append((at, f"{text} {at}".encode()))
    return sorted(lines, key=lambda line: line[0])


def sites_of(wanted: Sequence[object]) -> list[str]:
    """Return sites, where `1-40` stands for forty of them."""
    sites = []
    for item in wanted:
        first, dash, last = str(item).partition("-")
        sites += [str(n) for n in range(int(first), int(last) + 1)] if dash and last.isdecimal() else [str(item)]
    return sites
