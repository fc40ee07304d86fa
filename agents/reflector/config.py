"""`reflector.yml`: what it may say, and every mistake in it at once."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from agents.config import Collector, Name, Problems, SpoolLimits, collector_problems
from agents.reflector.capacity_server import CapacityLimits
from checks.address import literal, split_host_port
from checks.capacity import PORT as CAPACITY_PORT
from checks.check import CheckError
from checks.secret import Secret, read_key
from checks.stamp_wire import PORT as STAMP_PORT
from checks.strict import ConfigError, build, load_yaml

DEFAULT_LISTEN = "127.0.0.1:862"


class Sender(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A site that sends test packets: its session identifier, and the key by which it proves who it is."""

    site: Name
    ssid: Annotated[int, Meta(ge=1, le=65_535)]
    key_file: str | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is taken from one source address, and how much is remembered."""

    packets_per_second: Annotated[float, Meta(ge=1, le=1_000_000)] = 200.0
    burst: Annotated[int, Meta(ge=1, le=1_000_000)] = 400
    sessions: Annotated[int, Meta(ge=1, le=1_000_000)] = 20_000


class CapacityTests(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where capacity tests are answered: without `listen` at the addresses of the test packets, port 8620."""

    listen: list[str] = []
    limits: CapacityLimits = CapacityLimits()


class ReflectorFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`reflector.yml` as a whole."""

    site: Name = "data-centre"
    node: Name = "reflector"
    listen: Annotated[list[str], Meta(min_length=1)] = msgspec.field(default_factory=lambda: [DEFAULT_LISTEN])
    authenticated: bool = False
    senders: list[Sender] = []
    limits: Limits = Limits()
    capacity: CapacityTests | None = None
    trust_clock: bool = False
    publish_seconds: Annotated[float, Meta(ge=1, le=300)] = 5.0
    forget_seconds: Annotated[float, Meta(ge=10, le=86_400)] = 600.0
    data: str = "/var/lib/nhip/reflector"
    heartbeat_seconds: Annotated[float, Meta(ge=1, le=3600)] | None = 5.0
    spool: SpoolLimits = SpoolLimits()
    collector: Collector | None = None


@dataclass(frozen=True, slots=True)
class ReflectorConfig:
    """A file that holds together, with the keys and the token that it points to (never printed)."""

    file: ReflectorFile
    keys: dict[int, bytes] | None
    token: Secret

    @property
    def capacity_addresses(self) -> list[str]:
        """Return where capacity tests are answered."""
        if self.file.capacity is None:
            return []
        near = [f"{text.rpartition(':')[0]}:{CAPACITY_PORT}" for text in self.file.listen]
        return self.file.capacity.listen or near

    @property
    def sites(self) -> dict[int, str]:
        """Return the site of each known session identifier."""
        return {sender.ssid: sender.site for sender in self.file.senders}


def load(path: Path) -> ReflectorConfig:
    """Read the reflector's file; `ConfigError` lists everything that is wrong with it, and with what it points to."""
    raw = load_yaml(path, dict)
    problems: Problems = []
    file = None
    try:
        file = build(ReflectorFile, raw)
    except ConfigError as exc:
        problems += exc.problems
    problems += _bad_addresses(raw.get("listen", []), "$.listen")
    if isinstance(raw.get("capacity"), dict):
        problems += _bad_addresses(raw["capacity"].get("listen", []), "$.capacity.listen")
    keys = _keys(file, problems) if file is not None else None
    token = Secret()
    if "collector" in raw:
        token = collector_problems(raw["collector"], problems)
    if problems or file is None:
        raise ConfigError(problems, str(path))
    return ReflectorConfig(file, keys, token)


def open_to_all(listen: list[str]) -> ReflectorConfig:
    """Return the configuration of a reflector without a file: for everybody who reaches it, telling no collector.

    At the port of STAMP it answers capacity tests as well, at theirs.
    """
    problems = [("--listen", words) for _, words in _bad_addresses(listen, "")]
    if problems:
        raise ConfigError(problems)
    at_home = all(split_host_port(text)[1] == STAMP_PORT for text in listen)  # at other ports, test packets alone
    return ReflectorConfig(ReflectorFile(listen=listen, capacity=CapacityTests() if at_home else None), None, Secret())


def _bad_addresses(listen: object, path: str) -> Problems:
    problems: Problems = []
    for index, text in enumerate(listen if isinstance(listen, list) else []):
        with contextlib.suppress(CheckError):
            if not isinstance(text, str) or literal(*split_host_port(text)):
                continue
        problems.append((f"{path}[{index}]", f"{text!r} is not address:port; write 0.0.0.0:862 or [::]:862"))
    return problems


def _keys(file: ReflectorFile, problems: Problems) -> dict[int, bytes] | None:
    """Read every key; None where nobody has to prove anything."""
    keys: dict[int, bytes] = {}
    first: dict[Any, int] = {}
    for index, sender in enumerate(file.senders):
        for value, field in ((sender.ssid, "ssid"), (sender.site, "site")):
            if value in first:
                problems.append(
                    (f"$.senders[{index}].{field}", f"{value!r} is that of $.senders[{first[value]}] already")
                )
            first.setdefault(value, index)
        if sender.key_file is None:
            if file.authenticated:
                problems.append((f"$.senders[{index}].key_file", "is missing, and authenticated is true"))
            continue
        try:
            keys[sender.ssid] = read_key(Path(sender.key_file))
        except ValueError as exc:
            problems.append((f"$.senders[{index}].key_file", str(exc)))
    if keys and not file.authenticated:
        problems.append(("$.authenticated", "is false, but there are keys: write true, or leave out each key_file"))
    if file.authenticated and not file.senders:
        problems.append(("$.senders", "is empty, and authenticated is true: nobody would be answered"))
    return keys if file.authenticated else None
