"""Planned work as others hear of it: by which day it must be announced, and the announcement, drafted.

Decree 224/2026/NĐ-CP, article 13, wants the planned suspension of an online public service announced seven working
days ahead, with the time at which it is back.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from collector.config import Config
    from collector.maintenance import Planned
    from collector.naming import Names
    from collector.topology import Topology
    from collector.window import Window

WORKING_DAYS = 7
_SATURDAY = 5
_NOTICE = {
    "vi": """# Thông báo tạm ngừng dịch vụ để bảo trì theo kế hoạch

Căn cứ Điều 13 Nghị định 224/2026/NĐ-CP, [tên đơn vị] thông báo:

- Nội dung: {reason}
- Phạm vi: {scope}
- Tạm ngừng từ: {start}
- Hoạt động trở lại: {end}{weekly}
- Trong thời gian này: [cách nộp hồ sơ, đầu mối hỗ trợ]

Đăng chậm nhất ngày {by} ({days} ngày làm việc trước khi tạm ngừng).{late}
""",
    "en": """# Notice of planned maintenance

By article 13 of Decree 224/2026/NĐ-CP, [name of the office] announces:

- Work: {reason}
- Scope: {scope}
- Suspended from: {start}
- Back at: {end}{weekly}
- Meanwhile: [how to hand in an application, whom to ask]

To be published by {by} ({days} working days before).{late}
""",
}
_LATE = {
    "vi": " **Đã quá hạn: dời lịch, hoặc có căn cứ cho việc đột xuất.**",
    "en": " **That day is past: move the work, or say why it is urgent.**",
}
_WEEKLY = {"vi": "\n- Lặp lại hằng tuần: {spans}", "en": "\n- Every week: {spans}"}
_SCOPE = {
    "vi": {"everything": "toàn bộ hệ thống", "behind": "{name} ({n} điểm phía sau)", "service": "dịch vụ {name}"},
    "en": {"everything": "everything", "behind": "{name} ({n} sites behind it)", "service": "service {name}"},
}


def announce_by(start: date, holidays: Collection[date] = ()) -> date:
    """Return the last day on which work that begins on `start` can be announced in time."""
    day, left = start, WORKING_DAYS
    while left:
        day -= timedelta(days=1)
        left -= day.weekday() < _SATURDAY and day not in holidays
    return day


def notice(
    planned: Planned, language: str, today: date, *, names: Names, topology: Topology, holidays: Collection[date] = ()
) -> str:
    """Return the announcement of planned work as Markdown; it says so where it comes too late."""
    window, zone = planned.window, planned.window.zone()
    start, end = (datetime.fromtimestamp(at // 1_000_000_000, zone) for at in (planned.start, planned.end))
    by = announce_by(start.date(), holidays)
    return _NOTICE[language].format(
        reason=window.reason or "[…]",
        scope="; ".join(_scope(window, language, names, topology)),
        start=_clock(start),
        end=_clock(end),
        weekly=_WEEKLY[language].format(spans=", ".join(window.weekly)) if window.weekly else "",
        by=by.strftime("%d/%m/%Y"),
        days=WORKING_DAYS,
        late=_LATE[language] if today > by else "",
    )


def _scope(window: Window, language: str, names: Names, topology: Topology) -> Iterable[str]:
    words = _SCOPE[language]
    if window.everything:
        yield words["everything"]
    for upstream in window.upstreams:
        behind = len({line.site for line in topology.behind(upstream)})
        yield words["behind"].format(name=topology.names.get(upstream, upstream), n=behind)
    for site in window.sites:
        yield f"{names.site(site)} ({site})" if names.site(site) != site else site
    for service in window.services:
        yield words["service"].format(name=names.service(service))


def _clock(at: datetime) -> str:
    return at.strftime("%H:%M %d/%m/%Y")


def unknown_places(window: Window, config: Config) -> list[str]:
    """Return a sentence for each place of a window that nobody knows: it would cover nothing."""
    known: dict[str, Sequence[str]] = {
        "sites": [site.site for site in config.sites],
        "upstreams": list(dict.fromkeys([each.upstream for each in config.upstreams] + _from_sites(config))),
        "services": [service.service for service in config.services],
    }
    found = []
    for kind, names in known.items():
        if kind == "sites" and not names:
            continue  # taken as they come
        for name in getattr(window, kind):
            if name not in names:
                there = ", ".join(names[:10]) + (" …" if len(names) > 10 else "")  # noqa: PLR2004  (a line)
                found.append(f"{kind}: nobody knows {name!r}; there are: {there or 'none'}")
    return found


def _from_sites(config: Config) -> list[str]:
    return [name for site in config.sites for name in (site.upstream or site.group, site.second_upstream) if name]
