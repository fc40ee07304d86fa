"""Green, yellow, red: every signal held against its limits, k of the last n values, a whole batch at a time.

A signal's last values are remembered as bits, one word for "beyond enter" and one for "back past leave" of each
colour; k of n is a count of bits. So a verdict goes by the number of values and not by a window of time, which would
miss by a jitter, and a batch of thousands of values is judged by a few operations on columns.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from checks.limits import Limit, base_metric
from collector.detect.evidence import Evidence, packets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from collector.catalogue import Series, Signal

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

LEVELS = ("unknown", "green", "yellow", "red")
UNKNOWN, GREEN, YELLOW, RED = range(4)


class LevelChanged(NamedTuple):
    """A signal changed its level. Instants are nanoseconds: measured (`at`, `began_at`) and known (`known_at`)."""

    signal: int
    was: int
    now: int
    value: float | None
    at: int
    began_at: int
    known_at: int


@dataclass(frozen=True, slots=True)
class _Bounds:
    """The limits as columns, one row a limit; row 0 stands for "no limit". Values are turned so that large is bad."""

    sign: Floats
    enter: Floats  # rows × (yellow, red)
    leave: Floats
    k: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint64]


class Levels:
    """The level of every signal, and the step that moves it.

    State is a set of columns indexed by signal number, kept by `save` and taken back by `load`.
    """

    def __init__(self, limits: Sequence[Limit], service_of: Callable[[Series], str] = lambda _: "") -> None:
        """Judge by `limits`; a signal that none of them names is never judged. `service_of` names a series' service."""
        self.limits = [None, *limits]
        # By check, metric and site; "" for limits that are for all sites.
        self._rows: defaultdict[tuple[str, str, str], list[tuple[int, Limit]]] = defaultdict(list)
        for row, limit in enumerate(limits, 1):
            for site in limit.sites or [""]:
                self._rows[limit.check, limit.metric, site].append((row, limit))
        self._service_of = service_of
        self._bounds = _columns(limits)
        self.evidence = Evidence()
        self._packets_of = np.zeros(0, dtype=np.int64)  # by signal: the one that counts its packets
        self._counts = np.zeros(0, dtype=np.bool_)  # by signal: whether it counts packets
        self._count_of: dict[tuple[int, str], int] = {}
        self._waiting: dict[tuple[int, str], list[int]] = {}
        self.limit_of = np.zeros(0, dtype=np.int32)
        self.level = np.zeros(0, dtype=np.int8)
        self.value = np.full(0, np.nan)
        self.measured_at = np.zeros(0, dtype=np.int64)
        self.since = np.zeros(0, dtype=np.int64)
        self._began_at = np.zeros(0, dtype=np.int64)
        self._beyond = np.zeros((0, 2), dtype=np.uint64)
        self._back = np.zeros((0, 2), dtype=np.uint64)
        self._between = np.zeros(0, dtype=np.int64)
        self._scratch = np.zeros(0, dtype=np.int64)
        self.known = 0

    def extend(self, signals: Sequence[Signal]) -> None:
        """Learn of signals, in the order of their numbers."""
        rows = [self._row(signal) for signal in signals]
        self._grow(self.known + len(rows))
        self.limit_of[self.known : self.known + len(rows)] = rows
        self.known += len(rows)
        self._count(signals, rows)

    def _row(self, signal: Signal) -> int:
        """Return the row of the limit that is nearest to a signal, 0 where none is for it."""
        series = signal.series
        for site in (series.site, ""):
            rows = self._rows.get((series.check, base_metric(signal.metric), site), [])
            wanted = {self._service_of(series), ""} if any(limit.service for _, limit in rows) else {""}
            best = max(((bool(limit.service), row) for row, limit in rows if limit.service in wanted), default=None)
            if best is not None:
                return best[1]
        return 0

    def _count(self, signals: Sequence[Signal], rows: Sequence[int]) -> None:
        """Learn which of these signals are shares of packets, and which count them."""
        names = {limit.packets for limit in self.limits if limit is not None and limit.packets}
        for signal, row in zip(signals, rows, strict=True):
            limit, (name, bracket, instance) = self.limits[row], signal.metric.partition("[")
            if name in names:
                self._count_of[signal.series_id, signal.metric] = signal.id
                self._counts[signal.id] = True
                self._packets_of[self._waiting.pop((signal.series_id, signal.metric), [])] = signal.id
            if limit is not None and limit.packets:
                self.evidence.watch(signal.id, self._bounds.enter[row], self._bounds.leave[row])
                key = signal.series_id, f"{limit.packets}{bracket}{instance}"
                self._packets_of[signal.id] = self._count_of.get(key, _UNSAID)
                if key not in self._count_of:
                    self._waiting.setdefault(key, []).append(signal.id)

    def step(
        self, signals: Ints, measured_at: Ints, values: Floats, known_at: Ints, sent_at: int
    ) -> list[LevelChanged]:
        """Take values in; return the changes of level, in order.

        A value older than its signal's last is passed over; unless that last one lies in the future of `sent_at`, the
        sender's clock: then the clock has been put right since, and waiting for it would be silence.
        """
        judged = self.limit_of[signals] > 0
        counts = self._counts[signals]
        counted = signals[counts], measured_at[counts], values[counts]
        signals, measured_at, values, known_at = signals[judged], measured_at[judged], values[judged], known_at[judged]
        packets = self._packets(signals, measured_at, *counted)
        first = self._first_of_each(signals)
        if first.all():
            return self._step_once(signals, measured_at, values, known_at, packets, sent_at)
        # Several values of one signal: the oldest first, whatever order they came in.
        order = np.argsort(measured_at, kind="stable")
        changes: list[LevelChanged] = []
        while len(order):
            chosen = self._first_of_each(signals[order])
            now = order[chosen]
            changes += self._step_once(
                signals[now], measured_at[now], values[now], known_at[now], packets[now], sent_at
            )
            order = order[~chosen]
        return changes

    def stale(self, newest: Ints, after: int) -> Ints:
        """Return the signals that are measured no more: for `after` ns, or three times as long as one usually waits.

        `newest` is by signal: when its node last measured anything.
        """
        judged = np.flatnonzero(self.level[: self.known] != UNKNOWN)
        patience = np.maximum(after, _PATIENCE * self._between[judged])
        return judged[self.measured_at[judged] < newest[judged] - patience]

    def _follow(self, signals: Ints, at: Ints) -> None:
        """Take in how long it is from one value of a signal to the next; one long pause is no rule."""
        last, between = self.measured_at[signals], self._between[signals]
        passed = np.where((last > 0) & (at > last), at - last, between)
        self._between[signals] = np.where(between > 0, np.minimum(passed, 2 * between), passed)

    def expire(self, signals: Ints, now: int) -> list[LevelChanged]:
        """Make signals unknown that are no longer measured: a verdict without values is not a verdict."""
        stale = signals[self.level[signals] != UNKNOWN]
        was = self.level[stale].copy()
        self.level[stale] = UNKNOWN
        self.since[stale] = now
        self._beyond[stale] = 0
        self._back[stale] = 0
        self._began_at[stale] = 0
        return [
            LevelChanged(s, w, UNKNOWN, None, now, now, now) for s, w in zip(stale.tolist(), was.tolist(), strict=True)
        ]

    def _packets(self, signals: Ints, at: Ints, counts: Ints, counted_at: Ints, numbers: Floats) -> Floats:
        """Return how many packets each value is a share of; 0 where it is no share of packets."""
        of = self._packets_of[signals]
        share = of != _NO_SHARE
        packets = np.zeros(len(signals))
        if share.any():
            packets[share] = packets_of(of[share], at[share], counts, counted_at, numbers)
        return packets

    def _step_once(
        self, signals: Ints, at: Ints, values: Floats, known_at: Ints, packets: Floats, sent_at: int
    ) -> list[LevelChanged]:
        """Judge values of distinct signals."""
        last = self.measured_at[signals]
        newer = (at > last) | (last > sent_at)
        if not newer.all():
            signals, at, values, known_at = signals[newer], at[newer], values[newer], known_at[newer]
            packets = packets[newer]
        self._follow(signals, at)
        self.measured_at[signals] = at
        self.value[signals] = values
        bounds, row = self._bounds, self.limit_of[signals]
        turned = (values * bounds.sign[row])[:, None]
        beyond = turned >= bounds.enter[row]
        back = turned < bounds.leave[row]
        level = self.level[signals]
        share = packets > 0
        if share.any():
            beyond[share], back[share], self._began_at[signals[share]] = self.evidence.weigh(
                signals[share], at[share], values[share], packets[share], level[share] == GREEN
            )
        history = self._beyond[signals]
        # At rest: green, nothing beyond any limit now or lately. Nearly all values are, and cost no more than this.
        busy = beyond.any(axis=1) | history.any(axis=1) | (level != GREEN)
        if not busy.any():
            return []
        if not busy.all():
            signals, at, values, known_at, row = signals[busy], at[busy], values[busy], known_at[busy], row[busy]
            beyond, back, level, history = beyond[busy], back[busy], level[busy], history[busy]
            share = share[busy]
        mask, k = bounds.mask[row][:, None], bounds.k[row][:, None]
        fresh = beyond.any(axis=1) & ~history.any(axis=1) & ~share
        self._began_at[signals[fresh]] = at[fresh]
        history = ((history << np.uint64(1)) | beyond.astype(np.uint64)) & mask
        behind = ((self._back[signals] << np.uint64(1)) | back.astype(np.uint64)) & mask
        reached = np.bitwise_count(history) >= k
        over = np.bitwise_count(behind) >= k
        new = _decide(level, reached, over, beyond)
        self._beyond[signals] = history
        self._back[signals] = behind
        changed = new != level
        if not changed.any():
            return []
        return self._changed(
            signals[changed], level[changed], new[changed], values[changed], at[changed], known_at[changed]
        )

    def _changed(
        self, signals: Ints, was: Any, now: Any, values: Floats, at: Ints, known_at: Ints
    ) -> list[LevelChanged]:
        self.level[signals] = now
        worse = now > was
        # What counts towards leaving begins anew once a level is entered, and towards entering once it is left.
        self._back[signals[worse]] = 0
        self._beyond[signals[~worse]] = 0
        self.evidence.moved(signals, worse)
        began = np.where((now > GREEN) & (self._began_at[signals] > 0) & worse, self._began_at[signals], at)
        self.since[signals] = began
        columns = (signals, was, now, values, at, began, known_at)
        return [LevelChanged(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]

    def _first_of_each(self, signals: Ints) -> npt.NDArray[np.bool_]:
        """Mark the first occurrence of every signal, in linear time."""
        order = np.arange(len(signals))
        self._scratch[signals[::-1]] = order[::-1]
        first: npt.NDArray[np.bool_] = self._scratch[signals] == order
        return first

    def _grow(self, size: int) -> None:
        have = len(self.level)
        if size <= have:
            return
        more = max(size, 2 * have, 1024) - have
        for name, fill in _COLUMNS.items():
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.full((more, *column.shape[1:]), fill, dtype=column.dtype)]))

    def save(self) -> dict[str, Any]:
        """Return the state as named columns, for a checkpoint."""
        columns = {name.strip("_"): getattr(self, name)[: self.known] for name in _COLUMNS if name not in _REBUILT}
        return {**columns, **self.evidence.save()}

    def load(self, saved: dict[str, Any]) -> None:
        """Take back what `save` returned; the signals must be known already."""
        for name in _COLUMNS:
            if name not in _REBUILT:
                column = saved.get(name.strip("_"), ())  # an older checkpoint may not have it
                getattr(self, name)[: len(column)] = column
        self.evidence.load(saved)
        unlimited = self.limit_of[: self.known] == 0  # a limit taken out of the configuration ends its verdict
        self.level[: self.known][unlimited] = UNKNOWN


_NO_SHARE, _UNSAID = -2, -1
_PATIENCE = 3
_COLUMNS: dict[str, Any] = {
    "limit_of": 0,
    "level": UNKNOWN,
    "value": np.nan,
    "measured_at": 0,
    "since": 0,
    "_began_at": 0,
    "_beyond": 0,
    "_back": 0,
    "_between": 0,
    "_scratch": 0,
    "_packets_of": _NO_SHARE,
    "_counts": False,
}
_REBUILT = {"limit_of", "_scratch", "_packets_of", "_counts"}


def _columns(limits: Sequence[Limit]) -> _Bounds:
    """Turn limits into columns. A colour that a limit does not have is entered at infinity."""
    sign, enter, leave, k, mask = [1.0], [[np.inf, np.inf]], [[np.inf, np.inf]], [1], [1]
    for limit in limits:
        turn = 1.0 if limit.above else -1.0
        sign.append(turn)
        enter.append([turn * level.enter if level else np.inf for level in (limit.yellow, limit.red)])
        leave.append([turn * level.leave if level else np.inf for level in (limit.yellow, limit.red)])
        k.append(1 if limit.packets else limit.k)
        mask.append(1 if limit.packets else (1 << limit.n) - 1)
    return _Bounds(
        np.array(sign),
        np.array(enter),
        np.array(leave),
        np.array(k, dtype=np.uint8),
        np.array(mask, dtype=np.uint64),
    )


def _decide(level: Any, reached: Any, over: Any, beyond: Any) -> Any:
    """Return the new levels. Columns of `reached`, `over` and `beyond` are (yellow, red)."""
    red = np.where(level == RED, ~over[:, 1], reached[:, 1])
    yellow = np.where(level >= YELLOW, ~over[:, 0], reached[:, 0])
    calm = np.where((level == UNKNOWN) & beyond.any(axis=1), UNKNOWN, GREEN)
    return np.where(red, RED, np.where(yellow, YELLOW, calm)).astype(np.int8)
