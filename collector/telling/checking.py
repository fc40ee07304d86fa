"""What is wrong with routes and those whom they name, found when the configuration is read. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from collector.telling.hours import ALWAYS, spans_of
from collector.telling.routes import LOG, Book, Subject, areas_of, names_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from collector.config import Config

Problems = list[tuple[str, str]]
_SHOWN = 10
_IN_A_LINE = 3


def problems(config: Config) -> Problems:
    """Return every mistake in people, rotas, routes and escalations, each with its place."""
    # A name that nobody knows makes another one look useless, and a route look unreached: first things first.
    return [*_repeated(config), *_unknown(config)] or [*_useless(config), *_unreached(config)]


class Gap(NamedTuple):
    """Red incidents that no route takes: what they are about, and at which minutes of the week."""

    about: str
    minutes: int

    def __str__(self) -> str:
        """Say it in a line."""
        return f"{self.about}: no route takes a red incident {spans_of(self.minutes)}; every channel will be told"


def gaps(config: Config) -> list[Gap]:
    """Return the red incidents that no route takes: they go to the log and to every channel."""
    if not config.routes:
        return []
    book = Book(config)
    found: dict[int, list[str]] = {}
    for about, subject in _samples(config, book):
        missed = book.missed(subject) if subject.severity == "red" else 0
        if missed:
            found.setdefault(missed, []).append(about)
    return [Gap(_few(abouts, _IN_A_LINE), minutes) for minutes, abouts in found.items()]


def _repeated(config: Config) -> Iterator[tuple[str, str]]:
    """Name what is given twice; people, rotas and channels share one set of names, because `tell` names any of them."""
    first: dict[str, str] = {}
    for list_name, key in (("channels", "channel"), ("people", "person"), ("rotas", "rota")):
        for index, item in enumerate(getattr(config, list_name)):
            name, place = getattr(item, key), f"$.{list_name}[{index}]"
            if name == LOG:
                yield f"{place}.{key}", "'log' is the log, which is always told: take another name"
            elif name in first:
                yield place, f"{name!r} is given twice; first at {first[name]}"
            first.setdefault(name, place)
    for list_name, key in (("routes", "route"), ("escalations", "escalation")):
        seen: dict[str, int] = {}
        for index, item in enumerate(getattr(config, list_name)):
            name = getattr(item, key)
            if name in seen:
                yield f"$.{list_name}[{index}]", f"{name!r} is given twice; first at $.{list_name}[{seen[name]}]"
            seen.setdefault(name, index)


def _unknown(config: Config) -> Iterator[tuple[str, str]]:
    names = names_of(config)
    for index, person in enumerate(config.people):
        yield from _each(f"$.people[{index}].channels", person.channels, "channel", names["channels"])
    for index, rota in enumerate(config.rotas):
        yield from _each(f"$.rotas[{index}].people", rota.people, "person", names["people"])
    anybody = [name for kind in names.values() for name in kind]
    for index, escalation in enumerate(config.escalations):
        for number, step in enumerate(escalation.steps):
            place = f"$.escalations[{index}].steps[{number}].tell"
            yield from _each(place, step.tell, "person, rota or channel", anybody)
    sites = {site.site for site in config.sites}
    areas = sorted(areas_of(config), key=lambda name: (name in sites, name))
    services = [service.service for service in config.services]
    escalations = [each.escalation for each in config.escalations]
    for index, route in enumerate(config.routes):
        place = f"$.routes[{index}]"
        yield from _each(f"{place}.tell", route.tell, "person, rota or channel", anybody)
        yield from _each(f"{place}.areas", route.areas, "upstream, group or site", areas)
        yield from _each(f"{place}.services", route.services, "service", services)
        if route.escalation:
            yield from _each(f"{place}.escalation", [route.escalation], "escalation", escalations, one=True)


def _each(
    place: str, named: Sequence[str], what: str, known: Sequence[str], *, one: bool = False
) -> Iterator[tuple[str, str]]:
    for index, name in enumerate(named):
        if name not in known:
            there = f"there are: {_few(known)}" if known else "there is none"
            yield (place if one else f"{place}[{index}]"), f"no {what} {name!r} is listed; {there}"


def _useless(config: Config) -> Iterator[tuple[str, str]]:
    """Name what nobody will ever use: a name was mistyped, or a line forgotten."""
    used = {route.escalation for route in config.routes}
    for index, escalation in enumerate(config.escalations):
        if escalation.escalation not in used:
            yield f"$.escalations[{index}]", f"no route has escalation: {escalation.escalation}"
    told = {name for route in config.routes for name in route.tell}
    told |= {name for escalation in config.escalations for step in escalation.steps for name in step.tell}
    for index, rota in enumerate(config.rotas):
        if rota.rota not in told:
            yield f"$.rotas[{index}]", f"no route and no escalation tells {rota.rota!r}"
    told |= {person for rota in config.rotas for person in rota.people}
    for index, person in enumerate(config.people):
        if person.person not in told:
            yield f"$.people[{index}]", f"no route, no escalation and no rota tells {person.person!r}"
    told |= {channel for person in config.people for channel in person.channels}
    for index, channel in enumerate(config.channels if config.routes else ()):
        if channel.channel not in told:
            yield f"$.channels[{index}]", f"no route, no escalation and no person has {channel.channel!r}"


def _unreached(config: Config) -> Iterator[tuple[str, str]]:
    """Name routes that those above them leave nothing to."""
    book = Book(config)
    reached: set[str] = set()
    ever: set[str] = set()
    for _, subject in _samples(config, book):
        reached.update(route.route for route, _ in book.takers(subject))
        ever.update(compiled.route.route for compiled in book.routes if compiled.takes(subject))
    for index, route in enumerate(config.routes):
        if route.route in reached:
            continue
        words = (
            "those above take all of it: move it up, or let one of them say go_on: true"
            if route.route in ever
            else "nothing is both in these areas and one of these services"
        )
        yield f"$.routes[{index}]", f"no incident ever reaches route {route.route!r}: {words}"


def _samples(config: Config, book: Book) -> Iterator[tuple[str, Subject]]:
    """Yield an incident of every sort that routes can tell apart, with what it is about."""
    services = ["", *(service.service for service in config.services)]
    places: dict[tuple[bool, ...], tuple[str, str]] = {}  # of sites that no route tells apart, one
    for site in [*config.sites]:
        key = tuple(area.holds(_at(site.site)) for compiled in book.routes for area in compiled.areas)
        places.setdefault(key, (f"{site.name} ({site.site})", site.site))
    everywhere = frozenset(site.site for site in config.sites) | {"a site that nobody lists"}
    kinds: list[tuple[str, str, str, frozenset[str]]] = [
        (f"service {service} at {about}" if service else about, "service" if service else "path", service, _one(site))
        for about, site in places.values()
        for service in services
    ]
    kinds += [(f"service {service}, seen by all", "service", service, everywhere) for service in services if service]
    kinds += [
        (f"upstream {name}", "upstream", name, area.sites)
        for name, area in sorted(areas_of(config).items())
        if area.upstreams
    ]
    kinds += [("the whole province", "collector", "", everywhere), ("a site that nobody lists", "path", "", _one("?"))]
    for about, kind, name, sites in kinds:
        yield about, Subject("red", kind, name, sites)
        yield about, Subject("yellow", kind, name, sites)


def _at(site: str) -> Subject:
    return Subject("red", "path", "", _one(site))


def _one(site: str) -> frozenset[str]:
    return frozenset([site])


def _few(names: Iterable[str], most: int = _SHOWN) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (" …" if len(listed) > most else "")


def lines(config: Config, now: int) -> list[str]:
    """Return a line a route, for people who check a configuration: who is told of what, as of now."""
    book = Book(config)
    told = []
    for compiled in book.routes:
        route = compiled.route
        what = [" or ".join(route.severity), *_said("in", route.areas), *_said("of", route.services)]
        if compiled.minutes != ALWAYS:
            what.append(", ".join(route.hours))
        then = f", then {route.escalation}" if route.escalation else ""
        more = "; the routes below too" if route.go_on else ""
        told.append(f"{route.route}: {' '.join(what)} → {', '.join(book.on_duty(route.tell, now))}{then}{more}")
    return told


def _said(word: str, names: Sequence[str]) -> list[str]:
    return [f"{word} {_few(names)}"] if names else []
