"""`agent.yml`: what it may say, and every mistake in it at once."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from checks import registry
from checks.secret import Secret, read_secret
from checks.strict import ConfigError, build, load_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from checks.check import Check

    Make = Callable[[str, Mapping[str, object], str], Check]
    """Builds a check from its name, its parameters and the path to blame; `registry.make`, or a test's own."""

DEFAULT_DATA = "/var/lib/nhip/agent"

Problems = list[tuple[str, str]]

Name = Annotated[str, Meta(pattern=r"^[^\x00-\x1f]*[^\x00-\x1f\\]$", max_length=200)]


class Collector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where results go, and how patiently."""

    url: str
    token_file: str
    ca_file: str | None = None
    timeout_seconds: Annotated[float, Meta(ge=0.1, le=300)] = 10.0
    flush_seconds: Annotated[float, Meta(ge=0.1, le=300)] = 2.0


class SpoolLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much may wait on disk, and what gives way when it is full."""

    max_bytes: Annotated[int, Meta(ge=1_048_576)] = 268_435_456
    drop: Literal["oldest", "newest"] = "oldest"


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One check as written: its name, its target, its interval, and the check's own parameters."""

    check: str
    target: Annotated[str, Meta(pattern=r"^([^\x00-\x1f]*[^\x00-\x1f\\])?$", max_length=1000)] = ""
    interval_seconds: Annotated[float, Meta(ge=1, le=86_400)]
    parameters: dict[str, Any] = msgspec.field(name="with", default_factory=dict)


class AgentFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`agent.yml` as a whole."""

    site: Name
    node: Name
    data: str = DEFAULT_DATA
    collector: Collector
    heartbeat_seconds: Annotated[float, Meta(ge=1, le=3600)] = 5.0
    spool: SpoolLimits = SpoolLimits()
    concurrency: Annotated[int, Meta(ge=1, le=1000)] = 16
    checks: list[Entry]


@dataclass(frozen=True, slots=True)
class Job:
    """A check to run on a beat. Two jobs of one file never share `key`: their results would be one series."""

    check: Check
    target: str
    interval_seconds: float

    @property
    def key(self) -> tuple[str, str]:
        """The names of its series: check and target."""
        return self.check.name, self.target


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """A file that holds together: its text as data, the jobs it asks for, and the token (never printed)."""

    file: AgentFile
    jobs: tuple[Job, ...]
    token: Secret


def load(path: Path, make: Make = registry.make) -> AgentConfig:
    """Read the agent's file; `ConfigError` lists everything that is wrong with it, and with what it points to."""
    raw = load_yaml(path, dict)
    problems: Problems = []
    file = _structure(raw, problems)
    jobs = _jobs(raw.get("checks"), make, problems)
    token = collector_problems(raw.get("collector"), problems)
    if problems or file is None:
        raise ConfigError(problems, str(path))
    return AgentConfig(file, jobs, token)


def _structure(raw: dict[str, Any], problems: Problems) -> AgentFile | None:
    try:
        return build(AgentFile, raw)
    except ConfigError as exc:
        problems += exc.problems
        return None


def _jobs(raw: object, make: Make, problems: Problems) -> tuple[Job, ...]:
    """Build each check that can be read at all: `_structure` has already told of what cannot."""
    jobs: list[Job] = []
    first: dict[tuple[str, str], int] = {}
    for index, entry in enumerate(raw if isinstance(raw, list) else []):
        if not (isinstance(entry, dict) and isinstance(name := entry.get("check"), str)):
            continue
        parameters, target = entry.get("with", {}), entry.get("target", "")
        path = f"$.checks[{index}]"
        if isinstance(target, str) and (name, target) in first:
            words = f"{name} of {target!r} is already asked for at $.checks[{first[name, target]}]; keep one of them"
            problems.append((path, words))
        elif isinstance(target, str):
            first[name, target] = index
        if not isinstance(parameters, dict):
            continue
        check = _check(name, parameters, path, make, problems)
        if check is not None and isinstance(target, str) and isinstance(entry.get("interval_seconds"), int | float):
            jobs.append(Job(check, target, float(entry["interval_seconds"])))
    return tuple(jobs)


def _check(name: str, parameters: dict[str, object], path: str, make: Make, problems: Problems) -> Check | None:
    try:
        return make(name, parameters, f"{path}.with")
    except ConfigError as exc:  # the registry names no path where the check itself is unknown
        problems += [(f"{path}.check" if where == "$" else where, words) for where, words in exc.problems]
    except ImportError as exc:
        problems.append((f"{path}.check", f"{name} needs the Python package {exc.name!r}, which is not installed"))
    return None


def collector_problems(raw: object, problems: Problems) -> Secret:
    """Judge the address and the files it points to; return the token, empty where there is none."""
    if not isinstance(raw, dict):
        return Secret()
    if isinstance(raw.get("url"), str) and (words := bad_url(raw["url"])):
        problems.append(("$.collector.url", words))
    ca_file = raw.get("ca_file")
    if isinstance(ca_file, str) and (words := _bad_ca_file(ca_file)):
        problems.append(("$.collector.ca_file", words))
    if not isinstance(raw.get("token_file"), str):
        return Secret()
    try:
        return read_secret(Path(raw["token_file"]), "token", " that `nhip token new --site …` printed", ascii_only=True)
    except ValueError as exc:
        problems.append(("$.collector.token_file", str(exc)))
        return Secret()


def _bad_ca_file(path: str) -> str | None:
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        return f"{path} holds no certificate in PEM form"
    except OSError as exc:
        return f"{path} cannot be read: {exc.strerror}"
    return None


def bad_url(url: str) -> str | None:
    """Say what is wrong with a collector's address, or return None."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")  # what DNS cannot hold is told now, not at every attempt to send
    except ValueError as exc:
        return f"{url!r} is not an address: {exc}"
    if "@" in parts.netloc:  # said without the address, which may hold a password
        return "must not hold a user or password: the token goes into token_file"
    if parts.scheme not in ("https", "http") or not host or port == 0:
        return f"{url!r} is not an address like https://10.92.0.1:8443"
    if parts.query or parts.fragment:
        return f"{url!r} must end before its '?' or '#'"
    if parts.scheme == "http" and not _is_loopback(host):
        return f"http:// would send the token readable over the line to {host}; use https:// (http:// is for loopback)"
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
