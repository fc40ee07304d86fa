"""What may be said of a path: a number for it, whether it has changed, whether it runs in a circle."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checks.route_trace import Hop

_MOST_PATHS = 256
_ID_BYTES = 6

Path = tuple[tuple[str, ...], ...]
"""The addresses that answered at each hop, from the first on; none where a hop is silent."""

_known: dict[str, Path] = {}  # by flow: the path of the measurement before


def changed_since(flow: str, path: Path) -> bool | None:
    """Tell whether the path of this flow is another one than in the measurement before; None in the first one."""
    before = _known.pop(flow, None)
    _known[flow] = path if before is None else merged(before, path)
    while len(_known) > _MOST_PATHS:
        del _known[next(iter(_known))]
    return None if before is None else differs(before, path)


def differs(before: Path, now: Path) -> bool:
    """Tell whether any hop is another one than before. A hop that is silent once may still be the same."""
    return any(one and two and not set(one) & set(two) for one, two in zip(before, now, strict=False))


def merged(before: Path, now: Path) -> Path:
    """Return the path to compare with next: what is known now, and where nothing is, what was known before."""
    if differs(before, now):
        return now
    longer = max(before, now, key=len)
    shared = tuple(two or one for one, two in zip(before, now, strict=False))
    return shared + longer[len(shared) :]


def path_of(hops: Mapping[int, Hop], length: int) -> Path:
    """Return the addresses that answered at the hops 1 to `length`."""
    return tuple(tuple(sorted(hops[number].addresses)) for number in range(1, length + 1))


def path_id(path: Path) -> float:
    """Return 48 bits of a hash of the path's addresses: few enough to be exact in a float."""
    import hashlib  # noqa: PLC0415  (an agent that does not trace routes need not load it)

    words = " ".join(",".join(hop) or "*" for hop in path)
    return float(int.from_bytes(hashlib.blake2b(words.encode(), digest_size=_ID_BYTES).digest(), "big"))


def loops(path: Path) -> list[str]:
    """Return the addresses met again after another one: the circle, in its order. A repeat next to itself is none."""
    seen: dict[str, int] = {}
    circle: list[str] = []
    for number, hop in enumerate(path):
        for address in hop:
            if number - seen.get(address, number) > 1 and address not in circle:
                circle.append(address)
            seen[address] = number
    return circle
