"""The wheelhouse: our own wheel and the locked libraries for Debian 12 (CPython 3.11, x86-64), with hashes.

`agent.txt` and `collector.txt` in it name exactly what an agent's and a data centre's machine install, each by the
checksum of the one file that is there: `pip install --no-index --require-hashes --find-links URL -r agent.txt`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from playbooks.bundle.debian import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PURPOSES = {"agent": "nhip[agent]", "collector": "nhip[agent,collector]"}

_SOURCES = ("nhip.py", "pyproject.toml", "README.md", "LICENSE")
_LOCKS = ("requirements/run.txt",)
_GLIBC = ("2_36", "2_34", "2_31", "2_28", "2_27", "2_17", "2_12", "2_5")  # Debian 12 has 2.36
_TARGET = (
    *("--only-binary=:all:", "--implementation=cp", "--python-version=3.11", "--abi=cp311", "--abi=abi3", "--abi=none"),
    *(f"--platform=manylinux_{version}_x86_64" for version in _GLIBC),
    *(f"--platform=manylinux{year}_x86_64" for year in ("2014", "2010", "1")),
)


def sources_digest(root: Path, packages: Iterable[str]) -> str:
    """Return a digest of everything that the wheelhouse is made from: it changes when one would become another."""
    files = [root / name for name in (*_SOURCES, *_LOCKS)]
    for package in packages:
        files += [path for path in sorted((root / package).rglob("*")) if path.is_file() and _counts(path)]
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.relative_to(root)}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def build(root: Path, folder: Path) -> None:
    """Fill `folder` anew from the sources and lock files under `root`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="nhip-wheels-") as scratch:
        wheels = Path(scratch)
        _run("-m", "pip", *_QUIET, "download", "--require-hashes", "--no-deps", *_TARGET,
             *("-r", str(root / _LOCKS[0]), "-d", scratch))  # fmt: skip
        _run("-m", "hatchling", "build", "-t", "wheel", "-d", scratch, folder=root)
        for purpose, wanted in PURPOSES.items():
            names = _needed(wheels, wanted)
            text = requirements({name: (wheels / name).read_bytes() for name in names})
            (folder / f"{purpose}.txt").write_text(text, encoding="utf-8")
            for name in names:
                shutil.copyfile(wheels / name, folder / name)


def requirements(wheels: Mapping[str, bytes]) -> str:
    """Return a requirements file that takes exactly these wheels (file name and contents), by their hashes."""
    lines = []
    for name in sorted(wheels, key=str.lower):
        project, version, *_ = name.split("-")
        lines.append(f"{project}=={version} --hash=sha256:{hashlib.sha256(wheels[name]).hexdigest()}\n")
    return "".join(lines)


def version(folder: Path) -> str:
    """Return what this wheelhouse installs, as a folder's name: our version, and a digest of every hash in it."""
    texts = [(folder / f"{purpose}.txt").read_text(encoding="utf-8") for purpose in PURPOSES]
    ours = next(line.split()[0].partition("==")[2] for line in texts[0].splitlines() if line.startswith("nhip=="))
    return f"{ours}-{hashlib.sha256(''.join(texts).encode()).hexdigest()[:10]}"


_QUIET = ("--disable-pip-version-check", "--no-input", "--quiet", "--quiet")


def _needed(wheels: Path, wanted: str) -> list[str]:
    """Ask pip which of the wheels an installation takes: what only building needs stays behind."""
    report = _run("-m", "pip", *_QUIET, "install", "--dry-run", "--ignore-installed", "--report=-", "--no-index",
                  f"--find-links={wheels}", *_TARGET, f"--target={wheels}/unused", wanted)  # fmt: skip
    taken = [unquote(urlsplit(item["download_info"]["url"]).path) for item in json.loads(report)["install"]]
    return sorted(Path(path).name for path in taken)


def _counts(path: Path) -> bool:
    return "__pycache__" not in path.parts and "node_modules" not in path.parts


def _run(*argv: str, folder: Path | None = None) -> str:
    done = subprocess.run([sys.executable, *argv], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603  (pip)
    if done.returncode:
        raise BundleError(f"{' '.join(argv[:2])} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout
