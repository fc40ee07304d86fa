"""One result beside the limits: a state in the words of Nagios-like schedulers, and each breach."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from checks.limits import base_metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from checks.limits import Colour, Limit
    from checks.result import Result


class State(IntEnum):
    """What a scheduler reads from the exit code."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Breach:
    """One metric that is not green, and how people say it."""

    metric: str
    value: float
    colour: Colour
    words: str


def judge_once(result: Result, limits: Iterable[Limit]) -> tuple[State, list[Breach]]:
    """Judge one result without a past, so `enter` decides. Not measured is UNKNOWN; not answered is CRITICAL."""
    if result.error is not None:
        return State.UNKNOWN, []
    breaches = []
    for limit in limits:
        for metric, value in result.metrics.items():
            if limit.check == result.check and limit.metric == base_metric(metric):
                colour = limit.judge(value)
                if colour != "green":
                    breaches.append(Breach(metric, value, colour, limit.breach(value, colour, "en", metric)))
    return _worst(result, breaches), breaches


def _worst(result: Result, breaches: Sequence[Breach]) -> State:
    if result.reason is not None or any(breach.colour == "red" for breach in breaches):
        return State.CRITICAL
    return State.WARNING if breaches else State.OK
