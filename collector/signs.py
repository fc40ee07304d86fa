"""What the evidence of an incident says is wrong, where that is more than its place: one word, by the metrics. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checks.limits import base_metric

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collector.incident import Evidence, Place

_PATH = (  # the nearest to the cause first: where packets are lost, they are late as well
    ("mtu", ("black_hole", "path_mtu_bytes")),
    ("unreachable", ("reached",)),
    ("loss", ("loss_ratio", "loss_forward_ratio", "loss_backward_ratio")),
    ("delay", ("rtt_min_seconds", "rtt_median_seconds", "rtt_p95_seconds")),
    ("jitter", ("jitter_forward_seconds", "jitter_backward_seconds", "mos")),
    ("capacity", ("capacity_up_ratio", "capacity_down_ratio")),
)
_NODE = {
    "on_battery": "battery",
    "low_battery": "battery",
    "battery_charge_ratio": "battery",
    "battery_runtime_seconds": "battery",
    "rogue_dhcp_servers": "dhcp",
    "dhcp_servers": "dhcp",
    "duplicate_addresses": "lan",
    "rogue_routers": "lan",
    "gateway_mac_changed": "lan",
    "disk_used_ratio": "disk",
    "inode_used_ratio": "disk",
}
_CERTIFICATE = ("certificate_expiry_days", "chain_expiry_days")


def sign(place: Place, evidence: Iterable[Evidence]) -> str:
    """Return the word; "" where the evidence is of several kinds, or of none that has a word."""
    shown = list(evidence)
    metrics = {base_metric(item.metric) for item in [item for item in shown if item.ill] or shown}
    if place.kind == "path":
        return next((word for word, names in _PATH if not metrics.isdisjoint(names)), "")
    if place.kind == "service":
        return "certificate" if metrics and metrics.issubset(_CERTIFICATE) else ""
    words = {_NODE.get(metric, "") for metric in metrics} if place.kind == "node" else set()
    return words.pop() if len(words) == 1 else ""
