"""Incidents as they are told to programs and to the board, and what people add to them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from collector.database import incidents, outbox, reaches, timeline
from collector.diagnosis import Diagnoses
from collector.incident import HOUR, REPORT_HOURS, Evidence
from collector.record import incident_of
from collector.timelines import timeline_told
from collector.words import cause, kind, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.incident import Incident, Place
    from collector.naming import Names

_WORST_FIRST = {"red": 0, "yellow": 1, "unknown": 2, "green": 3}


class History:
    """Reads and extends what the record holds."""

    def __init__(self, database: sa.Engine, names: Names, clock: Callable[[], int] = time.time_ns) -> None:
        """Work on `database`, and call things by `names`; `clock` gives nanoseconds since the epoch."""
        self._database = database
        self._names = names
        self._clock = clock

    def handled(self, incident: str) -> dict[str, Any]:
        """Return who is at an incident, since when, and whose it is; nothing while it is nobody's."""
        columns = (incidents.c.acknowledged_at, incidents.c.acknowledged_by, incidents.c.assigned_to)
        with self._database.connect() as db:
            row = db.execute(sa.select(*columns).where(incidents.c.id == incident)).mappings().first()
        return {} if row is None else _handling(row)

    def incidents(self, *, state: str = "all", site: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Return incidents, newest first."""
        query = _incidents().order_by(incidents.c.opened_at.desc(), incidents.c.id.desc()).limit(limit)
        if state != "all":
            query = query.where(incidents.c.state == state)
        if site is not None:
            reached = sa.select(reaches.c.incident).where(reaches.c.site == site)
            query = query.where(sa.or_(incidents.c.site == site, incidents.c.id.in_(reached)))
        with self._database.connect() as db:
            return [self._told(row) for row in db.execute(query).mappings()]

    def incident(self, incident: str) -> dict[str, Any] | None:
        """Return one incident with its timeline, oldest first; None if there is none of this id."""
        with self._database.connect() as db:
            row = db.execute(_incidents().where(incidents.c.id == incident)).mappings().first()
            if row is None:
                return None
            lines = db.execute(sa.select(timeline).where(timeline.c.incident == incident)).mappings().all()
            sent = db.execute(
                sa.select(outbox.c.channel, outbox.c.who, outbox.c.sent_at).where(
                    outbox.c.incident == incident, outbox.c.sent_at.is_not(None)
                )
            ).all()
        told = [(f"{who} ({channel})" if who not in ("", channel) else channel, at) for channel, who, at in sent]
        found = Diagnoses(self._database).of(incident)
        more = {"diagnosis": found} if found else {}
        return {**self._told(row), **more, "timeline": timeline_told(lines, told, self._names)}

    def acknowledge(self, incident: str, *, by: str, comment: str) -> dict[str, Any] | None:
        """Note that somebody is at it: the first one stays; each comment is kept. None if there is no such incident."""
        now = self._clock()
        with self._database.begin() as db:
            mine = incidents.c.id == incident
            first = sa.update(incidents).where(mine, incidents.c.acknowledged_at.is_(None))
            taken = db.execute(first.values(acknowledged_at=now, acknowledged_by=by)).rowcount
            if taken or comment:
                self._note(db, incident, "acknowledged" if taken else "comment", by, _said(by, comment))
        return self.incident(incident)

    def assign(self, incident: str, to: str, *, by: str, comment: str = "") -> dict[str, Any] | None:
        """Note whose it is now; None if there is no such incident."""
        with self._database.begin() as db:
            if db.execute(sa.update(incidents).where(incidents.c.id == incident).values(assigned_to=to)).rowcount:
                self._note(db, incident, "assigned", by, _said(f"{to} ({by})", comment))
        return self.incident(incident)

    def comment(self, incident: str, text: str, *, by: str, kind: str = "comment") -> dict[str, Any] | None:
        """Keep what somebody says of it, or of having done it (`closed`, `called serious`); None for no incident."""
        with self._database.begin() as db:
            self._note(db, incident, kind, by, _said(by, text))
        return self.incident(incident)

    def _note(self, db: sa.Connection, incident: str, kind: str, by: str, text: str) -> None:
        known = db.execute(sa.select(incidents.c.id).where(incidents.c.id == incident)).first()
        if known is not None:
            line = {"incident": incident, "at": self._clock(), "kind": kind, "about": by, "text": text}
            db.execute(sa.insert(timeline).values(line))

    def _told(self, row: Any) -> dict[str, Any]:
        """Return an incident's row as the API tells it; what is not known is absent."""
        return incident_told(incident_of(row), self._names, **_handling(row))


def _said(by: str, text: str) -> str:
    return f"{by}: {text}" if text else by


def _handling(row: Any) -> dict[str, Any]:
    """Return who is at an incident, since when, and whose it is."""
    return {
        "acknowledged_at": rfc3339(row["acknowledged_at"]),
        "acknowledged_by": row["acknowledged_by"],
        "assigned_to": row["assigned_to"],
    }


def incident_told(incident: Incident, names: Names, **more: object) -> dict[str, Any]:
    """Return an incident as the API and the pages' events tell it."""
    shown = {
        "id": incident.id,
        "state": "open" if incident.open else "resolved",
        "severity": incident.severity,
        "site": incident.place.site,
        "site_name": names.where(incident.place),
        "sites": incident.sites,
        "cause": cause_told(incident, names.place(incident.place)),
        "began_at": rfc3339(incident.began_at),
        "opened_at": rfc3339(incident.opened_at),
        "resolved_at": rfc3339(incident.resolved_at),
        "members": [_member(place, names) for place in incident.members] if len(incident.members) > 1 else None,
        "serious": incident.serious or None,
        "reports": _reports(incident) if incident.serious else None,
        "evidence": [evidence_told(item) for item in sorted(incident.evidence.values(), key=_worst)],
        **more,
    }
    return {key: value for key, value in shown.items() if value is not None}


def _member(place: Place, names: Names) -> dict[str, str]:
    return {"kind": place.kind, "site": place.site, "site_name": names.site(place.site), "name": place.name}


def _reports(incident: Incident) -> list[dict[str, Any]]:
    """Return when each report of a serious incident is due."""
    return [{"hours": hours, "due_at": rfc3339(incident.opened_at + hours * HOUR)} for hours in REPORT_HOURS]


def cause_told(incident: Incident, name: str = "") -> dict[str, Any]:
    """Return what is wrong, as the API tells it; `name` is what people call the place."""
    place = incident.place
    lost = len({member.site for member in incident.members if member.site}) or len(incident.reached)
    shown = incident.evidence.values()
    text = cause(place, incident.cause, name=name, lost=lost, warning=not incident.told, evidence=shown)
    return {"kind": kind(place, incident.cause), "place": place.name, "text": text}


def evidence_told(evidence: Evidence) -> dict[str, Any]:
    """Return one piece of evidence as the API tells it."""
    shown = {**msgspec.to_builtins(evidence), "at": rfc3339(evidence.at), "text": evidence.words}
    del shown["words"]
    return {key: value for key, value in shown.items() if value is not None}


def _incidents() -> sa.Select[Any]:
    return sa.select(incidents)


def _worst(evidence: Evidence) -> tuple[int, int]:
    return _WORST_FIRST[evidence.level], -evidence.at
