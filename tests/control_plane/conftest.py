"""Servers for the tests of the control plane: real processes, and one whose clock stands still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control_plane.support import FrozenServer, ServerProcess, frozen_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of the test's own."""
    started = ServerProcess(tmp_path / "server").start()
    yield started
    started.end()


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[FrozenServer]:
    """A server whose clock stands still."""
    with frozen_server(tmp_path / "server") as served:
        yield served
