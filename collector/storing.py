"""The thread that writes metrics, and makes and drops what follows from them."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

import duckdb

from collector.columns import Columns, Decoder
from collector.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.catalogue import Catalogue
    from collector.store import Store

log = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
ROLL_UP_SECONDS = 15.0
_MAX_WAITING_POINTS = 2_000_000
_CATCH_UP_ENTRIES = 200


class Storing:
    """Takes judged columns from memory while it keeps up, and reads the journal again where it did not."""

    def __init__(self, store: Store, journal: Journal, catalogue: Catalogue) -> None:
        """Write to `store`; `journal` is opened anew, to read from this thread."""
        self._store = store
        self._journal_path = journal.path
        self._catalogue = catalogue
        self._lock = threading.Lock()
        self._waiting: list[Columns] = []
        self._waiting_values = 0
        self._last_put = self._stored = store.position()
        self._behind = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self.roll_up_seconds = 0.0
        self._problems: dict[str, str] = {}

    @property
    def position(self) -> int:
        """Return the journal position up to which metrics are stored."""
        return self._stored

    @property
    def problem(self) -> str | None:
        """Return why metrics are not written or rolled up, if so. What is not written waits in the journal."""
        return next(iter(self._problems.values()), None)

    def start(self) -> None:
        """Begin; what an earlier run left behind in the journal is stored first."""
        self._thread.start()

    def put(self, columns: Columns, position: int) -> None:
        """Take columns to store. Never waits: when too much waits already, the journal holds it."""
        with self._lock:
            self._last_put = max(self._last_put, position)
            if self._behind:
                return
            if self._waiting_values > _MAX_WAITING_POINTS:
                self._behind = True
                return
            self._waiting.append(columns)
            self._waiting_values += len(columns.signals)

    def stop(self) -> None:
        """Store what waits, and end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        journal = Journal(self._journal_path)
        decoder = Decoder(self._catalogue)
        rolled_at = time.monotonic()
        try:
            while not self._stop.wait(FLUSH_SECONDS):
                self._turn(journal, decoder)
                if time.monotonic() - rolled_at > ROLL_UP_SECONDS:
                    rolled_at = time.monotonic()
                    self._try("rolled up", self._roll_up)
            self._turn(journal, decoder)
        finally:
            journal.close()

    def _turn(self, journal: Journal, decoder: Decoder) -> None:
        self._try("written", self._flush)
        if self._behind:
            self._try("read again", lambda: self._catch_up(journal, decoder))
        else:
            self._problems.pop("read again", None)

    def _flush(self) -> None:
        with self._lock:
            batches, position = self._waiting, self._last_put
            self._waiting, self._waiting_values = [], 0
            idle = self._behind or not batches
        if idle:
            return
        try:
            self._store.add(batches, position)
        except duckdb.Error:
            with self._lock:
                self._behind = True  # the journal still has them
            raise
        self._stored = position

    def _catch_up(self, journal: Journal, decoder: Decoder) -> None:
        while not self._stop.is_set():
            entries = list(journal.read(self._stored, _CATCH_UP_ENTRIES))
            if entries:
                batches = [
                    decoder.decode(e.body, arrived_at=e.arrived_at, precision=e.precision, site=e.site)[0]
                    for e in entries
                    if e.points
                ]
                self._store.add([*batches, Decoder.nothing()], entries[-1].position)
                self._stored = entries[-1].position
            with self._lock:
                if self._stored >= self._last_put:
                    self._behind = False
                    return

    def _roll_up(self) -> None:
        began = time.monotonic()
        self._store.learn(self._catalogue.signals)
        self._store.roll_up()
        self._store.drop_old()
        self.roll_up_seconds = time.monotonic() - began

    def _try(self, what: str, work: Callable[[], None]) -> None:
        try:
            work()
        except (duckdb.Error, sqlite3.Error) as exc:
            words = str(exc).splitlines()[0]
            if what not in self._problems:
                log.error("metrics cannot be %s: %s", what, words)
            self._problems[what] = f"metrics cannot be {what}: {words}"
        else:
            self._problems.pop(what, None)
