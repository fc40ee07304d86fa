"""Reading `collector.yml` and its inventory: every mistake, each with its place, before anything starts."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from checks.metrics import metrics_by_check
from checks.strict import ConfigError, load_yaml
from collector import topology
from collector.config import Config, is_loopback
from collector.from_inventory import with_inventory
from collector.notices import unknown_places
from collector.telling import checking, templates

if TYPE_CHECKING:
    from pathlib import Path

    from collector.config import Tls


def load(path: Path) -> Config:
    """Read `collector.yml`, and its inventory; `ConfigError` lists every problem, with its place."""
    config = load_yaml(path, Config)
    if config.inventory is not None:
        try:
            config = with_inventory(config, config.inventory)
        except ConfigError as exc:
            ours = exc.problems[0][0].startswith("$")  # else it names the inventory's own files
            raise ConfigError(exc.problems, str(path) if ours else "") from None
    problems = [*_address(config), *_repeated(config), *_taken(config), *_metrics(config)]
    network = topology.problems(config)
    problems += network or checking.problems(config)  # routes stand on upstreams: those must be right first
    problems += [*_windows(config), *templates.problems(config.telling), *_files(config)]
    if problems:
        raise ConfigError(problems, str(path))
    return config


def _address(config: Config) -> list[tuple[str, str]]:
    try:
        host, _ = config.address()
    except ValueError as exc:
        return [("$.listen", str(exc))]
    problems = []
    if config.tls is None and not is_loopback(host):
        problems.append(
            ("$.tls", f"is missing: {host} can be reached from other machines, and tokens must not be read")
        )
    if config.loopback_reads and not is_loopback(host):
        problems.append(("$.loopback_reads", f"only makes sense on loopback, and {host} is not"))
    return problems


def _repeated(config: Config) -> list[tuple[str, str]]:
    lists = {
        "sites": [site.site for site in config.sites],
        "upstreams": [upstream.upstream for upstream in config.upstreams],
        "services": [service.service for service in config.services],
        "maintenance": [window.window for window in config.maintenance],
        "limits": [limit.key for limit in config.limits],
    }
    problems = []
    for name, ids in lists.items():
        for index, item in enumerate(ids):
            if item in ids[:index]:
                problems.append(
                    (f"$.{name}[{index}]", f"{item!r} is given twice; first at $.{name}[{ids.index(item)}]")
                )
    return problems


def _taken(config: Config) -> list[tuple[str, str]]:
    """Name what two things cannot share: a target its service."""
    problems = []
    owners: dict[str, str] = {}
    for index, service in enumerate(config.services):
        for target in service.targets:
            owner = owners.setdefault(target, service.service)
            if owner != service.service:
                problems.append((f"$.services[{index}].targets", f"{target!r} is already a target of {owner!r}"))
    return problems


def _metrics(config: Config) -> list[tuple[str, str]]:
    """Name limits on metrics that their check does not give. What other tools measure, nobody here knows."""
    if config.inventory is not None:
        return []  # it has been looked at where it stands
    own = [(f"$.limits[{number}]", limit) for number, limit in enumerate(config.limits)]
    for index, site in enumerate(config.sites):
        own += [(f"$.sites[{index}].limits[{number}]", limit) for number, limit in enumerate(site.limits)]
    known = metrics_by_check()
    return [
        (f"{path}.{key}", f"{limit.check} gives no {metric!r}; it gives: {', '.join(known[limit.check])}")
        for path, limit in own
        for key, metric in (("metric", limit.metric), ("packets", limit.packets))
        if metric and limit.check in known and metric not in known[limit.check]
    ]


def _windows(config: Config) -> list[tuple[str, str]]:
    return [
        (f"$.maintenance[{index}].{words.split(':')[0]}", words.partition(": ")[2])
        for index, window in enumerate(config.maintenance)
        for words in unknown_places(window, config)
    ]


def _files(config: Config) -> list[tuple[str, str]]:
    wanted = [(f"$.channels[{i}].url_file", channel.url_file) for i, channel in enumerate(config.channels)]
    if config.dead_man is not None:
        wanted.append(("$.dead_man.url_file", config.dead_man.url_file))
    if config.tls is not None:
        wanted += [("$.tls.certificate", config.tls.certificate), ("$.tls.key", config.tls.key)]
    if config.diagnosis.identity is not None:
        wanted.append(("$.diagnosis.identity", config.diagnosis.identity))
    if config.forward is not None and config.forward.token_file is not None:
        wanted.append(("$.forward.token_file", config.forward.token_file))
    problems = [(place, f"{path}: {words}") for place, path in wanted if (words := _unreadable(path))]
    if config.tls is not None and not any(place.startswith("$.tls") for place, _ in problems):
        problems += _pair(config.tls)
    return problems


def _pair(tls: Tls) -> list[tuple[str, str]]:
    """Try certificate and key as the server will: found out now, and not when the first agent calls."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key, password="")
    except (ssl.SSLError, OSError, ValueError) as exc:
        words = getattr(exc, "reason", None) or str(exc)
        return [("$.tls", f"{tls.certificate} and {tls.key} are not a certificate and its key in PEM: {words}")]
    return []


def _unreadable(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return "" if file.read(1) else "is empty"
    except OSError as exc:
        return exc.strerror or "cannot be read"
