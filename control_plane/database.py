"""The server's tables and the one way to reach them: SQLite, each commit on the disk before it counts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    create_engine,
    event,
)
from sqlalchemy.engine import Dialect

from node_protocol.encoding import parse_time

FILE_NAME: Final = "control_plane.sqlite3"
_BUSY_MILLISECONDS: Final = 10_000
_WRITES: Final = "control_plane_writes"


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC time to the microsecond, as RFC 3339 text of one width, so that it sorts as it reads."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """The text of an aware time."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        """The time of a text."""
        return None if value is None else parse_time(value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

deployment = Table(
    "deployment",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("salt_id", String(64), nullable=False),
    Column("salt", String(43), nullable=False),
    Column("master_key_check", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)
"""One row: what all nodes of this server share."""

nodes = Table(
    "nodes",
    metadata,
    Column("node_id", String(22), primary_key=True),
    Column("name", Text, nullable=False),
    Column("agent_version", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("enrolled_at", UtcTime, nullable=False),
    Column("replaces", ForeignKey("nodes.node_id")),
    Column("revoked_at", UtcTime),
    Column("first_sync_at", UtcTime),
    Column("last_sync_at", UtcTime),
    Column("last_seq", Integer, nullable=False, server_default="0"),
    Column("status", Text),
)
"""`last_seq` is the last event that is stored. Whether a node is suspended, the verifier's own table says."""

node_keys = Table(
    "node_keys",
    metadata,
    Column("key_id", String(32), primary_key=True),
    Column("node_id", ForeignKey("nodes.node_id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("sealed", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("first_used_at", UtcTime),
    Column("retires_at", UtcTime),
    Index(None, "node_id", "version", unique=True),
)
"""`retires_at`: from then on the key is revoked."""

tokens = Table(
    "tokens",
    metadata,
    Column("token_id", String(16), primary_key=True),
    Column("sealed", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("replaces", ForeignKey("nodes.node_id")),
    Column("node_id", ForeignKey("nodes.node_id")),
    Column("node_public", String(43)),
    Column("server_public", String(43)),
    Column("ticket", String(40)),
)
"""A token is spent when it has a `node_id`; what follows is for the same answer again."""

events = Table(
    "events",
    metadata,
    Column("node_id", ForeignKey("nodes.node_id"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("received_at", UtcTime, nullable=False),
)

commands = Table(
    "commands",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("command_id", String(68), nullable=False, unique=True),
    Column("node_id", ForeignKey("nodes.node_id"), nullable=False),
    Column("issued_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("first_sent_at", UtcTime),
    Column("done_at", UtcTime),
    Index(None, "node_id", "done_at"),
    sqlite_autoincrement=True,
)

alerts = Table(
    "alerts",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("node_id", ForeignKey("nodes.node_id"), nullable=False, index=True),
    Column("at", UtcTime, nullable=False),
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
)


class NoDatabase(Exception):
    """There is no database in this data directory."""


@dataclass(frozen=True)
class Database:
    """One engine, seen twice: transactions that only read, and transactions that hold the write lock from the start."""

    engine: Engine
    writer: Engine

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state and changes nothing."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that nobody else writes beside; durable when the block has ended."""
        with self.writer.begin() as connection:
            yield connection

    def close(self) -> None:
        """Closes every connection."""
        self.engine.dispose()


def path_in(data_dir: Path) -> Path:
    """Where the database of a data directory is."""
    return data_dir / FILE_NAME


def open_database(data_dir: Path, *, create: bool = False) -> Database:
    """The database of a data directory. Raises NoDatabase when there is none and none is to be made."""
    path = path_in(data_dir)
    if create:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    elif not path.is_file():
        raise NoDatabase(f"there is no database in {data_dir}")
    engine = create_engine(f"sqlite:///{path}", pool_size=16, max_overflow=32)
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return Database(engine, engine.execution_options(**{_WRITES: True}))


def _on_connect(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver's own idea of when a transaction begins is switched off: `_on_begin` says it.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {_BUSY_MILLISECONDS}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
