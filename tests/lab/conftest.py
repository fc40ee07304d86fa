"""Labs for tests: a small one of this folder's own, and the whole virtual province; each booted once for all tests."""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.lab import needs
from tests.lab.client import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def able() -> None:
    """Skip a test, with the reason, where no lab can be."""
    reason = needs.missing()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def province(able: None) -> Iterator[Lab]:  # noqa: ARG001  (skips)
    """Boot the virtual province of `inventory/lab`: all its hosts, as they come from Debian. Leave it whole."""
    with Lab.up(f"t-{uuid.uuid4().hex[:6]}") as lab:
        yield lab


@pytest.fixture(scope="session")
def two_sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an inventory: data centre, and one commune with a computer and lines to two points of presence."""
    folder = tmp_path_factory.mktemp("inventory")
    (folder / "sites.yml").write_text(yaml.safe_dump({"all": {"children": SITES}}, sort_keys=False), encoding="utf-8")
    (folder / "group_vars" / "all").mkdir(parents=True)
    (folder / "group_vars" / "all" / "province.yml").write_text(yaml.safe_dump(PROVINCE), encoding="utf-8")
    return folder


@pytest.fixture
def lab_name() -> Iterator[Callable[[], str]]:
    """Give names of labs that nobody else uses, and take away what is left of those in the end."""
    names: list[str] = []

    def name() -> str:
        names.append(f"t-{uuid.uuid4().hex[:6]}")
        return names[-1]

    yield name
    for each in names:
        Lab(each).down()


@pytest.fixture(scope="session")
def small(able: None, two_sites: Path) -> Iterator[Lab]:  # noqa: ARG001  (skips)
    """Boot a lab of those two sites."""
    with Lab.up(f"t-{uuid.uuid4().hex[:6]}", inventory=two_sites) as lab:
        yield lab


@pytest.fixture
def whole(small: Lab) -> Iterator[Lab]:
    """Give that lab with nothing out of order, before and after."""
    with contextlib.ExitStack() as after:
        after.callback(small.ask, "heal", place="all")
        yield small


PROVINCE = {
    "data_centre_lan": "10.92.0.0/24",
    "data_centre_router": "10.92.0.1",
    "data_centre_control": "10.92.0.2",
    "data_centre_one_stop": "10.92.0.20",
    "province_domain": "can-tho.internal",
}
SITES = {
    "data_centre": {
        "vars": {"site": "data-centre", "site_name": "Trung tâm dữ liệu", "site_lan": "{{ data_centre_lan }}"},
        "hosts": {"data-centre": {"kind": "data_centre_host", "ansible_host": "10.92.0.10"}},
    },
    "carrier": {
        "vars": {"upstream_name": "TSLCD"},
        "children": {
            "pop_a": {
                "vars": {"upstream_name": "A"},
                "children": {
                    "site_31120": {
                        "vars": {
                            "site": "31120",
                            "site_name": "Phường Cái Khế",
                            "site_lan": "10.92.1.0/24",
                            "site_second_upstream": "pop_b",
                        },
                        "hosts": {
                            "31120-gateway": {
                                "kind": "gateway",
                                "ansible_host": "10.92.240.6",
                                "gateway_uplinks": [
                                    {"interface": "wan", "address": "10.92.240.6/30", "via": "10.92.240.5"},
                                    {"interface": "wan2", "address": "10.92.248.6/30", "via": "10.92.248.5"},
                                ],
                            },
                            "31120-counter-1": {"kind": "workstation", "ansible_host": "10.92.1.11"},
                        },
                    }
                },
            },
            "pop_b": {"vars": {"upstream_name": "B"}},
        },
    },
}
