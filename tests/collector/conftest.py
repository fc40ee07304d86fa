"""Collectors for tests: one of one's own, one to share, one with a configuration of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.running import RunningCollector, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[RunningCollector]:
    """Yield a running collector with the defaults, but for a silence of 3 seconds."""
    running = RunningCollector(tmp_path, {})
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    """Yield one collector for all those questions of a module that cannot get in each other's way."""
    running = RunningCollector(tmp_path_factory.mktemp("shared"), {})
    running.start()
    yield running
    running.stop()


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[Callable[..., RunningCollector]]:
    """Yield a function that starts a collector with what its configuration shall say."""
    started: list[RunningCollector] = []

    def start(**more: Any) -> RunningCollector:
        folder = tmp_path / f"c{len(started)}"
        folder.mkdir()
        running = RunningCollector(folder, more)
        started.append(running)
        running.start()
        return running

    yield start
    for running in started:
        running.stop()


@pytest.fixture
def until_true() -> Callable[..., Any]:
    return until
