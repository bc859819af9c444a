"""The server's tables and the one way to reach them: SQLite or PostgreSQL, each commit on the disk before it counts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
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
from sqlalchemy.types import TypeEngine

from control_plane.location import Location
from node_protocol.encoding import parse_time

_BUSY_MILLISECONDS: Final = 10_000
"""How long a writer waits for the one before it, and PostgreSQL works on one statement."""
_POSTGRESQL: Final = {
    "connect_timeout": 5,
    # else that of a database which was made without an encoding: none, and texts would be bytes
    "client_encoding": "utf8",
    # A connection whose other end has gone without a word is given up by then; a process that stands still with the
    # writers' lock in its hand loses it.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,
    "options": f"-c statement_timeout={_BUSY_MILLISECONDS} -c idle_in_transaction_session_timeout=30000",
}
_WRITERS_LOCK: Final = 0x7472_6164_696E_6701
"""The advisory lock of PostgreSQL that whoever writes here holds, to its transaction's end."""
_WRITES: Final = "control_plane_writes"

Number: Final = BigInteger().with_variant(Integer, "sqlite")
"""A number of 64 bits, which SQLite counts up only when it is called INTEGER."""


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC time to the microsecond, as RFC 3339 text of one width, so that it sorts as it reads."""

    impl = String(27)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Compared by its bytes everywhere: a database's own collation need not."""
        return String(27, collation="C") if dialect.name == "postgresql" else String(27)

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


class AnyText(TypeDecorator[str]):
    """Text of strangers. PostgreSQL stores no NUL: there it stands as `\\0`, and a backslash as two."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The text as it is stored."""
        if value is None or dialect.name != "postgresql":
            return value
        return value.replace("\\", "\\\\").replace("\0", "\\0")

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """The text as it came."""
        if value is None or dialect.name != "postgresql":
            return value
        return "\\".join(part.replace("\\0", "\0") for part in value.split("\\\\"))


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
    Column("name", AnyText, nullable=False),
    Column("agent_version", AnyText, nullable=False),
    Column("platform", AnyText, nullable=False),
    Column("enrolled_at", UtcTime, nullable=False),
    Column("replaces", ForeignKey("nodes.node_id")),
    Column("revoked_at", UtcTime),
    Column("first_sync_at", UtcTime),
    Column("last_sync_at", UtcTime),
    Column("last_seq", Number, nullable=False, server_default="0"),
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
    Column("seq", Number, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("received_at", UtcTime, nullable=False),
)

commands = Table(
    "commands",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
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
    Column("number", Number, primary_key=True, autoincrement=True),
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
    """One engine, seen three times: as it is, for transactions that only read, and for those that write alone.

    On SQLite a transaction that writes holds the write lock from its beginning. On PostgreSQL it holds a lock that all
    of them take; single statements that compare and set, as `verifier.stores.SqlStore` makes them, take none.
    """

    engine: Engine
    reader: Engine
    writer: Engine

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state and changes nothing."""
        with self.reader.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that nobody else writes beside; durable when the block has ended."""
        with self.writer.begin() as connection:
            yield connection

    def close(self) -> None:
        """Closes every connection."""
        self.engine.dispose()


def open_database(where: Location, *, create: bool = False) -> Database:
    """The database of a place; PostgreSQL is not asked yet. Raises NoDatabase for a data directory that holds none.

    With `create` SQLite's is made; PostgreSQL's is its administrator's to make.
    """
    # As many as a process has threads, and one more: who writes may have to read beside it.
    pool = {"pool_size": 16, "max_overflow": 32}
    if (path := where.file) is None:
        # What the URL itself says about the connection counts.
        settings = {name: value for name, value in _POSTGRESQL.items() if name not in where.url.query}
        engine = create_engine(where.url, **pool, pool_pre_ping=True, connect_args=settings)
        event.listen(engine, "begin", _on_postgresql_begin)
        reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        return Database(engine, reader, engine.execution_options(**{_WRITES: True}))
    if create:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    elif not path.is_file():
        raise NoDatabase(f"there is no database {where.name}")
    engine = create_engine(where.url, **pool)
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return Database(engine, engine, engine.execution_options(**{_WRITES: True}))


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


def _on_postgresql_begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    # READ COMMITTED, its default, is what writers need: each statement after this one sees what the one before left.
    if options.get(_WRITES, False) and options.get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})")
