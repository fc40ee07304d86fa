"""Every point, on to a long-term database that speaks InfluxDB v2's write API: InfluxDB 2 and 3, VictoriaMetrics.

It reads the journal at its own pace, from its own durable position, in a thread of its own: when the database is slow
or away, detection does not notice, and nothing is skipped that the journal still holds.
"""

from __future__ import annotations

import logging
import re
import threading
from typing import TYPE_CHECKING

import sqlalchemy as sa
import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
from sqlalchemy.dialects.sqlite import insert

from checks.line_protocol import Point, decode, encode
from collector.catalogue import series_of
from collector.database import positions
from collector.journal import Entry, Journal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from collector.config import Forward as Settings

log = logging.getLogger(__name__)

_ENTRIES = 50
_IDLE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_GIVE_UP = range(400, 500)
_TRY_AGAIN = {401, 403, 404, 408, 429}
_MOST_KEYS = 1_000_000
_FLOAT = rb"[^\s,=\"\\]+=[+-]?\d{1,20}(?:\.\d{0,30})?(?:[eE][+-]?\d\d?)?"
_PLAIN = re.compile(rb"%s(?:,%s)* -?(?:[1-8]\d{18}|\d{1,18})" % (_FLOAT, _FLOAT), re.ASCII).fullmatch
"""Floats and a timestamp, written so that nothing about them can be wrong."""


class Forward:
    """The forwarding thread."""

    consumer = "forward"

    def __init__(self, settings: Settings, journal_path: Path, database: sa.Engine) -> None:
        """Forward what `journal_path` holds; the position is kept in `database`."""
        self._settings = settings
        self._journal_path = journal_path
        self._database = database
        self._lines = Lines()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="forward", daemon=True)
        self.position = self._load()
        self.refused = 0
        """Entries that the database refused for good: counted and left behind, so that one cannot block the rest."""
        self.problem: str | None = None
        """Why nothing gets through right now, if so."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the request under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        settings = self._settings
        token = settings.token_file.read_text(encoding="utf-8").strip() if settings.token_file else ""
        journal = Journal(self._journal_path)
        pause = _IDLE_SECONDS
        milliseconds = int(settings.timeout_seconds * 1000)
        try:
            with InfluxDBClient(settings.url, token=token, org=settings.org, timeout=milliseconds) as client:
                while not self._stop.is_set():
                    went_well, moved = self._try(journal, client)
                    pause = _IDLE_SECONDS if went_well else min(2 * pause, _LONGEST_PAUSE_SECONDS)
                    if not moved:
                        self._stop.wait(pause)
        finally:
            journal.close()

    def _try(self, journal: Journal, client: InfluxDBClient) -> tuple[bool, bool]:
        """Take a turn; return whether the database answered, and whether the position moved."""
        try:
            return self._turn(journal, client)
        except (ApiException, urllib3.exceptions.HTTPError, OSError) as exc:
            status = getattr(exc, "status", None)
            return self._trouble(f"HTTP {status}" if status else type(exc).__name__), False
        except Exception as exc:
            # A full disk under our own position, or whatever else: points wait, and forwarding does not end for it.
            log.exception("forwarding failed")
            return self._trouble(f"forwarding failed here: {type(exc).__name__}"), False

    def _turn(self, journal: Journal, client: InfluxDBClient) -> tuple[bool, bool]:
        entries = list(journal.read(self.position, _ENTRIES))
        if not entries:
            return True, False
        if not self._sent(client, entries):
            # One bad line must not cost its neighbours: each entry is tried by itself.
            refused = [entry for entry in entries if len(entries) == 1 or not self._sent(client, [entry])]
            self.refused += len(refused)
            log.error("%d entries were refused by %s and are left out", len(refused), self._settings.url)
        self.problem = None
        self._save(entries[-1].position)
        return True, True

    def _sent(self, client: InfluxDBClient, entries: list[Entry]) -> bool:
        """Send entries; return False where the database refuses them for good."""
        lines = self._lines.of(entries)
        if not lines:
            return True
        try:
            with client.write_api(write_options=SYNCHRONOUS) as api:
                api.write(self._settings.bucket, self._settings.org, b"\n".join(lines))
        except ApiException as exc:
            if exc.status not in _GIVE_UP or exc.status in _TRY_AGAIN:
                raise
            log.warning("%s refused entry %d (HTTP %s)", self._settings.url, entries[0].position, exc.status)
            return False
        return True

    def _trouble(self, words: str) -> bool:
        if self.problem is None:
            log.warning("points wait for %s: %s", self._settings.url, words)
        self.problem = words
        return False

    def _load(self) -> int:
        with self._database.connect() as db:
            query = sa.select(positions.c.position).where(positions.c.consumer == self.consumer)
            return db.execute(query).scalar() or 0

    def _save(self, position: int) -> None:
        row = {"consumer": self.consumer, "position": position}
        with self._database.begin() as db:
            db.execute(insert(positions).values(row).on_conflict_do_update(index_elements=["consumer"], set_=row))
        self.position = position


class Lines:
    """Writes out the good lines of entries, each with the site and the timestamp (ns) that its request gave it.

    Nearly all lines are floats of a series seen before, stamped by the agent itself. Those are copied as they are,
    because reading every line with care would take from the judge more than a database in trouble may.
    """

    def __init__(self) -> None:
        """Know no series yet."""
        self._keys: dict[str | None, dict[bytes, bytes]] = {}
        self._known = 0

    def of(self, entries: Iterable[Entry]) -> list[bytes]:
        """Return the lines of `entries`."""
        lines: list[bytes] = []
        for entry in entries:
            if not entry.points:
                continue
            keys = self._keys.setdefault(entry.site, {})
            plain = entry.precision == "ns" and b'"' not in entry.body
            for line in entry.body.split(b"\n") if plain else [entry.body]:
                key, _, rest = line.partition(b" ")
                full = keys.get(key)
                if full is not None and plain and _PLAIN(rest):
                    lines.append(full + b" " + rest)
                elif line:
                    lines += self._careful(line, entry, keys)
        return lines

    def _careful(self, text: bytes, entry: Entry, keys: dict[bytes, bytes]) -> Iterator[bytes]:
        for item in decode(text, entry.precision):
            line = _full(item, entry) if isinstance(item, Point) else None
            if line is None:
                continue
            yield line
            key, _, rest = text.partition(b" ")
            if self._known < _MOST_KEYS and b"\\" not in text and _PLAIN(rest) and key not in keys:
                keys[key] = line.partition(b" ")[0]
                self._known += 1


def _full(point: Point, entry: Entry) -> bytes | None:
    at = entry.arrived_at if point.timestamp is None else point.timestamp
    try:
        series = series_of(point.measurement, point.tags, entry.site)
        return encode(Point(point.measurement, {**point.tags, "site": series.site}, point.fields, at)).encode()
    except ValueError:
        return None  # refused when it came, by the same words; or a name that cannot be written again
