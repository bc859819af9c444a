"""Every store that there is, each behind the one interface."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event

from verifier.stores import MemoryStore, SqlStore, Store


def sqlite_engine(path: Path) -> Engine:
    """An engine as a deployment would set it up."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _durable(connection: object, _record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")  # type: ignore[attr-defined]

    return engine


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    engine = sqlite_engine(tmp_path / "verifier.sqlite3")
    sql = SqlStore(engine)
    sql.create_tables()
    yield sql
    engine.dispose()
