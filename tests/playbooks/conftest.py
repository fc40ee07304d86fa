"""A control node for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.playbooks.control import Control

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def control(tmp_path: Path) -> Control:
    return Control(tmp_path)
