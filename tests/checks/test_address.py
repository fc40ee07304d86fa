"""Addresses as people write them, and names that need the system's resolver."""

from __future__ import annotations

import asyncio
import socket

import pytest

from checks.address import UnresolvedError, resolve, split_host, split_host_port
from checks.check import CheckError


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("10.0.0.1:443", ("10.0.0.1", 443)),
        ("portal.example:80", ("portal.example", 80)),
        ("[fd00::1]:53", ("fd00::1", 53)),
        ("[fe80::1%eth0]:53", ("fe80::1%eth0", 53)),
    ],
)
def test_host_and_port_are_parted(target: str, parts: tuple[str, int]) -> None:
    assert split_host_port(target) == parts


def test_a_bare_host_loses_its_brackets_and_nothing_else() -> None:
    assert split_host("[fd00::1]") == split_host("fd00::1") == "fd00::1"
    with pytest.raises(CheckError, match="is not a host"):
        split_host("a:80")


async def test_a_literal_asks_nobody() -> None:
    assert await resolve("127.0.0.1", 80) == [(socket.AF_INET, ("127.0.0.1", 80))]
    assert await resolve("::1", 80, 6) == [(socket.AF_INET6, ("::1", 80, 0, 0))]
    with pytest.raises(UnresolvedError, match=r"^::1 is not an IPv4 address$"):
        await resolve("::1", 80, 4)


async def test_many_who_ask_for_one_name_get_one_answer() -> None:
    answers = await asyncio.gather(*(resolve("localhost", 80, 4) for _ in range(20)))
    assert all(answer == [(socket.AF_INET, ("127.0.0.1", 80))] for answer in answers)


async def test_giving_up_on_a_name_harms_nobody_else() -> None:
    hasty = asyncio.create_task(resolve("localhost", 80, 4))
    patient = asyncio.create_task(resolve("localhost", 80, 4))
    await asyncio.sleep(0)
    hasty.cancel()
    assert await patient
    with pytest.raises(asyncio.CancelledError):
        await hasty


@pytest.mark.parametrize("name", ["a..b", "x" * 70 + ".test"])
async def test_a_name_that_dns_cannot_hold_is_said(name: str) -> None:
    with pytest.raises(UnresolvedError, match="is not a name that DNS can hold"):
        await resolve(name, 80)
