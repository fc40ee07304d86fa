"""One run at a time: take, renew or give back a lock file on the machine where this module runs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENTATION = r"""
module: run_lock
short_description: Let one run at a time change a province
description:
  - Keeps who runs what, and since when, in a file. The same run that asks again renews its lease.
  - The action of the same name adds who is asking; where a run on the same control node has died, it says so here.
  - A run that has ended without giving back is taken over as soon as its control node knows, or when its lease ends.
options:
  path: {description: The lock's file., type: path, required: true}
  state: {description: Take and renew it, or give it back., choices: [present, absent], default: present}
  lease_seconds: {description: How long it holds without being renewed., type: int, default: 1800}
  take_over: {description: Take it whoever has it., type: bool, default: false}
  holder: {description: Who asks; filled in by the action., type: dict}
  dead: {description: Identities of runs that are known to have ended., type: list, elements: str, default: []}
"""

RETURN = r"""
held_by: {description: Who has the lock when it was refused., type: dict, returned: when refused}
took_over: {description: Whose lock was taken over., type: dict, returned: when there was one}
"""

ARGUMENTS: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "state": {"choices": ["present", "absent"], "default": "present"},
    "lease_seconds": {"type": "int", "default": 1800},
    "take_over": {"type": "bool", "default": False},
    "holder": {"type": "dict", "required": True},
    "dead": {"type": "list", "elements": "str", "default": []},
}


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open the file for ourselves alone while we read and write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> dict[str, Any] | None:
    """Return who has the lock. What was cut short by a power failure is nobody's."""
    with contextlib.suppress(ValueError):
        told = json.loads(os.pread(descriptor, 65_536, 0) or b"null")
        if isinstance(told, dict) and isinstance(told.get("expires_at"), (int, float)):
            return told
    return None


def _write(descriptor: int, told: dict[str, Any] | None) -> None:
    os.ftruncate(descriptor, 0)
    if told is not None:
        os.pwrite(descriptor, json.dumps(told).encode(), 0)
    os.fsync(descriptor)


def ask(module: AnsibleModule) -> dict[str, Any]:
    """Take, renew or give back; `held_by` in the answer means refused."""
    wanted = module.params
    holder = {key: str(value) for key, value in wanted["holder"].items()}
    with _locked(Path(wanted["path"])) as descriptor:
        now = time.time()
        told = _read(descriptor)
        ours = told is not None and told.get("run") == holder["run"]
        if wanted["state"] == "absent":
            if ours:
                _write(descriptor, None)
            return {"changed": False}
        over = told is not None and (wanted["take_over"] or told.get("run") in wanted["dead"])
        if told is not None and not ours and not over and now < told["expires_at"]:
            ages = {"heard_seconds": round(now - told["renewed_at"]), "left": round(told["expires_at"] - now)}
            return {"changed": False, "held_by": {**told, **ages}}
        _write(descriptor, {**holder, "renewed_at": now, "expires_at": now + wanted["lease_seconds"]})
        return {"changed": False} if told is None or ours else {"changed": False, "took_over": told}


def main() -> None:
    """Run as a module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if module.check_mode:
        module.exit_json(changed=False)
    try:
        module.exit_json(**ask(module))
    except OSError as exc:
        module.fail_json(msg=f"the lock {module.params['path']} cannot be used: {exc.strerror}")


if __name__ == "__main__":
    main()
