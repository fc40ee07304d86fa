"""What a line does to a frame, a step without clock or I/O: delay, jitter, loss, reordering, duplicates, damage, rate.

The words are those of Linux' netem, which this kernel need not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from random import Random

ETHERNET_BYTES = 14
_REORDER_SECONDS = 0.01


class Impairment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one direction of a line does. Ratios are 0 to 1, each frame's fate its own unless `loss_burst` says else.

    `jitter_seconds` is added, evenly distributed between none and all of it; frames keep their order. A reordered
    frame is held back `reorder_seconds` more, so that those behind overtake it. `loss_burst` is the mean number of
    frames lost in a row (a Gilbert model). A rate of 0 is no limit; behind one, `queue_seconds` of traffic may wait.
    `mtu` (0: any) drops IP packets that are longer without a word, as a black hole does. `clock_shift_seconds` is
    added to what time servers say whose answers pass.
    """

    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    loss_ratio: float = 0.0
    loss_burst: float = 1.0
    reorder_ratio: float = 0.0
    reorder_seconds: float = _REORDER_SECONDS
    duplicate_ratio: float = 0.0
    corrupt_ratio: float = 0.0
    rate_bits_per_second: float = 0.0
    queue_seconds: float = 0.1
    mtu: int = 0
    clock_shift_seconds: float = 0.0
    cut: bool = False

    @property
    def keeps_frames_whole(self) -> bool:
        """Whether all it does is to let frames arrive later, so that nothing depends on how data is cut into frames."""
        usual = {"delay_seconds": self.delay_seconds, "jitter_seconds": self.jitter_seconds}
        return self == Impairment(**usual, queue_seconds=self.queue_seconds)


Departure = tuple[
    float, bool
]  # one copy of a frame that leaves: due when, in the clock of what was given; damaged or not


class Direction:
    """One direction of a line: what it remembers from frame to frame."""

    def __init__(self, impairment: Impairment, random: Random) -> None:
        """Begin with an idle line; `random` decides every frame's fate."""
        self._random = random
        self._only_late = False
        self.become(impairment)
        self._free_at = 0.0
        self._last_due_at = 0.0
        self._losing = False

    def become(self, impairment: Impairment) -> None:
        """Do something else to the frames that come from now on; those on their way arrive as they would have."""
        self.impairment = impairment
        self._only_late = impairment.keeps_frames_whole and not impairment.jitter_seconds

    def take(self, now: float, frame_bytes: int) -> list[Departure]:
        """Return the copies of a frame that came at `now` (none, one or two), in the order they are due."""
        does = self.impairment
        if self._only_late:  # the usual case, and most of what a busy line does
            due_at = self._last_due_at = max(self._last_due_at, now + does.delay_seconds)
            return [(due_at, False)]
        if does.cut or (does.mtu and frame_bytes - ETHERNET_BYTES > does.mtu) or (does.loss_ratio and self._is_lost()):
            return []
        sent_at = self._sent_at(now, frame_bytes)
        if sent_at is None:
            return []
        due_at = sent_at + does.delay_seconds
        if does.jitter_seconds:
            due_at += self._random.random() * does.jitter_seconds
        due_at = max(due_at, self._last_due_at)
        if does.reorder_ratio and self._random.random() < does.reorder_ratio:
            due_at += does.reorder_seconds
        else:
            self._last_due_at = due_at
        damaged = does.corrupt_ratio > 0 and self._random.random() < does.corrupt_ratio
        departures = [(due_at, damaged)]
        if does.duplicate_ratio and self._random.random() < does.duplicate_ratio:
            departures.append((due_at, False))
        return departures

    def _sent_at(self, now: float, frame_bytes: int) -> float | None:
        """Return when the frame has gone out at the line's rate, or None if the queue has no room for it."""
        does = self.impairment
        if not does.rate_bits_per_second:
            return now
        begins_at = max(now, self._free_at)
        if begins_at - now > does.queue_seconds:
            return None
        self._free_at = begins_at + frame_bytes * 8 / does.rate_bits_per_second
        return self._free_at

    def _is_lost(self) -> bool:
        """Tell the next frame's fate: a chain of two states whose long-run share of loss is `loss_ratio`."""
        does = self.impairment
        burst = max(1.0, does.loss_burst)
        if burst == 1.0 or does.loss_ratio >= 1.0:
            return self._random.random() < does.loss_ratio
        leave = 1.0 / burst
        if self._losing:
            self._losing = self._random.random() >= leave
        else:
            self._losing = self._random.random() < leave * does.loss_ratio / (1.0 - does.loss_ratio)
        return self._losing
