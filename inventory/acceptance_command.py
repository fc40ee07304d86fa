"""`nhip acceptance plan|report`."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checks.strict import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from inventory.acceptance import Row
    from inventory.profile import Profile
    from inventory.topology import Inventory, Site

OK, PROBLEM, REFUSED = 0, 1, 2
_EXAMPLES = """what the role `acceptance` does, by hand:
  nhip acceptance plan inventory/can-tho 31120 --out plans
  nhip check run --plan plans/31120.site.yml --format json > measured/31120.site.jsonl       on the site's gateway
  nhip check run --plan plans/data-centre.yml --format json > measured/data-centre.jsonl    at the data centre
  nhip acceptance report inventory/can-tho 31120 --measured measured --out report

exit codes of report: 0 all accepted, 2 a site is not, 1 a mistake in the command or the inventory"""


def main(argv: list[str]) -> int:
    """Run one of the acceptance's commands and return its exit code."""
    from inventory.acceptance import PlanError

    options = _parser().parse_args(argv)
    try:
        return _plan(options) if options.command == "plan" else _report(options)
    except PlanError as exc:
        print(f"nhip acceptance: {exc}", file=sys.stderr)
    except ConfigError as exc:
        print("\n".join(exc.lines()), file=sys.stderr)
    except OSError as exc:
        print(f"nhip acceptance: {exc.filename}: {exc.strerror}", file=sys.stderr)
    return PROBLEM


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nhip acceptance",
        description="Measure whether a site works, by the local profile (acceptance.yml), and say so to a manager.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="plan|report")
    words = "print what to run for each site, and from which side"
    plan = commands.add_parser("plan", help=words, description=words)
    words = (
        "judge what was measured: report.html, report.csv, verdicts.json and, for accepted sites, accepted/SITE.json"
    )
    report = commands.add_parser("report", help=words, description=words)
    for command in (plan, report):
        command.add_argument("folder", type=Path, metavar="DIR", help="the inventory")
        command.add_argument("sites", nargs="*", metavar="SITE", help="default: every site with a gateway")
    words = "write DIR/SITE.site.yml and DIR/data-centre.yml instead"
    plan.add_argument("--out", type=Path, metavar="DIR", help=words)
    words = "holds the results, one JSON object a line, in files that end in .json or .jsonl"
    report.add_argument("--measured", type=Path, required=True, metavar="DIR", help=words)
    report.add_argument("--out", type=Path, required=True, metavar="DIR")
    words = "write the figures of accepted sites into the inventory's baseline.yml, which the collector reads"
    report.add_argument("--baseline", action="store_true", help=words)
    words = "give sites that have a baseline already a new one: what is usual there has changed for good"
    report.add_argument("--renew", action="store_true", help=words)
    return parser


def _plan(options: argparse.Namespace) -> int:
    from inventory.acceptance import plan

    inventory, profile, sites = _read(options)
    at_sites = {site.site: plan(profile, inventory, site, "site") for site in sites}
    from_centre = [entry for site in sites for entry in plan(profile, inventory, site, "data_centre")]
    if options.out is None:
        print(json.dumps({"site": at_sites, "data_centre": from_centre}, ensure_ascii=False, indent=2))
        return OK
    options.out.mkdir(parents=True, exist_ok=True)
    for site, entries in at_sites.items():
        _write(options.out / f"{site}.site.yml", _lines(entries))
    _write(options.out / "data-centre.yml", _lines(from_centre))
    return OK


def _report(options: argparse.Namespace) -> int:
    from inventory.acceptance import baselines, gather, judge
    from inventory.baseline import write_baseline
    from inventory.report import as_csv, as_html

    inventory, profile, sites = _read(options)
    measured = gather(profile, _results(options.measured))
    rows = judge(profile, inventory, sites, measured)
    out: Path = options.out
    (out / "accepted").mkdir(parents=True, exist_ok=True)
    _write(out / "report.html", as_html(profile, inventory.province_name, rows, datetime.now(UTC)))
    (out / "report.csv").write_text(as_csv(profile, rows), encoding="utf-8-sig")  # the mark tells spreadsheets the code
    _write(out / "verdicts.json", json.dumps(_verdicts(profile, rows), ensure_ascii=False, indent=1) + "\n")
    for site, verdict in _verdicts(profile, rows).items():
        path = out / "accepted" / f"{site}.json"
        if verdict["accepted"]:
            _write(path, json.dumps(verdict, ensure_ascii=False) + "\n")
        else:
            path.unlink(missing_ok=True)
    if options.baseline:
        before, now = inventory.baseline, baselines(profile, rows, measured)
        write_baseline(options.folder, {**before, **now} if options.renew else {**now, **before})
    for row in rows:
        print(f"{row.site}  {row.name}: {'accepted' if row.accepted else 'not accepted: ' + _why(profile, row)}")
    return OK if all(row.accepted for row in rows) else REFUSED


def _read(options: argparse.Namespace) -> tuple[Inventory, Profile, Sequence[Site]]:
    from inventory.acceptance import sites_to_accept
    from inventory.profile import read_profile
    from inventory.topology import read

    inventory, profile = read(options.folder), read_profile(options.folder)
    return inventory, profile, sites_to_accept(inventory, options.sites)


def _results(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield every result in a folder. What is half a line, because a run was cut, is said and passed over."""
    if not folder.is_dir():
        raise ConfigError([("--measured", f"{folder} is no folder")])
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".json", ".jsonl"):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            try:
                result = json.loads(line) if line.strip() else None
            except ValueError:
                result = ()
            if isinstance(result, dict):
                yield result
            elif result is not None:
                words = "is no result, as `nhip check run --format json` prints it: taken for not measured"
                print(f"{path}:{number}: {words}", file=sys.stderr)


def _verdicts(profile: Profile, rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    return {
        row.site: {
            "site": row.site,
            "accepted": row.accepted,
            "why": _why(profile, row),
            "profile": profile.version,
            "measured_at": row.measured_at,
            "findings": {
                each.criterion: {"verdict": each.verdict, "value": each.value, "limit": each.limit}
                for each in row.findings
            },
        }
        for row in rows
    }


def _why(profile: Profile, row: Row) -> str:
    if row.silent:
        return "nothing was measured"
    names = {each.criterion: each.en for each in profile.criteria}
    told = []
    for finding in row.why:
        figure = f"{finding.said} (limit {finding.limit})" if finding.said else "not measured"
        told.append(f"{names[finding.criterion]}: {', '.join((figure, *finding.words))}")
    return "; ".join(told)


def _lines(entries: Sequence[dict[str, Any]]) -> str:
    """Write a plan as JSON, an entry a line: YAML as well, and quick to read."""
    return "[\n" + ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries) + "\n]\n"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
