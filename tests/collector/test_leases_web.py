"""Leases over HTTP: asked for by sites, given back by their owners, seen by people, kept over a restart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.running import Answer, RunningCollector

WANTED = {"server": "10.92.0.1", "bytes": 1_000_000, "seconds": 45}
ANY_TIME: dict[str, Any] = {"leases": {"hours": []}}
SITES = [
    {"site": "31120", "name": "Cái Khế", "group": "Ninh Kiều"},
    {"site": "31121", "name": "Ninh Kiều", "group": "Ninh Kiều"},
    {"site": "31122", "name": "Tân An", "group": "Ninh Kiều", "upstream": "VNPT 7"},
]


def ask(collector: RunningCollector, token: str, **changes: Any) -> Answer:
    body = json.dumps({**WANTED, **changes}).encode()
    return collector.ask("POST", "/api/v1/leases", body, token=token, Content_Type="application/json")


def test_a_site_asks_is_granted_and_gives_back(configured: Callable[..., RunningCollector]) -> None:
    collector = configured(**ANY_TIME, sites=SITES)
    first, second, third = (collector.token("--site", site["site"]) for site in SITES)
    granted = ask(collector, first)
    assert granted.status == 201
    assert granted.json["site"] == "31120"
    assert granted.json["upstream"] == "Ninh Kiều"
    assert granted.json["expires_at"] > granted.json["granted_at"]
    refused = ask(collector, second, server="10.92.0.2")
    assert (refused.status, refused.json["code"]) == (409, "conflict")
    assert refused.json["message"].startswith("another test runs on this line or server (site 31120)")
    assert int(refused.headers["Retry-After"]) >= 1
    assert ask(collector, third, server="10.92.0.2").status == 201, "another upstream, another server"
    path = f"/api/v1/leases/{granted.json['id']}"
    stolen = collector.ask("DELETE", path, token=second)
    assert (stolen.status, "holds no lease" in stolen.json["message"]) == (404, True)
    assert collector.ask("DELETE", f"{path}?bytes_used=1000", token=first).status == 204
    assert collector.ask("DELETE", path, token=first).status == 404
    viewer = collector.token("--role", "viewer")
    (left,) = collector.get("/api/v1/leases", viewer)["leases"]
    assert left["site"] == "31122"


def test_a_restart_forgets_no_lease_and_no_budget(configured: Callable[..., RunningCollector]) -> None:
    collector = configured(leases={"hours": [], "bytes_per_site_day": 1_500_000})
    first, second = collector.token("--site", "31120"), collector.token("--site", "31121")
    granted = ask(collector, first)
    assert granted.status == 201
    collector.kill()
    collector.start()
    assert ask(collector, second).status == 409
    assert collector.ask("DELETE", f"/api/v1/leases/{granted.json['id']}", token=first).status == 204
    spent = ask(collector, first)
    assert (spent.status, spent.json["code"]) == (429, "too many requests")
    assert spent.json["message"] == "the site has 500000 of 1500000 bytes left for today, and 1000000 are wanted"
    assert int(spent.headers["Retry-After"]) <= 86_400


def test_only_a_site_has_leases_and_only_people_see_them(configured: Callable[..., RunningCollector]) -> None:
    collector = configured(**ANY_TIME)
    viewer, site = collector.token("--role", "viewer"), collector.token("--site", "31120")
    assert ask(collector, viewer).status == 403
    assert ask(collector, "nonsense").status == 401
    assert collector.ask("GET", "/api/v1/leases", token=site).status == 403
    assert collector.ask("GET", "/api/v1/leases").status == 401


@pytest.mark.parametrize(
    "changes", [{"bytes": 0}, {"bytes": 10**9}, {"seconds": -1}, {"server": ""}, {"more": 1}, {"bytes": "x"}]
)
def test_a_bad_request_is_told_what_is_wrong(shared: RunningCollector, changes: dict[str, Any]) -> None:
    answer = ask(shared, shared.token("--site", "31120"), **changes)
    assert (answer.status, answer.json["code"]) == (400, "invalid")
    assert answer.json["message"]
