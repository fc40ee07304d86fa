"""What people and other systems tell the judge: journalled before it is carried out, so that a replay does it too."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from collector.incident import Evidence, Place  # noqa: TC001  (msgspec reads the annotations when it runs)
from collector.journal import ORDER, Entry
from collector.window import Window  # noqa: TC001  (likewise)


class Look(msgspec.Struct, frozen=True, tag="look"):
    """Nothing but the time: what its passing has found is found again by a replay."""


class Resolve(msgspec.Struct, frozen=True, tag="resolve"):
    """End an incident by hand: its silent nodes were taken away for good, and are watched no more."""

    incident: str


class Maintain(msgspec.Struct, frozen=True, tag="maintain"):
    """Add a window of planned work."""

    window: Window


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Take an added window away."""

    window: str


class Serious(msgspec.Struct, frozen=True, tag="serious"):
    """Call an incident serious, or not: its reports are due."""

    incident: str
    serious: bool


class Alert(msgspec.Struct, frozen=True):
    """What another system says of a place. `key` is the same as long as it is the same alert."""

    key: int
    place: Place
    began_at: int
    evidence: Evidence


class External(msgspec.Struct, frozen=True, tag="external"):
    """Take in what another system has found, or has found to be over."""

    alerts: list[Alert]


Order: TypeAlias = External | Look | Resolve | Maintain | Cancel | Serious


_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Order)


def entry_of(order: Order, now: int) -> Entry:
    """Return the journal entry that an order is."""
    return Entry(arrived_at=now, body=msgspec.json.encode(order), precision=ORDER)


def order_of(entry: Entry) -> Order:
    """Return the order that a journal entry is."""
    order: Order = _DECODER.decode(entry.body)
    return order
