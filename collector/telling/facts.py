"""What a message says about an incident, as plain values: where, what, since when, how many are touched. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collector.naming import Names
from collector.telling import words
from collector.words import cause, lasted, local, seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.config import Config
    from collector.incident import Evidence, Incident

_SITES_NAMED = 8
_SEEN = 3
_LATE = 120 * 1_000_000_000
_WORST = {"red": 0, "yellow": 1}


class Known:
    """What is known beside incidents: what things are called, how many people a site serves, where the board is."""

    def __init__(self, config: Config) -> None:
        """Know what the configuration knows."""
        self.names = Names(config)
        self.populations = {site.site: site.population for site in config.sites if site.population}
        self.board = config.telling.board_url.rstrip("/")

    def where(self, incident: Incident, language: str) -> str:
        """Return where an incident is, for a title: `Phường Cái Khế (31120)`."""
        place = incident.place
        if place.kind == "collector":
            return {"vi": "Trung tâm dữ liệu", "en": "Data centre"}[language]
        name = self.names.where(place)
        return f"{name} ({place.site})" if place.site and name != place.site else name


@dataclass(frozen=True, slots=True)
class Telling:
    """One thing to tell: an incident as it stands, what for, and when that came up (nanoseconds)."""

    incident: Incident
    what: words.Said
    at: int
    minutes: int = 0
    """For how long nobody has taken it on, in a step of an escalation."""


def facts(telling: Telling, known: Known, language: str, now: int, diagnosis: Sequence[str] = ()) -> dict[str, Any]:
    """Return everything that a template may say, with the lines of a `diagnosis` if there is one.

    What is not known is empty or 0, never absent.
    """
    incident, what = telling.incident, telling.what
    name, lost = known.names.place(incident.place), _lost(incident)
    over = incident.resolved_at is not None and what in ("resolved", "over", "digest")
    ended = incident.resolved_at if over else None
    calm = over or what == "merged"
    return {
        "mark": words.MARKS.get(what, "🔴" if incident.severity == "red" else "🟡"),
        "headline": words.HEADLINES[what][language],
        "what": what,
        "incident": incident.id,
        "severity": incident.severity,
        "kind": incident.place.kind,
        "where": known.where(incident, language),
        "cause": cause(
            incident.place,
            incident.cause,
            name=name,
            lost=lost,
            warning=not incident.told,
            evidence=incident.evidence.values(),
        )[language],
        "since": local(incident.began_at),
        "until": local(ended) if ended is not None else "",
        "lasted": lasted((ended if ended is not None else now) - incident.began_at, language),
        "sites": lost,
        "site_names": _site_names(incident, known.names),
        "people": sum(known.populations.get(site, 0) for site in set(incident.sites)),
        "seen": [] if calm else [seen(item, language) for item in _shown(incident)],
        "first": "" if calm else words.first_steps(_key(incident), language, name or incident.place.name),
        "diagnosis": [] if calm else list(diagnosis),
        "unanswered_minutes": telling.minutes,
        "late": lasted(now - telling.at, language) if now - telling.at > _LATE and what != "digest" else "",
        "link": f"{known.board}/incident/{incident.id}" if known.board else "",
    }


def _lost(incident: Incident) -> int:
    """Return how many sites it reaches, as its cause counts them."""
    now = {member.site for member in incident.members if member.site}
    return len(now) if incident.open and now else len(incident.reached) or 1


def _site_names(incident: Incident, names: Names) -> str:
    shown = [names.site(site) for site in incident.sites if site]
    return ", ".join(shown[:_SITES_NAMED]) + (", …" if len(shown) > _SITES_NAMED else "")


def _shown(incident: Incident) -> Sequence[Evidence]:
    ill = [item for item in incident.evidence.values() if item.ill]
    return sorted(ill, key=lambda item: _WORST[item.level])[:_SEEN]


def _key(incident: Incident) -> str:
    """Return by which key advice is found: that of the cause where it is known, else the kind of place."""
    place, why = incident.place, incident.cause
    if place.kind == "service" and not place.site:
        return "shared service"
    if place.kind == "upstream":
        return {"": "upstream", "redundancy": "redundancy"}.get(why, f"upstream {why}")
    return why if why in words.FIRST else place.kind
