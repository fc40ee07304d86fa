"""What else can go wrong in a province, seen from inside it by the agent's own checks."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.client import ROOT
from tests.lab.programs import LabError
from tests.running import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.client import Lab

GATEWAY, COUNTER = "31120-gateway", "31120-counter-1"
PAGE, UPS = "http://one-stop.can-tho.internal/", "ups@10.92.1.250:3493"
DNS = {"server": "10.92.0.20", "expected_answer": "10.92.0.20"}


def metrics(lab: Lab, space: str, check: str, target: str, **parameters: object) -> dict[str, Any]:
    """Measure once in a host's network, and return what was found."""
    values = [
        f"--set={name}={json.dumps(value) if not isinstance(value, str) else value}"
        for name, value in parameters.items()
    ]
    command = [
        *lab.within(space),
        sys.executable,
        "nhip.py",
        "check",
        "run",
        check,
        "--target",
        target,
        "--format=json",
    ]
    done = subprocess.run([*command, *values], check=False, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout)["metrics"])


def becomes(measure: Callable[[], dict[str, Any]], **wanted: object) -> None:
    until(lambda: wanted.items() <= measure().items(), what=f"{wanted}")


def test_the_one_stop_system_is_there_and_can_be_stopped_and_started(whole: Lab) -> None:
    def page() -> dict[str, Any]:
        return metrics(whole, "control", "http_get", PAGE, expected_phrase="Một cửa")

    becomes(page, success=1)
    whole.ask("stop_service", host="one-stop", unit="web")
    becomes(page, success=0)
    assert whole.ask("heal", place="one-stop") == ["one-stop: web stopped"]
    becomes(page, success=1)


def test_a_name_server_that_lies_and_one_that_is_silent_are_seen(whole: Lab) -> None:
    def answer() -> dict[str, Any]:
        return metrics(whole, "control", "dns_query", "one-stop.can-tho.internal", **DNS)

    becomes(answer, success=1)
    whole.ask("wrong_dns")
    becomes(answer, success=0)
    assert "response_seconds" in answer()
    whole.ask("heal", place="all")
    becomes(answer, success=1)


def test_a_certificate_runs_out_and_is_renewed(whole: Lab) -> None:
    authority = str(whole.places.folder / "devices" / "one-stop" / "ca.pem")

    def days_left() -> float:
        found = metrics(whole, "control", "tls_certificate", "one-stop.can-tho.internal:443", ca_file=authority)
        return float(found.get("certificate_expiry_days", 0.0))

    until(lambda: days_left() > 300, what="a good certificate")
    whole.ask("expire_certificate", days=5)
    assert 4 < days_left() < 6
    whole.ask("expire_certificate")
    assert days_left() < 0
    whole.ask("heal", place="all")
    assert days_left() > 300


def test_a_site_lives_on_its_ups(whole: Lab) -> None:
    def power() -> dict[str, Any]:
        return metrics(whole, COUNTER, "power", UPS)

    becomes(power, on_battery=0)
    whole.ask("on_battery", site="31120")
    becomes(power, on_battery=1)
    whole.ask("heal", place="31120")
    becomes(power, on_battery=0)


def test_a_strangers_dhcp_server_answers_on_the_site_s_lan_until_it_is_unplugged(whole: Lab) -> None:
    def offers() -> str:
        return whole.run(COUNTER, "networkctl", "status", "dhcp-test", "--no-pager", check=False)

    whole.ask("rogue_dhcp", site="31120")
    with pytest.raises(LabError, match="a rogue DHCP server at 31120 already"):
        whole.ask("rogue_dhcp", site="31120")
    network = "[Match]\nName=dhcp-test\n[Network]\nDHCP=ipv4\n"
    whole.run(
        COUNTER, "sh", "-c", f"mkdir -p /run/systemd/network; printf '{network}' > /run/systemd/network/10-t.network"
    )
    whole.run(
        COUNTER, "sh", "-c", "networkctl reload; ip link add dhcp-test link eth0 type macvlan; ip link set dhcp-test up"
    )
    try:
        until(lambda: "192.168.1.1" in offers(), 40, what="the stranger's offer")
    finally:
        whole.run(
            COUNTER, "sh", "-c", "ip link delete dhcp-test; rm /run/systemd/network/10-t.network; networkctl reload"
        )
    assert whole.ask("heal", place="31120") == ["31120: a rogue DHCP server"]
    whole.ask("rogue_dhcp", site="31120")  # and again
    whole.ask("heal", place="31120")
    assert "31120" not in whole.ask("status")["faults"]


def test_a_killed_unit_stays_dead_until_it_is_started(whole: Lab) -> None:
    def state() -> str:
        return whole.run(GATEWAY, "systemctl", "is-active", "ssh", check=False).strip()

    whole.ask("kill_service", host=GATEWAY, unit="ssh")
    until(lambda: state() in ("failed", "inactive"), what="its death")
    assert whole.ask("status")["faults"] == {GATEWAY: {"ssh": "ssh killed"}}
    assert whole.ask("heal", place=GATEWAY) == [f"{GATEWAY}: ssh killed"]
    until(lambda: state() == "active", what="its start")
    assert whole.ask("status")["faults"] == {}


def test_a_service_that_is_not_there_is_named(whole: Lab) -> None:
    with pytest.raises(LabError, match="one-stop has no service 'mail'; there are: web, dns"):
        whole.ask("stop_service", host="one-stop", unit="mail")
    with pytest.raises(LabError, match=r"Unit nothing\.service not loaded"):
        whole.ask("stop_service", host=GATEWAY, unit="nothing")
    with pytest.raises(LabError, match="there is no commune '1'; there are: 31120"):
        whole.ask("on_battery", site="1")
