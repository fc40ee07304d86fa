"""How a run stands, in words of sites. Pure: told what happens, asked for lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_MANY = 4  # changes of a site that are named; more are counted


@dataclass(slots=True)
class Site:
    """One site of the run. `failed` and `accepted` are final until a later play of the same run says otherwise."""

    site: str
    name: str = ""
    doing: str = ""
    changes: list[str] = field(default_factory=list)
    accepted: bool = False
    failed: str = ""

    def title(self) -> str:
        """Return its id and name."""
        return f"{self.site} {self.name}".strip()


@dataclass(slots=True)
class Progress:
    """All sites of a run, and which wave is under way."""

    wave: str = ""
    sites: dict[str, Site] = field(default_factory=dict)
    members: list[str] = field(default_factory=list)
    begun: set[str] = field(default_factory=set)  # sites that any play is about
    shared: list[str] = field(default_factory=list)  # what changed once for all of them

    def know(self, site: str, name: str) -> Site:
        """Return a site, made on first sight."""
        known = self.sites.setdefault(site, Site(site))
        known.name = name or known.name
        return known

    def begin(self, wave: str, members: Mapping[str, str]) -> bool:
        """Begin a play for these sites (id to name); tell whether a new wave begins with it."""
        for site, name in members.items():
            self.know(site, name)
        self.begun.update(members)
        fresh = wave != self.wave
        if fresh:
            self.wave, self.members = wave, []
        self.members += [site for site in members if site not in self.members]
        return fresh and bool(wave) and bool(members)

    def tally(self) -> str:
        """Return the wave in a few words: `wave 2: 14/40 accepted, 1 failed`."""
        sites = [self.sites[site] for site in self.members]
        accepted = sum(site.accepted for site in sites)
        failed = sum(bool(site.failed) for site in sites)
        words = f"{self.wave}: " if self.wave else ""
        if accepted or self.wave:
            words += f"{accepted}/{len(sites)} accepted"
        else:
            words += f"{len(sites)} {plural('site', len(sites))}"
        return f"{words}, {failed} failed" if failed else words

    def stopped(self) -> str:
        """Return what a gate would say of a wave of which no host is left to reach it; "" where a site still is."""
        sites = [self.sites[site] for site in self.members]
        if not (self.wave and sites and all(site.failed for site in sites)):
            return ""
        refused = ", ".join(sorted(site.site for site in sites))
        again = "Repair what is said above, then run again: it goes on here."
        return f"{self.wave} stopped the rollout: {refused} not accepted. {again}"

    def summary(self, seconds: float, *, check: bool) -> list[str]:
        """Return what is left to read when all is over: sites that failed, what changed, and a line in all."""
        lines = [f"✖ {site.title()}: {site.failed}" for site in self.sites.values() if site.failed]
        changed = [site for site in self.sites.values() if site.changes]
        lines += [f"  {site.title()}: {named(site.changes, check=check)}" for site in changed]
        lines += [f"  for all: {named(self.shared, check=check)}"] if self.shared else []
        failed = sum(bool(site.failed) for site in self.sites.values())
        accepted = sum(site.accepted for site in self.sites.values())
        count = len(changed) or int(bool(self.shared))
        parts = [f"{len(self.begun)} {plural('site', len(self.begun))}"]
        parts += [f"{accepted} accepted"] if accepted else []
        parts += [f"{count} {'would change' if check else 'changed'}", f"{failed} failed"]
        return [*lines, f"{', '.join(parts)}; {duration(seconds)}"]


def named(changes: list[str], *, check: bool) -> str:
    """Return a site's changes in words, few of them by name."""
    verb = "would change" if check else "changed"
    if len(changes) > _MANY:
        return f"{len(changes)} tasks {verb} something"
    return f"{verb}: {'; '.join(changes)}"


def plural(word: str, count: int) -> str:
    """Return an English noun for so many."""
    return word if count == 1 else f"{word}s"


def duration(seconds: float) -> str:
    """Return how long something took, for people."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004  (a minute)
        return f"{whole} s"
    if whole < 3600:  # noqa: PLR2004  (an hour)
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
