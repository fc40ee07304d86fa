"""All benchmarks, one after the other: `make bench`. Names of some run those alone: `make bench ARGS="ingest"`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.common import machine

HERE = Path(__file__).parent
BENCHMARKS = (
    *("ingest", "agent_cost", "judging", "detection", "early_warning", "outage", "availability", "replaying"),
    *("figures", "accuracy", "sweep", "reflector", "capacity", "site", "lab_line"),
)


def main() -> int:
    """Run the benchmarks asked for, all by default; return how many failed."""
    wanted = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in wanted if name not in BENCHMARKS]
    if unknown:
        print(f"there is no benchmark {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    print(f"machine: {machine()}", flush=True)
    failed = 0
    for name in wanted:
        print(
            f"\nrunning {name}: {(HERE / f'{name}.py').read_text(encoding='utf-8').splitlines()[0].strip(chr(34))}",
            flush=True,
        )
        failed += subprocess.run([sys.executable, "-m", f"bench.{name}"], cwd=HERE.parent, check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
