"""What every test runs under: hypothesis draws the same examples each time, and no test is failed by a slow machine.

And the databases that tests of several rooms use, each started when the first one asks for it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.image.engine import STARTED, stop_what_was_started

if TYPE_CHECKING:
    from tests.services import PostgresServer, RedisServer

settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# to look for more, by hand: make test ARGS="--hypothesis-profile=explore tests/protocol"
settings.register_profile("explore", settings.get_profile("ci"), derandomize=False, max_examples=5000)
settings.load_profile("ci")


def pytest_configure(config: pytest.Config) -> None:
    """The processes that test at once learn from this one where to say that they have started an engine."""
    if not hasattr(config, "workerinput"):
        os.environ[STARTED] = str(Path(tempfile.gettempdir()) / f"trading-node-engine-of-{os.getpid()}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """What was started for this run ends with it."""
    if not hasattr(config, "workerinput"):
        stop_what_was_started()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL for all tests of this process."""
    from tests.services import PostgresServer

    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """A Redis for all tests of this process."""
    from tests.services import RedisServer

    server = RedisServer("redis")
    yield server
    server.remove()


@pytest.fixture(scope="session")
def valkey() -> Iterator[RedisServer]:
    """A Valkey for all tests of this process."""
    from tests.services import RedisServer

    server = RedisServer("valkey")
    yield server
    server.remove()
