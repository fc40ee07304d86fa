"""How soon somebody is called: from a cut line to the message that leaves, 50 cuts at any phase, all at its default.

    python -m bench.cuts [--lab NAME] [--cuts 50]

Needs root, and a bundle (make bundle). Lines of single sites of the lab are cut in turn, each at a random moment after
the one before was well again. Each is a new incident (`reopen_seconds: 0`); whatever decides how soon it rings is as it
ships. The clock runs from the cut until the message leaves, as the incident's timeline has it.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time

from bench.common import machine, table
from bench.province import Province, provisioned, wait

LINES = ("31120", "31147", "31150")
PATIENCE_SECONDS, HEALING_SECONDS = 60, 180
GOALS = (4.0, 6.0)


def main() -> int:
    """Cut, wait, heal, over and over; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lab", default="bench", help="which lab (default %(default)s); booted where it is not up")
    parser.add_argument("--cuts", type=int, default=50, help="how many (default %(default)s)")
    options = parser.parse_args()
    took: list[float] = []
    wrong: list[str] = []
    with provisioned(options.lab, incidents={"reopen_seconds": 0}) as province:
        province.settle(HEALING_SECONDS)
        for number in range(options.cuts):
            line = LINES[number % len(LINES)]
            time.sleep(random.uniform(2, 7))
            seconds, said = one(province, line)
            wrong += [said] if said else []
            took += [seconds] if seconds else []
            print(f"{number + 1}: {line} {seconds:.2f} s {said}", file=sys.stderr, flush=True)
    row = (len(took), *(f"{figure:.2f} s" for figure in (min(took), statistics.median(took), max(took))), len(wrong))
    header = ("cuts told", "least", f"median (goal {GOALS[0]:g} s)", f"most (goal {GOALS[1]:g} s)", "told otherwise")
    table("From a cut line to the message that leaves", header, [row])
    print("".join(f"\n{words}" for words in wrong) + f"\n{machine()}")
    return int(statistics.median(took) > GOALS[0] or max(took) > GOALS[1] or bool(wrong))


def one(province: Province, line: str) -> tuple[float, str]:
    """Cut a line and heal it; return the seconds until somebody was called, and what was told that should not be."""
    cut_at = time.time()
    province.lab.ask("cut", line=line)
    told = wait(lambda: [each for each in province.told(cut_at) if each.rings], PATIENCE_SECONDS)
    time.sleep(2)
    told = [each for each in province.told(cut_at) if each.rings]
    province.lab.ask("heal", place=line)
    left = province.settle(HEALING_SECONDS)
    mine = [each for each in told if each.incident["site"] == line and each.incident["cause"]["kind"] == "line"]
    others = [each.incident["cause"]["text"]["en"] for each in told if each not in mine]
    others += [f"did not end: {each['cause']['text']['en']}" for each in left]
    if not mine:
        return 0.0, "; ".join(others) or "nobody was called"
    return min(mine[0].rings) - cut_at, "; ".join(others)


if __name__ == "__main__":
    sys.exit(main())
