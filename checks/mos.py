"""How a phone call over this path would sound: the mean opinion score, estimated by the E-model of ITU-T G.107.

Simplified: every part of the model that does not depend on the network keeps its default (R0 - Is = 93.2). The codec is
G.711 with packet loss concealment (G.113: Ie = 0, Bpl = 25.1), losses are taken to be random (BurstR = 1), and the
mouth-to-ear delay is that of the network alone unless the caller adds a jitter buffer.
"""

from __future__ import annotations

_R_DEFAULT = 93.2
_EQUIPMENT = 0.0
_ROBUSTNESS = 25.1
_BEND_MS = 177.3


def transmission_rating(delay_seconds: float, loss_ratio: float, *, burst_ratio: float = 1.0) -> float:
    """Return R of G.107 for a one-way delay and a loss ratio (0 to 1): 93.2 at best, below 50 not to be offered."""
    delay_ms, loss_percent = delay_seconds * 1000, loss_ratio * 100
    delayed = 0.024 * delay_ms + (0.11 * (delay_ms - _BEND_MS) if delay_ms > _BEND_MS else 0.0)
    lost = _EQUIPMENT + (95 - _EQUIPMENT) * loss_percent / (loss_percent / burst_ratio + _ROBUSTNESS)
    return _R_DEFAULT - delayed - lost


def mean_opinion_score(rating: float) -> float:
    """Turn R into MOS (G.107, annex B): 1 bad to 4.5 excellent."""
    if rating <= 0:
        return 1.0
    if rating >= 100:  # noqa: PLR2004  (the model's own end)
        return 4.5
    return max(1.0, 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6)
