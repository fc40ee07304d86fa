"""`/api/v1/leases`: a site asks before it loads its line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from collector.lease_office import retry_after
from collector.leases import Lease
from collector.web.problems import Json, Problem
from collector.words import rfc3339

if TYPE_CHECKING:
    from collector.lease_office import LeaseOffice
    from collector.web.access import Access

SECOND = 1_000_000_000


class Wanted(BaseModel, extra="forbid"):
    """What a site wants to load its line with."""

    server: Annotated[str, Field(min_length=1, max_length=200)]
    bytes: Annotated[int, Field(ge=1, le=10**12)]
    seconds: Annotated[float, Field(gt=0, le=3600)]


def lease_routes(access: Access, office: LeaseOffice) -> APIRouter:
    """Return the routes of leases."""
    router = APIRouter(tags=["leases"])

    @router.post(
        "/api/v1/leases",
        status_code=201,
        summary="Ask for leave to load the line of the token's site",
        responses={
            409: {"description": "The upstream or the server is taken: come again after Retry-After seconds"},
            429: {"description": "Not at this hour, or no more today: come again after Retry-After seconds"},
        },
    )
    def ask(request: Request, wanted: Wanted) -> Json:
        site = _site(access, request)
        if wanted.bytes > office.budget():
            raise Problem(400, f"{wanted.bytes} bytes are more than a site's budget for a day, {office.budget()}")
        told = office.ask(site, wanted.server, wanted.bytes, wanted.seconds)
        if isinstance(told, Lease):
            return Json(_shown(told), 201)
        raise Problem(409 if told.busy else 429, told.words, retry_after=retry_after(told))

    @router.delete("/api/v1/leases/{lease}", status_code=204, summary="Give a lease back")
    def give_back(
        request: Request, lease: str, bytes_used: Annotated[int | None, Query(ge=0, le=10**12)] = None
    ) -> Response:
        if not office.give_back(lease, _site(access, request), bytes_used):
            raise Problem(404, f"this site holds no lease {lease!r}: it may have expired")
        return Response(status_code=204)

    @router.get("/api/v1/leases", summary="Leases that hold now, and how many sites wait")
    def active(request: Request) -> Json:
        access.require(request, "viewer")
        return Json({"leases": [_shown(lease) for lease in office.active()], "waiting": office.waiting()})

    return router


def _site(access: Access, request: Request) -> str:
    """Return the site of the token behind a request; `Problem` where it is not a site's."""
    token = access.of(request)
    if token is None:
        raise Problem(401, "send 'Authorization: Token <token>' with the site's own token")
    if token.site is None:
        raise Problem(403, "a lease is for a site: use the token that 'nhip token new --site CODE' made")
    return token.site


def _shown(lease: Lease) -> dict[str, object]:
    return {
        "id": lease.id,
        "site": lease.site,
        "upstream": lease.upstream,
        "server": lease.server,
        "bytes": lease.bytes,
        "granted_at": rfc3339(round(lease.granted_at * SECOND)),
        "expires_at": rfc3339(round(lease.expires_at * SECOND)),
    }
