"""A report of availability as people read it: a page to print, a table for spreadsheets, lines for a terminal."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined

from collector.availability_report import Bite
from collector.availability_words import HOW, WORDS
from collector.words import lasted, rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.availability import Account
    from collector.availability_report import Report, Row

Language = Literal["vi", "en"]

_MINUTE = 60_000_000_000
_WATCHED = 0.9
"""Less than so much of the time was seen: the figure beside it says little."""
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = (
    "month", "site", "site_name", "group", "thing", "service", "service_name", "availability_percent",
    "coverage_percent", "period_minutes", "up_minutes", "down_minutes", "unknown_minutes", "planned_minutes",
    "outages", "longest_outage_minutes", "unexplained_minutes", "incidents",
)  # fmt: skip


def as_csv(report: Report) -> str:
    """One row a line or service, site and month, by RFC 4180; minutes are whole, what is not known is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in report.rows:
        told = told_row(row)
        incidents = " ".join(f"{bite.incident}:{bite.minutes}" for bite in row.bites)
        writer.writerow([_safe("" if told.get(name) is None else told[name]) for name in COLUMNS[:-1]] + [incidents])
    return out.getvalue()


def as_json(report: Report) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "from": rfc3339(report.months[0].start * 1_000_000_000),
        "to": rfc3339(report.months[-1].end * 1_000_000_000),
        "time_zone": report.zone,
        "goal_ratio": report.goal,
        "rows": [
            {**told_row(row), "incidents": [{"id": bite.incident, "minutes": bite.minutes} for bite in row.bites]}
            for row in report.rows
        ],
        "incidents": [
            {
                "id": past.id,
                "began_at": rfc3339(past.began_at),
                "resolved_at": rfc3339(past.resolved_at),
                "text": past.text,
            }
            for past in report.past.values()
        ],
        "planned": [
            {"window": window.window, "from": rfc3339(start), "to": rfc3339(end), "reason": window.reason}
            for window, start, end in report.planned
        ],
    }


def told_row(row: Row) -> dict[str, Any]:
    """Return a row as programs read it; per cents are cut, never rounded up to a whole."""
    told = row.account
    return {
        "month": row.month,
        "site": row.site,
        "site_name": row.site_name,
        "group": row.group,
        "thing": row.thing,
        "service": row.service,
        "service_name": row.service_name,
        "availability_percent": _percent(told.availability, 3),
        "coverage_percent": _percent(told.coverage, 1),
        "period_minutes": told.period,
        "up_minutes": told.up,
        "down_minutes": told.down,
        "unknown_minutes": told.unknown,
        "planned_minutes": told.planned,
        "outages": told.outages,
        "longest_outage_minutes": told.longest,
        "unexplained_minutes": row.unexplained,
    }


def as_text(report: Report, language: Language) -> str:
    """Lines for a terminal: a month, and in it each line and service, the worst first."""
    words, out = WORDS[language], []
    for month in report.months:
        rows = sorted((row for row in report.rows if row.month == month.name), key=_worst)
        out.append(f"{words['month']} {_month(month.name)}  ({words['goal']} {_short(report.goal, language)})")
        width = max((len(_who(row, words)) for row in rows), default=0)
        out += [f"  {_who(row, words):<{width}}  {cell(row, report, language)}{_ate(row)}" for row in rows]
    return "\n".join(out) + "\n"


def as_html(report: Report, language: Language) -> str:
    """Return a page that stands alone, without script, to read and to print."""
    pages = Environment(
        loader=PackageLoader("collector", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    zone = ZoneInfo(report.zone)
    tools = {
        "share": lambda ratio: _said(ratio, language),
        "minutes": lambda minutes: lasted(minutes * _MINUTE, language),
        "moment": lambda ns: f"{datetime.fromtimestamp(ns / 1e9, zone):%d/%m/%Y %H:%M}",
        "sign": lambda row: sign(row.account, report.goal),
    }
    return pages.get_template("availability.html").render(
        report=report,
        language=language,
        words=WORDS[language],
        how=HOW[language],
        goal=_short(report.goal, language),
        months=[_month_shown(report, name.name) for name in report.months],
        **tools,
    )


def sign(told: Account, goal: float) -> str:
    """Return the class of an account: `good`, `bad`, `thin` where too little was seen, `none` where nothing was."""
    if told.availability is None:
        return "none"
    if told.availability < goal:
        return "bad"
    return "good" if (told.coverage or 0) >= _WATCHED else "thin"


MARKS = {"good": "✔", "bad": "✖", "thin": "◔", "none": "–"}


def cell(row: Row, report: Report, language: Language) -> str:
    """Say an account in a few words."""
    words, told = WORDS[language], row.account
    mark = MARKS[sign(told, report.goal)]
    if told.availability is None:
        return f"{mark} {words['nothing']}"
    parts = [f"{mark} {_said(told.availability, language)}"]
    if told.down:
        parts.append(f"{words['down']} {lasted(told.down * _MINUTE, language)}")
    parts.append(f"{words['seen']} {_said(told.coverage, language, 0)}")
    if told.planned:
        parts.append(f"{words['planned']} {lasted(told.planned * _MINUTE, language)}")
    return ", ".join(parts)


def _month_shown(report: Report, name: str) -> dict[str, Any]:
    """Return what the page shows of one month."""
    rows = [row for row in report.rows if row.month == name]
    sites: defaultdict[tuple[str, str, str], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        if row.site:
            sites[row.group, row.site_name, row.site][row.service] = row
    lines = [row for row in rows if row.thing == "line" and row.account.availability is not None]
    up, down = sum(row.account.up for row in lines), sum(row.account.down for row in lines)
    return {
        "name": _month(name),
        "shared": [row for row in rows if not row.site],
        "columns": list({row.service: row.service_name for row in rows if row.site}.items()),
        "sites": [(site, name, group, cells) for (group, name, site), cells in sorted(sites.items())],
        "below": _below([row for row in rows if row.site and sign(row.account, report.goal) == "bad"]),
        "lines": len(lines),
        "good": sum(row.account.availability >= report.goal for row in lines if row.account.availability is not None),
        "mean": up / (up + down) if up + down else None,
        "down": down,
    }


def _below(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the sites of these rows, the worst first, each with the incidents that ate the most of any of them."""
    sites: defaultdict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=_worst):
        sites[row.site].append(row)
    shown = []
    for site, mine in sites.items():
        most: dict[str, int] = {}
        for bite in (bite for row in mine for bite in row.bites):
            most[bite.incident] = max(most.get(bite.incident, 0), bite.minutes)
        shown.append(
            {
                "site": site,
                "name": mine[0].site_name,
                "group": mine[0].group,
                "rows": sorted(mine, key=lambda row: (row.thing != "line", row.service)),
                "bites": [Bite(name, minutes) for name, minutes in sorted(most.items(), key=lambda each: -each[1])],
                "unexplained": max(row.unexplained for row in mine),
            }
        )
    return shown


def _worst(row: Row) -> tuple[float, str, str]:
    available = row.account.availability
    return (2.0 if available is None else available, row.site, row.service)


def _who(row: Row, words: dict[str, str]) -> str:
    what = row.service_name if row.thing == "service" else words["line"]
    return f"{row.site_name} ({row.site}): {what}" if row.site else what


def _ate(row: Row) -> str:
    return f"  [{', '.join(f'{bite.incident}: {bite.minutes} min' for bite in row.bites[:3])}]" if row.bites else ""


def _month(name: str) -> str:
    year, _, month = name.partition("-")
    return f"{month}/{year}"


def _percent(ratio: float | None, digits: int) -> float | None:
    """Return a share in per cent, cut: 99.9999 is not all of it."""
    return None if ratio is None else math.floor(ratio * 100 * 10**digits + 1e-9) / 10**digits


def _said(ratio: float | None, language: str, digits: int = 2) -> str:
    percent = _percent(ratio, digits)
    if percent is None:
        return "–"
    if ratio and not percent:
        return f"< {10**-digits:g} %".replace(".", "," if language == "vi" else ".")
    shown = (
        f"{percent:.{digits}f}".rstrip("0").rstrip(".") if digits and percent in (0, 100) else f"{percent:.{digits}f}"
    )
    return f"{shown.replace('.', ',') if language == 'vi' else shown} %"


def _short(ratio: float, language: str) -> str:
    shown = f"{ratio * 100:.6g} %"
    return shown.replace(".", ",") if language == "vi" else shown


def _safe(value: object) -> object:
    """Keep a name from being run as a formula by whoever opens the table."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value
