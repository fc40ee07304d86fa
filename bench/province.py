"""A provisioned province for benchmarks: the lab that is up already, or one of its own; what its collector tells."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.lab import rehearse
from tests.lab.client import Lab
from tests.lab.programs import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOUD = ("opened", "reopened", "escalated")
_BEGINNINGS = (*_LOUD, "resolved", "eased", "merged")
_LOOK_SECONDS = 0.25


class Told(NamedTuple):
    """An incident, and when people were called to it: instants are seconds since the epoch."""

    incident: dict[str, Any]
    rings: list[float]
    """When a message that calls somebody left, of all since the instant asked about."""
    began: list[float]
    """When it opened, was opened again or became red since that instant, whether or not anybody was called."""


class Province:
    """A lab with a collector in it, over the board's own API."""

    def __init__(self, lab: Lab) -> None:
        """Open a door to the collector; LabError where none has been provisioned."""
        self.lab = lab
        self._address = rehearse.open_board(lab)

    def get(self, path: str) -> Any:
        """Return what the API answers; a collector that is being started again is asked again."""
        for _ in range(40):
            try:
                with urllib.request.urlopen(f"{self._address}{path}", timeout=20) as answer:  # noqa: S310  (our door)
                    return json.load(answer)
            except OSError:
                pass
            time.sleep(_LOOK_SECONDS)
        raise SystemExit(f"{self._address}{path} does not answer")

    def open(self) -> list[dict[str, Any]]:
        """Return the open incidents."""
        return list(self.get("api/v1/incidents?state=open")["incidents"])

    def told(self, since: float) -> list[Told]:
        """Return the incidents that have moved since an instant, with what was told of them since then."""
        found = []
        for each in self.get("api/v1/incidents?limit=30")["incidents"]:
            if each["state"] == "open" or instant(each["resolved_at"]) >= since:
                one = _told(self.get(f"api/v1/incidents/{each['id']}"), since)
                if one.rings or one.began:
                    found.append(one)
        return found

    def settle(self, seconds: float) -> list[dict[str, Any]]:
        """Wait until no incident is open, for so long at most; return what is still open then."""
        wait(lambda: not self.open(), seconds)
        return self.open()


def _told(incident: dict[str, Any], since: float) -> Told:
    rings, began, last = [], [], ""
    for line in incident["timeline"]:
        at, kind = instant(line["at"]), line["kind"]
        if kind in _BEGINNINGS:
            last = kind
            if kind in _LOUD and at >= since:
                began.append(at)
        elif kind == "told" and last in _LOUD:
            last = ""  # of several channels the first
            if at >= since:
                rings.append(at)
    return Told(incident, rings, began)


def instant(text: str) -> float:
    """Return an RFC 3339 instant in seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


def wait(true: Callable[[], Any], seconds: float) -> Any:
    """Return what `true` returns once that is true, or what it returned last."""
    deadline = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    return found


@contextlib.contextmanager
def provisioned(name: str, **settings: Any) -> Iterator[Province]:
    """Give the lab of this name if it is up; else boot and provision one, and take it away afterwards.

    `settings` of the collector are put in force in either.
    """
    words = ("-e", json.dumps({"collector_settings": settings})) if settings else ()
    lab = Lab(name)
    try:
        lab.ask("status")
    except LabError:
        with Lab.up(name) as own:
            if rehearse.provision(own, "playbooks/site.yml", *words):
                raise SystemExit("the province could not be provisioned: see above") from None
            yield Province(own)
        return
    lab.ask("heal", place="all")
    if settings and rehearse.provision(lab, "playbooks/datacentre.yml", *words):
        raise SystemExit("the collector's settings could not be put in force: see above")
    yield Province(lab)
