"""A rollout goes in waves, stops by itself, says why, and goes on where it stopped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.playbooks.control import Control

FOUR = ("31117", "31120", "31135", "31147")

pytestmark = pytest.mark.timeout(600)  # whole runs of Ansible, on a machine that may be busy


def test_a_wave_that_is_not_accepted_stops_the_rollout_and_the_next_run_goes_on_there(control: Control) -> None:
    control.sites({code: {"works": code != "31120"} for code in FOUR})
    first = control.run("rollout.yml")
    assert first.returncode == 2, first.stdout
    assert "✔ 31117 Phường 31117: accepted · wave 1: 1/1 accepted" in first.stdout
    said = "✖ 31120 Phường 31120: not accepted: packet loss 40 % (limit 5 %) · wave 2: 0/1 accepted, 1 failed"
    assert said in first.stdout
    assert "✖ wave 2 stopped the rollout: 31120 not accepted. Repair what is said above, then run again" in first.stdout
    assert "wave 3" not in first.stdout, "a wave begins only when the one before it was accepted"

    control.sites({code: {} for code in FOUR})
    second = control.run("rollout.yml")
    assert second.returncode == 0, second.stdout
    assert "1 of 4 sites are accepted already and left alone" in second.stdout
    told = re.findall(r"^✔ (\d{5}) .* · (wave \d): ", second.stdout, re.MULTILINE)
    assert dict(told) == {"31120": "wave 2", "31135": "wave 3", "31147": "wave 3"}


def test_one_site_that_cannot_be_provisioned_hides_none_of_the_others(control: Control) -> None:
    control.role(
        "base",
        "- {name: Write, ansible.builtin.command: dd if=/dev/zero of=/dev/full, when: broken | default(false)}\n",
    )
    control.sites({code: {"broken": code == "31135"} for code in FOUR})
    run = control.run("rollout.yml")
    assert run.returncode == 2, run.stdout
    assert (
        "✖ 31135 Phường 31135 · 31135-gateway · base: Write\n"
        "    the disk is full\n"
        "    do: free some space on it (`journalctl --vacuum-size=100M`, `apt-get clean`), then run again"
    ) in run.stdout
    assert "✔ 31147 Phường 31147: accepted · wave 3: 1/2 accepted, 1 failed" in run.stdout
    assert "✖ wave 3 stopped the rollout: 31135 not accepted." in run.stdout


def test_a_wave_of_which_nothing_is_left_says_that_it_stopped_the_rollout(control: Control) -> None:
    control.role("base", "- {name: Write, ansible.builtin.command: dd if=/dev/zero of=/dev/full}\n")
    control.sites({code: {} for code in FOUR})
    run = control.run("rollout.yml")
    assert run.returncode == 2, run.stdout
    assert "✖ wave 1 stopped the rollout: 31117 not accepted. Repair what is said above, then run again" in run.stdout
    assert "wave 2" not in run.stdout


def test_a_rollout_can_be_limited_to_a_site_and_shown_beforehand(control: Control) -> None:
    work = (
        '- {name: Write a file, ansible.builtin.copy: {content: "rules", dest: "%s/{{ site }}.rules", mode: "0600"}}\n'
    )
    control.role("firewall", work % control.folder)
    control.sites({code: {} for code in FOUR})
    shown = control.run("rollout.yml", "--limit", "site_31135", "--check", "--diff")
    assert shown.returncode == 0, shown.stdout
    assert "31135-gateway · firewall: Write a file\n" in shown.stdout
    assert "+rules" in shown.stdout
    assert "31135 Phường 31135: would change: firewall: Write a file" in shown.stdout
    assert not list(control.folder.glob("*.rules"))
    assert {"31117", "31120", "31147"}.isdisjoint(re.findall(r"\d{5}", shown.stdout))

    done = control.run("communes.yml", "--limit", "site_31135")
    assert done.returncode == 0, done.stdout
    again = control.run("communes.yml", "--limit", "site_31135")
    assert again.stdout.splitlines()[-1].startswith("1 site, 0 changed, 0 failed; "), again.stdout
