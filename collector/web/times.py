"""Times as people write them in a question: RFC 3339, or relative to now."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from collector.web.problems import Problem

_RELATIVE = re.compile(r"-(\d{1,6})(s|m|h|d|w)\Z", re.ASCII)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
_BUCKETS = 600
_MOST_BUCKETS = 11_000


def second(name: str, text: str, now: float) -> int:
    """Return an instant as whole seconds since the epoch; `Problem` 400 names the parameter and what would be right."""
    if text == "now":
        return int(now)
    relative = _RELATIVE.match(text)
    if relative:
        return int(now) - int(relative[1]) * _UNIT_SECONDS[relative[2]]
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Problem(
            400,
            f"{name}: {text!r} is not a time: write RFC 3339 with its zone (2026-07-01T08:00:00Z) or -10m, -1h, -90d",
        )
    return int(at.astimezone(UTC).timestamp())


def span(start: str, end: str, step: int | None, now: float, finest: list[tuple[float, int]]) -> tuple[int, int, int]:
    """Return a question's start, end and step in seconds.

    `finest` is which step is the finest that is still kept from how many days ago on, newest first. Without a step, one
    is chosen that gives at most some 600 buckets.
    """
    first, last = second("from", start, now), second("to", end, now)
    if first >= last:
        raise Problem(400, f"from ({start}) must lie before to ({end})")
    age_days = (now - first) / 86_400
    least = next((seconds for days, seconds in finest if age_days <= days), finest[-1][1])
    if step is None:
        wanted = max(least, (last - first) / _BUCKETS)
        chosen = next((s for s in _STEPS if s >= wanted and s % least == 0), _STEPS[-1])
        return first // chosen * chosen, last, chosen
    if step < 1 or step % least:
        raise Problem(400, f"step: {step} must be a multiple of {least} seconds: nothing finer is kept from {start}")
    if (last - first) / step > _MOST_BUCKETS:
        raise Problem(400, f"step: {step} is too fine for this range: at least {-(-(last - first) // _MOST_BUCKETS)}")
    return first // step * step, last, step
