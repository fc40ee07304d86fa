"""What people read: causes and timelines, in Vietnamese and English. Messages are in `telling/`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from collector.signs import sign

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from collector.incident import Evidence, Place

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
    "line": {
        "vi": "Đường truyền bị đứt, hoặc thiết bị cổng mất điện",
        "en": "The line is down, or the gateway there has no power",
    },
    "power": {
        "vi": "Mất điện: trước đó UPS đã chạy bằng ắc quy",
        "en": "The power is out: the UPS ran on its battery before",
    },
    "agent": {
        "vi": "Tác tử hoặc máy {name} đã dừng; đường truyền vẫn hoạt động",
        "en": "The agent or the machine {name} has stopped; the line works",
    },
    "delivery": {
        "vi": "Máy {name} vẫn sống và đường truyền vẫn hoạt động, nhưng kết quả đo không gửi về được",
        "en": "Node {name} lives and the line works, but its results do not arrive",
    },
    "redundancy": {
        "vi": "Mất đường dự phòng qua {name}; điểm vẫn hoạt động",
        "en": "Redundancy is lost: the line over {name} is down, the site still works",
    },
    "off": {
        "vi": "Máy {name} đã tắt hoặc khởi động lại (mất điện?); đã rõ khi máy trở lại",
        "en": "The machine {name} was off or restarted (the power?), as it tells since it is back",
    },
    "path mtu": {
        "vi": "Gói tin lớn mất tích trên đường đến {name}",
        "en": "Large packets vanish on the path to {name}",
    },
    "path loss": {"vi": "Đường truyền đến {name} bị mất gói", "en": "The path to {name} loses packets"},
    "path delay": {"vi": "Đường truyền đến {name} chậm hơn bình thường", "en": "The path to {name} has become slow"},
    "path jitter": {"vi": "Độ trễ đến {name} không ổn định", "en": "Delay to {name} is uneven: calls suffer"},
    "path capacity": {
        "vi": "Đường truyền đến {name} không đủ băng thông đã đăng ký",
        "en": "The line to {name} carries less than was ordered",
    },
    "service certificate": {
        "vi": "Chứng thư của dịch vụ {name} hết hạn hoặc sắp hết hạn",
        "en": "The certificate of service {name} has run out, or soon will",
    },
    "node battery": {
        "vi": "Mất điện lưới: UPS đang chạy bằng ắc quy",
        "en": "The mains are out: the UPS runs on its battery",
    },
    "node dhcp": {"vi": "Có máy chủ DHCP lạ trong mạng LAN", "en": "A stranger's DHCP server is on the LAN"},
    "node lan": {
        "vi": "Mạng LAN có xung đột địa chỉ hoặc thiết bị lạ",
        "en": "The LAN has an address twice, or a stranger",
    },
    "node disk": {
        "vi": "Ổ đĩa của máy {name} sắp đầy hoặc đã đầy",
        "en": "The disk of node {name} is full, or soon will be",
    },
    "clock offset": {
        "vi": "Đồng hồ của máy {name} sai giờ",
        "en": "The clock of node {name} is wrong",
    },
    "service warning": {
        "vi": "Dịch vụ {name} có dấu hiệu bất thường",
        "en": "Service {name} shows early signs of trouble",
    },
    "path warning": {
        "vi": "Đường truyền đến {name} có dấu hiệu xuống cấp",
        "en": "The path to {name} shows early signs of trouble",
    },
    "node warning": {"vi": "Máy {name} cần được chú ý", "en": "Node {name} needs attention"},
    "shared service warning": {
        "vi": "Dịch vụ {name} có dấu hiệu bất thường: {lost} điểm nhận thấy",
        "en": "Service {name} shows early signs of trouble: {lost} sites see them",
    },
    "upstream impaired warning": {
        "vi": "Đường truyền qua {name} có dấu hiệu xuống cấp: {lost} điểm",
        "en": "Lines over {name} show early signs of trouble: {lost} sites",
    },
    "clock": {
        "vi": "Gói đo không được chấp nhận (đồng hồ, khóa hoặc tường lửa); tác tử vẫn gửi kết quả",
        "en": "Its test packets are not accepted (clock, key or a filter), though its results arrive",
    },
    "upstream": {
        "vi": "{name} mất kết nối: {lost} điểm phía sau không liên lạc được",
        "en": "{name} is down: {lost} sites behind it cannot be reached",
    },
    "upstream power": {
        "vi": "Mất điện diện rộng phía sau {name}: {lost} điểm",
        "en": "The power is out behind {name}: {lost} sites",
    },
    "upstream impaired": {
        "vi": "Đường truyền qua {name} kém chất lượng: {lost} điểm",
        "en": "Lines over {name} are impaired: {lost} sites",
    },
    "upstream redundancy": {
        "vi": "{name} mất kết nối: {lost} điểm mất đường dự phòng",
        "en": "{name} is down: {lost} sites have lost their redundancy",
    },
    "shared service": {
        "vi": "Dịch vụ {name} không hoạt động: {lost} điểm bị ảnh hưởng",
        "en": "Service {name} does not work: {lost} sites see it",
    },
    "collector": {
        "vi": "Trung tâm dữ liệu mất đường ra: không nhận được gì từ {lost} điểm; tạm ngừng kết luận",
        "en": "The data centre's own uplink is lost: nothing is heard of {lost} sites, and nobody is judged",
    },
}
_NOBODY: Text = {"vi": "trung tâm dữ liệu", "en": "the data centre"}

_HAPPENED: dict[str, Text] = {
    "began": {"vi": "Bắt đầu", "en": "Began"},
    "opened": {"vi": "Mở sự cố", "en": "Opened"},
    "evidence": {"vi": "Thêm dấu hiệu", "en": "Further evidence"},
    "recovered": {"vi": "Đã trở lại", "en": "Recovered"},
    "resolved": {"vi": "Đã khắc phục", "en": "Resolved"},
    "reopened": {"vi": "Tái diễn", "en": "Reopened"},
    "escalated": {"vi": "Trở nên nghiêm trọng", "en": "Became critical"},
    "eased": {"vi": "Giảm xuống mức cảnh báo", "en": "Eased to a warning"},
    "joined": {"vi": "Cùng bị ảnh hưởng", "en": "Reached as well"},
    "left": {"vi": "Không còn bị ảnh hưởng", "en": "No longer reached"},
    "moved": {"vi": "Xác định vị trí sự cố", "en": "Located at"},
    "merged": {"vi": "Gộp vào sự cố", "en": "Part of incident"},
    "corrected": {"vi": "Nguyên nhân được xác định lại", "en": "Cause set right"},
    "due": {"vi": "Sắp đến hạn báo cáo (giờ)", "en": "Report is due soon (hours)"},
    "suppressed": {"vi": "Đang bảo trì theo kế hoạch: chưa báo ai", "en": "Under planned work: nobody is told yet"},
    "closed": {"vi": "Đóng bởi người trực", "en": "Closed by"},
    "serious": {"vi": "Xếp loại nghiêm trọng bởi", "en": "Called serious by"},
    "not serious": {"vi": "Bỏ xếp loại nghiêm trọng bởi", "en": "Called not serious by"},
    "assigned": {"vi": "Giao cho", "en": "Assigned to"},
    "acknowledged": {"vi": "Đã tiếp nhận", "en": "Acknowledged"},
    "comment": {"vi": "Ghi chú", "en": "Comment"},
    "diagnosed": {"vi": "Chẩn đoán", "en": "Diagnosis"},
    "told": {"vi": "Đã báo", "en": "Told"},
}


def cause(
    place: Place,
    why: str = "",
    *,
    name: str = "",
    lost: int = 0,
    warning: bool = False,
    evidence: Iterable[Evidence] = (),
) -> Text:
    """Say what is wrong, by the place it is at, by the cause, where one is known, and by what the evidence shows.

    `name` is what people call the place, where they call it something; `lost` how many sites it reaches; `warning`
    tells that it was never more than that.
    """
    key = f"{place.kind} {why}" if place.kind == "upstream" and why else why or place.kind
    if place.kind == "service" and not place.site:
        key = "shared service"
    if place.kind == "clock" and place.name:
        key = "clock offset"
    shows = f"{place.kind} {sign(place, evidence)}"
    if not why and shows in _CAUSES:
        key = shows
    if warning and f"{key} warning" in _CAUSES:
        key = f"{key} warning"
    shown = name or place.name
    return {
        language: template.format(name=shown or _NOBODY[language], lost=lost)
        for language, template in _CAUSES[key].items()
    }


def kind(place: Place, why: str) -> str:
    """Return the word by which programs know what is wrong."""
    return place.kind if place.kind in ("upstream", "collector") else why or place.kind


def happened(kind: str, evidence: Evidence | None, note: str | Text | None = None) -> Text:
    """Say one line of a timeline; `note` is what a person wrote, or the name of what it is about."""
    said: Text = {}
    for language in LANGUAGES:
        parts = [_HAPPENED[kind][language]]
        if kind == "corrected" and isinstance(note, str) and note in _CAUSES:
            said[language] = f"{parts[0]}: {' '.join(_CAUSES[note][language].format(name='', lost='').split())}"
            continue
        if evidence is not None:
            parts.append(seen(evidence, language))
        if note:
            parts.append(note if isinstance(note, str) else note[language])
        said[language] = ": ".join(parts)
    return said


def seen(evidence: Evidence, language: str) -> str:
    """Say what one signal showed: `http_get http://…: the service does not answer (connection refused)`."""
    words = evidence.words.get(language) or f"{evidence.metric}: {evidence.level}"
    if evidence.level == "unknown":
        words = {"vi": "không còn được đo", "en": "is no longer measured"}[language]
    reason = f" ({evidence.reason})" if evidence.reason else ""
    return f"{evidence.check} {evidence.target}".rstrip() + f": {words}{reason}"


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
