"""Incidents as they are told to programs and to the board, and what people add to them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from collector.database import incidents, outbox, reaches, sites, timeline
from collector.diagnosis import Diagnoses
from collector.incident import Evidence
from collector.record import incident_of
from collector.words import cause, happened, kind, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.incident import Incident

_NAMED = ("joined", "left", "moved", "merged", "corrected", "due")
_WORST_FIRST = {"red": 0, "yellow": 1, "unknown": 2, "green": 3}


class History:
    """Reads and extends what the record holds."""

    def __init__(self, database: sa.Engine, clock: Callable[[], int] = time.time_ns) -> None:
        """Work on `database`; `clock` gives nanoseconds since the epoch."""
        self._database = database
        self._clock = clock
        self._acknowledged: dict[str, dict[str, Any]] = {}

    def acknowledged(self, incident: str) -> dict[str, Any]:
        """Return who is at an incident and since when; nothing while nobody is."""
        if incident not in self._acknowledged:
            query = sa.select(incidents.c.acknowledged_at, incidents.c.acknowledged_by).where(
                incidents.c.id == incident
            )
            with self._database.connect() as db:
                row = db.execute(query.where(incidents.c.acknowledged_at.is_not(None))).first()
            if row is None:
                return {}
            self._acknowledged[incident] = {"acknowledged_at": rfc3339(row[0]), "acknowledged_by": row[1]}
        return self._acknowledged[incident]

    def incidents(self, *, state: str = "all", site: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Return incidents, newest first."""
        query = _incidents().order_by(incidents.c.opened_at.desc(), incidents.c.id.desc()).limit(limit)
        if state != "all":
            query = query.where(incidents.c.state == state)
        if site is not None:
            reached = sa.select(reaches.c.incident).where(reaches.c.site == site)
            query = query.where(sa.or_(incidents.c.site == site, incidents.c.id.in_(reached)))
        with self._database.connect() as db:
            return [told(row) for row in db.execute(query).mappings()]

    def incident(self, incident: str) -> dict[str, Any] | None:
        """Return one incident with its timeline, oldest first; None if there is none of this id."""
        with self._database.connect() as db:
            row = db.execute(_incidents().where(incidents.c.id == incident)).mappings().first()
            if row is None:
                return None
            lines = db.execute(sa.select(timeline).where(timeline.c.incident == incident)).mappings().all()
            sent = db.execute(
                sa.select(outbox.c.channel, outbox.c.what, outbox.c.sent_at).where(
                    outbox.c.incident == incident, outbox.c.sent_at.is_not(None)
                )
            ).all()
        moments = [(line["at"], line["id"], line["kind"], _words(line)) for line in lines]
        moments += [(at, 1 << 62, "told", happened("told", None, channel)) for channel, _, at in sent]
        shown = [{"at": rfc3339(at), "kind": kind, "text": text} for at, _, kind, text in sorted(moments, key=_order)]
        found = Diagnoses(self._database).of(incident)
        return {**told(row), **({"diagnosis": found} if found else {}), "timeline": shown}

    def acknowledge(self, incident: str, *, by: str, comment: str) -> dict[str, Any] | None:
        """Note that somebody is at it: the first one stays; each comment is kept. None if there is no such incident."""
        now = self._clock()
        with self._database.begin() as db:
            mine = incidents.c.id == incident
            first = sa.update(incidents).where(mine, incidents.c.acknowledged_at.is_(None))
            taken = db.execute(first.values(acknowledged_at=now, acknowledged_by=by)).rowcount
            if not taken and db.execute(sa.select(incidents.c.id).where(mine)).first() is None:
                return None
            if taken or comment:
                kind, text = ("acknowledged" if taken else "comment"), ": ".join(p for p in (by, comment) if p)
                line = {"incident": incident, "at": now, "kind": kind, "about": by, "text": text}
                db.execute(sa.insert(timeline).values(line))
        return self.incident(incident)


def told(row: Any) -> dict[str, Any]:
    """Return an incident's row as the API tells it; what is not known is absent."""
    incident = incident_of(row)
    more = {"acknowledged_at": rfc3339(row["acknowledged_at"]), "acknowledged_by": row["acknowledged_by"]}
    return incident_told(incident, row["site_name"] or incident.place.site, **more)


def incident_told(incident: Incident, site_name: str, **more: object) -> dict[str, Any]:
    """Return an incident as the API and the pages' events tell it."""
    shown = {
        "id": incident.id,
        "state": "open" if incident.open else "resolved",
        "severity": incident.severity,
        "site": incident.place.site,
        "site_name": site_name,
        "sites": incident.sites,
        "cause": cause_told(incident),
        "began_at": rfc3339(incident.began_at),
        "opened_at": rfc3339(incident.opened_at),
        "resolved_at": rfc3339(incident.resolved_at),
        "evidence": [evidence_told(item) for item in sorted(incident.evidence.values(), key=_worst)],
        **more,
    }
    return {key: value for key, value in shown.items() if value is not None}


def cause_told(incident: Incident, name: str = "") -> dict[str, Any]:
    """Return what is wrong, as the API tells it; `name` is what people call the place."""
    place = incident.place
    lost = len({member.site for member in incident.members if member.site}) or len(incident.reached)
    text = cause(place, incident.cause, name=name, lost=lost)
    return {"kind": kind(place, incident.cause), "place": place.name, "text": text}


def evidence_told(evidence: Evidence) -> dict[str, Any]:
    """Return one piece of evidence as the API tells it."""
    shown = {**msgspec.to_builtins(evidence), "at": rfc3339(evidence.at), "text": evidence.words}
    del shown["words"]
    return {key: value for key, value in shown.items() if value is not None}


def _incidents() -> sa.Select[Any]:
    return sa.select(incidents, sites.c.name.label("site_name")).outerjoin(sites, sites.c.site == incidents.c.site)


def _words(line: Any) -> dict[str, str]:
    if line["kind"] == "diagnosed":
        return msgspec.json.decode(line["text"], type=dict[str, str])
    evidence = msgspec.convert(line["evidence"], Evidence) if line["evidence"] else None
    about = line["about"] if line["kind"] in _NAMED else None
    return happened(line["kind"], evidence, line["text"] or about)


def _order(moment: tuple[int, int, str, dict[str, str]]) -> tuple[int, int]:
    return moment[0], moment[1]


def _worst(evidence: Evidence) -> tuple[int, int]:
    return _WORST_FIRST[evidence.level], -evidence.at
