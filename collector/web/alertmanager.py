"""`/api/v1/alertmanager`: what an Alertmanager posts to its webhooks, as evidence beside our own."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import datetime  # noqa: TC003  (msgspec reads the annotations when it runs)
from typing import TYPE_CHECKING, Literal

import msgspec
from fastapi import APIRouter, Request, Response

from collector.incident import Evidence, Place
from collector.orders import Alert, External
from collector.web.body import read_body
from collector.web.problems import Problem

if TYPE_CHECKING:
    from collector.web.access import Access
    from collector.web.ordering import Ordering

_MOST_BYTES = 4_000_000
_LONGEST = 500
_RED = ("critical", "page", "error", "emergency", "disaster", "high")
_SECOND = 1_000_000_000


class HookAlert(msgspec.Struct, kw_only=True):
    """One alert of a webhook."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    starts_at: datetime = msgspec.field(name="startsAt")
    fingerprint: str = ""


class Hook(msgspec.Struct, kw_only=True):
    """What Alertmanager posts, as far as we read it. Format version 4; fields we do not know are let be."""

    version: Literal["4"]
    alerts: list[HookAlert]


def alertmanager_routes(access: Access, ordering: Ordering, own_site: str) -> APIRouter:
    """Return the route for Alertmanagers."""
    router = APIRouter(tags=["alertmanager"])

    @router.post(
        "/api/v1/alertmanager",
        status_code=204,
        summary="Take in what an Alertmanager posts to its webhooks: alerts with labels site, service, instance",
        responses={400: {"description": "The body is not a webhook of format version 4"}},
    )
    async def alertmanager(request: Request) -> Response:
        access.require(request, "operator")
        alerts = alerts_of(await read_body(request, _MOST_BYTES), own_site)
        if alerts:
            await asyncio.to_thread(ordering.give, External(alerts))
        return Response(status_code=204)

    return router


def alerts_of(body: bytes, own_site: str) -> list[Alert]:
    """Return the alerts of a webhook's body; `Problem` 400 names what is wrong with it."""
    try:
        hook = msgspec.json.decode(body, type=Hook)
    except msgspec.DecodeError as exc:
        raise Problem(400, f"the body is not a webhook of Alertmanager's, format version 4: {exc}") from None
    return [_alert(item, own_site) for item in hook.alerts]


def _alert(item: HookAlert, own_site: str) -> Alert:
    """Return an alert as what it says of a place: a service where it names one, else the machine that it is about."""
    labels = {name: value[:_LONGEST] for name, value in item.labels.items()}
    site, name = labels.get("site") or own_site, labels.get("alertname", "alert")
    service, node = labels.get("service", ""), labels.get("node") or labels.get("instance") or name
    red = labels.get("severity", "critical").lower() in _RED
    words = (item.annotations.get("summary") or item.annotations.get("description") or name)[:_LONGEST]
    began_at = round(item.starts_at.timestamp() * 1e6) * 1_000
    return Alert(
        key=_key(item),
        place=Place("service", site, service) if service else Place("node", site, node),
        began_at=max(began_at, 0),
        evidence=Evidence(
            site=site,
            node=node,
            check="alertmanager",
            target=service,
            metric=name,
            level="green" if item.status == "resolved" else "red" if red else "yellow",
            at=max(began_at, 0),
            words={"vi": words, "en": words},
        ),
    )


def _key(item: HookAlert) -> int:
    """Return a number for an alert, the same as long as its labels are: below all numbers of signals."""
    name = item.fingerprint or json.dumps(sorted(item.labels.items()))
    return -1 - int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest())
