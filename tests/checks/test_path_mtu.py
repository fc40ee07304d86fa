"""path_mtu through chains of routers with narrow links; and its search against any path that can be imagined."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks import registry
from checks.path_mtu import PathMtu
from checks.path_mtu_search import Outcome, Search, Volleys
from checks.run import run
from checks.strict import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.checks.lab import Chain


def narrow(chain: Chain, mtu: int) -> None:
    """Give the link between the second and the third router a smaller MTU."""
    chain.routers[1].ip(f"link set right mtu {mtu}")
    chain.routers[2].ip(f"link set left mtu {mtu}")


def test_a_path_of_the_usual_size_takes_two_sizes_to_prove(chain: Chain) -> None:
    chain.wait_for_ipv6()
    for target in (chain.target, chain.target6):
        result = chain.host.measure("path_mtu", target)
        assert result["metrics"] == {
            "reached": 1, "path_mtu_bytes": 1500, "interface_mtu_bytes": 1500, "black_hole": 0, "loss_ratio": 0,
            "probes_sent": 4,
        }  # fmt: skip
        assert (result["reason"], result["error"], result["notes"], result["exit"]) == (None, None, [], 0)


def test_a_narrow_link_that_tells_is_believed_and_named(chain: Chain) -> None:
    chain.wait_for_ipv6()
    narrow(chain, 1400)
    for target, router in ((chain.target, "10.92.1.2"), (chain.target6, "fd92:1::2")):
        result = chain.host.measure("path_mtu", target)
        assert (result["metrics"]["path_mtu_bytes"], result["metrics"]["black_hole"]) == (1400, 0)
        assert result["metrics"]["probes_sent"] == 5
        assert result["notes"] == [f"packet too large for the path, says {router}"]
        assert result["exit"] == 0


@pytest.mark.parametrize("version", [4, 6])
def test_a_narrow_link_that_says_nothing_is_a_black_hole(chain: Chain, version: int) -> None:
    chain.wait_for_ipv6()
    narrow(chain, 1413)
    chain.routers[1].nft("output", "icmp type destination-unreachable drop")
    chain.routers[1].run("nft", "add rule inet t output icmpv6 type packet-too-big drop")
    result = chain.host.measure("path_mtu", chain.target if version == 4 else chain.target6, timeout_seconds=60)
    assert (result["metrics"]["path_mtu_bytes"], result["metrics"]["black_hole"]) == (1413, 1)
    assert result["notes"] == ["packets of 1414 bytes and more vanish, and no router says so"]
    assert result["exit"] == 2


def test_a_path_that_loses_packets_of_every_size_is_no_black_hole(chain: Chain) -> None:
    chain.routers[1].nft("prerouting", "ip protocol icmp numgen inc mod 3 == 0 drop")
    result = chain.host.measure("path_mtu", chain.target, timeout_seconds=90, packet_timeout_seconds=0.4)
    assert (result["metrics"]["path_mtu_bytes"], result["metrics"]["black_hole"]) == (1500, 0)
    assert result["metrics"]["loss_ratio"] > 0


def test_what_the_kernel_believes_of_the_path_does_not_matter(chain: Chain) -> None:
    narrow(chain, 1300)
    assert chain.host.measure("path_mtu", chain.target)["metrics"]["path_mtu_bytes"] == 1300
    narrow(chain, 1500)
    assert chain.host.measure("path_mtu", chain.target)["metrics"]["path_mtu_bytes"] == 1500


def test_a_path_below_the_base_size_is_still_found(chain: Chain) -> None:
    narrow(chain, 900)
    result = chain.host.measure("path_mtu", chain.target, packet_timeout_seconds=0.5)
    assert (result["metrics"]["path_mtu_bytes"], result["metrics"]["black_hole"]) == (900, 0)
    assert result["metrics"]["loss_ratio"] == 1
    assert result["exit"] == 1, "it is yellow"


def test_when_time_is_over_what_is_known_is_told_as_such(chain: Chain) -> None:
    narrow(chain, 1400)
    chain.routers[1].nft("output", "icmp type destination-unreachable drop")
    result = chain.host.measure("path_mtu", chain.target, timeout_seconds=3, packet_timeout_seconds=2)
    assert result["notes"] == ["the time was over before it was known which packets above 1200 bytes pass"]
    assert result["metrics"]["path_mtu_bytes"] == 1200
    assert "black_hole" not in result["metrics"]


def test_no_answer_says_why(chain: Chain) -> None:
    chain.far.nft("input", "drop")
    result = chain.host.measure("path_mtu", chain.target, packet_timeout_seconds=0.3)
    assert result["reason"] == "none of 3 packets of 1200 bytes was answered"
    assert result["metrics"] == {"reached": 0, "interface_mtu_bytes": 1500, "loss_ratio": 1, "probes_sent": 6}
    chain.routers[2].ip("route replace unreachable 10.92.4.0/24")
    assert chain.host.measure("path_mtu", chain.target)["reason"] == "host unreachable, says 10.92.2.2"
    nowhere = chain.host.measure("path_mtu", "198.51.100.1")
    assert nowhere["reason"] == "network is unreachable (said by this machine)"
    assert nowhere["metrics"] == {"reached": 0}


def test_the_group_alone_suffices(chain: Chain) -> None:
    chain.host.sysctl("net.ipv4.ping_group_range=0 2147483647")
    narrow(chain, 1400)
    words = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", sys.executable, "nhip.py", "check", "run")
    done = chain.host.run(*words, "path_mtu", "--target", chain.target, "--format", "json", check=False)
    assert json.loads(done.stdout)["metrics"]["path_mtu_bytes"] == 1400


async def test_a_source_that_is_not_ours_and_an_impossible_target_are_our_errors() -> None:
    foreign = await run(PathMtu(source="192.0.2.77"), "127.0.0.1", site="s", node="n")
    assert foreign.error == "cannot send from source 192.0.2.77: Cannot assign requested address"
    other = await run(PathMtu(ip_version=6), "127.0.0.1", site="s", node="n")
    assert other.error == "no packet was sent: 127.0.0.1 is not an IPv6 address"
    with pytest.raises(ConfigError, match=r"timeout_seconds: expected `float` >= 3.0"):
        registry.make("path_mtu", {"timeout_seconds": 1})


class Path(Volleys):
    """A path of some MTU that loses nothing else; a router on it may tell, rightly or not."""

    def __init__(self, mtu: int, told: int | None) -> None:
        super().__init__((socket.AF_INET, ("192.0.2.1", 0)), None, 1.0, float("inf"))
        self.mtu, self.told = mtu, told

    async def fire(self, sizes: Iterable[int], *, patiently: bool = False) -> dict[int, Outcome]:
        await asyncio.sleep(0)
        found = {}
        for size in sizes:
            self.sent += 1
            refusal = "too large" if self.told is not None else None
            found[size] = Outcome(passed=True) if size <= self.mtu else Outcome(refusal=refusal, next_mtu=self.told)
        assert found, f"nothing to send {'patiently' if patiently else ''}"
        return found


@given(mtu=st.integers(576, 9000), most=st.integers(576, 9000))
def test_any_path_is_measured_to_the_byte(mtu: int, most: int) -> None:
    for told, hidden in ((mtu, False), (0, False), (None, True)):
        path = Path(mtu, told)
        search = Search(path, 576, most, 3)
        asyncio.run(search.run())
        assert search.finished
        assert search.largest_passing == min(mtu, most)
        if mtu < most:
            assert (search.told_by is None) == hidden
        assert path.sent < 250


@given(mtu=st.integers(576, 2000), told=st.integers(0, 70_000))
def test_a_router_that_tells_nonsense_does_not_keep_the_search_from_its_end(mtu: int, told: int) -> None:
    search = Search(Path(mtu, told), 576, 1500, 3)
    asyncio.run(search.run())
    assert search.finished
    assert search.largest_passing <= min(mtu, 1500)
    assert search.told_by == "too large" or mtu >= 1500
