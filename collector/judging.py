"""The judge over a recording: the very steps that judge live, in the order in which everything arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collector.config import Config
    from collector.engine import Judged
    from collector.recording import Arrival, Recording


def judged_of(recording: Recording, config: Config) -> Iterator[Judged]:
    """Yield what each step finds; no time passes after the last one."""
    engine = Engine(config, recording.catalogue)
    for arrival in recording.arrivals():
        # Where much arrives at once, whoever was heard meanwhile was not silent: deadlines come after it.
        if recording.step:
            yield _step(engine, arrival)
            yield engine.tick(arrival.at)
        else:
            yield engine.tick(arrival.at)
            yield _step(engine, arrival)


def _step(engine: Engine, arrival: Arrival) -> Judged:
    if arrival.columns is not None:
        return engine.step(arrival.columns, arrived_at=arrival.at, sent_at=arrival.sent_at)
    if arrival.order is not None:
        return engine.order(arrival.order, arrival.at)
    engine.resume(arrival.at)
    return engine.tick(arrival.at)
