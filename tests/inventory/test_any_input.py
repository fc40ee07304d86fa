"""Whatever people write, an inventory is read without a crash, and every place that is named exists."""

from __future__ import annotations

import shutil
import tempfile
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inventory.check import problems_of
from inventory.plan import plan_province
from inventory.units import of_province, provinces

REPOSITORY = Path(__file__).parents[2]
LAB = REPOSITORY / "inventory/lab"
ROLES = REPOSITORY / "playbooks/roles"
WRITTEN = sorted(str(path.relative_to(LAB)) for path in LAB.rglob("*.yml") if path.name != "vault.yml")
PIECES = (
    "{{ province }}",
    "{{ nobody }}",
    "[",
    "- ",
    ": ",
    "null",
    "0",
    "!vault x",
    "!!python/x y",
    "&a *a",
    "\t",
    "~",
    "é",
)


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a file of the lab's inventory with a piece of it replaced."""
    name = draw(st.sampled_from(WRITTEN))
    lines = (LAB / name).read_text(encoding="utf-8").splitlines(keepends=True)
    at = draw(st.integers(0, len(lines) - 1))
    start = draw(st.integers(0, len(lines[at])))
    end = draw(st.integers(start, len(lines[at])))
    piece = draw(st.one_of(st.sampled_from(PIECES), st.text(max_size=8), st.sampled_from(lines)))
    lines[at] = lines[at][:start] + piece + lines[at][end:]
    return name, "".join(lines).encode("utf-8", "surrogatepass")


@given(spoilt())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_spoilt_file_is_told_and_never_a_crash(change: tuple[str, bytes]) -> None:
    name, content = change
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(LAB, Path(place) / "lab"))
        (folder / name).write_bytes(content)
        _, problems = problems_of(folder, ROLES)
        for where, words in problems:
            file, _, line = where.rpartition(":")
            assert words
            assert "\n" not in words
            assert (folder / (file or where)).exists()
            assert not file or int(line) >= 1


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_part_of_any_province_has_its_own_addresses_and_even_upstreams(data: st.DataObject) -> None:
    code = data.draw(st.sampled_from(sorted(provinces())))
    codes = [unit.code for unit in of_province(code)]
    only = data.draw(st.lists(st.sampled_from(codes), unique=True, max_size=len(codes)))
    sites = len(only or codes)
    upstreams = data.draw(st.none() | st.integers(1, sites))
    plan = plan_province(code, only, upstreams)
    assert sorted(site.unit.code for site in plan.sites) == sorted(only or codes)
    sizes = [len(upstream.sites) for upstream in plan.upstreams]
    assert max(sizes) - min(sizes) <= 1
    assert len({upstream.upstream for upstream in plan.upstreams}) == len(sizes) == (upstreams or len(sizes))
    networks = [network for site in plan.sites for network in (site.lan, site.line.network, site.second_line.network)]
    networks += [plan.data_centre, plan.tunnels]
    ordered = sorted(networks, key=lambda network: int(network[0]))
    assert not [(one, two) for one, two in pairwise(ordered) if one.overlaps(two)]
    assert all(network.subnet_of(ip_network(f"10.{int(code)}.0.0/16")) for network in networks)
    assert plan == plan_province(code, only, upstreams), "the same on each call"
