"""What messages say, in Vietnamese and English: headlines, and what to try first."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Text = dict[str, str]
Language = Literal["vi", "en"]

Said = Literal[
    "opened",
    "reopened",
    "escalated",
    "unanswered",
    "due",
    "resolved",
    "over",
    "updated",
    "corrected",
    "eased",
    "merged",
    "digest",
]
"""What a message is for: what the judge tells (`Tell`), `unanswered` for a step of an escalation, `over` for what
began and ended before its channel took a message."""

MARKS: Final[Text] = {"merged": "⚪", "resolved": "🟢", "over": "🟢", "eased": "🟡", "digest": "🟡"}
HEADLINES: Final[dict[str, Text]] = {
    "opened": {"vi": "SỰ CỐ", "en": "INCIDENT"},
    "reopened": {"vi": "TÁI DIỄN", "en": "REOPENED"},
    "escalated": {"vi": "TRỞ NÊN NGHIÊM TRỌNG", "en": "NOW CRITICAL"},
    "unanswered": {"vi": "CHƯA AI TIẾP NHẬN", "en": "NOBODY HAS TAKEN IT"},
    "due": {"vi": "SẮP ĐẾN HẠN BÁO CÁO", "en": "REPORT IS DUE SOON"},
    "resolved": {"vi": "ĐÃ KHẮC PHỤC", "en": "RESOLVED"},
    "over": {"vi": "ĐÃ XẢY RA VÀ ĐÃ KHẮC PHỤC", "en": "CAME AND WENT"},
    "updated": {"vi": "CẬP NHẬT", "en": "UPDATE"},
    "corrected": {"vi": "NGUYÊN NHÂN", "en": "CAUSE"},
    "eased": {"vi": "GIẢM XUỐNG CẢNH BÁO", "en": "EASED"},
    "merged": {"vi": "THUỘC SỰ CỐ CHUNG", "en": "PART OF A WIDER INCIDENT"},
    "digest": {"vi": "CẢNH BÁO", "en": "WARNING"},
}

FIRST: Final[dict[str, Text]] = {
    "upstream": {
        "vi": "gọi nhà mạng của {name}, báo số điểm mất kết nối; không cần gọi từng điểm",
        "en": "call the carrier of {name} and say how many sites are lost; no need to call each site",
    },
    "upstream power": {
        "vi": "hỏi điện lực khu vực sau {name}; xem thời gian còn lại của UPS tại điểm phát",
        "en": "ask the power company about the area behind {name}; see how long the UPS there will last",
    },
    "upstream impaired": {
        "vi": "xem tải của {name}; nếu không quá tải, báo nhà mạng kèm số đo",
        "en": "see the load of {name}; where it is not full, tell the carrier, with the figures",
    },
    "redundancy": {
        "vi": "báo nhà mạng của đường đã mất; điểm vẫn hoạt động, chưa cần cử người",
        "en": "tell the carrier of the lost line; the sites still work, nobody need go there yet",
    },
    "silence": {
        "vi": "gọi điểm: còn điện không, đèn thiết bị cổng có sáng không; khởi động lại thiết bị cổng",
        "en": "call the site: is there power, do the gateway's lights burn; restart the gateway",
    },
    "line": {
        "vi": "gọi điểm: còn điện thì báo nhà mạng đường truyền đứt; mất điện thì chờ điện",
        "en": "call the site: with power, tell the carrier that the line is cut; without, wait for power",
    },
    "power": {
        "vi": "gọi điểm và điện lực: mất điện đến bao giờ; khi có điện, thiết bị tự trở lại",
        "en": "call the site and the power company: for how long; everything returns by itself with the power",
    },
    "agent": {
        "vi": "đăng nhập thiết bị cổng, xem: systemctl status nhip-agent; đường truyền không có lỗi",
        "en": "log in to the gateway and see: systemctl status nhip-agent; the line is not at fault",
    },
    "delivery": {
        "vi": "xem tường lửa và chứng thư giữa điểm và bộ thu; tác tử giữ kết quả và gửi lại sau",
        "en": "see the filters and the certificate between site and collector; the agent keeps its results",
    },
    "clock": {
        "vi": "xem giờ của thiết bị cổng (chronyc tracking) và khóa đo",
        "en": "see the gateway's clock (chronyc tracking) and the key of its test packets",
    },
    "path": {
        "vi": "xem ai đang dùng hết đường truyền; nếu không có, báo nhà mạng kèm số đo",
        "en": "see who fills the line; where nobody does, tell the carrier, with the figures",
    },
    "node": {
        "vi": "xem máy tại điểm: đĩa, bộ nhớ, nguồn; nhờ người ở điểm nếu không đăng nhập được",
        "en": "see the machine: disk, memory, power; ask somebody there where it cannot be reached",
    },
    "service": {
        "vi": "mở thử dịch vụ từ điểm khác; nếu chỉ điểm này lỗi, xem DNS và tường lửa của điểm",
        "en": "try the service from another site; where only this one fails, see its DNS and filters",
    },
    "shared service": {
        "vi": "báo đội vận hành dịch vụ tại trung tâm dữ liệu; đường truyền các điểm vẫn tốt",
        "en": "call whoever runs the service at the data centre; the sites' lines are well",
    },
    "collector": {
        "vi": "xem đường ra của trung tâm dữ liệu trước; chưa kết luận gì về các điểm",
        "en": "see the data centre's own uplink first; nothing is known of the sites",
    },
}


class Phrases(NamedTuple):
    """Sentences around an incident."""

    summary: str
    digest: str
    more: str
    late: str
    broken: str
    test: str
    test_body: str


PHRASES: Final[dict[str, Phrases]] = {
    "vi": Phrases(
        summary="{mark} {count} SỰ CỐ: {open} đang mở, {over} đã khắc phục",
        digest="🟡 {count} CẢNH BÁO: {open} đang mở, {over} đã qua",
        more="… và {count} sự cố khác: {ids}",
        late="Tin báo muộn {lasted}.",
        broken="(Mẫu tin riêng bị lỗi: {why}. Đây là mẫu có sẵn.)",
        test="🔔 TIN THỬ",
        test_body="Đây là tin thử của Nhịp. Kênh {channel} hoạt động. Không cần làm gì.",
    ),
    "en": Phrases(
        summary="{mark} {count} INCIDENTS: {open} open, {over} resolved",
        digest="🟡 {count} WARNINGS: {open} open, {over} over",
        more="… and {count} more: {ids}",
        late="This comes {lasted} late.",
        broken="(The template of your own fails: {why}. This is the shipped one.)",
        test="🔔 TEST MESSAGE",
        test_body="This is a test message from Nhịp. Channel {channel} works. There is nothing to do.",
    ),
}


def first_steps(key: str, language: str, name: str) -> str:
    """Return what to try first for a cause; nothing where there is no advice."""
    text = FIRST.get(key)
    return "" if text is None else text[language].format(name=name)
