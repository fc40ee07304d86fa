"""Which site belongs to which wave: every site to one, the same ones every time, every upstream early."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbooks.plugins.filter.waves import waves

SITES = st.dictionaries(st.text("0123456789", min_size=5, max_size=5), st.sampled_from(["pop_a", "pop_b", "pop_c"]))
SIZES = ["1", "10%", "100%"]


@given(SITES)
def test_every_site_belongs_to_one_wave_and_always_to_the_same(sites: dict[str, str]) -> None:
    planned = waves(sites, SIZES)
    assert planned.keys() == sites.keys()
    assert planned == waves(dict(reversed(sites.items())), SIZES)
    numbers = list(planned.values())
    assert numbers.count(1) == min(1, len(sites))
    assert numbers.count(2) <= -(-len(sites) // 10)


@given(SITES.filter(bool), st.data())
def test_the_canary_goes_first_and_alone(sites: dict[str, str], data: st.DataObject) -> None:
    canary = data.draw(st.sampled_from(sorted(sites)))
    planned = waves(sites, SIZES, canary)
    assert [site for site, wave in planned.items() if wave == 1] == [canary]


def test_a_province_goes_out_as_one_then_a_tenth_then_the_rest() -> None:
    sites = {f"{31000 + n}": f"pop_{n % 8}" for n in range(103)}
    planned = waves(sites, SIZES)
    assert [list(planned.values()).count(wave) for wave in (1, 2, 3)] == [1, 11, 91]
    early = {sites[site] for site, wave in planned.items() if wave < 3}
    assert len(early) == 8, "what is wrong with one point of presence shows before the last wave"


@pytest.mark.parametrize("size", ["0", "-1", "ten", "", "10 %x", "٣"])
def test_what_is_no_size_is_named(size: str) -> None:
    with pytest.raises(ValueError, match="a wave's size is a number of sites or a share of them such as 10%"):
        waves({"31117": "a"}, [size, "100%"])


def test_a_canary_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="the canary '31999' is not among the sites of this rollout"):
        waves({"31117": "a"}, SIZES, "31999")
