"""How much the shift detector owes to the series that its thresholds were chosen on.

Settings around what ships are tried on one half of the marked traces, the best is looked at on the other half, and the
other way round. All traces are judged side by side, as the columns of one detector.
"""

from __future__ import annotations

import itertools

import numpy as np

from bench.common import table
from bench.labelled import Series, f_score, load, matched
from collector.catalogue import Series as Names
from collector.catalogue import Signal
from collector.detect import shifts

EVERY = 240_000_000_000
LATE = 5
GRID = {"_EVIDENCE": (11.0, 12.0, 12.5, 13.0, 14.0), "_SMALLEST": (3.0, 4.0, 5.0)}


def scores(traces: list[Series]) -> np.ndarray:
    """Return each trace's F2 within 2 and within 5 values, a row a trace, with the thresholds as they stand."""
    detector = shifts.Shifts()
    for number in range(len(traces)):
        names = Names(str(number), "gateway", "icmp_echo", "10.0.0.1")
        detector.extend(
            [
                Signal(2 * number, number, names, "rtt_median_seconds"),
                Signal(2 * number + 1, number, names, "loss_ratio"),
            ]
        )
    found: list[list[tuple[int, int]]] = [[] for _ in traces]
    values = np.full((len(traces), max(len(trace.values) for trace in traces)), np.inf)
    for number, trace in enumerate(traces):
        values[number, : len(trace.values)] = trace.values / 1000
    for place in range(values.shape[1]):
        now = values[:, place]
        on = np.flatnonzero(~np.isinf(now))
        heard = on[~np.isnan(now[on])]
        signals = np.concatenate([2 * heard, 2 * on + 1])
        told = np.concatenate([now[heard], np.isnan(now[on]).astype(float)])
        at = np.full(len(signals), (place + 1) * EVERY)
        for shift in detector.step(signals, at, told, at, int(at[0])):
            found[shift.signal // 2].append((round(shift.began_at / EVERY) - 1, place))
    rows = []
    for trace, one in zip(traces, found, strict=True):
        changes = np.flatnonzero(trace.marked).tolist()
        rows.append([f_score(matched(changes, one, within, LATE), len(changes), len(one), 2) for within in (2, 5)])
    return np.array(rows)


def cross_validation() -> None:
    """Print what each half of the traces would choose, and what that gives on the other half."""
    traces = load("rtt_changes")
    tried, shipped = {}, {name: getattr(shifts, name) for name in GRID}
    for setting in itertools.product(*GRID.values()):
        for name, value in zip(GRID, setting, strict=True):
            setattr(shifts, name, value)
        tried[setting] = scores(traces)
    for name, value in shipped.items():
        setattr(shifts, name, value)
    rows: list[list[object]] = []
    for name, half in (("the even ones", slice(0, None, 2)), ("the odd ones", slice(1, None, 2))):
        other = slice(1 - (half.start or 0), None, 2)
        best = max(tried, key=lambda setting: tried[setting][half].mean())
        chosen, seen = np.median(tried[best][half], axis=0), np.median(tried[best][other], axis=0)
        rows.append([name, *best, *(f"{score:.3f}" for score in (*chosen, *seen))])
    table(
        "Shifts: chosen on half of the traces, seen on the other half (median F2)",
        ["chosen on", "evidence", "smallest", "there, within 2", "within 5", "elsewhere, within 2", "within 5"],
        rows,
    )
