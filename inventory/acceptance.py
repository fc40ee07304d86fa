"""Acceptance: what to measure at each site, and what the measurements say. Pure: profile, inventory and results in."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from msgspec.structs import replace

from checks.limits import base_metric, load_limits, say
from inventory.baseline import Baseline
from inventory.places import Given, Place
from inventory.topology import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from checks.limits import Limit
    from inventory.profile import Criterion, Measurement, Profile
    from inventory.topology import Inventory, ServiceCheck, Site

Verdict = Literal["green", "yellow", "red", "unmeasured", "left_out"]
Measured = dict[tuple[str, str], dict[str, Any]]
"""Each result (as `nhip check run --format json` prints it) by site and measurement."""


_STATES = {"success": ("–", "OK"), "active": ("–", "OK"), "state": ("OK", "WARNING", "CRITICAL")}


class PlanError(ValueError):
    """The profile asks for something that the inventory does not have."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One criterion at one site: its colour, the figure, the limit that it was held against, and why not measured."""

    criterion: str
    verdict: Verdict
    required: bool
    value: float | None = None
    said: str = ""
    limit: str = ""
    words: tuple[str, ...] = ()

    @property
    def refuses(self) -> bool:
        """Tell whether a site with this finding is not accepted."""
        return self.verdict == "red" or (self.verdict == "unmeasured" and self.required)


@dataclass(frozen=True, slots=True)
class Row:
    """One site, judged: a finding for each criterion, in the profile's order."""

    site: str
    name: str
    upstream: str
    measured_at: int
    findings: tuple[Finding, ...]

    @property
    def accepted(self) -> bool:
        """Tell whether nothing is red, and nothing required is missing."""
        return not any(finding.refuses for finding in self.findings)

    @property
    def silent(self) -> bool:
        """Tell whether nothing at all was measured there."""
        return all(finding.verdict in ("unmeasured", "left_out") for finding in self.findings)

    @property
    def why(self) -> tuple[Finding, ...]:
        """Return what stands in the way."""
        return tuple(finding for finding in self.findings if finding.refuses)


def sites_to_accept(inventory: Inventory, only: Iterable[str] = ()) -> tuple[Site, ...]:
    """Return the sites that have a gateway to be measured, or some of them; `PlanError` names one that is none."""
    sites = {site.site: site for site in inventory.sites if site.addresses}
    wanted = list(dict.fromkeys(only)) or list(sites)
    unknown = [site for site in wanted if site not in sites]
    if unknown:
        raise PlanError(f"{', '.join(unknown)}: no site of the inventory with a gateway has this id")
    return tuple(sites[site] for site in wanted)


def plan(profile: Profile, inventory: Inventory, site: Site, side: str) -> list[dict[str, Any]]:
    """Return what to run for a site from one side, in the form of `nhip check run --plan`."""
    entries = []
    for one in profile.measurements:
        if one.side == side and _applies(one, site):
            check, target, parameters = _asked(one, inventory, site)
            entry = {"id": one.measurement, "site": site.site, "check": check, "target": target, "with": parameters}
            entries.append({key: value for key, value in entry.items() if value or key in ("id", "check")})
    return entries


def judge(profile: Profile, inventory: Inventory, sites: Iterable[Site], measured: Measured) -> list[Row]:
    """Return one row a site: each criterion held against its own limit, the site's, the inventory's or the shipped."""
    shipped = load_limits()
    names = {upstream.upstream: upstream.name for upstream in inventory.upstreams}
    rows = []
    for site in sites:
        limits = _limits(site, (*shipped, *inventory.limits))
        findings = tuple(
            _find(each, profile.measurement(each.of), inventory, site, limits, measured) for each in profile.criteria
        )
        instants = [int(result.get("measured_at", 0)) for (owner, _), result in measured.items() if owner == site.site]
        rows.append(Row(site.site, site.name, names.get(site.upstream, ""), max(instants, default=0), findings))
    return rows


def gather(profile: Profile, results: Iterable[Mapping[str, Any]]) -> Measured:
    """Return the newest result of each site and measurement. One without an id belongs to its check's measurement."""
    by_check: defaultdict[str, list[str]] = defaultdict(list)
    for one in profile.measurements:
        by_check[one.check].append(one.measurement)
    measured: Measured = {}
    for result in results:
        own = by_check.get(str(result.get("check", "")), [])
        name = str(result.get("id") or (own[0] if len(own) == 1 else ""))
        key = str(result.get("site", "")), name
        before = measured.get(key)
        if before is None or int(result.get("measured_at", 0)) >= int(before.get("measured_at", 0)):
            measured[key] = dict(result)
    return measured


def baselines(profile: Profile, rows: Iterable[Row], measured: Measured) -> dict[str, Baseline]:
    """Return what the collector is to take for usual at each accepted site: the metrics of all that was measured."""
    found = {}
    for row in rows:
        metrics: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for (site, _), result in measured.items():
            if site == row.site and result.get("check") and not result.get("error"):
                metrics[str(result["check"])] |= {k: float(v) for k, v in result.get("metrics", {}).items()}
        if row.accepted:
            at = datetime.fromtimestamp(row.measured_at / 1e9, UTC).isoformat(timespec="seconds")
            found[row.site] = Baseline(measured_at=at, profile=profile.version, metrics=dict(metrics))
    return found


def _applies(one: Measurement, site: Site) -> bool:
    return not one.needs or one.needs in site.variables


def what(one: Measurement, inventory: Inventory) -> str:
    """Return the check of a measurement, "" for the playbook's own; `PlanError` where its service has none."""
    return _of_service(one, inventory).check if one.service else one.check


def _of_service(one: Measurement, inventory: Inventory) -> ServiceCheck:
    checks = [check for each in inventory.services if each.service == one.service for check in each.checks]
    if not checks:
        raise PlanError(f"measurement {one.measurement}: the inventory has no service {one.service!r} with checks")
    return checks[0]


def _asked(one: Measurement, inventory: Inventory, site: Site) -> tuple[str, str, dict[str, Any]]:
    """Return check, target and parameters of a measurement at a site."""
    if one.service:
        first = _of_service(one, inventory)
        return first.check, first.target, first.parameters
    variables = dict(site.variables)
    for name, address in zip(("gateway_address", "gateway_second_address"), site.addresses, strict=False):
        variables[name] = Given(address, Place("."))
    try:
        return one.check, resolve(one.target, variables), resolve(one.parameters, variables)
    except LookupError as exc:
        raise PlanError(f"measurement {one.measurement}, site {site.site}: {exc.args[0]}") from None


def _limits(site: Site, common: Iterable[Limit]) -> dict[str, Limit]:
    """Return the limits in force at a site by their key, which then names no site: its own go before those for all."""
    found = {limit.key: limit for limit in common if not limit.sites}
    at_site = [*(limit for limit in common if site.site in limit.sites), *site.limits]
    return found | {replace(limit, sites=[]).key: replace(limit, sites=[]) for limit in at_site}


def _find(
    criterion: Criterion,
    of: Measurement,
    inventory: Inventory,
    site: Site,
    limits: Mapping[str, Limit],
    measured: Measured,
) -> Finding:
    name, required = criterion.criterion, criterion.required
    if not _applies(of, site):
        return Finding(name, "left_out", required=False)
    check = what(of, inventory)
    general = f"{check} {criterion.metric}"
    limit = criterion.own_limit or limits.get(f"{general} at {of.service}") or limits.get(general)
    if limit is None:
        raise PlanError(f"criterion {name}: nothing says from when on {criterion.metric} of {check} is yellow or red")
    bound = _bound(limit, criterion.metric)
    result = measured.get((site.site, of.measurement))
    if result is None:
        return Finding(name, "unmeasured", required, limit=bound)
    said = tuple(str(words) for words in (result.get("error"), result.get("reason"), *result.get("notes", ())) if words)
    value = _value(result.get("metrics", {}), criterion.metric)
    if result.get("error") or value is None:
        return Finding(name, "unmeasured", required, limit=bound, words=said)
    verdict = limit.judge(value)
    words = said if verdict != "green" else ()
    return Finding(name, verdict, required, value, _said(criterion.metric, value), bound, words)


def _value(metrics: Mapping[str, Any], metric: str) -> float | None:
    value = metrics.get(metric)
    if value is None:
        value = next((each for name, each in metrics.items() if base_metric(name) == metric), None)
    return float(value) if isinstance(value, int | float) else None


def _said(metric: str, value: float) -> str:
    """Say a figure; what is yes or no, and the states of plugins, in words that are the same in both languages."""
    states = _STATES.get(metric)
    return states[min(int(value), len(states) - 1)] if states and value >= 0 else say(metric, value)


def _bound(limit: Limit, metric: str) -> str:
    """Say where green ends: `< 50 ms`."""
    if metric in _STATES:
        return "OK"
    level = limit.yellow or limit.red
    return f"{'<' if limit.above else '>'} {say(metric, level.enter)}" if level else ""
