"""The roles' own Python, which belongs to no package: loaded from where Ansible or a host finds it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

ROLES = Path(__file__).parents[2] / "playbooks" / "roles"


def load(path: str) -> ModuleType:
    """Load a file below `playbooks/roles` as a module, once."""
    name = f"nhip_role_{path.removesuffix('.py').replace('/', '_')}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, ROLES / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there for the module of their annotations
    spec.loader.exec_module(module)
    return module
