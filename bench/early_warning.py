"""How well shifts, warnings and levels come when they should, and only then, on series that people have marked.

Every series goes through `nhip collector replay`'s own steps as line protocol, with the configuration that ships, so
nothing is looked ahead and nothing is tuned to a series. Each table has a row a series.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.common import run_parts, table
from bench.cross_validation import cross_validation
from bench.healthy import healthy
from bench.labelled import Series, f_score, load, matched, runs
from bench.steps import judge
from collector.config import Config
from collector.replay import replay

if TYPE_CHECKING:
    from collections.abc import Iterator

START = 1_600_000_000
NS = 1_000_000_000
LATE, NEAR = 5, 1
PUBLISHED = "published, best on line (BOCD-PS, arXiv:1709.04819)"


def findings(series: Series, line: str, metric: str, every: int, *, loss: bool) -> Iterator[dict[str, Any]]:
    """Yield what a replay of the series finds; values are milliseconds, NaN a probe that timed out."""
    lines = []
    for number, value in enumerate(series.values.tolist()):
        at = (START + every * number) * NS
        fields = [f"loss_ratio={float(np.isnan(value)):g}"] if loss else []
        fields += [] if np.isnan(value) else [f"{metric}={value / 1000:.9f}"]
        if fields:
            lines.append((at, f"{line} {','.join(fields)} {at}".encode()))
    yield from replay(lines, Config())


def place(at: int, every: int) -> int:
    """Return the number of the value that was measured at an instant."""
    return round((at / NS - START) / every)


def shifts() -> None:
    """Print how well changes of the round trip are found."""
    every, line, rows, scores = 240, "icmp_echo,site=1,node=gateway,target=10.0.0.1", [], []
    for series in load("rtt_changes"):
        found = [
            (place(one["began_at"], every), place(one["at"], every))
            for one in findings(series, line, "rtt_median_seconds", every, loss=True)
            if one["type"] == "shift"
        ]
        changes = np.flatnonzero(series.marked).tolist()
        hits = [matched(changes, found, within, LATE) for within in (2, 5)]
        scores.append([f_score(hit, len(changes), len(found), 2) for hit in hits])
        delays = [at - began for began, at in found]
        rows.append(
            [series.name, len(changes), len(found), *hits, *(f"{score:.3f}" for score in scores[-1]), max(delays)]
        )
    middle = np.median(np.array(scores), axis=0)
    rows.append(["**median**", "", "", "", "", *(f"**{score:.3f}**" for score in middle), ""])
    rows.append([PUBLISHED, "", "", "", "", "0.688", "0.750", ""])
    table(
        f"Changes of the round trip that people marked; found at most {LATE} values late",
        ["series", "marked", "found", "within 2", "within 5", "F2 within 2", "F2 within 5", "latest alarm, values"],
        rows,
    )


def incidents() -> None:
    """Print how well incidents of a service are found in its hourly latency."""
    every, line, rows, totals = 3600, "http_get,site=1,node=gateway,target=https://service/", [], np.zeros(4)
    for series in load("latency_incidents"):
        alarms = sorted(
            {
                place(one["at"], every)
                for one in findings(series, line, "total_seconds", every, loss=False)
                if one["type"] == "shift" or (one["type"] == "signal" and one["to"] in ("yellow", "red"))
            }
        )
        marked = runs(series.marked)
        hit = sum(any(first - NEAR <= alarm < end + NEAR for alarm in alarms) for first, end in marked)
        false = sum(not any(first - NEAR <= alarm < end + NEAR for first, end in marked) for alarm in alarms)
        days = len(series.values) / 24
        totals += (hit, false, len(marked), days)
        rows.append([series.name, len(marked), hit, false, f"{false / days:.3f}", ""])
    hit, false, count, days = totals
    score = f"**{2 * hit / (hit + false + count):.3f}**"
    rows.append(["**all**", int(count), int(hit), int(false), f"**{false / days:.3f}**", score])
    rows.append(["three-sigma, tuned on these series", "", "", "", "0.026", "0.557"])
    table(
        f"Incidents that engineers marked in hourly latency; an alarm counts from {NEAR} value before to {NEAR} after",
        ["series", "marked", "found", "false alarms", "a day", "F1"],
        rows,
    )


def speed() -> None:
    """Print how many results a second one core judges, all detectors on."""
    rows = []
    for series_count, body in ((2_060, 1_000), (66_420, 1_000)):
        taken, largest = judge(series_count, body)
        rows.append([f"{series_count:,}", f"{body:,}", f"{taken:,.0f}", f"{largest * 1000:.0f}"])
    table("Judging alone, every detector on", ["series", "results a body", "results/CPU-s", "largest ms"], rows)


PARTS = {
    "shifts": shifts,
    "cross_validation": cross_validation,
    "incidents": incidents,
    "healthy": healthy,
    "speed": speed,
}


def main() -> None:
    """Print the tables asked for, all by default."""
    run_parts(PARTS)


if __name__ == "__main__":
    main()
