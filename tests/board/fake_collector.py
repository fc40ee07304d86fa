"""A small collector that speaks the board's API and whose every state a test can set.

It is a real server of the same protocol on a free loopback port: the page cannot tell, and tests need no patching.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from tests.board import made_series

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

BOARD = Path(__file__).parents[2] / "collector" / "board"
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
TOKEN = "mở cửa ra"
KEEP_ALIVE_SECONDS = 1.0
START_SECONDS = 15.0

Json = dict[str, Any]


def ago(seconds: float) -> str:
    """Write the RFC 3339 instant so many seconds before now."""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def make_site(site: str, name: str, *, group: str | None = "Ninh Kiều", level: str = "green", **more: Any) -> Json:
    """Make a SITE of the API: heard just now, in one state for two hours."""
    signals = {"green": 12, "yellow": 0, "red": 0, "unknown": 0}
    if level != "green":
        signals[level] = 2
    base = {"site": site, "name": name, "group": group, "level": level, "since": ago(7260), "last_heard_at": ago(1)}
    measured = {"rtt_median_seconds": 0.00412, "loss_ratio": 0.0}
    return {**base, "silent": False, "signals": signals, "open_incidents": 0, **measured, **more}


def make_incident(number: int, site: str, site_name: str, *, began: float = 90, **more: Any) -> Json:
    """Make an open INCIDENT of the API that began so many seconds ago."""
    text = {"vi": "Cổng dịch vụ công không trả lời", "en": "The public service portal does not answer"}
    evidence = {"node": "gateway", "check": "http_get", "target": "https://127.0.0.1/", "metric": "success"}
    judged = {"level": "red", "value": 0.0, "limit": 1.0, "reason": "connection refused", "at": ago(began)}
    incident = {"id": f"20261121-{number}", "state": "open", "severity": "red", "site": site, "site_name": site_name}
    cause = {"kind": "service", "place": "portal", "text": text}
    times = {"began_at": ago(began), "opened_at": ago(began - 6)}
    return {**incident, "sites": [site], "cause": cause, **times, "evidence": [{**evidence, **judged}], **more}


class FakeCollector:
    """Holds the state; `put_*` changes it and tells every open page."""

    def __init__(self) -> None:
        self.sites: dict[str, Json] = {}
        self.incidents: dict[str, Json] = {}
        self.role = "operator"
        self.must_sign_in = False
        self.asked: list[dict[str, list[str]]] = []
        self.down_between: tuple[float, float] | None = None
        self.streams: dict[asyncio.Queue[str], str | None] = {}  # each with the site it looks at

    # What tests call, from their own thread.

    def put_site(self, site: Json) -> None:
        self.sites[site["site"]] = site
        self.tell("site", site)

    def put_incident(self, incident: Json) -> None:
        self.incidents[incident["id"]] = incident
        self.tell("incident", incident)

    def tell(self, name: str, data: Json) -> None:
        event = f"event: {name}\ndata: {json.dumps(data)}\n\n"
        for queue, site in list(self.streams.items()):
            if name != "signal" or site == data["site"]:
                self.loop.call_soon_threadsafe(queue.put_nowait, event)

    def start(self, port: int = 0) -> Self:
        config = uvicorn.Config(
            self.app(), port=port, log_level="critical", lifespan="off", timeout_graceful_shutdown=0
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self.server.started:
            assert self.thread.is_alive()
            assert time.monotonic() < deadline, "the fake collector did not start"
            time.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        return self

    def stop(self) -> None:
        self.server.should_exit = True
        self.server.force_exit = True
        for queue in list(self.streams):
            self.loop.call_soon_threadsafe(queue.put_nowait, "")
        self.thread.join(START_SECONDS)
        assert not self.thread.is_alive()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # The API.

    def app(self) -> Starlette:
        page = (BOARD / "page.html").read_text()

        async def show(_: Request) -> HTMLResponse:
            return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})

        reads = {
            "/api/v1/sites": self.read_sites,
            "/api/v1/sites/{site}": self.read_site,
            "/api/v1/incidents": self.read_incidents,
            "/api/v1/incidents/{id}": self.read_incident,
            "/api/v1/series": self.read_series,
            "/api/v1/events": self.stream_events,
        }
        routes = [Route(path, self.guarded(read)) for path, read in reads.items()]
        routes += [Route("/api/v1/me", self.read_me), Route("/session", self.session, methods=["POST", "DELETE"])]
        routes += [Route("/api/v1/incidents/{id}/acknowledge", self.acknowledge, methods=["POST"])]
        routes += [Route(path, show) for path in ("/", "/site/{id}", "/incident/{id}")]
        return Starlette(routes=[*routes, Mount("/static", StaticFiles(directory=BOARD / "static"))])

    def guarded(self, read: Any) -> Any:
        async def answer(request: Request) -> Response:
            if self.must_sign_in and request.cookies.get("session") != "yes":
                return refusal(401, "a token of role viewer is needed")
            return await read(request)

        return answer

    async def read_sites(self, _: Request) -> Response:
        return JSONResponse({"sites": list(self.sites.values()), "server": {"version": "0.1.0", "now": ago(0)}})

    async def read_site(self, request: Request) -> Response:
        site = self.sites.get(request.path_params["site"])
        if site is None:
            return refusal(404, "no such site")
        incidents = [one for one in self.incidents.values() if one["site"] == site["site"]]
        nodes = [{"node": "gateway", "last_heard_at": ago(1), "silent": site["silent"]}]
        more = {"nodes": nodes, "signals": made_series.signals(site["level"], ago(3)), "series": made_series.SERIES}
        return JSONResponse({**site, **more, "incidents": incidents})

    async def read_incidents(self, request: Request) -> Response:
        state = request.query_params.get("state", "all")
        found = [one for one in self.incidents.values() if state in ("all", one["state"])]
        found.sort(key=lambda one: str(one["opened_at"]), reverse=True)
        return JSONResponse({"incidents": found[: int(request.query_params.get("limit", 50))]})

    async def read_incident(self, request: Request) -> Response:
        incident = self.incidents.get(request.path_params["id"])
        if incident is None:
            return refusal(404, "no such incident")
        return JSONResponse({**incident, "timeline": made_series.timeline(incident)})

    async def read_series(self, request: Request) -> Response:
        query = request.query_params
        self.asked.append({key: query.getlist(key) for key in query})
        return JSONResponse({"series": made_series.answer(query, self.down_between)})

    async def acknowledge(self, request: Request) -> Response:
        if self.role != "operator":
            return refusal(403, "acknowledging needs a token of role operator")
        incident = self.incidents[request.path_params["id"]]
        self.put_incident({**incident, "acknowledged_at": ago(0), "acknowledged_by": "Lan"})
        return JSONResponse(self.incidents[incident["id"]])

    async def read_me(self, request: Request) -> Response:
        return JSONResponse({"role": self.role, "signed_in": request.cookies.get("session") == "yes"})

    async def session(self, request: Request) -> Response:
        if request.method == "POST" and (await request.json()).get("token") != TOKEN:
            return refusal(401, "unknown token")
        response = Response(status_code=204)
        response.set_cookie("session", "yes" if request.method == "POST" else "no", httponly=True)
        return response

    async def stream_events(self, request: Request) -> Response:
        return StreamingResponse(self.events(request.query_params.get("site")), media_type="text/event-stream")

    async def events(self, site: str | None) -> AsyncIterator[str]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        self.loop = asyncio.get_running_loop()
        self.streams[queue] = site
        try:
            yield ": hello\n\n"
            while not self.server.should_exit:
                try:
                    yield await asyncio.wait_for(queue.get(), KEEP_ALIVE_SECONDS)
                except TimeoutError:
                    yield ": still here\n\n"
        finally:
            del self.streams[queue]


def refusal(status: int, message: str) -> JSONResponse:
    """Answer an error in the API's shape."""
    return JSONResponse({"code": str(status), "message": message}, status_code=status)
