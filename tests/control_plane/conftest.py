"""Servers for the tests of the control plane: real processes, and one whose clock stands still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.location import Location, at_url, in_folder
from tests.control_plane.support import FrozenServer, ServerProcess, frozen_server


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """Where a database is to be, of each kind."""
    if request.param == "sqlite":
        return in_folder(tmp_path / "server")
    return at_url(request.getfixturevalue("postgres").new_database(), {})


@pytest.fixture
def server(where: Location, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of the test's own."""
    started = ServerProcess(tmp_path / "server", where=where).start()
    yield started
    started.end()


@pytest.fixture
def frozen(where: Location) -> Iterator[FrozenServer]:
    """A server whose clock stands still."""
    with frozen_server(where) as served:
        yield served
