"""Search for inputs that no parser is ready for: `python -m tests.fuzz [--minutes 3] [NAME…]`, or `make fuzz`.

Each target gets its share of the time, on every core. atheris (libFuzzer) changes inputs by what code they reach; what
it learned stays in `.fuzz/` for the next time. Exits with 1 when something was found, and says in which file the input
is. Once it is mended, that file goes into `tests/fuzz/found/NAME/`, and every test run tries it again.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".fuzz"
_LONGEST_INPUT_BYTES = 4096
_SLOWEST_INPUT_SECONDS = 10
_MOST_MEGABYTES = 1024
_SPARE_SECONDS = 60.0
_STAT = re.compile(r"^stat::(\w+):\s+(\d+)", re.MULTILINE)
_COVERED = re.compile(r"cov: (\d+)")
_SAVED = re.compile(r"Test unit written to (\S+)")


class Outcome(NamedTuple):
    """What became of a target: how many inputs, of them each second, what they reached, and what was found."""

    name: str
    executions: int
    per_second: int
    covered: int
    found: str


def main() -> int:
    """Fuzz, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3.0, help="for all targets together (default %(default)s)")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(TARGETS)}; default all")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in TARGETS]:
        parser.error(f"no target is called {unknown[0]}; there are: {', '.join(TARGETS)}")
    if importlib.util.find_spec("atheris") is None:
        print("fuzzing needs atheris, which there is for Linux on x86-64 alone", file=sys.stderr)
        return 2
    names = options.names or list(TARGETS)
    cores = len(os.sched_getaffinity(0))
    seconds = max(1, round(options.minutes * 60 * min(cores, len(names)) / len(names)))
    print(f"{'target':<18}{'inputs':>12}{'a second':>10}{'covered':>9}  found", flush=True)
    failed = False
    with ThreadPoolExecutor(cores) as pool:
        for outcome in pool.map(lambda name: fuzz(name, seconds), names):
            print(
                f"{outcome.name:<18}{outcome.executions:>12,}{outcome.per_second:>10,}{outcome.covered:>9,}"
                f"  {outcome.found or '-'}",
                flush=True,
            )
            failed |= bool(outcome.found)
    return int(failed)


def fuzz(name: str, seconds: int) -> Outcome:
    """Fuzz one target for so long; what it learns stays in its corpus."""
    corpus, seeds = WORK / "corpus" / name, WORK / "seeds" / name
    shutil.rmtree(seeds, ignore_errors=True)
    for folder in (corpus, seeds, WORK / "found"):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[name].seeds()):
        (seeds / str(number)).write_bytes(seed)
    argv = [
        *(sys.executable, "-m", "tests.fuzz.one", name, str(corpus), str(seeds)),
        f"-max_total_time={seconds}", f"-max_len={_LONGEST_INPUT_BYTES}", f"-timeout={_SLOWEST_INPUT_SECONDS}",
        f"-rss_limit_mb={_MOST_MEGABYTES}", f"-artifact_prefix={WORK / 'found'}/{name}-", "-print_final_stats=1",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            argv, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False,
            timeout=seconds + _SPARE_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Outcome(name, 0, 0, 0, f"it does not end {_SPARE_SECONDS:g} s after its time")
    said = done.stdout + done.stderr
    stats = {key: int(value) for key, value in _STAT.findall(said)}
    covered = max(map(int, _COVERED.findall(said)), default=0)
    executions, rate = stats.get("number_of_executed_units", 0), stats.get("average_exec_per_sec", 0)
    return Outcome(name, executions, rate, covered, _finding(said) if done.returncode else "")


def _finding(said: str) -> str:
    """Say in a line what was found and where its input is; or how the process ended, if it was not by an input."""
    _, _, trace = said.partition("=== Uncaught Python exception: ===")
    what = next((line for line in trace.splitlines() if line.strip()), "")
    where = _SAVED.search(said)
    if where is None:
        return "it did not run: " + " / ".join(said.strip().splitlines()[-3:])
    return f"{what or 'too slow, too large, or dead'} ({where[1]})"


if __name__ == "__main__":
    sys.exit(main())
