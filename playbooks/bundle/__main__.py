"""`python -m playbooks.bundle build|verify|pack`: what `make bundle` calls."""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import tarfile
import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from checks.strict import ConfigError
from playbooks.bundle import declared, signing, sums, wheelhouse
from playbooks.bundle.debian import Apt, BundleError, Package, ask, sources, write_indexes

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CACHE = Path("~/.cache/nhip/bundle")


def main(argv: list[str]) -> int:
    """Run one of the commands; return its exit code."""
    options = _parser().parse_args(argv)
    try:
        if options.command == "verify":
            return _verify(options.bundle)
        if options.command == "pack":
            return _pack(options.bundle, options.have, options.output)
        return _build(options)
    except (BundleError, ConfigError) as exc:
        print(f"bundle: {exc}", file=sys.stderr)
    except OSError as exc:
        print(f"bundle: {exc.filename or options.bundle}: {exc.strerror}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bundle", description="Everything that sites without internet install.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="build|verify|pack")
    build = commands.add_parser("build", help="build or renew the bundle; what did not change is kept")
    build.add_argument("--extras", default="", metavar="NAMES", help="large packages to take too, or all: extras.txt")
    build.add_argument("--sources", type=Path, metavar="FILE", help="a sources.list that leads to Debian 12")
    verify = commands.add_parser("verify", help="hold every file against its checksum")
    pack = commands.add_parser("pack", help="write a tar of the files that somebody with these SHA256SUMS lacks")
    pack.add_argument("--have", type=Path, required=True, metavar="FILE", help="SHA256SUMS of the one who asks")
    pack.add_argument("--output", type=Path, required=True, metavar="FILE")
    for command in (build, verify, pack):
        command.add_argument("--bundle", type=Path, default=ROOT / "bundle", metavar="DIR", help="default %(default)s")
    return parser


def _build(options: argparse.Namespace) -> int:
    began, bundle = time.monotonic(), options.bundle
    wanted, left_out = declared.chosen(
        {"base": declared.listed(HERE / "base.txt"), **_plus(declared.declared(ROOT / "playbooks/roles"))},
        declared.listed(HERE / "extras.txt"),
        options.extras.replace(",", " ").split(),
    )
    bundle.mkdir(exist_ok=True)
    changed = [_wheels(bundle), _debian(bundle, wanted, options.sources)]
    version = wheelhouse.version(bundle / "wheelhouse")
    if any(changed) or not (bundle / sums.NAME).exists():
        (bundle / "VERSION").write_text(f"{version}\n", encoding="utf-8")
        sums.write(bundle)
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    state = "built" if any(changed) else "is as it was"
    print(f"bundle {version} {state}: {size / 1e6:.0f} MB in {bundle}, {time.monotonic() - began:.0f} s")
    if left_out:
        print(f"left out, being large: {' '.join(left_out)}; BUNDLE_EXTRAS names those to take, or all")
    return 0


def _plus(roles: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Keep the role `base` apart from the packages of a base system."""
    return {f"role {role}": names for role, names in roles.items()}


def _wheels(bundle: Path) -> bool:
    with (ROOT / "pyproject.toml").open("rb") as file:
        packages = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    digest = wheelhouse.sources_digest(ROOT, [*packages, "playbooks/bundle"])
    if _is_done(bundle, "wheelhouse", digest):
        return False
    print("bundle: wheels …", flush=True)
    _begin(bundle, "wheelhouse")
    wheelhouse.build(ROOT, bundle / "wheelhouse")
    _mark_done(bundle, "wheelhouse", digest)
    return True


def _debian(bundle: Path, wanted: Mapping[str, tuple[str, ...]], own_sources: Path | None) -> bool:
    cache = CACHE.expanduser()
    apt = Apt(cache / "apt", _sources(own_sources))
    apt.update()
    digest = hashlib.sha256(f"{apt.lists_digest()} {sorted(wanted.items())}".encode()).hexdigest()
    folder = bundle / "debian"
    if _is_done(bundle, "debian", digest):
        return False
    print("bundle: Debian packages …", flush=True)
    chosen = apt.resolve(["?priority(required)", "?priority(important)", *wanted["base"]])
    for names in wanted.values():  # one role after the other: not all of them go together on one machine
        chosen |= apt.resolve(names)
    entries = apt.describe(chosen)
    _begin(bundle, "debian")
    _fill_pool(apt, entries, folder / "pool")
    release = write_indexes(folder, entries, datetime.now(UTC))
    signing.sign(release, folder / signing.PUBLIC, signing.HOME.expanduser())
    _mark_done(bundle, "debian", digest)
    return True


def _sources(own: Path | None) -> str:
    if own is not None:
        return own.read_text(encoding="utf-8")
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    filters = ("Created-By: Packages", "Origin: Debian", "Component: main")
    return sources(ask("apt-get", "indextargets", "--format", form, *filters))


def _fill_pool(apt: Apt, entries: list[Package], pool: Path) -> None:
    """Fetch what is not there yet, remove what is no longer wanted, and hold every file against Debian's checksum."""
    pool.mkdir(parents=True, exist_ok=True)
    by_file = {entry.file: entry for entry in entries}
    for path in pool.iterdir():
        if path.name not in by_file or path.stat().st_size != by_file[path.name].size:
            path.unlink()
    absent = [entry.wanted for entry in entries if not (pool / entry.file).exists()]
    if absent:
        apt.download(absent, pool)
        for path in pool.glob("*%3a*"):  # apt writes an epoch, Debian's own pool leaves it out
            path.rename(pool / re.sub(r"_\d+%3a", "_", path.name))
    wrong = [file for file, entry in by_file.items() if sums.sha256(pool / file) != entry.sha256]
    if wrong:
        raise BundleError(f"these files are not what Debian signed; remove them and try again: {', '.join(wrong)}")


def _begin(bundle: Path, part: str) -> None:
    """Make a half-built bundle one that nobody takes for a whole one, neither we nor a role."""
    (bundle / sums.NAME).unlink(missing_ok=True)
    _stamp(bundle, part).unlink(missing_ok=True)


def _stamp(bundle: Path, part: str) -> Path:
    name = hashlib.sha256(str(bundle.resolve()).encode()).hexdigest()[:10]
    return CACHE.expanduser() / f"{name}-{part}"


def _is_done(bundle: Path, part: str, digest: str) -> bool:
    stamp = _stamp(bundle, part)
    return (bundle / part).exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == digest


def _mark_done(bundle: Path, part: str, digest: str) -> None:
    stamp = _stamp(bundle, part)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(digest, encoding="utf-8")


def _verify(bundle: Path) -> int:
    found = sums.problems(bundle)
    for problem in found:
        print(f"bundle: {problem}", file=sys.stderr)
    if not found:
        print(f"bundle {(bundle / 'VERSION').read_text(encoding='utf-8').strip()} is as it was built")
    return 1 if found else 0


def _pack(bundle: Path, have: Path, output: Path) -> int:
    """Pack only what is new: a bundle that changed in one wheel is one wheel on the way."""
    wanted = sums.read((bundle / sums.NAME).read_text(encoding="utf-8"))
    known = sums.read(have.read_text(encoding="utf-8")) if have.exists() else {}
    with tarfile.open(output, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in [*sums.missing(wanted, known.values()), sums.NAME]:
            archive.add(bundle / name, name, filter=_anonymous)
    return 0


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mode = 0o644
    return info


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
