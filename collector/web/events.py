"""Server-sent events: what changes, to every page that is open, at most twice a second."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

_FLUSH_SECONDS = 0.5
_KEEP_ALIVE_SECONDS = 10.0
_MOST_WAITING = 2_000
_MOST_SITES_A_FLUSH = 200

Event = tuple[str, dict[str, Any]]


class Subscriber:
    """One open page, and the site it looks at, if it looks at one."""

    def __init__(self, site: str | None) -> None:
        """Wait for events about `site`'s values, and about every site's state."""
        self.site = site
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue(_MOST_WAITING)

    def send(self, event: bytes) -> None:
        """Hand over one event. A page that does not keep up is let go: it comes back and reads everything anew."""
        try:
            self.queue.put_nowait(event)
        except asyncio.QueueFull:
            while not self.queue.empty():
                self.queue.get_nowait()
            self.queue.put_nowait(None)


class Events:
    """Gathers what changed, from the judge's thread, and tells it to subscribers from the loop."""

    def __init__(self, tell_site: Callable[[str], dict[str, Any] | None]) -> None:
        """Describe a site by `tell_site` at the moment of telling."""
        self._tell_site = tell_site
        self._subscribers: set[Subscriber] = set()
        self._changed: dict[str, None] = {}
        self._heard: dict[str, None] = {}
        self._signals: dict[int, dict[str, Any]] = {}
        self._incidents: dict[str, dict[str, Any]] = {}
        self._watched: frozenset[str] = frozenset()

    @property
    def wanted(self) -> bool:
        """Tell whether anybody listens: else nothing need be gathered."""
        return bool(self._subscribers)

    @property
    def watched(self) -> frozenset[str]:
        """Return the sites whose values somebody looks at."""
        return self._watched

    def changed(self, sites: Iterable[str]) -> None:
        """Note sites whose state changed: told first."""
        self._changed.update(dict.fromkeys(sites))

    def heard(self, sites: Iterable[str]) -> None:
        """Note sites that were heard: told as there is room."""
        self._heard.update(dict.fromkeys(sites))

    def signal(self, number: int, told: dict[str, Any]) -> None:
        """Note a signal's newest value, with its site."""
        self._signals[number] = told

    def incident(self, told: dict[str, Any]) -> None:
        """Note an incident as it stands."""
        self._incidents[str(told["id"])] = told

    async def run(self) -> None:
        """Tell, until cancelled; then let every page go."""
        try:
            while True:
                await asyncio.sleep(_FLUSH_SECONDS)
                self._flush()
        finally:
            for subscriber in self._subscribers:
                subscriber.send(b"")
                subscriber.queue.put_nowait(None)

    async def stream(self, site: str | None) -> AsyncIterator[bytes]:
        """Yield events for one page, with a comment now and then so that both ends see the other is there."""
        subscriber = Subscriber(site)
        self._subscribers.add(subscriber)
        self._watch()
        try:
            yield b"retry: 2000\n: here\n\n"
            while True:
                try:
                    event = await asyncio.wait_for(subscriber.queue.get(), _KEEP_ALIVE_SECONDS)
                except TimeoutError:
                    event = b": here\n\n"
                if event is None:
                    return
                yield event
        finally:
            self._subscribers.discard(subscriber)
            self._watch()

    def _watch(self) -> None:
        self._watched = frozenset(s.site for s in self._subscribers if s.site is not None)

    def _flush(self) -> None:
        incidents, self._incidents = self._incidents, {}
        signals, self._signals = self._signals, {}
        for told in incidents.values():
            self._everyone(("incident", told))
        for site in [*self._take(self._changed), *self._take(self._heard)]:
            summary = self._tell_site(site)
            if summary is not None:
                self._everyone(("site", summary))
        for told in signals.values():
            event = _encode(("signal", told))
            for subscriber in self._subscribers:
                if subscriber.site in (None, told["site"]):
                    subscriber.send(event)

    def _take(self, noted: dict[str, None]) -> list[str]:
        taken = list(noted)[:_MOST_SITES_A_FLUSH]
        for site in taken:
            noted.pop(site, None)
        return taken

    def _everyone(self, event: Event) -> None:
        encoded = _encode(event)
        for subscriber in list(self._subscribers):
            subscriber.send(encoded)


def _encode(event: Event) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (event[0].encode(), orjson.dumps(event[1]))
