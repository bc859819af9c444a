"""Every store that there is, each behind the one interface."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Engine, create_engine, delete, event

from tests.services import PostgresServer
from verifier.stores import MemoryStore, RedisStore, SplitStore, SqlStore, Store
from verifier.stores.sql import metadata

STORES: Final = ("memory", "sqlite", "postgresql", "redis", "valkey", "redis and postgresql")


def sqlite_engine(path: Path) -> Engine:
    """An engine as a deployment would set it up."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _durable(connection: object, _record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")  # type: ignore[attr-defined]

    return engine


@pytest.fixture
def postgres_engine(postgres: PostgresServer) -> Iterator[Engine]:
    """An engine of a PostgreSQL whose tables are empty."""
    engine = create_engine(postgres.url)
    metadata.create_all(engine)
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(delete(table))
    yield engine
    engine.dispose()


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store of each kind, empty."""
    kind = request.param
    if kind == "memory":
        yield MemoryStore()
    elif kind == "sqlite":
        engine = sqlite_engine(tmp_path / "verifier.sqlite3")
        sql = SqlStore(engine)
        sql.create_tables()
        yield sql
        engine.dispose()
    elif kind == "postgresql":
        yield SqlStore(request.getfixturevalue("postgres_engine"))
    else:
        in_redis = RedisStore(request.getfixturevalue(kind.split()[0]).client, prefix=secrets.token_hex(4))
        in_redis.start_new()
        split = kind == "redis and postgresql"
        yield SplitStore(in_redis, SqlStore(request.getfixturevalue("postgres_engine"))) if split else in_redis
