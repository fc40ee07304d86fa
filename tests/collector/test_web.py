"""What others reach over HTTP: every bad input has its words, and nothing else is lost with it."""

from __future__ import annotations

import gzip
import http.client
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from influxdb_client import Point as InfluxPoint
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.running import RunningCollector

LINE = "icmp_echo,site=31120,node=gw,target=10.0.0.1 loss_ratio=0,rtt_median_seconds=0.004"


def now() -> int:
    return time.time_ns()


def test_any_influxdb_v2_client_can_write(collector: RunningCollector, until_true: Callable[..., Any]) -> None:
    secret, viewer = collector.token("--site", "31120"), collector.token("--role", "viewer")
    with InfluxDBClient(f"http://127.0.0.1:{collector.port}", token=secret, org="any", enable_gzip=True) as client:
        api = client.write_api(write_options=SYNCHRONOUS)
        api.write(
            "any", record=InfluxPoint("icmp_echo").tag("node", "gw").tag("target", "10.0.0.1").field("loss_ratio", 0.0)
        )
        with pytest.raises(ApiException) as refused:
            api.write(
                "any", record=["icmp_echo,site=99999 loss_ratio=1", "icmp_echo,node=gw,target=10.0.0.2 loss_ratio=0"]
            )
    assert refused.value.status == 400
    assert "line 1: the site tag says '99999', but the token is for '31120'" in refused.value.body
    targets = {s["target"] for s in collector.get("/api/v1/sites/31120", viewer)["signals"]}
    assert targets == {"10.0.0.1", "10.0.0.2"}
    series = "/api/v1/series?site=31120&check=icmp_echo&target=10.0.0.1&metric=loss_ratio&from=-1m"
    (found,) = until_true(lambda: (s := collector.get(series, viewer)["series"]) and s[0]["rows"] and s)
    assert found["columns"] == ["at", "min", "p50", "p95", "max", "mean", "count"]
    assert found["rows"][0][1:] == [0.0, 0.0, 0.0, 0.0, 0.0, 1]


@pytest.mark.parametrize(
    ("headers", "query", "body", "status", "words"),
    [
        ({}, "precision=h", LINE, 400, "precision 'h' is not known; there are: ns, us, ms, s"),
        ({}, "", "m,site=31120 f=", 400, "nothing was kept; line 1: field 'f' has no value"),
        ({"Nhip-Agent": "a"}, "", LINE, 400, "Nhip-Agent and Nhip-Sequence name a batch together"),
        ({"Nhip-Agent": "a", "Nhip-Sequence": "-1"}, "", LINE, 400, "nhip-sequence must be a whole number, not '-1'"),
        ({"Nhip-Sent-At": "now"}, "", LINE, 400, "nhip-sent-at must be a whole number, not 'now'"),
        ({"Content-Encoding": "br"}, "", LINE, 415, "Content-Encoding 'br' is not understood"),
        ({"Content-Encoding": "gzip"}, "", LINE, 400, "the body says it is gzip, and is not"),
        ({"Content-Encoding": "gzip"}, "", gzip.compress(LINE.encode())[:-4], 400, "the gzip data ends too early"),
    ],
)
def test_a_bad_write_is_told_what_is_wrong(
    shared: RunningCollector, headers: dict[str, str], query: str, body: str | bytes, status: int, words: str
) -> None:
    secret = shared.token("--site", "31120")
    sent = body.encode() if isinstance(body, str) else body
    answer = shared.ask("POST", f"/api/v2/write?{query}", sent, token=secret, **headers)
    assert (answer.status, answer.json["code"]) == (status, "invalid")
    assert words in answer.json["message"]
    assert shared.write(f"{LINE} {now()}", secret).status == 204


def test_strangers_and_readers_cannot_write(shared: RunningCollector) -> None:
    for token in (None, "nonsense", shared.token("--role", "viewer")):
        answer = shared.ask("POST", "/api/v2/write", LINE.encode(), token=token)
        assert (answer.status, answer.json["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("packed", [False, True])
def test_a_body_over_the_limit_is_refused_before_it_is_read(
    configured: Callable[..., RunningCollector], *, packed: bool
) -> None:
    collector = configured(write={"max_body_bytes": 100_000})
    secret = collector.token("--site", "31120")
    large = (LINE + "\n").encode() * 100_000
    if packed:
        body = gzip.compress(large)
        assert len(body) < 100_000
        answer = collector.ask("POST", "/api/v2/write", body, token=secret, Content_Encoding="gzip")
        assert answer.status == 413
        assert "larger than 100000 bytes" in answer.json["message"]
    else:
        connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=10)
        connection.putrequest("POST", "/api/v2/write")
        connection.putheader("Authorization", f"Token {secret}")
        connection.putheader("Content-Length", "99999999999")
        connection.endheaders()  # and not one byte of the body
        response = connection.getresponse()
        assert response.status == 413
        response.read()
        connection.close()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("check=icmp_echo&metric=loss_ratio", "site: field required"),
        ("site=31120&check=icmp_echo&target=10.0.0.1&metric=nope", "has no metric 'nope'"),
        ("site=31120&check=icmp_echo&target=x&metric=loss_ratio", "site '31120' has no icmp_echo of 'x'"),
        (
            "site=31120&check=icmp_echo&target=10.0.0.1&metric=loss_ratio&from=yesterday",
            "from: 'yesterday' is not a time",
        ),
        ("site=31120&check=icmp_echo&target=10.0.0.1&metric=loss_ratio&from=2026-01-01T00:00:00", "with its zone"),
        ("site=31120&check=icmp_echo&target=10.0.0.1&metric=loss_ratio&from=-1h&to=-2h", "must lie before to"),
        ("site=31120&check=icmp_echo&target=10.0.0.1&metric=loss_ratio&step=0", "step: 0 must be a multiple"),
        ("site=31120&check=icmp_echo&target=10.0.0.1&metric=loss_ratio&from=-6d&step=1", "step: 1 is too fine"),
        ("site=31120&check=icmp_echo&target=10.0.0.1&metric=loss_ratio&from=-10d&step=7", "a multiple of 60 seconds"),
        (
            "site=31120&check=icmp_echo&target=10.0.0.1&metric=loss_ratio&steps=7",
            "steps: extra inputs are not permitted",
        ),
    ],
)
def test_a_bad_question_is_told_what_would_be_right(shared: RunningCollector, query: str, words: str) -> None:
    viewer = shared.token("--role", "viewer")
    assert shared.write(f"{LINE} {now()}", shared.token("--site", "31120")).status == 204
    answer = shared.ask("GET", f"/api/v1/series?{query}", token=viewer)
    assert answer.status in (400, 404)
    assert words in answer.json["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/sites/nowhere", 404),
        ("GET", "/api/v1/incidents/nope", 404),
        ("GET", "/api/v1/incidents?state=closed", 400),
        ("GET", "/api/v1/incidents?limit=0", 400),
        ("GET", "/api/v2/write", 405),
        ("GET", "/api/v1/nothing", 404),
    ],
)
def test_what_does_not_exist_says_so_in_one_shape(
    shared: RunningCollector, method: str, path: str, status: int
) -> None:
    answer = shared.ask(method, path, token=shared.token("--role", "viewer"))
    assert answer.status == status
    assert set(answer.json) == {"code", "message"}


def test_reading_asks_who_it_is_acting_asks_for_more_and_a_revoked_token_is_nobody(shared: RunningCollector) -> None:
    for path in ("/api/v1/sites", "/api/v1/incidents", "/api/v1/events", "/metrics", "/api/v1/me"):
        assert shared.ask("GET", path).status == 401, path
        assert shared.ask("GET", path, token="nhip_wrong").status == 401, path
    assert shared.ask("GET", "/health").status == 200
    viewer, operator = shared.token("--role", "viewer"), shared.token("--role", "operator")
    assert shared.ask("POST", "/api/v1/incidents/1/acknowledge", token=viewer).status == 403
    assert shared.ask("POST", "/api/v1/incidents/1/acknowledge", token=operator).status == 404


def test_loopback_may_read_where_it_is_let_and_only_under_its_own_name(
    configured: Callable[..., RunningCollector],
) -> None:
    collector = configured(loopback_reads=True)
    assert collector.ask("GET", "/api/v1/sites").status == 200
    # A page elsewhere can point its own name at 127.0.0.1; the browser then sends that name.
    assert collector.ask("GET", "/api/v1/sites", Host="evil.example:80").status == 401


def test_a_person_signs_in_with_a_token_and_out_again(shared: RunningCollector) -> None:
    assert shared.ask("POST", "/session", b'{"token": "wrong"}', Content_Type="application/json").status == 401
    operator = shared.token("--role", "operator")
    answer = shared.ask("POST", "/session", f'{{"token": "{operator}"}}'.encode(), Content_Type="application/json")
    cookie = answer.headers["set-cookie"]
    assert answer.status == 204
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert operator not in cookie
    session = cookie.partition(";")[0]
    me = shared.ask("GET", "/api/v1/me", Cookie=session)
    assert me.json == {"role": "operator", "signed_in": True}
    elsewhere = shared.ask("POST", "/api/v1/incidents/1/acknowledge", Cookie=session, Origin="http://evil.example")
    assert elsewhere.status == 403
    assert shared.ask("DELETE", "/session", Cookie=session).status == 204
    assert shared.ask("GET", "/api/v1/me", Cookie=session).status == 401


def test_prometheus_own_checker_accepts_the_metrics(collector: RunningCollector) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool (Debian: prometheus) is not installed")
    collector.write(f"{LINE} {now()}", collector.token("--site", "31120"))
    text = collector.ask("GET", "/metrics", token=collector.token("--role", "viewer")).body
    found = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")
    assert b"nhip_points_total 1.0" in text


def test_every_route_is_described_in_openapi(shared: RunningCollector) -> None:
    described = shared.ask("GET", "/api/openapi.json").json
    assert set(described["paths"]) >= {
        "/api/v2/write", "/health", "/metrics", "/api/v1/sites", "/api/v1/sites/{site}", "/api/v1/incidents",
        "/api/v1/incidents/{incident}", "/api/v1/incidents/{incident}/acknowledge", "/api/v1/series", "/api/v1/events",
        "/session",
    }  # fmt: skip


def test_no_secret_stands_in_the_log_or_the_data(collector: RunningCollector) -> None:
    secret = collector.token("--site", "31120")
    collector.write(f"{LINE} {now()}", secret)
    collector.ask("GET", "/api/v1/sites", token=secret + "x")
    collector.stop()
    kept = b"".join(path.read_bytes() for path in collector.folder.rglob("*") if path.is_file())
    assert secret.encode() not in kept


def test_a_page_hears_of_an_incident_without_asking(collector: RunningCollector) -> None:
    site, viewer = collector.token("--site", "31120"), collector.token("--role", "viewer")
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=15)
    connection.request("GET", "/api/v1/events?site=31120", headers={"Authorization": f"Token {viewer}"})
    stream = connection.getresponse()
    assert stream.headers["content-type"].startswith("text/event-stream")
    for _ in range(2):
        collector.write(f"tcp_connect,node=gw,target=10.0.0.1:443 success=0 {now()}", site)
    heard: dict[str, str] = {}
    deadline = time.monotonic() + 15
    while set(heard) < {"site", "incident", "signal"} and time.monotonic() < deadline:
        line = stream.readline().decode().strip()
        if line.startswith("event: "):
            heard[line.removeprefix("event: ")] = stream.readline().decode()
    connection.close()
    assert '"level":"red"' in heard["site"]
    assert '"place":"10.0.0.1:443"' in heard["incident"]
    assert '"metric":"success"' in heard["signal"]
