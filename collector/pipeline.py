"""From the queue of what arrived to verdicts: one thread that journals, acknowledges, judges and writes down.

Receiving hands over decoded bodies; storing and telling follow from queues and tables of their own. Nothing here waits
for a page, a roll-up or a channel.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from collector import checkpoint
from collector.columns import Columns, Decoder
from collector.engine import Judged
from collector.journal import Entry, Journal, JournalError
from collector.orders import Look, entry_of, order_of

if TYPE_CHECKING:
    from pathlib import Path

    from collector.catalogue import Catalogue
    from collector.clock import SteadyClock
    from collector.engine import Engine
    from collector.measures import Measures
    from collector.record import Record
    from collector.storing import Storing

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
CHECKPOINT_SECONDS = 30
QUEUE_LIMIT = 2_000


@dataclass(slots=True)
class Arrival:
    """One accepted body on its way in. `done` is called with None once it is journalled, or with what went wrong."""

    entry: Entry
    columns: Columns | None
    """None for an order: that is for the judge alone."""
    done: Callable[[JournalError | None], None] = field(default=lambda _: None)
    received: float = 0.0
    """When the request came, on the monotonic clock in seconds."""


Watcher = Callable[[Entry, Columns, Judged], None]


class Pipeline:
    """Owns the judge and the journal's writing end while it runs."""

    def __init__(
        self,
        *,
        journal: Journal,
        catalogue: Catalogue,
        decoder: Decoder,
        engine: Engine,
        record: Record,
        storing: Storing,
        measures: Measures,
        clock: SteadyClock,
        checkpoint_path: Path,
        watch: Watcher = lambda *_: None,
    ) -> None:
        """Put the parts together; `watch` is told of every step, from this thread."""
        self._journal = journal
        self._catalogue = catalogue
        self._decoder = decoder
        self._engine = engine
        self._record = record
        self._storing = storing
        self._measures = measures
        self._clock = clock
        self._path = checkpoint_path
        self._watch = watch
        self._queue: queue.Queue[Arrival | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="judge", daemon=True)
        self._position = 0
        self._unwritten: list[Judged] = []
        self._turns = 0
        self.failed: str | None = None
        """Why the judge has stopped, if it has: a collector that judges nothing must say so."""

    @property
    def full(self) -> bool:
        """Tell whether so much waits that a writer should come back later."""
        return self._queue.qsize() >= QUEUE_LIMIT

    @property
    def waiting(self) -> int:
        """Return how many bodies wait to be journalled."""
        return self._queue.qsize()

    @property
    def position(self) -> int:
        """Return the journal position up to which everything is judged."""
        return self._position

    def start(self) -> int:
        """Judge again what the checkpoint does not hold, then begin; return how many entries that were."""
        saved = checkpoint.load(self._path)
        if saved is not None:
            self._position, columns, plain = saved
            self._engine.load(columns, plain)
        elif self._record.open_incidents()[1]:
            self._position = self._journal.last()
            self._engine.recover(self._clock.now())
        replayed = self._replay()
        if not self._unwritten:
            self._engine.agree(*self._record.open_incidents())
        self._mark_start()
        self._save()
        self._thread.start()
        return replayed

    def put(self, arrival: Arrival) -> None:
        """Take one body in."""
        self._queue.put(arrival)

    def prove(self, seconds: float = 10) -> str | None:
        """Let nothing but the time go through journal and judge; return why it does not come out, if so."""
        came: queue.Queue[JournalError | None] = queue.Queue()
        deadline = time.monotonic() + seconds
        self.put(Arrival(entry_of(Look(), self._clock.now()), None, came.put))
        try:
            problem = came.get(timeout=seconds)
        except queue.Empty:
            return self.failed or f"nothing has been journalled for {seconds:g} s"
        turn = self._turns
        while problem is None and self._turns <= turn and time.monotonic() < deadline:
            time.sleep(TICK_SECONDS / 5)
        if problem is not None:
            return f"nothing is journalled: {problem}"
        if self._turns <= turn:
            return self.failed or f"nothing has been judged for {seconds:g} s"
        return "incidents cannot be written down" if self._unwritten else None

    def stop(self) -> None:
        """Journal and judge what has arrived, write a checkpoint, and end."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _replay(self) -> int:
        count = 0
        while entries := list(self._journal.read(self._position)):
            for entry in entries:
                count += 1
                if not entry.body:
                    self._engine.resume(entry.arrived_at)
                    self._position = entry.position
                    continue
                self._judge(entry, self._columns(entry))
            self._write()
        return count

    def _columns(self, entry: Entry) -> Columns | None:
        if not entry.points:
            return None
        return self._decoder.decode(
            entry.body, arrived_at=entry.arrived_at, precision=entry.precision, site=entry.site
        )[0]

    def _mark_start(self) -> None:
        now = self._clock.now()
        (position,) = self._journal.append([Entry(arrived_at=now, body=b"")], self._catalogue)
        self._engine.resume(now)
        self._position = position or self._position

    def _run(self) -> None:
        try:
            self._loop()
            self._save()
        except Exception as exc:
            log.critical("judging has stopped", exc_info=exc)
            self.failed = f"{type(exc).__name__}: {exc}"
            self._refuse_all(JournalError(f"judging has stopped: {self.failed}"))

    def _loop(self) -> None:
        saved_at = self._clock.now()
        going = True
        while going:
            arrivals, going = self._take()
            for arrival, position in zip(arrivals, self._append(arrivals), strict=True):
                if position is not None:
                    self._judge(replace(arrival.entry, position=position), arrival.columns)
                    self._measures.judged(time.monotonic() - arrival.received)
            now = self._clock.now()
            self._tell_tick(now)
            self._write()
            if now - saved_at > CHECKPOINT_SECONDS * 1_000_000_000:
                self._save()
                saved_at = now
            self._turns += 1

    def _take(self) -> tuple[list[Arrival], bool]:
        """Wait for arrivals, a tick at most; return all there are, and whether to go on."""
        arrivals: list[Arrival] = []
        try:
            item = self._queue.get(timeout=TICK_SECONDS)
            while True:
                if item is None:
                    return arrivals, False
                arrivals.append(item)
                item = self._queue.get_nowait()
        except queue.Empty:
            return arrivals, True

    def _append(self, arrivals: list[Arrival]) -> list[int | None]:
        """Journal, then acknowledge. Arrivals are stamped here, by one clock, in the order in which they are judged."""
        if not arrivals:
            return []
        now = self._clock.now()
        for arrival in arrivals:
            arrival.entry = replace(arrival.entry, arrived_at=now)
        try:
            positions = self._journal.append([arrival.entry for arrival in arrivals], self._catalogue)
        except JournalError as exc:
            log.error("nothing is taken in: %s", exc)
            for arrival in arrivals:
                arrival.done(exc)
            return [None] * len(arrivals)
        for arrival in arrivals:
            arrival.done(None)
        return positions

    def _judge(self, entry: Entry, columns: Columns | None) -> None:
        # Deadlines before the arrival: a replay finds silences in the same order as the night they happened.
        passed = self._engine.tick(entry.arrived_at)
        self._note(passed)
        if passed:
            self._watch(_NOTHING, _NO_COLUMNS, passed)
        if columns is None:
            judged = self._engine.order(order_of(entry), entry.arrived_at)
        else:
            judged = self._engine.step(columns, arrived_at=entry.arrived_at, sent_at=entry.sent_at)
        self._note(judged)
        self._position = entry.position
        self._storing.put(_NO_COLUMNS if columns is None else columns, entry.position)
        self._watch(entry, _NO_COLUMNS if columns is None else columns, judged)

    def _tell_tick(self, now: int) -> None:
        judged = self._engine.tick(now)
        if not judged:
            return
        if judged.transitions:
            self._journal_look(now)
        self._note(judged)
        self._watch(_NOTHING, _NO_COLUMNS, judged)

    def _journal_look(self, now: int) -> None:
        """Journal that time alone has found something, before anybody hears of it: a replay is to find it too."""
        try:
            (position,) = self._journal.append([entry_of(Look(), now)], self._catalogue)
        except JournalError as exc:
            log.error("what time has found is not in the journal: %s", exc)
            return
        self._position = position or self._position
        self._storing.put(_NO_COLUMNS, self._position)

    def _note(self, judged: Judged) -> None:
        if judged.transitions:
            self._unwritten.append(judged)

    def _write(self) -> None:
        """Write transitions down. What cannot be written now (a full disk) is kept and tried again at the next tick."""
        if not self._unwritten:
            return
        transitions = [transition for judged in self._unwritten for transition in judged.transitions]
        try:
            self._record.write(transitions)
        except sa.exc.OperationalError as exc:
            log.error("incidents cannot be written down yet: %s", exc.orig)
            return
        self._unwritten.clear()

    def _save(self) -> None:
        if self._unwritten:
            return
        try:
            checkpoint.save(self._path, self._position, *self._engine.save())
        except OSError as exc:
            log.error("no checkpoint: %s: %s", self._path, exc.strerror)

    def _refuse_all(self, problem: JournalError) -> None:
        while True:
            arrival = self._queue.get()
            if arrival is None:
                return
            arrival.done(problem)


_NOTHING = Entry(arrived_at=0, body=b"")
_NO_COLUMNS = Decoder.nothing()
