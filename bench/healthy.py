"""A month in which nothing is wrong: what rings all the same? 103 made sites, and real home lines beside them.

Every minute of 30 days each site sends a train of 20 packets, of which 2 % are lost at random, and fetches a page.
Round trips follow the load of the day (working days more than the others), with heavy-tailed noise, and three times a
day a second is lost: what was measured in it lost a part or all of its packets, or waited. The real lines
(tests/data/ndt) are replayed as they were measured. Everything goes through the judge's own steps, with the
configuration that ships.
"""

from __future__ import annotations

import csv
import gzip
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from bench.common import table
from bench.labelled import DATA
from collector.catalogue import Catalogue, Series
from collector.columns import Columns
from collector.config import Config
from collector.detect.levels import RED, YELLOW
from collector.engine import Engine
from collector.replay import replay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collector.engine import Judged

SITES, DAYS, EVERY, PACKETS, BLIPS = 103, 30, 60, 20, 3
START = 1_767_225_600  # Thursday, 1 January 2026, 00:00 UTC
NS = 1_000_000_000
EAST = 7 * 3600
METRICS = ("loss_ratio", "packets_sent", "rtt_min_seconds", "rtt_median_seconds", "rtt_p95_seconds")


def load_of_day(at: int) -> float:
    """Return how busy the lines are, 0 to 1, by the hour in Vietnam: little at night, two humps on a working day."""
    hour = (at + EAST) % 86_400 / 3600
    weekend = ((at + EAST) // 86_400 + 3) % 7 >= 5
    humps = np.exp(-(((hour - 9.5) / 1.8) ** 2)) + 0.9 * np.exp(-(((hour - 14.8) / 1.6) ** 2))
    return float(humps * (0.25 if weekend else 1.0))


def month() -> Iterator[tuple[str, int]]:
    """Yield (site, colour) for every incident of the made month, a warning or one that rings."""
    chance = np.random.default_rng(30)
    catalogue = Catalogue()
    signals, series = [], []
    for site in range(SITES):
        line = catalogue.series_id(Series(f"{site:05d}", "gateway", "icmp_echo", "10.0.0.1"))
        page = catalogue.series_id(Series(f"{site:05d}", "gateway", "http_get", "https://portal/"))
        series += [line, page]
        signals.append(
            [catalogue.signal_id(line, metric) for metric in METRICS]
            + [catalogue.signal_id(page, metric) for metric in ("success", "total_seconds")]
        )
    columns = np.array(signals)
    engine = Engine(Config(), catalogue)
    base, page_base = chance.uniform(0.003, 0.030, SITES), chance.uniform(0.05, 0.3, SITES)
    swing = chance.uniform(0.2, 1.5, SITES)
    for second in range(START, START + DAYS * 86_400, EVERY):
        load = load_of_day(second)
        values = _minute(chance, base * (1 + swing * load), page_base * (1 + load))
        at = second * NS
        arrived = Columns(columns.ravel(), np.full(columns.size, at), values.ravel(), np.array(series), len(series))
        # A train that lost everything has no round trip.
        heard = ~np.isnan(arrived.values)
        arrived.signals, arrived.measured_at, arrived.values = (
            arrived.signals[heard], arrived.measured_at[heard], arrived.values[heard],
        )  # fmt: skip
        for judged in (engine.tick(at), engine.step(arrived, arrived_at=at)):
            yield from _told(judged)


def _minute(chance: np.random.Generator, rtt: np.ndarray, page: np.ndarray) -> np.ndarray:
    noise = 1 + 0.03 * np.abs(chance.standard_t(2.5, SITES))
    median = rtt * noise
    lost = chance.binomial(PACKETS, 0.02, SITES)
    total = page * (1 + 0.1 * np.abs(chance.standard_t(2.5, SITES)))
    blip = chance.random(SITES) < BLIPS * EVERY / 86_400
    hit = chance.integers(1, PACKETS + 1, SITES)
    lost = np.where(blip, np.maximum(lost, hit), lost)
    median = np.where(blip, median + chance.uniform(0, 1, SITES), median)
    total = np.where(blip, total + 1, total)
    median = np.where(lost == PACKETS, np.nan, median)
    return np.stack(
        [lost / PACKETS, np.full(SITES, float(PACKETS)), median * 0.95, median, median * 1.3, np.ones(SITES), total],
        axis=1,
    )


def _told(judged: Judged) -> Iterator[tuple[str, int]]:
    """Yield what people are told of: an incident that rings, a warning for the digest."""
    for transition in judged.transitions:
        incident = transition.incident
        if transition.tell in ("opened", "escalated", "reopened"):
            yield incident.place.site, RED
        elif transition.tell == "digest" and incident.open:
            yield incident.place.site, YELLOW


def real_lines() -> dict[str, Counter[str]]:
    """Return what a replay of each real line turns yellow or red, by colour."""
    found = {}
    for path in sorted((DATA / "ndt").glob("*.csv.gz")):
        lines = []
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for when, value in list(csv.reader(file, delimiter=";"))[1:]:
                at = int(datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp()) * NS
                line = f"icmp_echo,site=1,node=gateway,target=server rtt_median_seconds={float(value) / 1000:.9f} {at}"
                lines.append((at, line.encode()))
        lines.sort(key=lambda line: line[0])
        days = (lines[-1][0] - lines[0][0]) / NS / 86_400
        told = Counter(
            one["to"] for one in replay(lines, Config()) if one["type"] == "signal" and one["to"] in ("yellow", "red")
        )
        found[f"{path.name.split('.')[0]} ({days:.0f} days, {len(lines)} values)"] = told
    return found


def healthy() -> None:
    """Print what rang in a month without a fault."""
    began = time.process_time()
    red: Counter[str] = Counter()
    yellow: Counter[str] = Counter()
    for site, colour in month():
        (red if colour == RED else yellow)[site] += 1
    took = time.process_time() - began
    results = SITES * 2 * DAYS * 86_400 // EVERY
    most = yellow.most_common(1)
    table(
        f"{DAYS} days, {SITES} sites, nothing wrong: 2 % random loss, {BLIPS} lost seconds a day and site",
        ["", "red in all", "yellow in all", "yellow at the worst site", "sites without any", "results a CPU-second"],
        [
            [
                "made month", sum(red.values()), sum(yellow.values()), most[0][1] if most else 0,
                SITES - len({*red, *yellow}), f"{results / took:,.0f}",
            ]
        ],
    )  # fmt: skip
    rows = [[name, told["yellow"], told["red"]] for name, told in real_lines().items()]
    table("Real home lines over months, nothing marked", ["line", "yellow", "red"], rows)
