"""Play a MIB for snmpd (`pass_persist`): objects from a file, a line each: number, type, value."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Answer snmpd's questions until it ends."""
    objects = {}
    for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
        number, kind, value = line.split(" ", 2)
        objects[tuple(int(part) for part in number.split("."))] = (kind, value)
    for word in map(str.strip, sys.stdin):
        if word == "PING":
            print("PONG", flush=True)  # noqa: T201  (this is how it speaks to snmpd)
        elif word in ("get", "getnext"):
            asked = tuple(int(part) for part in sys.stdin.readline().strip(" .\n").split("."))
            found = asked if word == "get" else min((each for each in objects if each > asked), default=None)
            lines = ["NONE"]
            if found in objects:
                lines = ["." + ".".join(map(str, found)), *objects[found]]
            print("\n".join(lines), flush=True)  # noqa: T201  (as above)


if __name__ == "__main__":
    main()
