"""The journal kept within its bounds: what is old and read by all goes; then, when it is too large, the oldest."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

from collector.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.config import Journal as Settings

log = logging.getLogger(__name__)

_LOOK_SECONDS = 10.0


class Upkeep:
    """Trims the journal from a thread and a connection of its own."""

    def __init__(self, settings: Settings, journal: Journal, needed: Callable[[], int]) -> None:
        """Keep what `settings` says; `needed` returns the position up to which nobody needs the journal any more."""
        self._settings = settings
        self._path = journal.path
        self._needed = needed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)
        self.journal_bytes = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        journal = Journal(self._path)
        try:
            while not self._stop.is_set():
                try:
                    self.turn(journal)
                except sqlite3.Error as exc:
                    log.warning("the journal could not be trimmed: %s", exc)
                self._stop.wait(_LOOK_SECONDS)
        finally:
            journal.close()

    def turn(self, journal: Journal) -> None:
        """Trim once, a little at a time so that the judge's own appends never wait long."""
        old = journal.position_at(time.time_ns() - int(self._settings.keep_hours * 3600e9))
        while journal.trim(min(old, self._needed()), 50) and not self._stop.wait(0.02):
            pass
        self.journal_bytes = journal.size_bytes()
        while self.journal_bytes > self._settings.max_bytes and not self._stop.wait(0.02):
            # What is judged and stored may go. What only the forwarder still needs goes too: a database that is away
            # for days must not fill the disk under the judge.
            if not journal.trim(journal.last() - 1, 50):
                break
            self.journal_bytes = journal.size_bytes()
