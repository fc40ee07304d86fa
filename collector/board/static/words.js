// Vietnamese first; English one click away. Every sentence of the page is here.

import { remember } from "./dom.js";

const WORDS = {
  vi: {
    board: "Bảng theo dõi", sites: "Điểm", search: "Tìm tên hoặc mã điểm", search_key: "Tìm (phím /)",
    green: "Bình thường", yellow: "Cảnh báo", red: "Nghiêm trọng", unknown: "Chưa rõ", silent: "Mất tín hiệu",
    live: "Trực tiếp", connecting: "Đang kết nối…", lost_short: "Mất kết nối",
    lost: "Mất kết nối với máy chủ. Số liệu bên dưới đã cũ: tin cuối cách đây {age}. Đang thử lại…",
    lost_never: "Chưa kết nối được với máy chủ. Đang thử lại…",
    incidents: "Sự cố đang mở", no_incidents: "Không có sự cố nào đang mở.", resolved_recently: "Vừa khắc phục",
    no_resolved: "Chưa có.", new_incident: "Sự cố mới", incident_resolved: "Đã khắc phục",
    acknowledge: "Nhận xử lý", acknowledged_by: "{who} đã nhận xử lý", acknowledged: "Đã nhận xử lý",
    details: "Chi tiết", open_since: "kéo dài", lasted: "đã kéo dài", began: "Bắt đầu", opened: "Phát hiện",
    resolved: "Đã khắc phục", open: "Đang mở", state: "Trạng thái", affected: "Điểm bị ảnh hưởng", evidence: "Bằng chứng",
    timeline: "Diễn biến", cause: "Nguyên nhân", place: "Vị trí",
    kind_service: "Dịch vụ", kind_path: "Đường truyền", kind_node: "Máy", kind_silence: "Mất tín hiệu",
    kind_line: "Đứt đường truyền", kind_power: "Mất điện", kind_off: "Máy đã tắt", kind_agent: "Tác tử", kind_delivery: "Gửi kết quả",
    kind_impaired: "Chất lượng đường truyền", kind_redundancy: "Đường dự phòng", kind_clock: "Đồng hồ",
    kind_upstream: "Điểm kết nối", kind_collector: "Trung tâm dữ liệu", and_more: "và {n} điểm khác",
    serious: "Nghiêm trọng", report_due: "báo cáo {hours} giờ: hạn", assigned_to: "Giao cho",
    need_operator: "Việc này cần mã truy cập có vai trò operator (người trực).", ago: "{age} trước", just_now: "vừa xong",
    heard: "nhận tin {age}", never_heard: "chưa nhận tin lần nào", since: "từ", rtt: "Trễ", loss: "Mất gói", limit: "ngưỡng {limit}",
    signals: "Tín hiệu", signals_of_site: "Tín hiệu được đánh giá", nodes: "Máy tại điểm", node: "Máy", check: "Phép đo",
    target: "Đích", metric: "Chỉ số", value: "Giá trị", level: "Mức", measured: "Đo lúc", history: "Lịch sử sự cố",
    no_history: "Điểm này chưa có sự cố nào được ghi.", no_signals: "Chưa có tín hiệu nào được đánh giá.",
    chart: "Biểu đồ", series: "Đường đo", range: "Khoảng thời gian", zoom_in: "Phóng to", zoom_out: "Thu nhỏ",
    zoom_reset: "Bỏ phóng to", zoom_hint: "Kéo trên biểu đồ để phóng to; bấm đúp để trở lại.",
    no_data: "Không có số đo nào trong khoảng này.", no_series: "Chưa có gì để vẽ.", loading: "Đang tải…",
    step: "mỗi điểm {age}", median: "trung vị", spread: "thấp nhất – p95", failures: "Lỗi", rtt_spread: "Trễ khứ hồi (RTT)",
    back: "Tất cả các điểm", to_light: "Chuyển sang nền sáng", to_dark: "Chuyển sang nền tối", other_language: "English",
    sign_in: "Đăng nhập", sign_out: "Đăng xuất", sign_in_why: "Bảng này cần mã truy cập. Tạo mã bằng lệnh",
    token: "Mã truy cập", token_wrong: "Mã truy cập không đúng hoặc đã bị thu hồi.",
    not_found_site: "Không có điểm nào mang mã này.", not_found_incident: "Không có sự cố nào mang mã này.",
    failed: "Không thực hiện được: {message}", no_match: "Không có điểm nào khớp.", no_sites: "Chưa có điểm nào gửi số đo.",
    no_group: "Khác", show_only: "Chỉ xem {level}", skip: "Đến nội dung chính", yes: "có", no: "không",
    "10m": "10 phút", "1h": "1 giờ", "6h": "6 giờ", "24h": "24 giờ", "7d": "7 ngày", "30d": "30 ngày", "90d": "90 ngày",
    second: "{n} giây", minute: "{n} phút", hour: "{n} giờ", day: "{n} ngày",
  },
  en: {
    board: "Board", sites: "Sites", search: "Search by name or code", search_key: "Search (key /)",
    green: "Normal", yellow: "Warning", red: "Critical", unknown: "Unknown", silent: "Silent",
    live: "Live", connecting: "Connecting…", lost_short: "Connection lost",
    lost: "Connection to the server lost. What you see below is old: last news {age} ago. Trying again…",
    lost_never: "No connection to the server yet. Trying again…",
    incidents: "Open incidents", no_incidents: "No incident is open.", resolved_recently: "Recently resolved",
    no_resolved: "None yet.", new_incident: "New incident", incident_resolved: "Resolved",
    acknowledge: "Acknowledge", acknowledged_by: "Acknowledged by {who}", acknowledged: "Acknowledged",
    details: "Details", open_since: "for", lasted: "lasted", began: "Began", opened: "Noticed",
    resolved: "Resolved", open: "Open", state: "State", affected: "Sites it reaches", evidence: "Evidence",
    timeline: "Timeline", cause: "Cause", place: "Place",
    kind_service: "Service", kind_path: "Path", kind_node: "Node", kind_silence: "Silence",
    kind_line: "Line cut", kind_power: "Power", kind_off: "Machine off", kind_agent: "Agent", kind_delivery: "Delivery",
    kind_impaired: "Line quality", kind_redundancy: "Redundancy", kind_clock: "Clock",
    kind_upstream: "Upstream", kind_collector: "Data centre", and_more: "and {n} more",
    serious: "Serious", report_due: "report in {hours} h: due", assigned_to: "Assigned to",
    need_operator: "This needs an access token of role operator.", ago: "{age} ago", just_now: "just now",
    heard: "heard {age}", never_heard: "never heard", since: "since", rtt: "RTT", loss: "Loss", limit: "limit {limit}",
    signals: "Signals", signals_of_site: "Judged signals", nodes: "Nodes at this site", node: "Node", check: "Check",
    target: "Target", metric: "Metric", value: "Value", level: "Level", measured: "Measured", history: "Incident history",
    no_history: "No incident has been recorded for this site.", no_signals: "No signal has been judged yet.",
    chart: "Chart", series: "Series", range: "Time range", zoom_in: "Zoom in", zoom_out: "Zoom out",
    zoom_reset: "Reset zoom", zoom_hint: "Drag across the chart to zoom; double-click to go back.",
    no_data: "No measurement in this range.", no_series: "Nothing to draw yet.", loading: "Loading…",
    step: "one point each {age}", median: "median", spread: "min – p95", failures: "Failures", rtt_spread: "Round-trip time (RTT)",
    back: "All sites", to_light: "Switch to the light theme", to_dark: "Switch to the dark theme", other_language: "Tiếng Việt",
    sign_in: "Sign in", sign_out: "Sign out", sign_in_why: "This board needs an access token. Make one with",
    token: "Access token", token_wrong: "The access token is wrong or has been revoked.",
    not_found_site: "There is no site with this code.", not_found_incident: "There is no incident with this id.",
    failed: "Could not do it: {message}", no_match: "No site matches.", no_sites: "No site has sent a measurement yet.",
    no_group: "Other", show_only: "Show only {level}", skip: "Skip to content", yes: "yes", no: "no",
    "10m": "10 min", "1h": "1 h", "6h": "6 h", "24h": "24 h", "7d": "7 d", "30d": "30 d", "90d": "90 d",
    second: "{n} s", minute: "{n} min", hour: "{n} h", day: "{n} d",
  },
};

/** What people call a metric; one that is not here shows its own name. */
const METRICS = {
  success: ["Thành công", "Success"], active: ["Đang chạy", "Active"], loss_ratio: ["Mất gói", "Loss"],
  rtt_min_seconds: ["RTT thấp nhất", "RTT, minimum"], rtt_median_seconds: ["RTT trung vị", "RTT, median"],
  rtt_mean_seconds: ["RTT trung bình", "RTT, mean"], rtt_p95_seconds: ["RTT p95", "RTT, p95"], rtt_max_seconds: ["RTT cao nhất", "RTT, maximum"],
  ipdv_mean_seconds: ["Biến thiên trễ (IPDV)", "Delay variation (IPDV)"], ipdv_p95_seconds: ["Biến thiên trễ p95", "Delay variation, p95"],
  total_seconds: ["Tổng thời gian", "Total time"], connect_seconds: ["Thời gian kết nối", "Connect time"],
  dns_seconds: ["Phân giải tên", "Name lookup"], tls_seconds: ["Bắt tay TLS", "TLS handshake"], first_byte_seconds: ["Byte đầu tiên", "First byte"],
  response_seconds: ["Thời gian trả lời", "Response time"], response_bytes: ["Cỡ trả lời", "Response size"], status_code: ["Mã trạng thái", "Status code"],
  certificate_expiry_days: ["Chứng thư còn hạn", "Certificate left"], cpu_busy_ratio: ["CPU bận", "CPU busy"],
  memory_used_ratio: ["Bộ nhớ đã dùng", "Memory used"], memory_available_bytes: ["Bộ nhớ còn", "Memory available"],
  swap_used_ratio: ["Swap đã dùng", "Swap used"], disk_used_ratio: ["Đĩa đã dùng", "Disk used"], inode_used_ratio: ["Inode đã dùng", "Inodes used"],
  temperature_celsius: ["Nhiệt độ", "Temperature"], load_1m: ["Tải 1 phút", "Load, 1 min"], load_5m: ["Tải 5 phút", "Load, 5 min"],
  load_15m: ["Tải 15 phút", "Load, 15 min"], uptime_seconds: ["Thời gian hoạt động", "Uptime"], checks: ["Số phép đo", "Checks"],
  checks_in_error: ["Phép đo bị lỗi", "Checks in error"], spool_batches: ["Lô chờ gửi", "Batches waiting"], spool_bytes: ["Dữ liệu chờ gửi", "Bytes waiting"],
  loss_forward_ratio: ["Mất gói chiều đi", "Loss, forward"], loss_backward_ratio: ["Mất gói chiều về", "Loss, backward"],
  jitter_forward_seconds: ["Jitter chiều đi", "Jitter, forward"], jitter_backward_seconds: ["Jitter chiều về", "Jitter, backward"],
  pdv_forward_p95_seconds: ["PDV chiều đi p95", "PDV forward, p95"], pdv_backward_p95_seconds: ["PDV chiều về p95", "PDV backward, p95"],
  delay_forward_median_seconds: ["Trễ một chiều đi", "One-way delay, forward"], delay_backward_median_seconds: ["Trễ một chiều về", "One-way delay, backward"],
  mos: ["Điểm thoại (MOS)", "Call score (MOS)"], hops_forward: ["Số chặng", "Hops"], silent_seconds: ["Im lặng", "Silent for"],
  packets_sent: ["Gói đã gửi", "Packets sent"], packets_received: ["Gói nhận được", "Packets received"], packets_missing: ["Gói thiếu", "Packets missing"],
  packets_late: ["Gói muộn", "Packets late"], packets_duplicate: ["Gói trùng", "Packets duplicated"],
  packets_reordered: ["Gói sai thứ tự", "Packets reordered"], packets_corrupted: ["Gói hỏng", "Packets corrupted"],
  hosts_answering: ["Máy trả lời", "Hosts answering"], rtt_seconds: ["RTT chặng", "RTT of hop"], hops: ["Số chặng", "Hops"],
  first_hop_rtt_seconds: ["RTT chặng đầu", "RTT, first hop"], second_hop_rtt_seconds: ["RTT chặng hai", "RTT, second hop"],
  path_changed: ["Đường đi đổi", "Path changed"], path_mtu_bytes: ["MTU đường đi", "Path MTU"], black_hole: ["Lỗ đen MTU", "MTU black hole"],
  reached: ["Đến đích", "Reached"], offset_abs_seconds: ["Lệch giờ", "Clock offset"], offset_seconds: ["Lệch giờ (có dấu)", "Clock offset, signed"],
  stratum: ["Tầng NTP", "Stratum"], chain_expiry_days: ["Chuỗi chứng thư còn hạn", "Chain left"], ocsp_good: ["OCSP tốt", "OCSP good"],
  on_battery: ["Chạy ắc quy", "On battery"], low_battery: ["Ắc quy yếu", "Battery low"], battery_runtime_seconds: ["Ắc quy còn", "Battery left"],
  battery_charge_ratio: ["Mức sạc", "Battery charge"], load_ratio: ["Tải", "Load"], replace_battery: ["Cần thay ắc quy", "Replace battery"],
  duplicate_addresses: ["Địa chỉ trùng", "Duplicate addresses"], rogue_dhcp_servers: ["DHCP lạ", "Rogue DHCP servers"],
  rogue_routers: ["Bộ định tuyến lạ", "Rogue routers"], gateway_mac_changed: ["MAC cổng mạng đổi", "Gateway's MAC changed"],
  up: ["Có tín hiệu", "Link up"], in_bytes_total: ["Byte nhận", "Bytes in"], out_bytes_total: ["Byte gửi", "Bytes out"], state: ["Trạng thái", "State"],
  resident_bytes: ["Bộ nhớ tác tử", "Agent's memory"], memory_bytes: ["Bộ nhớ tiến trình", "Process memory"], active_seconds: ["Đã chạy", "Active for"],
};

let language = document.documentElement.lang === "en" ? "en" : "vi";

export const currentLanguage = () => language;
export const locale = () => (language === "vi" ? "vi-VN" : "en-GB");

export function setLanguage(next) {
  language = next;
  document.documentElement.lang = next;
  remember("nhip.language", next);
}

export function t(key, values = {}) {
  return WORDS[language][key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** Text that the server sends in both languages. */
export function said(text) {
  return text?.[language] ?? text?.vi ?? text?.en ?? "";
}

export function metricName(metric) {
  const [, name, instance] = /^([^[]*)(\[.*)?$/s.exec(metric);
  const known = Object.hasOwn(METRICS, name) ? METRICS[name][language === "vi" ? 0 : 1] : name;
  return instance ? `${known} ${instance.slice(1, -1)}` : known;
}

/** "Hòa", "Hoà" and "hoa" are one word to a person in a hurry. */
export function fold(text) {
  return text.normalize("NFD").replace(/\p{M}/gu, "").replace(/[đĐ]/g, "d").toLowerCase();
}
