"""What a report of availability says, in Vietnamese and English."""

from __future__ import annotations

WORDS: dict[str, dict[str, str]] = {
    "vi": {
        "title": "Báo cáo độ sẵn sàng", "subtitle": "đường truyền và dịch vụ, theo từng điểm và từng tháng",
        "period": "Thời gian", "made": "Lập lúc", "line": "Đường truyền", "month": "Tháng", "site": "Điểm",
        "service": "Dịch vụ", "incidents": "Sự cố", "goal": "Mục tiêu nội bộ", "reached": "đạt mục tiêu",
        "missed": "dưới mục tiêu", "thin": "đo chưa đủ", "nothing": "không đo", "planned": "bảo trì",
        "down": "gián đoạn", "seen": "đo được", "summary": "Tóm tắt", "all": "Dịch vụ, tính chung cho mọi điểm",
        "below": "Cần chú ý", "none_below": "Không có mục nào dưới mục tiêu.", "every": "Từng điểm",
        "works": "Bảo trì theo kế hoạch (không tính vào độ sẵn sàng)", "availability": "Độ sẵn sàng",
        "longest": "Dài nhất", "times": "Số lần", "unexplained": "chưa thuộc sự cố nào", "ongoing": "chưa kết thúc",
        "how": "Cách tính", "lines": "Đường truyền", "until_now": "đến lúc lập", "more": "và {n} sự cố khác",
        "lines_reached": "đường truyền đạt mục tiêu {goal}",
        "mean": "Độ sẵn sàng chung của đường truyền", "total_down": "Tổng thời gian gián đoạn",
    },
    "en": {
        "title": "Availability report", "subtitle": "lines and services, by site and month",
        "period": "Period", "made": "Made", "line": "Line", "month": "Month", "site": "Site",
        "service": "Service", "incidents": "Incidents", "goal": "Local goal", "reached": "goal reached",
        "missed": "below goal", "thin": "seen too little", "nothing": "not measured", "planned": "planned work",
        "down": "down", "seen": "seen", "summary": "Summary", "all": "Services, for all sites together",
        "below": "Needs attention", "none_below": "Nothing is below its goal.", "every": "Site by site",
        "works": "Planned work (not counted)", "availability": "Availability",
        "longest": "Longest", "times": "Outages", "unexplained": "not part of an incident", "ongoing": "not over",
        "how": "How it is counted", "lines": "Lines", "until_now": "until made", "more": "and {n} more",
        "lines_reached": "lines reach the goal of {goal}",
        "mean": "Availability of all lines together", "total_down": "Time down in all",
    },
}  # fmt: skip
HOW: dict[str, tuple[str, ...]] = {
    "vi": (
        "Mỗi phút được tính đúng một lần: hoạt động, gián đoạn, không đo hoặc bảo trì theo kế hoạch.",
        (
            "Độ sẵn sàng = hoạt động ÷ (hoạt động + gián đoạn). Phút không đo không tính là gián đoạn; "
            "tỷ lệ thời gian đo được ghi ngay bên cạnh."
        ),
        (
            "Đường truyền gián đoạn khi mất ít nhất một nửa số gói trong phút, "
            "hoặc khi hệ thống xác định điểm bị cắt liên lạc hay mất điện."
        ),
        "Dịch vụ gián đoạn khi ít hơn một nửa số lần kiểm tra trong phút thành công, nhìn từ chính điểm đó.",
        (
            "Kết quả gửi muộn (máy tại điểm lưu lại khi đường truyền đứt) được tính ngay khi về đến nơi: "
            "lập lại báo cáo sẽ đầy đủ hơn."
        ),
        "Mục tiêu do đơn vị tự đặt, không phải chỉ tiêu chính thức.",
    ),
    "en": (
        "Each minute counts exactly once: up, down, unknown or planned work.",
        "Availability = up ÷ (up + down). What nobody measured is not down; the share that was seen stands beside it.",
        (
            "A line is down in a minute in which at least half of the packets are lost, "
            "or while the site is known to be cut off or without power."
        ),
        "A service is down in a minute in which less than half of the attempts succeed, as seen from that very site.",
        (
            "Results that come late (the agent kept them while its line was cut) count as soon as they are here: "
            "a report made again is more complete."
        ),
        "The goal is the office's own, not an official figure.",
    ),
}
