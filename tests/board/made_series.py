"""Made-up measurements for the fake collector: a path with a daily rhythm, its loss, and what was judged."""

from __future__ import annotations

import math
import random
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

COLUMNS = ["at", "min", "p50", "p95", "max", "mean", "count"]
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)
MOST_ROWS = 600
UNITS = {"m": 60, "h": 3600, "d": 86400}
RTT = ["rtt_min_seconds", "rtt_median_seconds", "rtt_mean_seconds", "rtt_p95_seconds", "loss_ratio"]
HTTP = ["success", "connect_seconds", "tls_seconds", "total_seconds", "status"]
HOST = ["cpu_busy_ratio", "memory_used_ratio", "disk_used_ratio[/]", "disk_used_ratio[/var]"]
SERIES: list[dict[str, Any]] = [
    {"node": "gateway", "check": "host_health", "target": "localhost", "metrics": HOST},
    {"node": "gateway", "check": "icmp_echo", "target": "127.0.0.1", "metrics": RTT},
    {"node": "gateway", "check": "http_get", "target": "https://127.0.0.1/", "metrics": HTTP},
]


def instant(text: str, now: float) -> float:
    """Epoch seconds of RFC 3339 or of `-10m`."""
    if text.startswith("-"):
        return now - int(text[1:-1]) * UNITS[text[-1]]
    return datetime.fromisoformat(text).timestamp()


def row(metric: str, at: int, step: int) -> list[float]:
    """Make the same numbers for the same time, however often it is asked."""
    dice = random.Random(f"{at}")  # noqa: S311  (a made-up measurement needs no secrecy)
    base = 0.004 * (1 + 0.35 * math.sin(at / 13750)) + dice.expovariate(1 / 0.0003)
    burst = 0.02 if at // 660 % 17 == 0 else 0.0
    if metric.startswith("rtt_") or metric.endswith("_seconds"):
        scale = {"rtt_min_seconds": 0.8, "rtt_p95_seconds": 1.5}.get(metric, 1.0)
        low, high = base * scale * 0.95, (base + burst) * scale * 1.25
        return [at, low, base * scale, high, high * 1.3, base * scale, step]
    if metric == "loss_ratio":
        lost = 0.1 * dice.random() if burst else 0.0
        return [at, 0, lost, lost, lost, lost, step]
    value = 1.0 if metric == "success" else 0.2 + 0.1 * dice.random()
    return [at, value * 0.9, value, value, value, value, step]


def answer(query: QueryParams, down_between: tuple[float, float] | None) -> list[dict[str, Any]]:
    """Answer as /api/v1/series does: one object a metric, no rows where nothing was measured."""
    now = time.time()
    end = int(instant(query.get("to", "-0m"), now))
    first = int(instant(query["from"], now))
    step = int(query.get("step", next(step for step in STEPS if (end - first) / step <= MOST_ROWS)))
    start = first // step * step
    down = down_between or (math.inf, math.inf)
    times = [at for at in range(start, end, step) if not down[0] <= at < down[1]]
    return [
        {"metric": metric, "step_seconds": step, "columns": COLUMNS, "rows": [row(metric, at, step) for at in times]}
        for metric in query.getlist("metric")
    ]


def signals(level: str, at: str) -> list[dict[str, Any]]:
    """Four judged signals; the first is as bad as its site."""
    made = [
        ("http_get", "https://127.0.0.1/", "success", 0.0 if level == "red" else 1.0, level),
        ("icmp_echo", "127.0.0.1", "rtt_median_seconds", 0.00412, "green"),
        ("icmp_echo", "127.0.0.1", "loss_ratio", 0.0, "green"),
        ("host_health", "localhost", "disk_used_ratio[/var]", 0.4137, "green"),
    ]
    keys = ("check", "target", "metric", "value", "level")
    return [{"node": "gateway", "measured_at": at, **dict(zip(keys, one, strict=True))} for one in made]


def timeline(incident: dict[str, Any]) -> list[dict[str, Any]]:
    """When it began, when it was noticed, whom it was told, and when it ended."""
    told = {"vi": "Đã báo cho người trực qua nhật ký", "en": "Told the duty officer through the log"}
    entries = [
        (incident["began_at"], "began", {"vi": "Bắt đầu", "en": "Began"}),
        (incident["opened_at"], "opened", {"vi": "Mở sự cố", "en": "Incident opened"}),
        (incident["opened_at"], "told", told),
        (incident.get("acknowledged_at"), "acknowledged", {"vi": "Lan đã nhận xử lý", "en": "Acknowledged by Lan"}),
        (incident.get("resolved_at"), "resolved", {"vi": "Đã khắc phục", "en": "Resolved"}),
    ]
    return [{"at": at, "kind": kind, "text": text} for at, kind, text in entries if at]
