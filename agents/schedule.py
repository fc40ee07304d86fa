"""When each check is due. Pure: it is told the time, in monotonic nanoseconds, so no step of the wall clock reaches it.

Every job beats on a grid of its own, `origin + phase + k × interval`. The phase is a hash of what the job is, so a
site's checks are spread over their interval, sites are spread among each other, and a restart changes neither.
Due times are whole nanoseconds on that grid, counted and never added up from measured delays: nothing drifts.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agents.config import Job

SECOND = 1_000_000_000


def phase_ns(site: str, node: str, check: str, target: str, interval_ns: int) -> int:
    """Return the job's place within its interval, in nanoseconds: always the same for the same names."""
    text = f"{site}\0{node}\0{check}\0{target}".encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") * interval_ns >> 64


@dataclass(slots=True, eq=False)
class _Entry:
    job: Job
    interval_ns: int
    due_ns: int
    busy: bool = False  # waiting for a place, or running: a beat that falls now is skipped
    gone: bool = False  # no longer in the configuration


class Schedule:
    """Which jobs may start now, under a cap on how many run at once, and never one beside itself.

    `origin_ns` is the monotonic time at which the wall clock read zero, as it seemed when the agent started: it puts
    the beats of an agent at the same wall times after a restart.
    """

    def __init__(
        self, jobs: Iterable[Job], *, site: str, node: str, concurrency: int, origin_ns: int, now: int
    ) -> None:
        """Place every job's first beat at the first point of its grid at or after `now`."""
        self.overruns = 0
        self._origin_ns = origin_ns
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._beats: list[tuple[int, int, _Entry]] = []
        self._waiting: deque[_Entry] = deque()
        self._running: dict[tuple[str, str], _Entry] = {}
        self.parked: set[tuple[str, str]] = set()
        self._pushed = 0
        self.replace(jobs, site=site, node=node, concurrency=concurrency, now=now)

    def __len__(self) -> int:
        """Count the jobs of the configuration in force."""
        return len(self._entries)

    def __contains__(self, job: Job) -> bool:
        """Tell whether the configuration in force still asks for this series."""
        return job.key in self._entries

    def replace(self, jobs: Iterable[Job], *, site: str, node: str, concurrency: int, now: int) -> None:
        """Take up another configuration. A job whose grid is unchanged keeps its beats and its state."""
        self._concurrency = concurrency
        before, self._entries = self._entries, {}
        for job in jobs:
            interval_ns = round(job.interval_seconds * SECOND)
            grid = self._origin_ns + phase_ns(site, node, *job.key, interval_ns)
            due_ns = now + (grid - now) % interval_ns
            entry = before.pop(job.key, None) or self._running.get(job.key)
            if entry is None or (entry.due_ns - grid) % interval_ns or entry.interval_ns != interval_ns or entry.gone:
                entry = self._place(entry, job, interval_ns, due_ns)
            entry.job = job
            self._entries[job.key] = entry
        for entry in before.values():
            entry.gone = True
        self._waiting = deque(entry for entry in self._waiting if not entry.gone)

    def _place(self, old: _Entry | None, job: Job, interval_ns: int, due_ns: int) -> _Entry:
        """Put a job on a new grid; what of it waits or runs goes on, so that it still never meets itself."""
        entry = _Entry(job, interval_ns, due_ns)
        if old is not None:
            old.gone = True
            entry.busy = old.busy
            self._waiting = deque(entry if waiting is old else waiting for waiting in self._waiting)
            if job.key in self._running:
                self._running[job.key] = entry
        self._push(entry)
        return entry

    def take(self, now: int) -> list[Job]:
        """Return the jobs that start now. A beat that finds its job still busy is skipped and counted in `overruns`."""
        while self._beats and self._beats[0][0] <= now:
            entry = heapq.heappop(self._beats)[2]
            if entry.gone:
                continue
            reached = (now - entry.due_ns) // entry.interval_ns + 1  # more than one only if we were held up
            entry.due_ns += reached * entry.interval_ns
            self._push(entry)
            self.overruns += reached - (not entry.busy)
            if not entry.busy:
                entry.busy = True
                self._waiting.append(entry)
        return self._start()

    def _start(self) -> list[Job]:
        started: list[Job] = []
        while self._waiting and len(self._running) - len(self.parked) < self._concurrency:
            entry = self._waiting.popleft()
            self._running[entry.job.key] = entry
            started.append(entry.job)
        return started

    def done(self, job: Job) -> None:
        """Tell that a job has ended; `take` may now start one that waited for its place."""
        self.parked.discard(job.key)
        self._running.pop(job.key).busy = False

    def park(self, job: Job) -> None:
        """Give a running job's place to others; it goes on, and still never beside itself."""
        self.parked.add(job.key)

    @property
    def has_waiting(self) -> bool:
        """Whether a job's beat has come but not its turn."""
        return bool(self._waiting)

    def next_at(self) -> int | None:
        """Return the time of the next beat, or None when there is none."""
        while self._beats and self._beats[0][2].gone:
            heapq.heappop(self._beats)
        return self._beats[0][0] if self._beats else None

    def _push(self, entry: _Entry) -> None:
        self._pushed += 1
        heapq.heappush(self._beats, (entry.due_ns, self._pushed, entry))
