"""What diagnoses found, kept with the incidents they are about; and their words, for messages and pages."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from collector.database import diagnoses, incidents, news, outbox, timeline

_LATELY = 900 * 1_000_000_000
"""What opened longer ago than this is not looked at any more: it would tell of another time."""
_MOST_FINDINGS = 6
_TELLING_FIRST = {"lost": 0, "poor": 1, "well": 2, "unknown": 3}
_WORDS = {
    "vi": {"diagnosis": "Chẩn đoán", "next": "Nên thử trước", "seen": "Kiểm tra"},
    "en": {"diagnosis": "Diagnosis", "next": "Try first", "seen": "Looked at"},
}


class Finding(msgspec.Struct):
    """One look, as `nhip diagnose --json` tells it."""

    state: str
    text: dict[str, str]


class Verdict(msgspec.Struct):
    """Where the fault is, and what to try first."""

    where: str
    text: dict[str, str]
    next: dict[str, str]


class Told(msgspec.Struct):
    """A line of `nhip diagnose --json`: what is needed of it here; all of it is kept."""

    site: str
    at: int
    final: bool
    verdict: Verdict
    findings: list[Finding] = []


class Wanting(NamedTuple):
    """An incident without a last diagnosis."""

    incident: str
    kind: str
    site: str
    reached: list[str]


class Diagnoses:
    """The table of diagnoses: at most one an incident, the last that was made while it was young."""

    def __init__(self, database: sa.Engine) -> None:
        """Work on `database`."""
        self._database = database

    def of(self, incident: str) -> dict[str, Any] | None:
        """Return what was found of an incident, as the API tells it; None while nothing was."""
        with self._database.connect() as db:
            row = db.execute(sa.select(diagnoses.c.told).where(diagnoses.c.incident == incident)).first()
        return None if row is None else row[0] or None

    def words(self, incident: str, language: str) -> list[str]:
        """Return the lines that a message says of an incident's diagnosis; none while nothing was found.

        The verdict, what to try first, and the findings that tell most, the worst first.
        """
        told = self.of(incident)
        return [] if told is None else words_of(told, language)

    def wanting(self, now: int) -> list[Wanting]:
        """Return the young red incidents that have no last diagnosis yet."""
        query = (
            sa.select(incidents.c.id, incidents.c.kind, incidents.c.site, incidents.c.more)
            .outerjoin(diagnoses, diagnoses.c.incident == incidents.c.id)
            .where(
                incidents.c.state == "open",
                incidents.c.severity == "red",
                incidents.c.opened_at > now - _LATELY,
                sa.or_(diagnoses.c.final.is_(None), ~diagnoses.c.final),
            )
            .order_by(incidents.c.opened_at)
        )
        with self._database.connect() as db:
            rows = db.execute(query).all()
        return [Wanting(row.id, row.kind, row.site, row.more.get("reached", [])) for row in rows]

    def keep(self, incident: str, told: dict[str, Any] | None, *, final: bool, now: int) -> bool:
        """Keep what was found; the last word goes into the timeline. None: nothing could be, and nobody asks again.

        Return whether people are to be told: those whose message had left before anything was known hear of it as of
        an update, which never rings.
        """
        row = {"incident": incident, "at": now, "final": final, "told": told}
        statement = insert(diagnoses).values(row)
        with self._database.begin() as db:
            kept = statement.on_conflict_do_update(index_elements=["incident"], set_={"final": final, "told": told})
            known_at = db.execute(kept.returning(diagnoses.c.at)).scalar_one()
            if told is None or not final:
                return False
            text = {language: "; ".join(words_of(told, language)) for language in _WORDS}
            line = {
                "incident": incident, "at": now, "kind": "diagnosed", "about": told["verdict"]["where"],
                "text": msgspec.json.encode(text).decode(),
            }  # fmt: skip
            db.execute(insert(timeline).values(line).on_conflict_do_nothing())
            left = sa.exists().where(outbox.c.incident == incident, outbox.c.loud, outbox.c.sent_at < known_at)
            if not db.execute(sa.select(left)).scalar_one():
                return False
            db.execute(insert(news).values(incident=incident, what="updated", at=now).on_conflict_do_nothing())
            return True


def words_of(told: dict[str, Any], language: str) -> list[str]:
    """Return a diagnosis in lines: verdict, what to try first, the findings that tell most."""
    words, verdict = _WORDS[language], told["verdict"]
    found = sorted(told["findings"], key=lambda finding: _TELLING_FIRST.get(finding["state"], 3))
    shown = [finding["text"][language] for finding in found if finding["state"] != "unknown"][:_MOST_FINDINGS]
    lines = [f"{words['diagnosis']}: {verdict['text'][language]}", f"{words['next']}: {verdict['next'][language]}"]
    return lines + ([f"{words['seen']}: {'; '.join(shown)}"] if shown else [])


def read(line: bytes) -> tuple[Told, dict[str, Any]] | None:
    """Return what a line of the child says, checked and whole; None for anything else that it may print."""
    try:
        told = msgspec.json.decode(line, type=Told)
        if not {"vi", "en"} <= told.verdict.text.keys() & told.verdict.next.keys():
            return None
        whole: dict[str, Any] = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return None
    return told, whole
