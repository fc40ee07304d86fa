"""The collector's configuration: what `collector.yml` may say, and what it is where it says nothing."""

from __future__ import annotations

import ipaddress
import re
from datetime import date, time
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from checks.limits import Limit, load_limits
from collector.leases import Rules, Span
from collector.telling.settings import (
    Channel,
    DeadMan,
    Drill,
    Escalation,
    Person,
    Rota,
    Route,
    Telling,
)
from collector.window import Window  # noqa: TC001  (msgspec reads the annotations when it runs)

Seconds = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Days = Annotated[float, msgspec.Meta(gt=0, le=3650)]
_LAST_PORT = 65_535
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


class Site(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place with a line to the data centre, as the board names it."""

    site: Annotated[str, msgspec.Meta(min_length=1)]
    name: str
    group: str = ""
    upstream: str = ""  # what its line shares with others on the way here; its group, where nothing is said
    second_upstream: str = ""  # of a second line: the site is cut off only once both are
    addresses: list[str] = []  # of its gateway, as the data centre reaches it: one a line
    limits: list[Limit] = []  # its own, in place of those that hold for all
    population: Annotated[int, msgspec.Meta(ge=0)] = 0  # whom it serves, for messages; 0: nobody says
    baseline: dict[str, dict[str, float]] = {}  # what acceptance measured here: check, metric, value


class Upstream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the lines of several sites pass on the way here: a point of presence, a carrier."""

    upstream: Annotated[str, msgspec.Meta(min_length=1)]
    name: str = ""
    parent: str = ""  # what it hangs on itself; nothing at the top


class Service(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something people use. Whatever is measured of any of its `targets` is about this service."""

    service: Annotated[str, msgspec.Meta(min_length=1)]
    targets: Annotated[list[str], msgspec.Meta(min_length=1)]
    name: str = ""
    shared: bool = True  # every site sees the same one, at the data centre; false where each has its own


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The certificate that the collector shows."""

    certificate: Path
    key: Path


class Journal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of what was acknowledged is kept for a replay."""

    keep_hours: Seconds = 24
    max_bytes: Annotated[int, msgspec.Meta(ge=1_000_000)] = 4_000_000_000


class Store(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long metrics are kept, and what the database may use."""

    raw_days: Days = 7
    minute_days: Days = 14
    hour_days: Days = 800
    memory_limit_bytes: Annotated[int, msgspec.Meta(ge=64_000_000)] = 512_000_000


class Write(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a writer may send."""

    max_body_bytes: Annotated[int, msgspec.Meta(ge=1_000)] = 8_000_000
    max_signals_per_site: Count = 20_000


class LeaseRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When sites may load their lines to test them, and how much. No hours: at any time."""

    hours: list[str] = msgspec.field(default_factory=lambda: ["22:00-05:00"])
    time_zone: str = "Asia/Ho_Chi_Minh"
    bytes_per_site_day: Annotated[int, msgspec.Meta(ge=1)] = 200_000_000
    most_seconds: Annotated[float, msgspec.Meta(ge=5, le=3600)] = 90

    def __post_init__(self) -> None:
        """Refuse hours and a zone that mean nothing."""
        self.rules()

    def rules(self) -> Rules:
        """Return the rules as they are applied; `ValueError` says what is wrong with them."""
        hours = tuple(_span(text) for text in self.hours)
        return Rules(hours, _zone(self.time_zone), self.bytes_per_site_day, self.most_seconds)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"time_zone {name!r} is not known here; write Asia/Ho_Chi_Minh") from None


def _span(text: str) -> Span:
    start, _, end = text.partition("-")
    times = [time(int(found[1]), int(found[2])) for each in (start, end) if (found := _CLOCK.fullmatch(each.strip()))]
    if len(times) < 2 or times[0] == times[1]:  # noqa: PLR2004  (a start and an end)
        raise ValueError(f"hours {text!r} are not a span of the day; write 22:00-05:00")
    return Span(*times)


class Forward(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A long-term database that speaks InfluxDB v2's write API: InfluxDB 2 and 3, VictoriaMetrics."""

    url: str
    token_file: Path | None = None
    org: str = "nhip"
    bucket: str = "nhip"
    timeout_seconds: Seconds = 10

    def __post_init__(self) -> None:
        """Refuse an address of another kind."""
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url must begin with http:// or https://, not {self.url!r}")
        if not urlsplit(self.url).hostname:
            raise ValueError(f"url names no host: {self.url!r}; write for example http://127.0.0.1:8428")


class SilenceRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How soon witnesses may call a site silent, before its own stream does (`silence_seconds`)."""

    test_packets_seconds: Seconds = 2.5  # the reflector has heard none of its packets for so long: it is in doubt
    one_witness_seconds: Seconds = 4.5  # in doubt, and nothing came from it for so long: it is silent
    two_witnesses_seconds: Seconds = 2.5  # likewise, where its gateway does not answer the data centre either


class IncidentRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How faults become incidents."""

    wait_seconds: Annotated[float, msgspec.Meta(ge=0, le=60)] = 2  # for the upstream's state, before a site rings
    together_seconds: Seconds = 10  # what fails within so long of each other fails together
    return_seconds: Seconds = 7  # an upstream is back; a site behind it that is not, so much later, rings
    reopen_seconds: Annotated[float, msgspec.Meta(ge=0)] = 1800  # ill again within so long: the same incident
    serious_sites: Count = 10  # an incident that reaches so many sites is a serious one


class Own(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The collector's own place: the site that is here, and whom its probes reach only over our own uplink."""

    site: str = "data-centre"
    uplink: list[str] = []  # targets of probes by that site's nodes: the data centre's router


class Availability(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What reports of availability count by."""

    goal_ratio: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.99  # our assumption: no rule names a figure
    line_targets: list[str] = []  # whose echoes test a site's line, beside STAMP and the data centre's own probes
    time_zone: str = "Asia/Ho_Chi_Minh"  # whose months are reported

    def __post_init__(self) -> None:
        """Refuse a zone that nobody knows."""
        self.zone()

    def zone(self) -> ZoneInfo:
        """Return the time zone; `ValueError` where nobody knows it."""
        return _zone(self.time_zone)


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether and how a site is looked at when something is wrong; only where there is an `inventory`."""

    enabled: bool = True
    seconds: Annotated[float, msgspec.Meta(ge=1, le=60)] = 5  # until the last verdict; the first comes within two
    user: Annotated[str, msgspec.Meta(pattern="^[a-z_][a-z0-9_-]*$")] = "root"  # logs in to a site's gateway
    identity: Path | None = None  # with this key; without one, with the collector's user's own


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything in `collector.yml`. Each key has a default, but for who may reach it: see `listen` and `tls`."""

    listen: str = "127.0.0.1:8443"
    data: Path = Path("/var/lib/nhip/collector")
    tls: Tls | None = None
    loopback_reads: bool = False
    silence: SilenceRules = SilenceRules()
    silence_seconds: Seconds = 10
    restart_grace_seconds: Annotated[float, msgspec.Meta(ge=0)] = 20
    late_seconds: Seconds = 60
    stale_seconds: Seconds = 300
    incidents: IncidentRules = IncidentRules()
    own: Own = Own()
    inventory: Path | None = None  # where sites, upstreams, services and limits stand; in place of those here
    sites: list[Site] = []
    upstreams: list[Upstream] = []
    maintenance: list[Window] = []
    holidays: list[date] = []  # no working days, when it is counted how long ahead work is announced
    services: list[Service] = []
    limits: list[Limit] = []
    write: Write = Write()
    journal: Journal = Journal()
    store: Store = Store()
    leases: LeaseRules = LeaseRules()
    availability: Availability = Availability()
    diagnosis: Diagnosis = Diagnosis()
    channels: list[Channel] = []
    people: list[Person] = []
    rotas: list[Rota] = []
    routes: list[Route] = []  # none: everything to every channel
    escalations: list[Escalation] = []
    telling: Telling = Telling()
    dead_man: DeadMan | None = None
    drill: Drill = Drill()
    forward: Forward | None = None

    def address(self) -> tuple[str, int]:
        """Return where to listen, as host and port."""
        return split_address(self.listen)

    def all_limits(self) -> list[Limit]:
        """Return the limits in force: the shipped ones or our own in their place, and those of single sites."""
        own = {limit.key for limit in self.limits}
        local = [msgspec.structs.replace(limit, sites=[site.site]) for site in self.sites for limit in site.limits]
        return [*(limit for limit in load_limits() if limit.key not in own), *self.limits, *local]


def split_address(text: str) -> tuple[str, int]:
    """Part `host:port` or `[v6]:port`; `ValueError` says what would be right."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > _LAST_PORT:
        raise ValueError(f"{text!r} is not an address: write host:port, for example 127.0.0.1:8443 or [::1]:8443")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Tell whether an address reaches this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name: it may lead anywhere
