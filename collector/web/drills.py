"""`/api/v1/drills`: start one, and say that it was heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from collector.telling.drill_office import DrillError, Heard
from collector.web.problems import Json, Problem
from collector.words import rfc3339

if TYPE_CHECKING:
    from collector.telling.drill import Drill
    from collector.telling.drill_office import DrillOffice
    from collector.web.access import Access


class Wanted(BaseModel, extra="forbid"):
    """How long before its alarm a drill is announced; as the configuration says, where nothing is said."""

    announce_minutes: Annotated[float, Field(ge=0, le=1440)] | None = None


class Said(BaseModel, extra="forbid"):
    """What somebody heard, and who they are."""

    heard: Heard
    by: Annotated[str, Field(max_length=200)] = ""


def drill_routes(access: Access, office: DrillOffice) -> APIRouter:
    """Return the routes of drills."""
    router = APIRouter(tags=["drills"])

    @router.get("/api/v1/drills", summary="The last drills, newest first: who heard them, and when")
    def drills(request: Request) -> Json:
        access.require(request, "viewer")
        return Json({"drills": [_shown(drill) for drill in office.all()]})

    @router.post("/api/v1/drills", status_code=201, summary="Announce a drill")
    def start(request: Request, wanted: Wanted | None = None) -> Json:
        token = access.require(request, "operator")
        try:
            drill = office.start(f"{token.role} #{token.id}", wanted.announce_minutes if wanted else None)
        except DrillError as exc:
            raise Problem(409, str(exc)) from None
        return Json(_shown(drill), 201)

    @router.post("/api/v1/drills/heard", summary="Say that the alarm was got, or that the outside rang")
    def heard(request: Request, said: Said) -> Json:
        token = access.require(request, "operator")
        try:
            drill = office.heard(said.heard, said.by or f"{token.role} #{token.id}")
        except DrillError as exc:
            raise Problem(409, str(exc)) from None
        return Json(_shown(drill))

    return router


def _shown(drill: Drill) -> dict[str, Any]:
    shown = {
        "id": drill.id,
        "by": drill.by,
        "state": "over" if drill.ended_at is not None else "on" if drill.rung else "announced",
        "passed": drill.done if drill.ended_at is not None or drill.done else None,
        "announced_at": rfc3339(drill.announced_at),
        "alarm_at": rfc3339(drill.alarm_at),
        "until_at": rfc3339(drill.until_at),
        "signal_withheld": drill.signal,
        "alarm_heard_at": rfc3339(drill.alarm_heard_at),
        "alarm_heard_by": drill.alarm_heard_by,
        "silence_heard_at": rfc3339(drill.silence_heard_at),
        "silence_heard_by": drill.silence_heard_by,
        "ended_at": rfc3339(drill.ended_at),
    }
    return {name: value for name, value in shown.items() if value is not None}
