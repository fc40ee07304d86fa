"""`/api/v1/maintenance`: planned work, listed, added, taken away, and announced."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Body, Request, Response

from checks.strict import ConfigError, build
from collector import orders
from collector.notices import announce_by, notice, unknown_places
from collector.web.problems import Json, Problem
from collector.window import Window
from collector.words import rfc3339

if TYPE_CHECKING:
    from collector.config import Config
    from collector.engine import Engine
    from collector.maintenance import Planned
    from collector.naming import Names
    from collector.web.access import Access
    from collector.web.ordering import Ordering

_SETTLED_SECONDS = 3


def maintenance_routes(config: Config, access: Access, engine: Engine, ordering: Ordering, names: Names) -> APIRouter:
    """Return the routes of planned work."""
    router = APIRouter(tags=["maintenance"])
    fixed = {window.window for window in config.maintenance}
    holidays = frozenset(config.holidays)

    def shown(planned: Planned, now: int) -> dict[str, Any]:
        first = datetime.fromtimestamp(planned.start // 1_000_000_000, planned.window.zone()).date()
        told = {
            **msgspec.to_builtins(planned.window),
            "start": rfc3339(planned.start),
            "end": rfc3339(planned.end),
            "on": planned.start <= now,
            "configured": planned.window.window in fixed,
            "announce_by": announce_by(first, holidays).isoformat(),
        }
        return {key: value for key, value in told.items() if value not in ([], "", None)}

    @router.get("/api/v1/maintenance", summary="Planned work that is on or to come, the earliest first")
    def listed(request: Request) -> Json:
        access.require(request, "viewer")
        now = time.time_ns()
        return Json({"windows": [shown(planned, now) for planned in engine.maintenance.planned(now)]})

    @router.post("/api/v1/maintenance", status_code=201, summary="Plan work: nobody is called to it, all is measured")
    def plan(request: Request, body: Annotated[dict[str, Any], Body()]) -> Json:
        access.require(request, "operator")
        window = _window(body, config)
        if window.window in fixed:
            raise Problem(409, f"{window.window!r} stands in collector.yml: change it there, or take another name")
        now = time.time_ns()
        if not any(end > now for _, end in window.spans(now)):
            raise Problem(400, f"window {window.window!r} is over already")
        ordering.give(orders.Maintain(window))
        _settle(lambda: engine.maintenance.added.get(window.window) == window)
        return Json(shown(_next(engine, window.window, now), now), 201)

    @router.delete("/api/v1/maintenance/{window}", status_code=204, summary="Call work off that was planned")
    def cancel(request: Request, window: str) -> Response:
        access.require(request, "operator")
        if window in fixed:
            raise Problem(409, f"{window!r} stands in collector.yml: take it out there")
        if window not in engine.maintenance.added:
            raise Problem(404, f"no work {window!r} is planned")
        ordering.give(orders.Cancel(window))
        _settle(lambda: window not in engine.maintenance.added)
        return Response(status_code=204)

    @router.get("/api/v1/maintenance/{window}/notice", summary="The announcement of planned work, drafted")
    def announce(request: Request, window: str, language: Literal["vi", "en"] = "vi") -> Response:
        access.require(request, "viewer")
        now = time.time_ns()
        planned = _next(engine, window, now)
        today = datetime.fromtimestamp(now / 1e9, planned.window.zone()).date()
        text = notice(planned, language, today, names=names, topology=engine.topology, holidays=holidays)
        return Response(text, media_type="text/markdown; charset=utf-8")

    return router


def _window(body: dict[str, Any], config: Config) -> Window:
    try:
        window = build(Window, body)
    except ConfigError as exc:
        raise Problem(400, "; ".join(exc.lines())) from None
    if problems := unknown_places(window, config):
        raise Problem(400, "; ".join(problems))
    return window


def _next(engine: Engine, name: str, now: int) -> Planned:
    for planned in engine.maintenance.planned(now):
        if planned.window.window == name:
            return planned
    raise Problem(404, f"no work {name!r} is planned")


def _settle(done: Any) -> None:
    """Wait a moment for the judge to have carried an order out."""
    deadline = time.monotonic() + _SETTLED_SECONDS
    while not done() and time.monotonic() < deadline:
        time.sleep(0.02)
