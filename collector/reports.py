"""A serious incident's two reports, drafted from its timeline: the first notice in 24 hours, cause and scope in 72.

Decree 331/2026/NĐ-CP wants both of the owner of an information system; TCVN 14423:2026 says what a system of level 3
keeps for them. A draft says what was seen; what only people know stands in […].
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from collector.incident import HOUR
from collector.words import lasted, local

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_BASIS = {
    "vi": "Nghị định 331/2026/NĐ-CP; TCVN 14423:2026 (hệ thống thông tin cấp độ 3)",
    "en": "Decree 331/2026/NĐ-CP; TCVN 14423:2026 (information systems of level 3)",
}
_TITLES = {
    ("vi", 24): "Thông báo ban đầu về sự cố nghiêm trọng",
    ("vi", 72): "Báo cáo nguyên nhân và phạm vi của sự cố nghiêm trọng",
    ("en", 24): "First notice of a serious incident",
    ("en", 72): "Cause and scope of a serious incident",
}
_DRAFT = {
    "vi": "Dự thảo lập tự động từ diễn biến đã ghi, lúc {now}. Người phụ trách kiểm tra, bổ sung chỗ […] rồi ký.",
    "en": "Drafted from what was recorded, at {now}. Whoever signs it checks it and fills in each […].",
}
_ROWS = {
    "vi": {
        "basis": "Căn cứ", "due": "Hạn gửi", "id": "Mã sự cố", "where": "Nơi xảy ra", "what": "Sự cố",
        "began": "Bắt đầu", "found": "Phát hiện", "ended": "Khắc phục", "sites": "Phạm vi", "hands": "Người xử lý",
    },
    "en": {
        "basis": "Basis", "due": "Due", "id": "Incident", "where": "Where", "what": "What",
        "began": "Began", "found": "Found", "ended": "Resolved", "sites": "Scope", "hands": "Handled by",
    },
}  # fmt: skip
_ASKED = {
    ("vi", 24): ("Ảnh hưởng đến người dân và nghiệp vụ", "Biện pháp đã làm ngay", "Đầu mối liên hệ"),
    ("vi", 72): (
        "Nguyên nhân đã xác định", "Thiệt hại, dữ liệu bị ảnh hưởng", "Biện pháp khắc phục và phòng ngừa", "Kiến nghị",
    ),
    ("en", 24): ("Effect on people and work", "What was done at once", "Whom to call"),
    ("en", 72): ("Cause as established", "Damage, data touched", "What mends and prevents it", "What is asked for"),
}  # fmt: skip
_WORDS = {
    "vi": {
        "seen": "Dấu hiệu", "course": "Diễn biến", "open": "chưa khắc phục",
        "count": "{n} điểm: ", "more": " và {n} điểm khác",
    },
    "en": {
        "seen": "Evidence", "course": "Course of events", "open": "not yet",
        "count": "{n} sites: ", "more": " and {n} more",
    },
}  # fmt: skip
_MOST_SITES = 120


def report(incident: Mapping[str, Any], hours: int, language: str, now: int, names: Mapping[str, str]) -> str:
    """Return a report as Markdown. `incident` is as the API tells it, with its timeline; `now` is in nanoseconds."""
    rows, words = _ROWS[language], _WORDS[language]
    opened = _nanoseconds(incident["opened_at"])
    ended = _nanoseconds(incident["resolved_at"]) if "resolved_at" in incident else None
    began = _nanoseconds(incident["began_at"])
    facts = {
        "basis": _BASIS[language],
        "due": local(opened + hours * HOUR),
        "id": incident["id"],
        "where": incident["site_name"] or "[…]",
        "what": incident["cause"]["text"][language],
        "began": local(began),
        "found": local(opened),
        "ended": words["open"] if ended is None else f"{local(ended)} ({lasted(ended - began, language)})",
        "sites": _scope(incident["sites"], names, words),
        "hands": ", ".join(incident[key] for key in ("acknowledged_by", "assigned_to") if key in incident) or "[…]",
    }
    parts = [
        f"# {_TITLES[language, hours]}",
        _DRAFT[language].format(now=local(now)),
        "\n".join(["| | |", "|---|---|", *(f"| {rows[key]} | {value} |" for key, value in facts.items())]),
        *_section(words["seen"], [_seen(item, language) for item in incident["evidence"]]),
        *_section(words["course"], [_line(item, language) for item in incident.get("timeline", ())]),
        *(f"## {title}\n\n[…]" for title in _ASKED[language, hours]),
    ]
    return "\n\n".join(parts) + "\n"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}", "\n".join(f"- {line}" for line in lines)] if lines else []


def _scope(sites: Sequence[str], names: Mapping[str, str], words: Mapping[str, str]) -> str:
    shown = [f"{names[site]} ({site})" if site in names else site for site in sites if site]
    left = len(shown) - _MOST_SITES
    more = words["more"].format(n=left) if left > 0 else ""
    return words["count"].format(n=len(shown)) + ", ".join(shown[:_MOST_SITES]) + more if shown else "[…]"


def _seen(evidence: Mapping[str, Any], language: str) -> str:
    said = evidence["text"].get(language) or evidence["metric"]
    return f"{local(_nanoseconds(evidence['at']))}: {evidence['check']} {evidence['target']}: {said}"


def _line(moment: Mapping[str, Any], language: str) -> str:
    return f"{local(_nanoseconds(moment['at']))}: {moment['text'][language]}"


def _nanoseconds(at: str) -> int:
    return round(datetime.fromisoformat(at).timestamp() * 1000) * 1_000_000
