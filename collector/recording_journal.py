"""The collector's own journal as a recording: every body at the instant it arrived, orders and restarts too."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from collector.catalogue import Catalogue
from collector.columns import Decoder
from collector.journal import Journal
from collector.orders import order_of
from collector.recording import FEW, NS, Arrival, merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from collector.journal import Entry

_ON_TIME = 2 * NS
"""Sent so short a time before it arrived, a body may be judged together with others of its second."""


class JournalRecording:
    """Reads beside a running collector, and writes nothing."""

    def __init__(self, data: Path, start: int | None = None, end: int | None = None) -> None:
        """Open the journal of a collector's data folder; `JournalError` says why it cannot be."""
        self._path = data / "journal.db"
        self._end = end
        self.catalogue = Catalogue(max_signals_per_site=1 << 40)
        self._decoder = Decoder(self.catalogue)
        with closing(self._open()) as journal:
            journal.restore(self.catalogue)
            self._first = 0 if start is None else journal.position_at(start - 1)
            self.count = journal.count(self._first)
        self.step = 0 if self.count <= FEW // 10 else NS

    def arrivals(self) -> Iterator[Arrival]:
        """Yield what arrived; with a step, bodies of one step that came at once are one."""
        together: list[Entry] = []
        for entry in self._entries():
            on_time = entry.points and entry.sent_at is not None and 0 <= entry.arrived_at - entry.sent_at < _ON_TIME
            if together and not (on_time and entry.arrived_at // self.step == together[0].arrived_at // self.step):
                yield self._arrival(together)
                together = []
            if self.step and on_time:
                together.append(entry)
            else:
                yield self._arrival([entry])
        if together:
            yield self._arrival(together)

    def close(self) -> None:
        """Leave nothing behind."""

    def _open(self) -> Journal:
        return Journal(self._path, read_only=True)

    def _entries(self) -> Iterator[Entry]:
        position = self._first
        with closing(self._open()) as journal:  # opened anew: a file handle must not be shared with a forked process
            while entries := list(journal.read(position)):
                for entry in entries:
                    if self._end is not None and entry.arrived_at >= self._end:
                        return
                    yield entry
                position = entries[-1].position

    def _arrival(self, entries: Iterable[Entry]) -> Arrival:
        *_, last = every = list(entries)
        if not last.body:
            return Arrival(last.arrived_at)
        if not last.points:
            return Arrival(last.arrived_at, order=order_of(last))
        bodies = [
            self._decoder.decode(each.body, arrived_at=each.arrived_at, precision=each.precision, site=each.site)[0]
            for each in every
        ]
        columns = bodies[0] if len(bodies) == 1 else merged(bodies)
        return Arrival(last.arrived_at, columns, last.sent_at)
