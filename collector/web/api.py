"""`/api/v1`: sites, incidents, series, and what a signed-in person may do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from collector.catalogue import Series
from collector.web.problems import Json, Problem
from collector.web.times import span
from collector.words import rfc3339

if TYPE_CHECKING:
    from collector.catalogue import Catalogue
    from collector.config import Config
    from collector.history import History
    from collector.overview import Overview
    from collector.store import Store
    from collector.web.access import Access
    from collector.web.events import Events

State = Literal["open", "resolved", "all"]
VERSION = "0.1.0"


class Asked(BaseModel, extra="forbid"):
    """A question about metrics: of which check, from when to when, how fine."""

    site: str
    check: str
    metric: Annotated[list[str], Field(min_length=1, max_length=12)]
    target: str = ""
    node: str | None = None
    start: Annotated[str, Field(alias="from")] = "-1h"
    end: Annotated[str, Field(alias="to")] = "now"
    step: int | None = None


def api_routes(
    *,
    config: Config,
    access: Access,
    overview: Overview,
    history: History,
    store: Store,
    catalogue: Catalogue,
    events: Events,
) -> APIRouter:
    """Return the routes that the board and anybody's own tools read."""
    router = APIRouter()
    kept = config.store
    finest = [(kept.raw_days, 1), (kept.minute_days, 60), (kept.hour_days, 3600)]

    @router.get("/api/v1/sites", tags=["sites"], summary="Every site as it stands")
    def sites(request: Request) -> Json:
        access.require(request, "viewer")
        known = [summary for site in overview.sites() if (summary := overview.summary(site)) is not None]
        return Json({"sites": known, "server": {"version": VERSION, "now": rfc3339(time.time_ns())}})

    @router.get("/api/v1/sites/{site}", tags=["sites"], summary="One site: nodes, signals, series, incidents")
    def site(request: Request, site: str) -> Json:
        access.require(request, "viewer")
        detail = overview.detail(site)
        if detail is None:
            raise Problem(404, f"no site {site!r} is configured or was ever heard")
        open_ones = history.incidents(state="open", site=site, limit=50)
        others = history.incidents(state="resolved", site=site, limit=50 - len(open_ones))
        return Json({**detail, "incidents": [*open_ones, *others]})

    @router.get("/api/v1/incidents", tags=["incidents"], summary="Incidents, newest first")
    def incidents(
        request: Request,
        state: State = "all",
        site: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Json:
        access.require(request, "viewer")
        return Json({"incidents": history.incidents(state=state, site=site, limit=limit)})

    @router.get("/api/v1/incidents/{incident}", tags=["incidents"], summary="One incident with its timeline")
    def incident(request: Request, incident: str) -> Json:
        access.require(request, "viewer")
        return Json(_found(history.incident(incident), incident))

    @router.get("/api/v1/series", tags=["series"], summary="Metrics of one check over time")
    def series(request: Request, asked: Annotated[Asked, Query()]) -> Json:
        access.require(request, "viewer")
        first, last, width = span(asked.start, asked.end, asked.step, time.time(), finest)
        named = _series(catalogue, asked)
        reader = store.reader()
        try:
            told = [_series_told(reader, catalogue, named, metric, first, last, width) for metric in asked.metric]
        finally:
            reader.close()
        return Json({"series": told})

    @router.get("/api/v1/events", tags=["events"], summary="What changes, as server-sent events")
    async def stream(request: Request, site: str | None = None) -> StreamingResponse:
        access.require(request, "viewer")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(events.stream(site), media_type="text/event-stream", headers=headers)

    return router


def _found(told: dict[str, Any] | None, incident: str) -> dict[str, Any]:
    if told is None:
        raise Problem(404, f"there is no incident {incident!r}")
    return told


def _series(catalogue: Catalogue, asked: Asked) -> Series:
    """Return the series asked for; without a node, the first node of the site that has it."""
    if asked.node is not None:
        return Series(asked.site, asked.node, asked.check, asked.target)
    for series in catalogue.series:
        if (series.site, series.check, series.target) == (asked.site, asked.check, asked.target):
            return series
    raise Problem(404, f"site {asked.site!r} has no {asked.check} of {asked.target!r}")


def _series_told(
    reader: Any, catalogue: Catalogue, series: Series, metric: str, first: int, last: int, width: int
) -> dict[str, Any]:
    number = catalogue.find(series, metric)
    if number is None:
        raise Problem(404, f"site {series.site!r} has no metric {metric!r} of {series.check} {series.target!r}")
    return {
        **series._asdict(),
        "metric": metric,
        "step_seconds": width,
        "from": rfc3339(first * 1_000_000_000),
        "to": rfc3339(last * 1_000_000_000),
        "columns": ["at", "min", "p50", "p95", "max", "mean", "count"],
        "rows": [list(bucket) for bucket in reader.series(number, first, last, width)],
    }
