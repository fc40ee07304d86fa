"""Pinned host keys, merged into a known_hosts file that Ansible, ssh and diagnosis read."""

from __future__ import annotations

from typing import Any

HEADER = "# Managed by the role ssh: the keys of the hosts as they were when they were provisioned."


def ssh_known_hosts(text: str, pins: list[tuple[str, str]], port: int = 22) -> str:
    """Return `text` with these (address, base64 Ed25519 key) pairs; other hosts' lines stay, in one order."""
    ours = {address if port == 22 else f"[{address}]:{port}": key for address, key in pins}  # noqa: PLR2004  (SSH's own)
    kept = {line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")}
    kept = {line for line in kept if not set(line.split()[0].split(",")) & ours.keys()}
    kept |= {f"{name} ssh-ed25519 {key}" for name, key in ours.items()}
    return "\n".join([HEADER, *sorted(kept)]) + "\n"


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"ssh_known_hosts": ssh_known_hosts}
