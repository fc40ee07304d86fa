"""The collector's own pages: how it is, its figures, and the board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST

from collector.web.api import VERSION
from collector.web.headers import Headers
from collector.web.problems import Json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastapi import FastAPI

    from collector.measures import Measures
    from collector.web.access import Access

BOARD = Path(__file__).parents[1] / "board"


def own_routes(
    app: FastAPI, access: Access, measures: Measures, troubles: Mapping[str, Callable[[], str | None]]
) -> None:
    """Add them; `troubles` says, part by part, what is wrong with it right now, if anything is."""

    @app.get("/health", tags=["own"], summary="Whether the collector takes in, judges and stores")
    def health() -> Json:
        named = {name: words for name, ask in troubles.items() if (words := ask())}
        failed = "judging" in named
        status = "fail" if failed else "warn" if named else "pass"
        return Json({"status": status, "version": VERSION, **named}, 503 if failed else 200)

    @app.get("/metrics", tags=["own"], summary="The collector's own figures, for Prometheus")
    async def metrics(request: Request) -> Response:
        access.require(request, "viewer")
        return Response(measures.text(), media_type=CONTENT_TYPE_LATEST)

    async def page() -> FileResponse:
        return FileResponse(BOARD / "page.html", headers={"Cache-Control": "no-cache"})

    for path in ("/", "/site/{site}", "/incident/{incident}"):
        app.add_api_route(path, page, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=BOARD / "static"))

    app.add_middleware(Headers)
