"""What people read: causes, timelines and messages, in Vietnamese and English."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collector.incidents import Evidence, Place

Text = dict[str, str]
"""The same sentence by language: `vi` and `en`."""

LANGUAGES = ("vi", "en")
_ZONE = ZoneInfo("Asia/Ho_Chi_Minh")

_CAUSES: dict[str, Text] = {
    "service": {"vi": "Dịch vụ {name} không hoạt động", "en": "Service {name} does not work"},
    "path": {"vi": "Đường truyền đến {name} có sự cố", "en": "The path to {name} is impaired"},
    "node": {"vi": "Máy {name} có sự cố", "en": "Node {name} is in trouble"},
    "silence": {
        "vi": "Không nhận được tín hiệu từ máy {name}: đường truyền, máy hoặc tác tử đã dừng",
        "en": "Nothing is heard from node {name}: its line, the machine or its agent is down",
    },
}

_HAPPENED: dict[str, Text] = {
    "began": {"vi": "Bắt đầu", "en": "Began"},
    "opened": {"vi": "Mở sự cố", "en": "Opened"},
    "evidence": {"vi": "Thêm dấu hiệu", "en": "Further evidence"},
    "recovered": {"vi": "Đã trở lại", "en": "Recovered"},
    "resolved": {"vi": "Đã khắc phục", "en": "Resolved"},
    "acknowledged": {"vi": "Đã tiếp nhận", "en": "Acknowledged"},
    "comment": {"vi": "Ghi chú", "en": "Comment"},
    "told": {"vi": "Đã báo", "en": "Told"},
}

_TELL: dict[str, Text] = {
    "opened": {"vi": "🔴 SỰ CỐ", "en": "🔴 INCIDENT"},
    "resolved": {"vi": "🟢 ĐÃ KHẮC PHỤC", "en": "🟢 RESOLVED"},
}

_MESSAGE: Text = {
    "vi": "{site}\n{cause}\nTừ: {began}{until}{evidence}\nMã sự cố: {id}",
    "en": "{site}\n{cause}\nSince: {began}{until}{evidence}\nIncident: {id}",
}
_UNTIL: Text = {"vi": "\nĐến: {at} (kéo dài {lasted})", "en": "\nUntil: {at} (lasted {lasted})"}
_SEEN: Text = {"vi": "\nDấu hiệu: {words}", "en": "\nSeen: {words}"}


def cause(place: Place) -> Text:
    """Say what is wrong, by the place it is at."""
    return {language: template.format(name=place.name) for language, template in _CAUSES[place.kind].items()}


def happened(kind: str, evidence: Evidence | None, note: str | None = None) -> Text:
    """Say one line of a timeline; `note` is what a person wrote."""
    said: Text = {}
    for language in LANGUAGES:
        parts = [_HAPPENED[kind][language]]
        if evidence is not None:
            parts.append(seen(evidence, language))
        if note:
            parts.append(note)
        said[language] = ": ".join(parts)
    return said


def seen(evidence: Evidence, language: str) -> str:
    """Say what one signal showed: `http_get http://…: the service does not answer (connection refused)`."""
    words = evidence.words.get(language) or f"{evidence.metric}: {evidence.level}"
    if evidence.level == "unknown":
        words = {"vi": "không còn được đo", "en": "is no longer measured"}[language]
    reason = f" ({evidence.reason})" if evidence.reason else ""
    return f"{evidence.check} {evidence.target}".rstrip() + f": {words}{reason}"


def message(
    *,
    what: str,
    language: str,
    incident_id: str,
    place: Place,
    site_name: str,
    began_at: int,
    resolved_at: int | None,
    evidence: Sequence[Evidence],
) -> tuple[str, str]:
    """Return title and body of what a channel tells people. Instants are nanoseconds, shown in Vietnam's time."""
    where = site_name if site_name == place.site else f"{site_name} ({place.site})"
    title = f"{_TELL[what][language]}: {where}"
    until = ""
    if resolved_at is not None:
        until = _UNTIL[language].format(at=local(resolved_at), lasted=lasted(resolved_at - began_at, language))
    shown = [seen(item, language) for item in evidence if item.level == "red" or what == "resolved"][:3]
    words = _SEEN[language].format(words="; ".join(shown)) if shown and what == "opened" else ""
    body = _MESSAGE[language].format(
        site=where, cause=cause(place)[language], began=local(began_at), until=until, evidence=words, id=incident_id
    )
    return title, body


def local(at: int) -> str:
    """Write an instant (nanoseconds) in Vietnam's time."""
    return datetime.fromtimestamp(at / 1e9, _ZONE).strftime("%d/%m/%Y %H:%M:%S")


def lasted(duration: int, language: str) -> str:
    """Write a duration (nanoseconds) in the two largest units that matter."""
    units: Mapping[str, tuple[str, str, str]] = {
        "vi": ("giờ", "phút", "giây"),
        "en": ("h", "min", "s"),
    }
    seconds = max(0, round(duration / 1e9))
    parts = [(seconds // 3600, 0), (seconds % 3600 // 60, 1), (seconds % 60, 2)]
    shown = [f"{number} {units[language][unit]}" for number, unit in parts if number]
    return " ".join(shown[:2]) or f"0 {units[language][2]}"


def rfc3339(at: int | None) -> str | None:
    """Write an instant (nanoseconds) as RFC 3339 in UTC, for programs; None stays None."""
    if at is None:
        return None
    return datetime.fromtimestamp(at / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
