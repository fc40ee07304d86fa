"""Results on disk until the collector has acknowledged them: batches of line protocol in one SQLite file.

A batch is one upload: a sequence number, used once and never again, and text that grows until its first attempt. So a
line that works sends what each flush brought, and a line that was down for a day sends some hundreds of batches.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple

from agents.spool_file import connect, is_damaged, set_aside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    Drop = Literal["oldest", "newest"]

BATCH_BYTES = 65_536
"""A batch that waits for its first attempt takes more results until it is this long."""


class Batch(NamedTuple):
    """One upload: its sequence number, and its lines."""

    sequence: int
    body: bytes


class Counters(NamedTuple):
    """What waits, and what was given up since the spool was made."""

    batches: int
    bytes: int
    dropped_batches: int
    dropped_bytes: int


class Spool:
    """A bounded queue on disk. Its methods block for as long as the disk does and may be called from any thread.

    Once it is open, no method raises because of the disk: what cannot be kept is dropped, counted, and told to `say`.
    """

    def __init__(self, path: Path, *, max_bytes: int, drop: Drop, say: Callable[[str], None]) -> None:
        """Open or make the file; one that is damaged is set aside. `sqlite3.Error` or `OSError` where none can be."""
        self._path = path
        self._say = say
        self._lock = threading.Lock()
        self._in_flight = 0
        self._acknowledged: set[int] = set()  # deleted with the next write: one transaction, not two
        self._trouble = ""
        self.set_limits(max_bytes, drop)
        try:
            self._open()
        except sqlite3.DatabaseError as exc:
            if not is_damaged(exc):
                raise
            self._begin_anew(exc)

    def set_limits(self, max_bytes: int, drop: Drop) -> None:
        """Change how much may wait, in bytes of lines, and what gives way beyond that."""
        self._max_bytes, self._drop = max_bytes, drop

    @property
    def agent(self) -> str:
        """The random name that this spool's sequence numbers belong to."""
        return self._agent

    def counters(self) -> Counters:
        """Return what waits now, and what was dropped since the spool was made."""
        # Without the lock: this is asked on the event loop, and the lock is held for as long as the disk takes.
        return Counters(len(self._sizes), self._bytes, self._dropped_batches, self._dropped_bytes)

    def add(self, lines: Sequence[str]) -> None:
        """Keep results; they are on the disk, synced, when this returns."""
        blocks = list(_blocks(lines))
        with self._lock:
            if not self._attempt(lambda: self._write(blocks)):
                for block in blocks:
                    self._count_drop(len(block))

    def oldest(self) -> Batch | None:
        """Return the batch to send next, or None. From now on it takes no more lines."""
        found: list[Batch] = []
        with self._lock:
            if self._sizes:
                self._attempt(lambda: found.append(self._read(next(iter(self._sizes)))))
        return found[0] if found else None

    def acknowledge(self, sequence: int) -> None:
        """Forget a batch that the collector has. The disk forgets it with the next write; a crash before resends it."""
        with self._lock:
            if sequence in self._sizes:
                self._bytes -= self._sizes.pop(sequence)
                self._acknowledged.add(sequence)

    def release(self) -> None:
        """Tell that the attempt with the oldest batch is over; until then a full spool drops any other first."""
        with self._lock:
            self._in_flight = 0

    def split(self, batch: Batch) -> bool:
        """Put a batch that is too large at the end, as two with new numbers; a single line is dropped: returns False.

        Numbers go up in the order in which they are sent, so however the collector remembers them, none looks old.
        """
        lines = batch.body.split(b"\n")[:-1]
        middle = len(lines) // 2
        halves = [b"\n".join(half) + b"\n" for half in (lines[:middle], lines[middle:])] if middle else []
        with self._lock:
            if batch.sequence in self._sizes:
                self._attempt(lambda: self._replace(batch, halves))
        return bool(halves)

    def close(self) -> None:
        """Write down what was acknowledged, and close the file."""
        with self._lock:
            self._attempt(lambda: self._write([]))
            self._db.close()

    # What follows runs under the lock.

    def _open(self) -> None:
        self._db = connect(self._path)
        row = self._db.execute("select agent, dropped_batches, dropped_bytes from state").fetchone()
        self._agent: str = row[0]
        self._dropped_batches, self._dropped_bytes = row[1:]
        self._load()
        self._frozen = self._next - 1  # what an earlier process left may have been sent: it must not change

    def _load(self) -> None:
        """Read the index of batches: some four thousand numbers where 256 MiB wait."""
        rows = self._db.execute("select sequence, sum(length(body)) from part group by sequence order by sequence")
        self._latest = b""
        self._sizes = {sequence: size for sequence, size in rows if sequence not in self._acknowledged}
        self._bytes = sum(self._sizes.values())
        (self._next,) = self._db.execute("select next_sequence from state").fetchone()
        self._parts = self._db.execute("select count(*) from part where sequence = ?", (self._next - 1,)).fetchone()[0]

    def _begin_anew(self, why: sqlite3.Error) -> None:
        aside = set_aside(self._path)
        self._acknowledged.clear()
        self._in_flight = 0
        self._open()
        self._say(f"the spool {self._path} was damaged ({why}); it is kept as {aside.name}, and a new one begins")

    def _attempt(self, step: Callable[[], None]) -> bool:
        """Do one step on the disk; say once when that fails, and once when it works again."""
        try:
            step()
        except sqlite3.Error as exc:
            if not is_damaged(exc):
                return self._in_trouble(str(exc))
            try:
                self._db.close()
                self._begin_anew(exc)
                step()
            except (sqlite3.Error, OSError) as worse:
                return self._in_trouble(str(worse))
        if self._trouble:
            self._trouble = ""
            self._say(f"the spool {self._path} can be written again")
        return True

    def _in_trouble(self, words: str) -> bool:
        if words != self._trouble:
            self._trouble = words
            self._say(f"the spool {self._path} cannot be used: {words}; results are dropped until it can")
        return False

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it or nothing, on the disk and in memory."""
        dropped = self._dropped_batches, self._dropped_bytes
        self._db.execute("begin immediate")
        try:
            yield
            columns = "next_sequence = ?, dropped_batches = ?, dropped_bytes = ?"
            values = (self._next, self._dropped_batches, self._dropped_bytes)
            self._db.execute(f"update state set {columns}", values)  # noqa: S608  (our own words)
            self._db.execute("commit")
        except sqlite3.Error:
            self._dropped_batches, self._dropped_bytes = dropped
            if self._db.in_transaction:
                self._db.execute("rollback")
            self._load()
            raise

    def _write(self, blocks: list[bytes]) -> None:
        with self._transaction():
            self._db.executemany("delete from part where sequence = ?", [(gone,) for gone in self._acknowledged])
            for block in blocks:
                self._keep(block)
        self._acknowledged.clear()
        if self._bytes <= BATCH_BYTES and self._db.execute("pragma freelist_count").fetchone()[0] > 256:  # noqa: PLR2004  (1 MiB)
            self._db.executescript("pragma incremental_vacuum")  # a backlog has drained: give its space back

    def _keep(self, block: bytes) -> None:
        if self._drop == "newest" and self._bytes + len(block) > self._max_bytes:
            self._count_drop(len(block))
            return
        newest = self._next - 1
        if newest > self._frozen and 0 < self._sizes.get(newest, 0) <= BATCH_BYTES - len(block):
            self._insert(newest, self._parts, block)
        else:
            self._insert(self._next, 0, block)
        while self._bytes > self._max_bytes:
            self._drop_oldest()

    def _insert(self, sequence: int, part: int, block: bytes) -> None:
        self._db.execute("insert into part values (?, ?, ?)", (sequence, part, block))
        self._next, self._parts = sequence + 1, part + 1
        self._latest = block
        self._sizes[sequence] = self._sizes.get(sequence, 0) + len(block)
        self._bytes += len(block)

    def _drop_oldest(self) -> None:
        waiting = (sequence for sequence in self._sizes if sequence != self._in_flight)
        sequence = next(waiting, self._in_flight)  # what is being sent may well arrive, so it goes last
        self._db.execute("delete from part where sequence = ?", (sequence,))
        size = self._sizes.pop(sequence)
        self._bytes -= size
        self._count_drop(size)

    def _count_drop(self, size: int) -> None:
        self._dropped_batches += 1
        self._dropped_bytes += size

    def _read(self, sequence: int) -> Batch:
        if (sequence, self._sizes[sequence]) == (self._next - 1, len(self._latest)):
            body = self._latest  # on a line that works this is nearly always so, and spares a look at the disk
        else:
            rows = self._db.execute("select body from part where sequence = ? order by part", (sequence,))
            body = b"".join(row[0] for row in rows)
        self._in_flight = sequence
        self._frozen = max(self._frozen, sequence)
        return Batch(sequence, body)

    def _replace(self, batch: Batch, halves: list[bytes]) -> None:
        with self._transaction():
            self._db.execute("delete from part where sequence = ?", (batch.sequence,))
            self._bytes -= self._sizes.pop(batch.sequence)
            for half in halves:
                self._insert(self._next, 0, half)
            if not halves:
                self._count_drop(len(batch.body))
        self._frozen = self._next - 1


def _blocks(lines: Sequence[str]) -> Iterator[bytes]:
    """Join lines into texts that fit a batch; a line longer than that stands alone."""
    block = bytearray()
    for line in lines:
        encoded = line.encode() + b"\n"
        if block and len(block) + len(encoded) > BATCH_BYTES:
            yield bytes(block)
            block.clear()
        block += encoded
    if block:
        yield bytes(block)
