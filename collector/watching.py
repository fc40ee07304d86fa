"""From the judge's thread to the pages: which sites changed, which were heard, and the values somebody looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.history import incident_told

if TYPE_CHECKING:
    from collector.catalogue import Catalogue
    from collector.columns import Columns
    from collector.engine import Engine, Judged
    from collector.history import History
    from collector.journal import Entry
    from collector.naming import Names
    from collector.overview import Overview
    from collector.web.events import Events


class Watching:
    """Tells `events` what a step of the judge means to people who look."""

    def __init__(
        self,
        events: Events,
        catalogue: Catalogue,
        engine: Engine,
        overview: Overview,
        history: History,
        names: Names,
    ) -> None:
        """Name things by `catalogue` and `names`."""
        self._events = events
        self._catalogue = catalogue
        self._engine = engine
        self._overview = overview
        self._history = history
        self._names = names

    def watch(self, entry: Entry, columns: Columns, judged: Judged) -> None:
        """Take one step. Nothing is gathered while no page is open."""
        del entry
        events = self._events
        if not events.wanted:
            return
        catalogue = self._catalogue
        events.changed(catalogue.signals[change.signal].series.site for change in judged.levels)
        events.changed(change.node[0] for change in judged.silences)
        for transition in judged.transitions:
            incident = transition.incident
            events.incident(incident_told(incident, self._names, **self._history.handled(incident.id)))
            events.changed(site for site in incident.sites if site)
        sites = {catalogue.series[series_id].site for series_id in set(columns.series.tolist())}
        events.heard(sites)
        looked_at = sites & events.watched
        for number in columns.signals.tolist() if looked_at else ():
            site = catalogue.signals[number].series.site
            if site in looked_at and self._engine.levels.limit_of[number]:
                events.signal(number, {"site": site, **self._overview.signal(number)})
