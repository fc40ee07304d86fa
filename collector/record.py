"""What the judge finds, written down: incidents, their timelines, what people are to be told, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from collector.database import incidents, news, reaches, sites, timeline
from collector.incident import Cause, Evidence, Incident, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collector.config import Site
    from collector.incident import Transition


class Record:
    """Writes transitions so that writing them again, after a crash, changes nothing."""

    def __init__(self, database: sa.Engine, told: Callable[[], None] = lambda: None) -> None:
        """Write to `database`; `told` is called once there is something that people are to be told."""
        self._database = database
        self._told = told

    def write(self, transitions: Sequence[Transition]) -> None:
        """Write all of `transitions`."""
        with self._database.begin() as db:
            for transition in transitions:
                self._write(db, transition)
        if any(transition.tell is not None for transition in transitions):
            self._told()

    def sites(self, configured: Sequence[Site]) -> None:
        """Write down the sites that the configuration names."""
        with self._database.begin() as db:
            for site in configured:
                row = {"site": site.site, "name": site.name, "group_name": site.group}
                statement = insert(sites).values(row)
                db.execute(statement.on_conflict_do_update(index_elements=["site"], set_=row))

    def open_incidents(self) -> tuple[list[Incident], int]:
        """Return the incidents that are open, and how many there ever were: what a lost checkpoint is mended from."""
        with self._database.connect() as db:
            rows = db.execute(sa.select(incidents).where(incidents.c.state == "open")).mappings().all()
            count = db.execute(sa.select(sa.func.count()).select_from(incidents)).scalar_one()
        return [incident_of(row) for row in rows], count

    def _write(self, db: sa.Connection, transition: Transition) -> None:
        incident = transition.incident
        row = {
            "id": incident.id,
            "state": "open" if incident.open else "resolved",
            "severity": incident.severity,
            "kind": incident.place.kind,
            "site": incident.place.site,
            "place": incident.place.name,
            "began_at": incident.began_at,
            "opened_at": incident.opened_at,
            "resolved_at": incident.resolved_at,
            "cause": incident.cause,
            "serious": incident.serious,
            "more": msgspec.to_builtins(_more(incident)),
            "evidence": {str(signal): msgspec.to_builtins(item) for signal, item in incident.evidence.items()},
        }
        db.execute(insert(incidents).values(row).on_conflict_do_update(index_elements=["id"], set_=row))
        for site in incident.sites:
            db.execute(insert(reaches).values(incident=incident.id, site=site).on_conflict_do_nothing())
        for item in transition.happened:
            about = _about(item.evidence) if item.evidence else item.about
            evidence = msgspec.to_builtins(item.evidence) if item.evidence else None
            line = {"incident": incident.id, "at": item.at, "kind": item.kind, "about": about, "evidence": evidence}
            db.execute(insert(timeline).values(line).on_conflict_do_nothing())
        if transition.tell is not None:
            row = {"incident": incident.id, "what": transition.tell, "at": transition.at}
            db.execute(insert(news).values(row).on_conflict_do_nothing())


class _More(msgspec.Struct):
    """What nobody asks the database about."""

    members: list[Place] = []
    reached: list[str] = []
    most: int = 0
    healing_at: int | None = None
    lived: dict[str, Cause] = {}
    eased_at: int | None = None
    reopened: int = 0
    well_at: int | None = None
    told: bool = True
    reminded: int = 0


def _more(incident: Incident) -> _More:
    return _More(**{name: getattr(incident, name) for name in _More.__struct_fields__})


def _about(evidence: Evidence) -> str:
    where = f"{evidence.site} " if evidence.site else ""
    return f"{where}{evidence.check} {evidence.target} {evidence.metric}"


def incident_of(row: Any) -> Incident:
    """Return the incident that a database row holds."""
    return Incident(
        id=row["id"],
        place=Place(row["kind"], row["site"], row["place"]),
        began_at=row["began_at"],
        opened_at=row["opened_at"],
        severity=row["severity"],
        resolved_at=row["resolved_at"],
        cause=row["cause"],
        serious=row["serious"],
        **msgspec.structs.asdict(msgspec.convert(row["more"], _More)),
        evidence={int(signal): msgspec.convert(item, Evidence) for signal, item in row["evidence"].items()},
    )
