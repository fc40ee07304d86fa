"""What rings, and how soon, when an upstream or the whole nation is lost and comes back, through a restart as well.

Each site's agent sends a heartbeat and a train's results every 5 s, in a body of its own. Every second the reflector
says whose test packets it hears, and the data centre asks every gateway for an echo. All of it goes through the judge's
own steps, with the configuration that ships.
"""

from __future__ import annotations

import resource
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.common import run_parts, table
from collector.catalogue import Catalogue, Series
from collector.columns import Columns
from collector.config import Config, Site, Upstream
from collector.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.engine import Judged
    from collector.incident import Transition

NS = 1_000_000_000
START = 1_790_000_000 * NS
TRAIN = ("loss_ratio", "packets_sent", "rtt_median_seconds")
LOUD = ("opened", "reopened", "escalated", "resolved", "due")


class World:
    """A judge, the sites that it hears, and what each step cost."""

    def __init__(self, upstream_of: dict[str, str], parents: dict[str, str]) -> None:
        """Know every site by the upstream that it hangs on, and each upstream by what that hangs on."""
        self.config = Config(
            sites=[
                Site(site=site, name=f"Commune {site}", upstream=name, addresses=[_gateway(number)])
                for number, (site, name) in enumerate(upstream_of.items())
            ],
            upstreams=[Upstream(upstream=name, parent=parent) for name, parent in parents.items()],
        )
        self.sites = list(upstream_of)
        self.catalogue = Catalogue(max_signals_per_site=1 << 40)
        self._own, self._witness = [], []
        for site in self.sites:
            beat = self._signals(Series(site, "gateway", "agent", ""), ("uptime_seconds",))
            train = self._signals(Series(site, "gateway", "stamp", "10.92.0.10"), TRAIN)
            self._own.append((np.array([*beat[1], *train[1]]), np.array([beat[0], train[0]])))
            counted = Series("data-centre", "reflector", "stamp_sender", site)
            self._witness.append(self._signals(counted, ("silent_seconds", "packets_received")))
        sweep = Series("data-centre", "control", "icmp_sweep", "gateways")
        self._asked = self._signals(sweep, [f"loss_ratio[{_gateway(n)}]" for n in range(len(self.sites))])
        self._heard_at = np.zeros(len(self.sites))
        self.engine = Engine(self.config, self.catalogue)
        self.transitions: list[Transition] = []
        self.tells: list[tuple[str, str, str, str, float]] = []  # how, kind, site, name, at
        self.longest, self.busy = 0.0, 0.0

    def _signals(self, series: Series, metrics: Sequence[str]) -> tuple[int, list[int]]:
        number = self.catalogue.series_id(series)
        return number, [self.catalogue.signal_id(number, metric) for metric in metrics]

    def second(self, second: int, alive: np.ndarray, phases: np.ndarray) -> None:
        """Let a second pass: sites that are alive send what is due, the reflector counts."""
        due = np.flatnonzero(alive & (phases.astype(int) == second % 5))
        for index in due[np.argsort(phases[due] % 1)].tolist():
            at = START + int((second + phases[index] % 1) * NS)
            signals, series = self._own[index]
            self._step(Columns(signals, np.full(4, at), np.array([1.0, 0.0, 20.0, 0.005]), series, 2), at)
        middle = START + int((second + 0.5) * NS)
        number, asked = self._asked
        lost = np.where(alive, 0.0, 1.0)
        self._step(Columns(np.array(asked), np.full(len(asked), middle), lost, np.array([number]), 1), middle)
        at = second + 0.999
        self._heard_at[alive] = at - 0.2
        silent = at - self._heard_at
        numbers = np.array([signals for _, signals in self._witness]).ravel()
        values = np.stack([silent, np.where(alive, 1.0, 0.0)], axis=1).ravel()
        series = np.array([number for number, _ in self._witness])
        now = START + int(at * NS)
        self._step(Columns(numbers, np.full(len(numbers), now), values, series, len(series)), now)
        for quarter in range(4):
            self._take(self.engine.tick, now + quarter * NS // 4)

    def restart(self, second: float) -> None:
        """Go on with another judge, from a checkpoint."""
        columns, plain = self.engine.save()
        self.engine = Engine(self.config, self.catalogue)
        self.engine.load(columns, plain)
        self.engine.resume(START + int(second * NS))

    def _step(self, columns: Columns, at: int) -> None:
        self._take(self.engine.tick, at)
        self._take(self.engine.step, columns, arrived_at=at, sent_at=at)

    def _take(self, step: Any, *words: Any, **named: Any) -> None:
        began = time.process_time()
        judged: Judged = step(*words, **named)
        took = time.process_time() - began
        self.busy, self.longest = self.busy + took, max(self.longest, took)
        for transition in judged.transitions:
            place = transition.incident.place
            if transition.tell in LOUD:
                at = (transition.at - START) / NS
                self.tells.append((transition.tell, place.kind, place.site, place.name, at))


def _gateway(number: int) -> str:
    return f"10.92.{number // 250}.{number % 250 + 1}"


def upstream_cut(tries: int = 20) -> None:
    """Print what rings when 40 of 103 sites lose one point of presence, a 41st its own line, and one stays away."""
    upstream_of = {f"{n:05d}": "pop-1" if n < 40 else "pop-2" for n in range(103)}
    counted: Counter[str] = Counter()
    found, child, other = [], [], []
    for seed in range(tries):
        chance = np.random.default_rng(seed)
        world = World(upstream_of, {"tslcd": "", "pop-1": "tslcd", "pop-2": "tslcd"})
        phases, restart = chance.uniform(0, 5, 103), chance.uniform(61, 66)
        behind, lost_at = np.arange(103) < 40, 60 + chance.uniform(0, 1.5, 103)
        for second in range(220):
            alive = ~behind | (second < lost_at) | (second >= 150)
            alive[0] &= second < 100
            alive[102] &= second < 64
            if second == int(restart):
                world.restart(second)
            world.second(second, alive, phases)
        rang = Counter(tell[:4] for tell in world.tells)
        wanted = {("opened", "upstream", "", "pop-1"), ("resolved", "upstream", "", "pop-1")}
        sites = {("opened", "silence", "00102", "gateway"), ("opened", "silence", "00000", "gateway")}
        counted["exactly those four"] += rang == Counter(wanted | sites)
        counted["pages of single sites behind it"] += sum(
            n for tell, n in rang.items() if tell[2] and tell[2] != "00000" and tell[2] < "00040"
        )
        at = {tell[:4]: tell[4] for tell in world.tells}
        found.append(at.get(("opened", "upstream", "", "pop-1"), np.nan) - 60)
        other.append(at.get(("opened", "silence", "00102", "gateway"), np.nan) - 64)
        child.append(at.get(("opened", "silence", "00000", "gateway"), np.nan) - 150)
    table(
        f"40 of 103 sites lose one point of presence, {tries} orders, the collector restarted within 6 s of the cut",
        ["one incident, one unrelated site, one child still down, no more", "pages of sites behind it",
         "cut → told, s: median, most", "unrelated site → told, s", "back → child still down told, s"],
        [[f"{counted['exactly those four']} of {tries}", counted["pages of single sites behind it"],
          *(f"{np.median(each):.1f}, {np.max(each):.1f}" for each in (found, other, child))]],
    )  # fmt: skip


def nation() -> None:
    """Print what it costs to lose 3,321 sites at once, and to have them back."""
    sites = {f"{n:05d}": f"pop-{n % 34}-{n // 34 % 3}" for n in range(3321)}
    parents = {"backbone": "", **{f"carrier-{p}": "backbone" for p in range(34)}}
    parents |= {f"pop-{p}-{n}": f"carrier-{p}" for p in range(34) for n in range(3)}
    world = World(sites, parents)
    chance, rows = np.random.default_rng(1), []
    phases = chance.uniform(0, 5, len(sites))
    parts = (("all well", 0, 40, True), ("all lost", 40, 100, False), ("all back", 100, 160, True))
    for name, first, last, lives in parts:
        world.busy, world.longest, world.tells = 0.0, 0.0, []
        for second in range(first, last):
            world.second(second, np.full(len(sites), lives), phases)
        rang = [
            f"{how}: {kind} {where or 'data centre'}, {at - first:.1f} s" for how, kind, _, where, at in world.tells
        ]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        share = f"{100 * world.busy / (last - first):.0f} %"
        rows.append([name, "; ".join(rang) or "nothing", share, f"{world.longest * 1000:.0f}", f"{memory:.0f}"])
    table(
        "3,321 sites: a minute lost, and back",
        ["", "rang", "judging, share of a core", "longest step, ms", "memory at most, MiB"],
        rows,
    )


PARTS = {"upstream_cut": upstream_cut, "nation": nation}


def main() -> None:
    """Print the tables asked for, all by default."""
    run_parts(PARTS)


if __name__ == "__main__":
    main()
