"""Levels: the columns say what a plain reading of the rules says, one value at a time."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from checks.limits import Level, Limit
from collector.catalogue import Series, Signal
from collector.detect.levels import GREEN, LEVELS, RED, UNKNOWN, YELLOW, Levels

LIMITS = st.builds(
    lambda bounds, kn, above, which: Limit(
        check="c", metric="m", above=above, k=kn[0], n=kn[1],
        yellow=_level(bounds[1], bounds[0], above) if which != "red" else None,
        red=_level(bounds[3], bounds[2], above) if which != "yellow" else None,
    ),
    st.lists(st.integers(0, 20), min_size=4, max_size=4, unique=True).map(sorted),
    st.tuples(st.integers(1, 4), st.integers(0, 3)).map(lambda t: (t[0], t[0] + t[1])),
    st.booleans(),
    st.sampled_from(["both", "red", "yellow"]),
)  # fmt: skip


def _level(enter: int, leave: int, above: bool) -> Level:  # noqa: FBT001  (as the limit itself says it)
    return Level(enter, leave) if above else Level(-enter, -leave)


class Plainly:
    """The rules read one value at a time: the independent model."""

    def __init__(self, limit: Limit) -> None:
        self.limit, self.level = limit, UNKNOWN
        self.bad: dict[str, list[bool]] = {"yellow": [], "red": []}
        self.good: dict[str, list[bool]] = {"yellow": [], "red": []}

    def take(self, value: float) -> int:
        limit, turn = self.limit, 1 if self.limit.above else -1
        breached = False
        for name, level in (("yellow", limit.yellow), ("red", limit.red)):
            beyond = level is not None and turn * value >= turn * level.enter
            back = level is None or turn * value < turn * level.leave
            breached |= beyond
            self.bad[name] = [*self.bad[name], beyond][-limit.n :]
            self.good[name] = [*self.good[name], back][-limit.n :]
        reached = {name: sum(seen) >= limit.k for name, seen in self.bad.items()}
        over = {name: sum(seen) >= limit.k for name, seen in self.good.items()}
        before = self.level
        if (not over["red"]) if before == RED else reached["red"]:
            now = RED
        elif (not over["yellow"]) if before >= YELLOW else reached["yellow"]:
            now = YELLOW
        else:
            now = UNKNOWN if before == UNKNOWN and breached else GREEN
        if now > before:
            self.good = {"yellow": [], "red": []}
        if now < before:
            self.bad = {"yellow": [], "red": []}
        self.level = now
        return now


def signals(count: int) -> list[Signal]:
    return [Signal(i, i, Series("1", "n", "c", str(i)), "m") for i in range(count)]


@given(LIMITS, st.lists(st.integers(-25, 25), max_size=40), st.lists(st.integers(1, 5), max_size=40))
def test_columns_judge_as_the_rules_read(limit: Limit, values: list[int], sizes: list[int]) -> None:
    levels, plainly = Levels([limit]), Plainly(limit)
    levels.extend(signals(1))
    at, expected = 1, []
    while values:
        size = sizes.pop() if sizes else 1
        batch, values = values[:size], values[size:]
        for value in batch:
            before = plainly.level
            if plainly.take(value) != before:
                expected.append((before, plainly.level))
        stamps = np.arange(at, at + len(batch))
        changes = levels.step(
            np.zeros(len(batch), dtype=np.int64), stamps, np.array(batch, dtype=float), stamps, at + 99
        )
        assert [(c.was, c.now) for c in changes] == expected
        expected, at = [], at + len(batch)
        assert levels.level[0] == plainly.level


def step(levels: Levels, signal: int, at: int, value: float, sent_at: int | None = None) -> list[str]:
    stamps = np.array([at])
    found = levels.step(np.array([signal]), stamps, np.array([value]), stamps, at if sent_at is None else sent_at)
    return [LEVELS[change.now] for change in found]


LOSS = Limit(check="c", metric="m", red=Level(0.5, 0.2), yellow=Level(0.05, 0.02), k=2, n=3)


def test_one_lost_train_is_not_a_red_line() -> None:
    levels = Levels([LOSS])
    levels.extend(signals(1))
    assert [step(levels, 0, at, value) for at, value in enumerate([0, 1, 0, 0, 1, 0, 0], 1)] == [["green"]] + [[]] * 6


def test_red_is_dated_from_the_first_value_that_led_to_it() -> None:
    levels = Levels([LOSS])
    levels.extend(signals(1))
    for at, value in ((10, 0.0), (20, 1.0)):
        step(levels, 0, at, value)
    (change,) = levels.step(np.array([0]), np.array([30]), np.array([1.0]), np.array([31]), 31)
    assert (change.began_at, change.at, change.known_at, LEVELS[change.now]) == (20, 30, 31, "red")


def test_a_value_out_of_order_is_passed_over_but_a_clock_put_right_is_not() -> None:
    levels = Levels([LOSS])
    levels.extend(signals(1))
    step(levels, 0, 1_000, 0.0)
    assert step(levels, 0, 900, 1.0, sent_at=1_001) == []
    assert levels.measured_at[0] == 1_000
    step(levels, 0, 901, 1.0, sent_at=901)  # the last one lies in this sender's future
    assert step(levels, 0, 902, 1.0, sent_at=902) == ["red"]


def test_a_signal_without_a_limit_is_never_judged() -> None:
    levels = Levels([LOSS])
    levels.extend([Signal(0, 0, Series("1", "n", "other", ""), "m")])
    assert step(levels, 0, 1, 1e9) == []
    assert levels.level[0] == UNKNOWN


def test_every_disk_is_judged_by_the_disks_limit() -> None:
    levels = Levels([Limit(check="c", metric="disk", red=Level(0.9, 0.8), k=1, n=1)])
    levels.extend(
        [Signal(0, 0, Series("1", "n", "c", ""), "disk[/]"), Signal(1, 0, Series("1", "n", "c", ""), "disk[/var]")]
    )
    assert step(levels, 1, 1, 0.95) == ["red"]
    assert levels.level[0] == UNKNOWN


def test_saved_state_goes_on_as_if_nothing_happened() -> None:
    first, second = Levels([LOSS]), Levels([LOSS])
    first.extend(signals(3))
    step(first, 1, 1, 0.0)
    step(first, 1, 2, 1.0)
    second.extend(signals(3))
    second.load({name: column.copy() for name, column in first.save().items()})
    assert step(second, 1, 3, 1.0) == step(first, 1, 3, 1.0) == ["red"]


def test_a_limit_taken_out_of_the_configuration_ends_its_verdict() -> None:
    first = Levels([Limit(check="c", metric="m", red=Level(1, 1), k=1, n=1)])
    first.extend(signals(1))
    assert step(first, 0, 1, 5.0) == ["red"]
    second = Levels([])
    second.extend(signals(1))
    second.load(first.save())
    assert second.level[0] == UNKNOWN
