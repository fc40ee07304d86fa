"""`/api/v1/reports`: what a time was like, for people and for spreadsheets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from collector.availability_page import as_csv, as_html, as_json, as_text
from collector.availability_times import span
from collector.web.problems import Json, Problem

if TYPE_CHECKING:
    from collector.availability_report import Availability, Report
    from collector.config import Config
    from collector.web.access import Access


class Wanted(BaseModel, extra="forbid"):
    """Of what time (whole months and days, or instants), of which site or service, in which form."""

    start: Annotated[str | None, Field(alias="from")] = None
    end: Annotated[str | None, Field(alias="to")] = None
    site: str | None = None
    service: str | None = None
    format: Literal["json", "csv", "html", "text"] = "json"
    language: Literal["vi", "en"] = "vi"


def report_routes(config: Config, access: Access, availability: Availability) -> APIRouter:
    """Return the routes of reports."""
    router = APIRouter(tags=["reports"])

    @router.get("/api/v1/reports/availability", summary="Availability by site, service and month")
    def available(request: Request, wanted: Annotated[Wanted, Query()]) -> Response:
        access.require(request, "viewer")
        now = time.time()
        try:
            months = span(wanted.start, wanted.end, config.availability.zone(), now)
        except ValueError as exc:
            raise Problem(400, str(exc)) from None
        report = availability.report(months, site=wanted.site, service=wanted.service, now=int(now * 1e9))
        if not report.rows:
            what = wanted.service if wanted.service is not None else wanted.site
            raise Problem(404, f"nothing is measured of {what!r}" if what else "there are no sites yet")
        return _answer(report, wanted)

    return router


def _answer(report: Report, wanted: Wanted) -> Response:
    if wanted.format == "json":
        return Json(as_json(report))
    name = "-".join(["availability", *dict.fromkeys([report.months[0].name, report.months[-1].name])])
    if wanted.format == "csv":
        headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
        # With the mark of UTF-8 before it, spreadsheets read Vietnamese.
        return Response("\ufeff" + as_csv(report), media_type="text/csv; charset=utf-8", headers=headers)
    if wanted.format == "text":
        return Response(as_text(report, wanted.language), media_type="text/plain; charset=utf-8")
    return Response(as_html(report, wanted.language), media_type="text/html; charset=utf-8")
