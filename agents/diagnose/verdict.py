"""Where the fault is, by all that was found: a table of rules, read from the top. Pure. See docs/diagnosis.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agents.diagnose.finding import Finding, Probe, State

Where = Literal[
    "data_centre", "carrier", "upstream", "line", "line_or_power", "redundancy", "upstream_poor", "line_poor",
    "lan", "service", "service_path", "reflector", "agent", "nothing", "unknown",
]  # fmt: skip

_WORDS: dict[Where, tuple[str, str, str, str]] = {
    "data_centre": (
        "Trung tâm dữ liệu mất đường ra: không điểm nào trả lời",
        "The data centre's own uplink is lost: no site answers",
        "Kiểm tra bộ định tuyến của trung tâm dữ liệu", "Look at the data centre's router",
    ),
    "carrier": (
        "Sự cố ở nhà mạng: không điểm nào trả lời, ở điểm kết nối nào cũng vậy",
        "The carrier is at fault: no site answers, behind whichever upstream",
        "Gọi nhà mạng", "Call the carrier",
    ),
    "upstream": (
        "Điểm kết nối {upstream} mất kết nối: các điểm khác phía sau cũng không trả lời",
        "Upstream {upstream} is down: other sites behind it do not answer either",
        "Gọi nhà mạng, báo điểm kết nối {upstream}", "Call the carrier about {upstream}",
    ),
    "line": (
        "Đường truyền của điểm bị đứt: điểm kết nối vẫn hoạt động, đầu dây phía nhà mạng không trả lời",
        "The site's access line is cut: the upstream works, the carrier's end of the line does not answer",
        "Gọi nhà mạng, báo mã đường truyền của điểm", "Call the carrier about this site's line",
    ),
    "line_or_power": (
        "Đường truyền của điểm bị đứt, hoặc thiết bị cổng mất điện: phía nhà mạng vẫn hoạt động",
        "The site's access line is cut, or its gateway has no power: the carrier's side works",
        "Gọi điện cho điểm: có điện không, đèn thiết bị cổng có sáng không",
        "Call the site: is there power, is the gateway lit?",
    ),
    "redundancy": (
        "Một trong hai đường truyền của điểm bị mất; điểm vẫn hoạt động qua đường còn lại",
        "One of the site's two lines is lost; the site works over the other one",
        "Gọi nhà mạng của đường truyền bị mất", "Call the carrier of the lost line",
    ),
    "upstream_poor": (
        "Đường truyền qua {upstream} kém chất lượng: các điểm khác phía sau cũng mất gói",
        "Lines over {upstream} are impaired: other sites behind it lose packets too",
        "Gọi nhà mạng, báo điểm kết nối {upstream}", "Call the carrier about {upstream}",
    ),
    "line_poor": (
        "Đường truyền của điểm kém chất lượng; các điểm lân cận bình thường",
        "The site's line is impaired; its neighbours are well",
        "Kiểm tra tải và cáp tại điểm, rồi gọi nhà mạng", "Look at load and cabling at the site, then call the carrier",
    ),
    "lan": (
        "Mạng nội bộ của điểm có sự cố: đường truyền và thiết bị cổng tốt, không máy nào bên trong trả lời",
        "The site's LAN is at fault: line and gateway are well, no host behind them answers",
        "Gọi điện cho điểm: kiểm tra bộ chuyển mạch", "Call the site: look at the switch",
    ),
    "service": (
        "Dịch vụ {service} không hoạt động, ngay cả khi nhìn từ trung tâm dữ liệu; đường truyền tốt",
        "Service {service} does not work, even seen from the data centre; the line is well",
        "Kiểm tra máy chủ của {service}", "Look at the server of {service}",
    ),
    "service_path": (
        "Dịch vụ {service} hoạt động nhìn từ trung tâm dữ liệu, nhưng không nhìn được từ điểm; đường truyền tốt",
        "Service {service} works seen from the data centre and not from the site; the line is well",
        "Kiểm tra DNS, tường lửa và MTU trên đường đến {service}",
        "Look at DNS, filters and MTU on the way to {service}",
    ),
    "reflector": (
        "Bộ phản xạ đo ở trung tâm dữ liệu không chạy: mất gói đo được không phải của đường truyền",
        "The data centre's reflector does not run: the loss that is measured is not the line's",
        "Tại trung tâm dữ liệu: systemctl status nhip-reflector",
        "At the data centre: systemctl status nhip-reflector",
    ),
    "agent": (
        "Tác tử tại điểm đã dừng; đường truyền và thiết bị cổng tốt",
        "The agent at the site has stopped; line and gateway are well",
        "Đăng nhập: systemctl status nhip-agent", "Log in: systemctl status nhip-agent",
    ),
    "nothing": (
        "Lúc kiểm tra không thấy sự cố: mọi thứ nhìn được đều tốt",
        "Nothing was wrong when this was looked at: all that can be seen is well",
        "Xem diễn biến của sự cố", "See how it goes on",
    ),
    "unknown": (
        "Chưa kết luận được từ những gì kiểm tra được", "What could be looked at allows no verdict",
        "Xem từng kết quả kiểm tra", "Read the findings one by one",
    ),
}  # fmt: skip


class Facts(NamedTuple):
    """What the findings say, as the rules ask it. None: not known."""

    router: State | None
    carrier: State | None
    gateways: tuple[State, ...]
    """Of each line; without those that could not be looked at."""
    neighbours: tuple[State, ...]
    elsewhere: tuple[State, ...]
    lan: tuple[State, ...]
    reflector: State | None
    agent: State | None
    inside_line: State | None
    services_lost: tuple[str, ...]
    """As the data centre sees them."""
    services_lost_inside: tuple[str, ...]

    @property
    def gateway(self) -> State | None:
        """Return how the site's best line stands."""
        return next((state for state in ("well", "poor", "lost") if state in self.gateways), None)


class Verdict(msgspec.Struct, frozen=True):
    """Where the fault is, in words, and what to try first."""

    where: Where
    text: dict[str, str]
    next: dict[str, str]


def verdict_of(findings: Sequence[Finding], upstream: str = "") -> Verdict:
    """Return the verdict on what was found; `upstream` is what people call the site's."""
    facts = facts_of(findings)
    where = next(where for where, holds in RULES if holds(facts))
    service = ", ".join(facts.services_lost or facts.services_lost_inside)
    vi, en, next_vi, next_en = (words.format(upstream=upstream, service=service) for words in _WORDS[where])
    return Verdict(where, {"vi": vi, "en": en}, {"vi": next_vi, "en": next_en})


def facts_of(findings: Sequence[Finding]) -> Facts:
    """Return what the rules ask."""

    def states(probe: Probe) -> tuple[State, ...]:
        return tuple(f.state for f in findings if f.probe == probe and f.state != "unknown")

    def best(probe: Probe) -> State | None:
        found = states(probe)
        return next((state for state in _BEST_FIRST if state in found), None)

    def lost(probe: Probe) -> tuple[str, ...]:
        return tuple(dict.fromkeys(f.about for f in findings if f.probe == probe and f.state == "lost"))

    outside, inside = lost("service"), lost("inside_service")
    return Facts(
        router=best("router"),
        carrier=best("carrier"),
        gateways=states("gateway"),
        neighbours=states("neighbour"),
        elsewhere=states("elsewhere"),
        lan=states("inside_lan") or states("lan"),
        reflector=best("reflector"),
        agent=best("agent"),
        inside_line=best("inside_line"),
        services_lost=outside,
        services_lost_inside=tuple(name for name in inside if name not in outside),
    )


_BEST_FIRST: tuple[State, ...] = ("well", "poor", "lost")
_ANSWERS: tuple[State, ...] = ("well", "poor")


def _all_lost(states: Sequence[State]) -> bool:
    """Tell whether anybody was asked, and nobody answers."""
    return bool(states) and all(state == "lost" for state in states)


def _some_answer(states: Sequence[State]) -> bool:
    return any(state in _ANSWERS for state in states)


def _upstream_lost(facts: Facts) -> bool:
    return facts.gateway == "lost" and _all_lost(facts.neighbours) and facts.carrier not in _ANSWERS


def _mostly_poor(states: Sequence[State]) -> bool:
    return 2 * sum(state in ("poor", "lost") for state in states) > len(states)


def _any_answers(facts: Facts) -> bool:
    return _some_answer([*facts.gateways, *facts.neighbours, *facts.elsewhere, *facts.lan])


RULES: list[tuple[Where, Callable[[Facts], bool]]] = [
    ("data_centre", lambda f: f.router == "lost" and not _any_answers(f)),
    ("carrier", lambda f: _upstream_lost(f) and _all_lost(f.elsewhere)),
    ("upstream", _upstream_lost),
    ("line", lambda f: f.gateway == "lost" and f.carrier == "lost" and _some_answer(f.neighbours)),
    ("line_or_power", lambda f: f.gateway == "lost" and (f.carrier in _ANSWERS or _some_answer(f.neighbours))),
    ("unknown", lambda f: f.gateway in ("lost", None)),
    ("redundancy", lambda f: "lost" in f.gateways),
    ("upstream_poor", lambda f: f.gateway == "poor" and _mostly_poor(f.neighbours)),
    ("line_poor", lambda f: f.gateway == "poor" or f.inside_line in ("poor", "lost")),
    ("service", lambda f: bool(f.services_lost)),
    ("service_path", lambda f: bool(f.services_lost_inside)),
    ("reflector", lambda f: f.reflector == "lost"),
    ("agent", lambda f: f.agent == "lost"),
    ("lan", lambda f: _all_lost(f.lan)),
    ("nothing", lambda _: True),
]  # fmt: skip
"""The first that holds is the verdict."""
