"""The report of an acceptance: one row a site, for managers (HTML, to print) and for spreadsheets (CSV)."""

from __future__ import annotations

import csv
import html
import io
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inventory.acceptance import Finding, Row, Verdict
    from inventory.profile import Criterion, Profile

_STYLE = Path(__file__).with_name("forms") / "report.css"
_VIETNAM = timezone(timedelta(hours=7))  # has no daylight saving; people there read the report
_MARKS: dict[Verdict, tuple[str, str, str]] = {
    "green": ("✔", "xanh", "green"),
    "yellow": ("▲", "vàng", "yellow"),
    "red": ("✖", "đỏ", "red"),
    "unmeasured": ("?", "chưa đo", "not measured"),
    "left_out": ("–", "không có", "not there"),
}


def as_csv(profile: Profile, rows: Sequence[Row]) -> str:
    """One row a site; for each criterion its colour, the figure in the metric's base unit, and the limit."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [each.criterion for each in profile.criteria]
    parts = [f"{name}{suffix}" for name in names for suffix in ("", "_value", "_limit")]
    writer.writerow(["site", "name", "upstream", "accepted", "measured_at", "profile", *parts])
    for row in rows:
        cells: list[object] = []
        for finding in row.findings:
            cells += [finding.verdict, "" if finding.value is None else f"{finding.value:g}", finding.limit]
        accepted = "yes" if row.accepted else "no"
        writer.writerow(
            [row.site, _safe(row.name), _safe(row.upstream), accepted, _utc(row.measured_at), profile.version, *cells]
        )
    return out.getvalue()


def as_html(profile: Profile, province: str, rows: Sequence[Row], now: datetime) -> str:
    """Return a page that stands alone, without script: Vietnamese, English beneath, a sign beside each colour."""
    uniform = [_uniform([row.findings[column] for row in rows]) for column in range(len(profile.criteria))]
    heads = "".join(map(_head, profile.criteria, uniform))
    body = "".join(_row(row, uniform) for row in rows)
    return f"""<!doctype html>
<html lang="vi"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Nghiệm thu – {_text(province)}</title>
<style>{_STYLE.read_text(encoding="utf-8")}</style></head><body>
<h1>Nghiệm thu đường truyền và dịch vụ – {_text(province)}
<small>Acceptance of lines and services</small></h1>
<p class="sum">{_summary(rows)}</p>
<p>Đo lúc <b>{_span(rows)}</b> <small>Measured</small> · Bộ tiêu chí nội bộ, phiên bản <b>{_text(profile.version)}</b>
<small>Local profile, version</small> · Lập lúc {_local(now)} <small>Written</small></p>
<p class="key">{_key()}</p>
{_refused(profile, rows)}
<table><thead><tr><th class="site">Đơn vị<small>Site</small></th><th>Kết quả<small>Result</small></th>{heads}</tr>
</thead>
<tbody>{body}</tbody></table>
<p class="foot">Mỗi ô: kết quả đo và ngưỡng. Bộ tiêu chí này do tỉnh tự đặt, không phải điểm đánh giá chính thức.
<small>Each cell: the figure and its limit. The criteria are the province's own, not an official score.</small></p>
</body></html>
"""


def _summary(rows: Sequence[Row]) -> str:
    accepted = sum(row.accepted for row in rows)
    refused = len(rows) - accepted
    words = f"<b>{accepted}/{len(rows)}</b> đơn vị đạt <small>sites accepted</small>"
    return words + (f" · <b>{refused}</b> chưa đạt <small>not accepted</small>" if refused else "")


def _key() -> str:
    return " ".join(
        f'<span class="{verdict}"><b>{mark}</b> {vi} <small>{en}</small></span>'
        for verdict, (mark, vi, en) in _MARKS.items()
    )


def _refused(profile: Profile, rows: Sequence[Row]) -> str:
    """List what stands in the way, site by site, before the table: it is what the reader has to act on."""
    names = {each.criterion: each for each in profile.criteria}
    items = []
    for row in rows:
        told = "; ".join(_why(names[finding.criterion], finding) for finding in row.why)
        if told:
            items.append(f"<li><b>{_text(row.name)}</b> ({_text(row.site)}): {told}</li>")
    return f"<h2>Chưa đạt <small>Not accepted</small></h2><ul>{''.join(items)}</ul>" if items else ""


def _why(criterion: Criterion, finding: Finding) -> str:
    mark, vi, en = _MARKS[finding.verdict]
    figure = f" {_text(finding.said)} ({_text(finding.limit)})" if finding.said else ""
    words = f" – {_text(', '.join(finding.words))}" if finding.words else ""
    return f"{mark} {_text(criterion.vi)}: {vi}{figure}{words} <small>{_text(criterion.en)}: {en}</small>"


def _head(criterion: Criterion, limit: str) -> str:
    bound = f'<span class="limit">{_text(limit)}</span>' if limit else ""
    return f"<th>{_text(criterion.vi)}<small>{_text(criterion.en)}</small>{bound}</th>"


def _row(row: Row, uniform: Sequence[str]) -> str:
    result = (
        '<td class="green"><b>✔</b> Đạt<small>accepted</small></td>'
        if row.accepted
        else '<td class="red"><b>✖</b> Chưa đạt<small>not accepted</small></td>'
    )
    cells = "".join(_cell(finding, common) for finding, common in zip(row.findings, uniform, strict=True))
    name = f"{_text(row.name)}<small>{_text(row.site)}{' · ' + _text(row.upstream) if row.upstream else ''}</small>"
    return f'<tr><th class="site">{name}</th>{result}{cells}</tr>'


def _cell(finding: Finding, common: str) -> str:
    mark, vi, en = _MARKS[finding.verdict]
    said = _text(finding.said) or f"{vi}<small>{en}</small>"
    own = f'<span class="limit">{_text(finding.limit)}</span>' if finding.limit and finding.limit != common else ""
    title = _text("; ".join((f"{vi} / {en}", *finding.words)))
    return f'<td class="{finding.verdict}" title="{title}"><b>{mark}</b> {said}{own}</td>'


def _uniform(findings: Sequence[Finding]) -> str:
    """Return the limit that most sites have: it stands above the column, others in their cells."""
    counts = Counter(finding.limit for finding in findings if finding.limit)
    return counts.most_common(1)[0][0] if counts else ""


def _span(rows: Sequence[Row]) -> str:
    instants = [row.measured_at for row in rows if row.measured_at]
    if not instants:
        return "–"
    first, last = (_local(datetime.fromtimestamp(each / 1e9, UTC)) for each in (min(instants), max(instants)))
    return first if first == last else f"{first} – {last}"


def _local(instant: datetime) -> str:
    return instant.astimezone(_VIETNAM).strftime("%H:%M %d/%m/%Y")


def _utc(instant: int) -> str:
    return datetime.fromtimestamp(instant / 1e9, UTC).isoformat(timespec="seconds") if instant else ""


def _text(words: str) -> str:
    return html.escape(words)


def _safe(text: str) -> str:
    """Keep a spreadsheet from taking a name for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text
