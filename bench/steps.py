"""How fast the judge is by itself: trains of 2 % loss and heavy-tailed round trips, five metrics each, body by body."""

from __future__ import annotations

import time

import numpy as np

from collector.catalogue import Catalogue, Series
from collector.columns import Columns
from collector.config import Config
from collector.engine import Engine

METRICS = ("loss_ratio", "rtt_min_seconds", "rtt_median_seconds", "rtt_p95_seconds", "rtt_max_seconds")
START, EVERY = 1_767_225_600_000_000_000, 10_000_000_000
RESULTS = 1_500_000


def judge(series_count: int, body: int) -> tuple[float, float]:
    """Judge some results of so many series, a value each 10 s; return results a CPU-second, and the longest step."""
    chance, catalogue = np.random.default_rng(1), Catalogue()
    signals = []
    for number in range(series_count):
        series = catalogue.series_id(Series(f"{number // 20:05d}", "gateway", "icmp_echo", f"10.0.{number % 20}.1"))
        signals.append([catalogue.signal_id(series, metric) for metric in METRICS])
    columns, engine = np.array(signals), Engine(Config(), catalogue)
    base = chance.uniform(0.004, 0.030, series_count)
    rounds = max(40, RESULTS // series_count)
    taken, largest, judged = 0.0, 0.0, 0
    for turn in range(rounds):
        at = START + turn * EVERY
        for first in range(0, series_count, body):
            part = slice(first, min(first + body, series_count))
            rtt = base[part] * (1 + 0.03 * np.abs(chance.standard_t(3, len(base[part]))))
            loss = chance.binomial(5, 0.02, len(rtt)) / 5
            values = np.stack([loss, rtt * 0.95, rtt, rtt * 1.2, rtt * 1.4], axis=1)
            arrived = Columns(
                columns[part].ravel(), np.full(values.size, at), values.ravel(), np.arange(first, first + len(rtt)),
                len(rtt),
            )  # fmt: skip
            began = time.process_time()
            engine.tick(at)
            engine.step(arrived, arrived_at=at)
            step = time.process_time() - began
            if turn:  # the first one learns every name
                taken, largest, judged = taken + step, max(largest, step), judged + len(rtt)
    return judged / taken, largest
