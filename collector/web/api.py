"""`/api/v1`: sites, incidents, series, and what a signed-in person may do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from collector.catalogue import Series
from collector.web.access import COOKIE
from collector.web.problems import Json, Problem
from collector.web.times import span
from collector.words import rfc3339

if TYPE_CHECKING:
    from collector.catalogue import Catalogue
    from collector.config import Config
    from collector.history import History
    from collector.overview import Overview
    from collector.store import Store
    from collector.tokens import Tokens
    from collector.web.access import Access
    from collector.web.events import Events

State = Literal["open", "resolved", "all"]
VERSION = "0.1.0"


class Comment(BaseModel):
    """What a person adds."""

    comment: str = Field(default="", max_length=2_000)


class SignIn(BaseModel):
    """The token a person signs in with."""

    token: str = Field(max_length=200)


def api_routes(
    *,
    config: Config,
    access: Access,
    tokens: Tokens,
    overview: Overview,
    history: History,
    store: Store,
    catalogue: Catalogue,
    events: Events,
) -> APIRouter:
    """Return the routes that the board and anybody's own tools read."""
    router = APIRouter()

    @router.get("/api/v1/sites", tags=["sites"], summary="Every site as it stands")
    async def sites(request: Request) -> Json:
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
        request: Request, state: State = "all", site: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> Json:
        access.require(request, "viewer")
        return Json({"incidents": history.incidents(state=state, site=site, limit=limit)})

    @router.get("/api/v1/incidents/{incident}", tags=["incidents"], summary="One incident with its timeline")
    def incident(request: Request, incident: str) -> Json:
        access.require(request, "viewer")
        return Json(_found(history.incident(incident), incident))

    @router.post("/api/v1/incidents/{incident}/acknowledge", tags=["incidents"], summary="Say that somebody is at it")
    def acknowledge(request: Request, incident: str, body: Comment | None = None) -> Json:
        token = access.require(request, "operator")
        told = history.acknowledge(incident, by=f"{token.role} #{token.id}", comment=body.comment if body else "")
        told = _found(told, incident)
        events.incident({name: value for name, value in told.items() if name != "timeline"})
        return Json(told)

    @router.get("/api/v1/series", tags=["series"], summary="Metrics of one check over time")
    def series(
        request: Request,
        site: str,
        check: str,
        metric: Annotated[list[str], Query(min_length=1, max_length=12)],
        target: str = "",
        node: str | None = None,
        start: Annotated[str, Query(alias="from")] = "-1h",
        end: Annotated[str, Query(alias="to")] = "now",
        step: int | None = None,
    ) -> Json:
        access.require(request, "viewer")
        kept = config.store
        finest = [(kept.raw_days, 1), (kept.minute_days, 60), (kept.hour_days, 3600)]
        first, last, width = span(start, end, step, time.time(), finest)
        named = _series(catalogue, site, node, check, target)
        reader = store.reader()
        try:
            told = [_series_told(reader, catalogue, named, one, first, last, width) for one in metric]
        finally:
            reader.close()
        return Json({"series": told})

    @router.get("/api/v1/events", tags=["events"], summary="What changes, as server-sent events")
    async def stream(request: Request, site: str | None = None) -> StreamingResponse:
        access.require(request, "viewer")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(events.stream(site), media_type="text/event-stream", headers=headers)

    @router.get("/api/v1/me", tags=["session"], summary="Who is asking, and what they may do")
    async def me(request: Request) -> Json:
        token = access.require(request, "viewer")
        return Json({"role": token.role, "signed_in": COOKIE in request.cookies})

    @router.post("/session", tags=["session"], status_code=204, summary="Sign in with a token")
    def sign_in(request: Request, body: SignIn) -> Response:
        token = tokens.find(body.token.strip())
        if token is None or not token.may("viewer"):
            raise Problem(401, "this token is unknown, or does not let anybody read; 'nhip token new --role viewer' makes one")
        answer = Response(status_code=204)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, tokens.sign_in(token), max_age=43_200, httponly=True, samesite="strict", secure=secure)
        return answer

    @router.delete("/session", tags=["session"], status_code=204, summary="Sign out")
    def sign_out(request: Request) -> Response:
        secret = request.cookies.get(COOKIE)
        if secret:
            access.of(request)
            tokens.sign_out(secret)
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE)
        return answer

    return router


def _found(told: dict[str, Any] | None, incident: str) -> dict[str, Any]:
    if told is None:
        raise Problem(404, f"there is no incident {incident!r}")
    return told


def _series(catalogue: Catalogue, site: str, node: str | None, check: str, target: str) -> Series:
    """Return the series asked for; without a node, the first node of the site that has it."""
    if node is not None:
        return Series(site, node, check, target)
    for series in catalogue.series:
        if (series.site, series.check, series.target) == (site, check, target):
            return series
    raise Problem(404, f"site {site!r} has no {check} of {target!r}")


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
