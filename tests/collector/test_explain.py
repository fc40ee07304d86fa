"""Whatever is ill, every trouble is explained exactly once, and the same in whatever order it came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.strict import build
from collector.config import Config
from collector.explain import Ground, explain
from collector.incident import Evidence, Place
from collector.topology import Line, Topology
from collector.troubles import Trouble

if TYPE_CHECKING:
    from collector.incident import Severity

NS = 1_000_000_000
SITES = [str(n) for n in range(1, 9)]
CONFIG = {
    "upstreams": [{"upstream": "c"}, {"upstream": "p1", "parent": "c"}, {"upstream": "p2", "parent": "c"}],
    "sites": [
        {"site": site, "name": f"Commune {site}", "upstream": "p1" if int(site) < 5 else "p2"}
        | ({"second_upstream": "p2"} if site == "1" else {})
        for site in SITES
    ],
}
TOPOLOGY = Topology.of(build(Config, CONFIG))
PLACES = st.one_of(
    st.builds(lambda site: Place("silence", site, ""), st.sampled_from(SITES)),  # a whole site is silent once
    st.builds(lambda site: Place("path", site, "10.92.0.10"), st.sampled_from(SITES)),
    st.builds(
        lambda site, name: Place("service", site, name), st.sampled_from(SITES), st.sampled_from(["mail", "own"])
    ),
    st.builds(lambda site: Place("node", site, "gw"), st.sampled_from(SITES)),
    st.builds(lambda site, name: Place("clock", site, name), st.sampled_from(SITES), st.sampled_from(["", "gw"])),
    st.builds(lambda name: Place("redundancy", "1", name), st.sampled_from(["p1", "p2"])),
)


def trouble_at(place: Place, began: int, severity: Severity, loss: float) -> Trouble:
    check = "stamp" if place.kind == "path" else "http_get"
    evidence = Evidence(
        node="gw", check=check, target=place.name, metric="loss_ratio", level=severity, at=began, value=loss
    )
    return Trouble(
        place=place, severity=severity, began_at=began * NS, known_at=(began + 5) * NS,
        cause="line" if place.kind == "silence" else "", whole=place.kind == "silence", evidence={1: evidence},
    )  # fmt: skip


TROUBLES = st.dictionaries(
    PLACES,
    st.tuples(st.integers(0, 400), st.sampled_from(["yellow", "red"]), st.sampled_from([0.1, 1.0])),
    max_size=20,
).map(lambda found: {place: trouble_at(place, *how) for place, how in found.items()})


def ground(*, blind: bool = False) -> Ground:
    units = {"": 1, "c": 2, "p1": 4, "p2": 5}
    return Ground(topology=TOPOLOGY, units=units, shared_services={"mail"}, blind=blind)


@pytest.mark.timeout(400)  # on a machine that does much else
@settings(max_examples=80, deadline=None)
@given(troubles=TROUBLES, order=st.randoms(use_true_random=False), blind=st.booleans())
def test_each_trouble_is_in_one_group_whatever_their_order(
    troubles: dict[Place, Trouble], order: st.random.Random, *, blind: bool
) -> None:
    groups = explain(troubles, ground(blind=blind))
    members = [place for group in groups for place in group.members]
    assert sorted(members) == sorted(troubles)
    shuffled = list(troubles.items())
    order.shuffle(shuffled)
    assert explain(dict(shuffled), ground(blind=blind)) == groups


@pytest.mark.timeout(400)  # on a machine that does much else
@settings(max_examples=80, deadline=None)
@given(troubles=TROUBLES)
def test_an_upstream_is_never_named_for_a_single_line(troubles: dict[Place, Trouble]) -> None:
    for group in explain(troubles, ground()):
        if group.place.kind == "upstream":
            lines = {line for place in group.members for line in TOPOLOGY.lines_of(place.site)}
            assert len(lines) > 1
            assert all(isinstance(line, Line) for line in lines)


@pytest.mark.timeout(400)  # on a machine that does much else
@settings(max_examples=80, deadline=None)
@given(troubles=TROUBLES)
def test_what_stands_for_itself_is_a_trouble_and_what_does_not_is_shared(troubles: dict[Place, Trouble]) -> None:
    for group in explain(troubles, ground()):
        assert group.place in troubles or not group.place.site, group
