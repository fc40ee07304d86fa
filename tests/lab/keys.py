"""SSH keys of a lab: the control node's, and each host's beforehand, so that nobody is trusted on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab.programs import do

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.places import Places
    from tests.lab.plan import Plan


def make(plan: Plan, places: Places) -> None:
    """Make all keys and the file of known hosts."""
    places.key.parent.mkdir(parents=True, mode=0o700)
    generate(places.key, "control")
    lines = []
    for host in plan.hosts:
        file = host_key(places, host.name)
        generate(file, host.name)
        public = " ".join(file.with_suffix(".pub").read_text(encoding="ascii").split()[:2])
        addresses = {host.address, *(each.partition("/")[0] for port in host.ports for each in port.addresses)}
        lines.append(f"{','.join([host.name, *sorted(addresses - {''})])} {public}\n")
    places.known_hosts.write_text("".join(lines), encoding="ascii")


def generate(file: Path, comment: str) -> None:
    """Make a key pair without a passphrase."""
    do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(file))


def host_key(places: Places, name: str) -> Path:
    """Return the private key's file of a host; its public one ends in `.pub`."""
    return places.key.parent / f"host-{name}"


def ssh_settings(places: Places) -> dict[str, str]:
    """Return what every call of ssh needs: our key and no other, known hosts and no others."""
    return {
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": str(places.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": "10",
        "LogLevel": "ERROR",
    }


def ssh_options(places: Places) -> list[str]:
    """Return the same as words of ssh's command line, which then reads no configuration of anybody's."""
    settings = (f"-o{name}={value}" for name, value in ssh_settings(places).items())
    return ["-F", "/dev/null", "-i", str(places.key), *settings]
