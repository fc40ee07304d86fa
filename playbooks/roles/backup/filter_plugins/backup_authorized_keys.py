"""Which host may send archives: one key a host, and nothing that it opens but receiving."""

from __future__ import annotations

from typing import Any

HEADER = "# Managed by the role backup: each key may do one thing, send an archive of its own host."


def backup_authorized_keys(text: str, keys: dict[str, str]) -> str:
    """Return the authorized_keys file with the keys of these hosts; other hosts' lines stay, in one order."""
    command = 'restrict,command="/usr/local/sbin/nhip-backup receive {}" '
    kept = {line for line in text.splitlines() if line and not line.startswith("#")}
    kept = {line for line in kept if not any(line.startswith(command.format(host)) for host in keys)}
    kept |= {command.format(host) + key.strip() for host, key in keys.items()}
    return "\n".join([HEADER, *sorted(kept)]) + "\n"


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"backup_authorized_keys": backup_authorized_keys}
