"""A Debian archive of a few packages: chosen by apt, signed by our own key, verified by apt's ordinary chain.

apt works in a folder of its own with an empty list of installed packages: so it takes every dependency there is, at its
newest version, and what this machine happens to have makes no difference.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import subprocess
from dataclasses import dataclass
from email.utils import format_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

SUITE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

_INSTALLS = re.compile(r"^Inst (\S+) \((\S+) .*\[\S+\]\)", re.MULTILINE)
_FIELD = re.compile(r"^(Package|Version|Filename|Size|SHA256): (.*)$", re.MULTILINE)
_APT = """\
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "{user}";
Debug::NoLocking "true";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Etc::sourcelist "{root}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::status "{root}/status";
Dir::State::extended_states "{root}/extended_states";
Dir::State::lists "{root}/lists";
Dir::Cache "{root}/cache";
"""


class BundleError(Exception):
    """The bundle cannot be built; the message says why, and what helps."""


@dataclass(frozen=True, slots=True)
class Package:
    """One package of the archive: its entry in Debian's index, and where its file is."""

    stanza: str
    wanted: str  # name=version, as apt takes it
    file: str
    size: int
    sha256: str


class Apt:
    """Debian's own apt, in a folder of its own."""

    def __init__(self, root: Path, sources: str) -> None:
        """Prepare the folder; `sources` is the text of a sources.list."""
        for folder in ("lists/partial", "cache/archives/partial"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "sources.list").write_text(sources, encoding="utf-8")
        (root / "status").touch()
        configuration = _APT.format(root=root, user="root" if os.geteuid() == 0 else "")
        (root / "apt.conf").write_text(configuration, encoding="utf-8")
        self._root = root

    def run(self, *argv: str, folder: Path | None = None) -> str:
        """Run one of apt's programs and return what it printed; `BundleError` has its own words."""
        return ask(*argv, folder=folder, APT_CONFIG=str(self._root / "apt.conf"))

    def lists_digest(self) -> str:
        """Return a digest of the archive's signed indexes: it changes when Debian publishes something."""
        files = sorted((self._root / "lists").glob("*InRelease"))
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()

    def update(self) -> None:
        """Fetch Debian's indexes, where they are not the newest."""
        self.run("apt-get", "-qq", "-o", "APT::Update::Error-Mode=any", "update")

    def resolve(self, names: Iterable[str]) -> set[str]:
        """Return `name=version` of these packages and of all that they depend on, also where some exclude others."""
        names = list(names)
        try:
            return installs(self.run("apt-get", "-qq", "--simulate", "install", *names))
        except BundleError:
            if len(names) == 1:
                raise
        return set().union(*(self.resolve([name]) for name in names))

    def describe(self, chosen: Iterable[str]) -> list[Package]:
        """Return the index entries of `name=version` packages."""
        return packages(self.run("apt-cache", "show", *sorted(chosen)))

    def download(self, chosen: Iterable[str], folder: Path) -> None:
        """Fetch the files of `name=version` packages; apt holds each against Debian's signature."""
        self.run("apt-get", "-qq", "download", *sorted(chosen), folder=folder)


def ask(*argv: str, folder: Path | None = None, **variables: str) -> str:
    """Run one of apt's programs with this machine's own configuration, or with what the variables say."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **variables}
    try:
        done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603  (apt)
    except FileNotFoundError:
        raise BundleError(f"{argv[0]} is missing: build the bundle on Debian or Ubuntu") from None
    if done.returncode:
        raise BundleError(f"{argv[0]} failed: {done.stderr.strip()}")
    return done.stdout


def installs(simulation: str) -> set[str]:
    """Read what `apt-get --simulate install` would install, as `name=version`."""
    return {f"{name}={version}" for name, version in _INSTALLS.findall(simulation)}


def packages(shown: str) -> list[Package]:
    """Read what `apt-cache show` prints, sorted by package; each entry keeps Debian's own checksums."""
    found = {}
    for stanza in filter(None, (part.strip() for part in shown.split("\n\n"))):
        field = dict(_FIELD.findall(stanza))
        file = field["Filename"].rpartition("/")[2]
        ours = re.sub(r"^Filename: .*$", f"Filename: pool/{file}", stanza, flags=re.MULTILINE)
        wanted = f"{field['Package']}={field['Version']}"
        found[file] = Package(ours, wanted, file, int(field["Size"]), field["SHA256"])
    return [found[file] for file in sorted(found)]


def sources(index_targets: str) -> str:
    """Make a sources.list out of `apt-get indextargets`: this machine's own way to Debian 12, nothing else."""
    lines = sorted(set(index_targets.splitlines()))
    if not any(f" {SUITE} " in line for line in lines):
        raise BundleError(
            f"this machine's apt knows no Debian 12 ({SUITE}): call apt-get update, or name a file with its sources: "
            "make bundle BUNDLE_SOURCES=FILE"
        )
    return "".join(f"deb [arch=amd64 signed-by={KEYRING}] {line}\n" for line in lines)


def write_indexes(folder: Path, entries: Iterable[Package], now: datetime) -> Path:
    """Write Packages, Packages.gz and Release of the archive in `folder`; return the path of Release."""
    suite = folder / "dists" / SUITE
    binary = suite / "main" / "binary-amd64"
    binary.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{entry.stanza}\n\n" for entry in entries).encode()
    (binary / "Packages").write_bytes(text)
    (binary / "Packages.gz").write_bytes(gzip.compress(text, mtime=0))
    files = {f"main/binary-amd64/{name}": (binary / name).read_bytes() for name in ("Packages", "Packages.gz")}
    (suite / "Release").write_text(release(files, now), encoding="utf-8")
    return suite / "Release"


def release(files: Mapping[str, bytes], now: datetime) -> str:
    """Return the text of a Release file; `files` are the indexes' contents by their path beside it."""
    sums = "".join(f" {hashlib.sha256(data).hexdigest()} {len(data)} {path}\n" for path, data in sorted(files.items()))
    return (
        f"Origin: Nhip\nLabel: Nhip\nSuite: {SUITE}\nCodename: {SUITE}\nDate: {format_datetime(now, usegmt=True)}\n"
        f"Architectures: amd64\nComponents: main\nDescription: Debian 12 packages that Nhip's roles install\n"
        f"SHA256:\n{sums}"
    )
