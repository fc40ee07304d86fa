"""`POST /api/v2/write`: where every InfluxDB v2 client can write."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from checks.line_protocol import PRECISIONS, LineError
from collector.journal import Entry, JournalError
from collector.pipeline import Arrival
from collector.web.body import read_body
from collector.web.problems import Problem

if TYPE_CHECKING:
    from collector.columns import Columns, Decoder
    from collector.measures import Measures
    from collector.pipeline import Pipeline
    from collector.tokens import Token
    from collector.web.access import Access

_INT64 = 2**63
_NAMED = 3


def write_routes(
    *, access: Access, decoder: Decoder, pipeline: Pipeline, measures: Measures, max_body_bytes: int
) -> APIRouter:
    """Return the route that takes points in."""
    router = APIRouter(tags=["write"])

    @router.post(
        "/api/v2/write",
        status_code=204,
        summary="Write points in InfluxDB v2 line protocol, plain or gzip",
        responses={
            400: {"description": "Some lines were refused, by number and reason; the others are kept"},
            401: {"description": "The token is unknown, or may not write"},
            413: {"description": "The body is too large"},
            429: {"description": "Too much waits; come back after Retry-After seconds"},
            503: {"description": "Nothing can be kept right now, for example on a full disk"},
        },
    )
    async def write(request: Request, precision: str = "ns", org: str = "", bucket: str = "") -> Response:
        del org, bucket  # every InfluxDB client sends them; here is one bucket
        token = _writer(access, request)
        if precision not in PRECISIONS:
            raise Problem(400, f"precision {precision!r} is not known; there are: {', '.join(PRECISIONS)}")
        if pipeline.full:
            raise Problem(429, "too much waits to be judged: come back in a second", retry_after=1)
        received = time.monotonic()
        entry = _entry(request, token, precision)
        body = await read_body(request, max_body_bytes)
        columns, errors = decoder.decode(body, arrived_at=entry.arrived_at, precision=precision, site=entry.site)
        measures.took(columns.points, len(errors))
        if columns.points:
            await _journalled(pipeline, entry, body, columns, received)
        if errors:
            raise _refused(errors, kept=columns.points)
        return Response(status_code=204)

    return router


async def _journalled(pipeline: Pipeline, entry: Entry, body: bytes, columns: Columns, received: float) -> None:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[JournalError | None] = loop.create_future()

    def answer(problem: JournalError | None) -> None:
        if not done.done():  # the writer may have gone away meanwhile
            done.set_result(problem)

    def tell(problem: JournalError | None) -> None:
        loop.call_soon_threadsafe(answer, problem)

    pipeline.put(Arrival(replace(entry, body=body), columns, tell, received))
    problem = await done
    if problem is not None:
        raise Problem(503, str(problem), retry_after=5)


def _writer(access: Access, request: Request) -> Token:
    token = access.of(request)
    if token is None or (token.role != "site" and not token.may("admin")):
        raise Problem(401, "writing needs a site's token: 'nhip token new --site CODE' makes one")
    return token


def _entry(request: Request, token: Token, precision: str) -> Entry:
    """Return the entry without its body: who wrote, and what our own agents say of the batch."""
    agent = request.headers.get("nhip-agent")
    sequence = _header(request, "nhip-sequence")
    if (agent is None) != (sequence is None):
        raise Problem(400, "Nhip-Agent and Nhip-Sequence name a batch together: send both or neither")
    return Entry(
        arrived_at=time.time_ns(),
        body=b"",
        precision=precision,
        site=token.site,
        sent_at=_header(request, "nhip-sent-at"),
        # The same agent's name under another token is another sender: nobody can use up another's numbers.
        agent=None if agent is None else f"{token.site or ''}/{agent}",
        sequence=sequence,
    )


def _header(request: Request, name: str) -> int | None:
    text = request.headers.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or int(text) >= _INT64:
        raise Problem(400, f"the header {name} must be a whole number, not {text[:40]!r}")
    return int(text)


def _refused(errors: list[LineError], kept: int) -> Problem:
    named = "; ".join(str(error) for error in errors[:_NAMED])
    more = f"; and {len(errors) - _NAMED} more" if len(errors) > _NAMED else ""
    fate = f"partial write: {kept} points were kept" if kept else "nothing was kept"
    return Problem(400, f"{fate}; {named}{more}", line=errors[0].line)
