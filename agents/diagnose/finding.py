"""What one look at a site found, as a short sentence with its evidence. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from checks.limits import say

if TYPE_CHECKING:
    from checks.result import Result

Probe = Literal[
    "router", "carrier", "gateway", "neighbour", "elsewhere", "lan", "reflector", "service",
    "login", "agent", "inside_line", "inside_lan", "inside_service",
]  # fmt: skip
"""What is looked at: `docs/diagnosis.md` says from where, and by which check. `inside_…` is seen by the gateway."""
State = Literal["well", "poor", "lost", "unknown"]
Text = dict[str, str]
"""The same sentence by language: `vi` and `en`."""

LOST, POOR = 0.99, 0.15
"""Shares of a train's packets: of ten, one may be lost by chance."""

_SUBJECTS: dict[str, Text] = {
    "router": {"vi": "Bộ định tuyến của trung tâm dữ liệu ({target})", "en": "The data centre's router ({target})"},
    "carrier": {"vi": "Đầu dây phía nhà mạng ({target})", "en": "The carrier's end of the line ({target})"},
    "gateway": {"vi": "Thiết bị cổng của điểm ({target})", "en": "The site's gateway ({target})"},
    "neighbour": {"vi": "{about}, cùng điểm kết nối", "en": "{about}, behind the same upstream"},
    "elsewhere": {"vi": "{about}, ở điểm kết nối khác", "en": "{about}, behind another upstream"},
    "lan": {"vi": "Máy {about} trong mạng của điểm ({target})", "en": "Host {about} in the site's LAN ({target})"},
    "reflector": {"vi": "Bộ phản xạ đo ở trung tâm ({target})", "en": "The data centre's reflector ({target})"},
    "service": {"vi": "{about}, nhìn từ trung tâm dữ liệu", "en": "{about}, seen from the data centre"},
    "login": {"vi": "Đăng nhập vào thiết bị cổng", "en": "Logging in to the gateway"},
    "agent": {"vi": "Tác tử trên thiết bị cổng", "en": "The agent on the gateway"},
    "inside_line": {
        "vi": "Trung tâm dữ liệu, nhìn từ điểm ({target})", "en": "The data centre, seen from the site ({target})",
    },
    "inside_lan": {
        "vi": "Máy {about}, nhìn từ thiết bị cổng ({target})", "en": "Host {about}, seen from the gateway ({target})",
    },
    "inside_service": {"vi": "{about}, nhìn từ điểm", "en": "{about}, seen from the site"},
}  # fmt: skip
_STATES: dict[State, Text] = {
    "well": {"vi": "tốt", "en": "well"},
    "poor": {"vi": "kém", "en": "poor"},
    "lost": {"vi": "không trả lời", "en": "does not answer"},
    "unknown": {"vi": "không kiểm tra được", "en": "could not be looked at"},
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One look. `line` numbers a site's lines from 0; `reason` is the check's own words, in English."""

    probe: Probe
    target: str
    state: State
    about: str = ""
    line: int = 0
    loss_ratio: float | None = None
    rtt_seconds: float | None = None
    reason: str = ""

    @property
    def text(self) -> Text:
        """Say it in a sentence."""
        return {language: self._said(language) for language in ("vi", "en")}

    def _said(self, language: str) -> str:
        subject = _SUBJECTS[self.probe][language].format(about=self.about or self.target, target=self.target)
        facts = []
        if self.loss_ratio is not None and 0 < self.loss_ratio < LOST:
            facts.append({"vi": "mất gói ", "en": "loss "}[language] + say("loss_ratio", self.loss_ratio))
        if self.rtt_seconds is not None:
            facts.append({"vi": "khứ hồi ", "en": "round trip "}[language] + say("rtt_seconds", self.rtt_seconds))
        if self.reason and self.state != "well":
            facts.append(self.reason)
        return f"{subject}: {_STATES[self.state][language]}" + (f" ({', '.join(facts)})" if facts else "")


def of_result(result: Result, *, probe: Probe, about: str = "", line: int = 0) -> Finding:
    """Return what a measurement says. What could not be measured is unknown: a fault of ours is nobody's."""
    metrics = result.metrics
    loss, rtt = metrics.get("loss_ratio"), metrics.get("rtt_median_seconds")
    success = metrics.get("success", metrics.get("active"))
    state: State = "unknown"
    if result.error is None and loss is not None:
        state = "lost" if loss >= LOST else "poor" if loss >= POOR else "well"
    elif result.error is None and success is not None:
        state = "well" if success >= 0.5 else "lost"  # noqa: PLR2004  (1 or 0)
    return Finding(
        probe=probe, target=result.target, about=about, line=line, state=state, loss_ratio=loss, rtt_seconds=rtt,
        reason=(result.error or result.reason or "")[:200],
    )  # fmt: skip


def unseen(probe: Probe, target: str, reason: str, *, about: str = "", line: int = 0) -> Finding:
    """Return that something could not be looked at, and why."""
    return Finding(probe=probe, target=target, about=about, line=line, state="unknown", reason=reason)
