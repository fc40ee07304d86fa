"""Leases in force: the steps of `leases.py` under a lock, each written down before it is told to anybody."""

from __future__ import annotations

import math
import secrets
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING

import sqlalchemy as sa

from collector.database import leases as table
from collector.leases import Lease, Leases

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collector.config import Site
    from collector.leases import Rules, Wait

SECOND = 1_000_000_000
_KEEP_SECONDS = 30 * 86_400.0
_COUNT_SECONDS = 2 * 86_400.0


class LeaseOffice:
    """Grants and takes back leases. A restart finds what was granted, and what counts for the day."""

    def __init__(self, rules: Rules, sites: Sequence[Site], database: sa.Engine, clock: Callable[[], int]) -> None:
        """Read what the database holds; `clock` returns nanoseconds since the epoch."""
        self._upstreams = {site.site: site.upstream or site.group for site in sites}
        self._database, self._clock = database, clock
        self._lock = threading.Lock()
        now = self._now()
        with database.begin() as db:
            db.execute(sa.delete(table).where(table.c.granted_at < now - _KEEP_SECONDS))
            rows = db.execute(sa.select(table).where(table.c.granted_at >= now - _COUNT_SECONDS)).mappings()
            past = [Lease(**row) for row in rows]
        self._leases = Leases(rules, past)
        self.granted = self.refused = 0

    def ask(self, site: str, server: str, bytes: int, seconds: float) -> Lease | Wait:  # noqa: A002  (as on the wire)
        """Grant this site a lease, or say how long to wait and why."""
        with self._lock:
            told = self._leases.ask(
                id=secrets.token_hex(16),
                site=site,
                upstream=self._upstreams.get(site) or f"site {site}",
                server=server,
                bytes=bytes,
                seconds=seconds,
                now=self._now(),
            )
            if isinstance(told, Lease):
                with self._database.begin() as db:
                    db.execute(sa.insert(table).values(asdict(told)))
                self.granted += 1
            else:
                self.refused += 1
            return told

    def give_back(self, id: str, site: str, bytes_used: int | None) -> bool:  # noqa: A002  (as on the wire)
        """End a lease of this site; False where there is none that holds."""
        with self._lock:
            ended = self._leases.give_back(id, site, self._now(), bytes_used)
            if ended is not None:
                change = sa.update(table).where(table.c.id == id)
                with self._database.begin() as db:
                    db.execute(change.values(ended_at=ended.ended_at, bytes=ended.bytes))
            return ended is not None

    def active(self) -> list[Lease]:
        """Return the leases that hold now."""
        with self._lock:
            return self._leases.active(self._now())

    def waiting(self) -> int:
        """Return how many sites wait for their turn."""
        with self._lock:
            return self._leases.waiting(self._now())

    def budget(self) -> int:
        """Return the bytes that a site may take in a day."""
        return self._leases.rules.bytes_per_site_day

    def _now(self) -> float:
        return self._clock() / SECOND


def retry_after(wait: Wait) -> int:
    """Return whole seconds for `Retry-After`."""
    return max(1, math.ceil(wait.seconds))
