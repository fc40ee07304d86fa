"""`/api/v1/incidents/{id}/…`: what people do about an incident, and the reports that are drafted of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from collector import orders
from collector.incident import REPORT_HOURS
from collector.reports import report
from collector.web.problems import Json, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.history import History
    from collector.naming import Names
    from collector.tokens import Token
    from collector.web.access import Access
    from collector.web.events import Events
    from collector.web.ordering import Ordering

_PATH = "/api/v1/incidents/{incident}"
_SETTLED_SECONDS = 3


class Comment(BaseModel, extra="forbid"):
    """What a person adds."""

    comment: str = Field(default="", max_length=2_000)


class Said(BaseModel, extra="forbid"):
    """A comment, which is not empty."""

    comment: Annotated[str, Field(min_length=1, max_length=2_000)]


class Assigned(Comment):
    """Whose it is."""

    to: Annotated[str, Field(min_length=1, max_length=200)]


class Seriousness(Comment):
    """Whether it is a serious one: its reports are due."""

    serious: bool


def acting_routes(access: Access, history: History, ordering: Ordering, events: Events, names: Names) -> APIRouter:
    """Return the routes by which people act on incidents."""
    router = APIRouter(tags=["incidents"])

    def told(incident: str, found: dict[str, Any] | None) -> Json:
        known = _known(incident, found)
        events.incident({name: value for name, value in known.items() if name != "timeline"})
        return Json(known)

    @router.post(f"{_PATH}/acknowledge", summary="Say that somebody is at it")
    def acknowledge(request: Request, incident: str, body: Comment | None = None) -> Json:
        by = _person(access.require(request, "operator"))
        return told(incident, history.acknowledge(incident, by=by, comment=body.comment if body else ""))

    @router.post(f"{_PATH}/assign", summary="Say whose it is")
    def assign(request: Request, incident: str, body: Assigned) -> Json:
        by = _person(access.require(request, "operator"))
        return told(incident, history.assign(incident, body.to, by=by, comment=body.comment))

    @router.post(f"{_PATH}/comment", summary="Add a comment")
    def comment(request: Request, incident: str, body: Said) -> Json:
        by = _person(access.require(request, "operator"))
        return told(incident, history.comment(incident, body.comment, by=by))

    @router.post(f"{_PATH}/resolve", summary="End it by hand: what it was about is gone for good, or known to be over")
    def resolve(request: Request, incident: str, body: Comment | None = None) -> Json:
        by = _person(access.require(request, "operator"))
        if _known(incident, history.incident(incident))["state"] == "resolved":
            raise Problem(409, f"incident {incident} is over already")
        ordering.give(orders.Resolve(incident))
        history.comment(incident, body.comment if body else "", by=by, kind="closed")
        found = _settled(lambda: history.incident(incident), lambda each: each["state"] == "resolved")
        return told(incident, found)

    @router.post(f"{_PATH}/serious", summary="Call it serious, or not: its reports are due in 24 and 72 hours")
    def serious(request: Request, incident: str, body: Seriousness) -> Json:
        by = _person(access.require(request, "operator"))
        _known(incident, history.incident(incident))
        ordering.give(orders.Serious(incident, body.serious))
        kind = "serious" if body.serious else "not serious"
        history.comment(incident, body.comment, by=by, kind=kind)
        found = _settled(lambda: history.incident(incident), lambda each: ("serious" in each) == body.serious)
        return told(incident, found)

    @router.get(f"{_PATH}/report", summary="A report of a serious incident, drafted from its timeline")
    def draft(request: Request, incident: str, hours: int = 24, language: Literal["vi", "en"] = "vi") -> Response:
        access.require(request, "viewer")
        if hours not in REPORT_HOURS:
            raise Problem(400, f"hours: reports are due after {' and '.join(map(str, REPORT_HOURS))}, not {hours}")
        known = _known(incident, history.incident(incident))
        text = report(known, hours, language, time.time_ns(), names.sites)
        return Response(text, media_type="text/markdown; charset=utf-8")

    return router


def _person(token: Token) -> str:
    return f"{token.role} #{token.id}"


def _known(incident: str, found: dict[str, Any] | None) -> dict[str, Any]:
    if found is None:
        raise Problem(404, f"there is no incident {incident!r}")
    return found


def _settled(
    look: Callable[[], dict[str, Any] | None], done: Callable[[dict[str, Any]], bool]
) -> dict[str, Any] | None:
    """Wait a moment for the judge to have carried an order out; return what there is then."""
    deadline = time.monotonic() + _SETTLED_SECONDS
    while (found := look()) is not None and not done(found) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
