"""What an incident is: the facts that travel from the judge to the record, to people and to programs."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Kind = Literal["service", "path", "node", "silence", "redundancy", "clock", "upstream", "collector"]
Cause = Literal["", "line", "power", "off", "agent", "delivery", "impaired", "redundancy", "clock"]
"""What made it, where that is known beside the place: see `words.py` for what each means to people."""
Severity = Literal["yellow", "red"]
Happening = Literal[
    "began", "opened", "evidence", "recovered", "resolved", "reopened", "escalated", "eased",
    "joined", "left", "moved", "merged", "corrected", "due", "closed", "suppressed",
]  # fmt: skip
Tell = Literal[
    "opened", "updated", "corrected", "escalated", "eased", "merged", "resolved", "reopened", "due", "digest"
]
LOUD: frozenset[str] = frozenset({"opened", "escalated", "resolved", "reopened", "due"})
"""What rings. The rest is for whoever looks: an update of a message, a digest."""
HOUR = 3_600_000_000_000
REPORT_HOURS = (24, 72)
"""A serious incident's reports are due so many hours after it was opened: see `reports.py`."""
Nanoseconds = Annotated[int, msgspec.Meta(ge=0)]


class Place(msgspec.Struct, frozen=True, order=True):
    """Where it is: a kind of thing, at a site, with the name people know it by.

    What many sites share, an upstream or a service of the data centre, is at no site: its `site` is empty.
    """

    kind: Kind
    site: str
    name: str


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One signal that speaks for an incident, as it stood when it last changed. `at` is when it was measured."""

    node: str
    check: str
    target: str
    metric: str
    level: str
    at: Nanoseconds
    value: float | None = None
    limit: float | None = None
    words: dict[str, str] = {}
    reason: str | None = None
    site: str = ""

    @property
    def ill(self) -> bool:
        """Tell whether it speaks for the incident as it stands."""
        return self.level in ("yellow", "red")


class Happened(msgspec.Struct, frozen=True):
    """One line of a timeline: when, what kind of thing, and the evidence or the name it is about, if any."""

    at: Nanoseconds
    kind: Happening
    evidence: Evidence | None = None
    about: str = ""


class Incident(msgspec.Struct, kw_only=True):
    """A condition worth a person's attention. Dated from when it began, not from when it was noticed."""

    id: str
    place: Place
    began_at: Nanoseconds
    opened_at: Nanoseconds
    severity: Severity = "red"
    cause: Cause = ""
    resolved_at: Nanoseconds | None = None
    evidence: dict[int, Evidence] = {}
    """By signal number; a silence has none."""
    members: list[Place] = []
    """The places that are ill because of it, as they stand; when it is over, the last that were."""
    reached: list[str] = []
    """Every site that it ever reached."""
    most: int = 0
    """How many members it had at its worst."""
    healing_at: Nanoseconds | None = None
    """Since when most of its members are well again."""
    lived: dict[str, Cause] = {}
    """Why each of its sites was silent, as the site itself tells since it is back."""
    eased_at: Nanoseconds | None = None
    """When it last became a warning, after it had been red."""
    reopened: int = 0
    """How often it has come back."""
    well_at: Nanoseconds | None = None
    """Since when it has been well, where that is not yet long enough to call it over."""
    told: bool = False
    """Whether it has rung: only then does its end."""
    serious: bool = False
    reminded: int = 0
    """How many of its reports people have been reminded of."""

    @property
    def open(self) -> bool:
        """Tell whether it still lasts."""
        return self.resolved_at is None

    @property
    def sites(self) -> list[str]:
        """Return the sites that it has reached, in their order."""
        return self.reached or [self.place.site]


class Transition(msgspec.Struct, frozen=True):
    """An incident as it stands after a step, and what was new about it. `tell` names what people are to be told."""

    incident: Incident
    happened: list[Happened]
    tell: Tell | None = None
    at: Nanoseconds = 0
