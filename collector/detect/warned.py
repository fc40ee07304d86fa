"""What the detectors of early warning say: a signal is yellow for a reason that is no limit, and how people read it."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from checks.limits import say

Kind = Literal["unusual", "full", "flapping"]


class Warned(NamedTuple):
    """A signal became yellow (`now`) for this reason, or it is over.

    `usual` is what it is held against: its baseline; for `full`, the days left; for `flapping`, the changes counted.
    Instants are nanoseconds: measured (`began_at`, `at`) and known (`known_at`).
    """

    signal: int
    kind: Kind
    now: bool
    value: float
    usual: float
    began_at: int
    at: int
    known_at: int


def over(signal: int, kind: Kind, now: int) -> Warned:
    """Return that a warning is over, without a value that says so."""
    return Warned(signal, kind, False, math.nan, math.nan, now, now, now)  # noqa: FBT003  (it is over)


_WORDS = {
    "unusual": {
        "vi": "{metric} {value}, thường là {usual} vào giờ này",
        "en": "{metric} {value}, usually {usual} at this hour",
    },
    "full": {
        "vi": "{metric} {value}: với đà này sẽ đầy sau {days} ngày",
        "en": "{metric} {value}: full in {days} days at this pace",
    },
    "flapping": {
        "vi": "{metric} lúc được lúc không: đổi trạng thái {count} lần trong 30 phút",
        "en": "{metric} comes and goes: {count} changes in 30 minutes",
    },
}


_OVER = {"vi": "{metric} trở lại như thường lệ", "en": "{metric} is as usual again"}


def words(warned: Warned, metric: str) -> dict[str, str]:
    """Say a warning, or its end, in Vietnamese and English."""
    if not warned.now:
        return {language: text.format(metric=metric) for language, text in _OVER.items()}
    told = {
        "metric": metric,
        "value": say(metric, warned.value),
        "usual": say(metric, warned.usual),
        "days": f"{warned.usual:.0f}",
        "count": f"{warned.usual:.0f}",
    }
    return {language: text.format(**told) for language, text in _WORDS[warned.kind].items()}
