"""Which site belongs to which wave of a rollout."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def waves(sites: Mapping[str, str], sizes: Sequence[str], canary: str = "") -> dict[str, int]:
    """Return each site's wave, from 1.

    `sites` maps a site to its upstream. `sizes` says how large each wave is: a number, or a share of all sites
    ("10%"); the last takes what is left. The canary is the first. A wave takes from every upstream in turn, so that
    what is wrong with one point of presence shows early. The same sites always give the same waves: so a rollout that
    was stopped goes on where it was. `ValueError` for a size that is none, or a canary that is not among the sites.
    """
    if canary and canary not in sites:
        raise ValueError(f"the canary {canary!r} is not among the sites of this rollout")
    order = _in_turn(sites)
    if canary:
        order.remove(canary)
        order.insert(0, canary)
    planned: dict[str, int] = {}
    rest = deque(order)
    for number, size in enumerate(sizes, 1):
        count = len(rest) if number == len(sizes) else _count(size, len(order))
        for _ in range(min(count, len(rest))):
            planned[rest.popleft()] = number
    return planned


def _in_turn(sites: Mapping[str, str]) -> list[str]:
    """Return the sites, one of each upstream after the other."""
    by_upstream: defaultdict[str, deque[str]] = defaultdict(deque)
    for site in sorted(sites):
        by_upstream[sites[site]].append(site)
    order: list[str] = []
    while by_upstream:
        for upstream in sorted(by_upstream):
            order.append(by_upstream[upstream].popleft())
            if not by_upstream[upstream]:
                del by_upstream[upstream]
    return order


def _count(size: str, total: int) -> int:
    text = str(size).strip()
    number = text.removesuffix("%")
    if not number.isascii() or not number.isdigit() or int(number) < 1:
        raise ValueError(f"a wave's size is a number of sites or a share of them such as 10%, not {text!r}")
    return math.ceil(int(number) * total / 100) if text.endswith("%") else int(number)


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filter."""
        return {"waves": waves}
