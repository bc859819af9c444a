"""The journal's tables, their migrations, and how the file is opened: whole, of a known version, synced in full."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, TypeVar

from node_agent.errors import Explained

_MIGRATIONS: Final = (
    """
    CREATE TABLE facts (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE orders (
        client_order_id TEXT PRIMARY KEY,
        ended INTEGER NOT NULL,
        market_at TEXT,
        record TEXT NOT NULL
    );
    CREATE INDEX orders_not_ended ON orders (ended) WHERE ended = 0;
    CREATE INDEX orders_by_market_time ON orders (market_at);

    CREATE TABLE fills (
        trade_id TEXT NOT NULL,
        client_order_id TEXT NOT NULL,
        at TEXT NOT NULL,
        record TEXT NOT NULL,
        PRIMARY KEY (client_order_id, trade_id)
    );
    CREATE INDEX fills_by_time ON fills (at);

    CREATE TABLE commands (
        id TEXT PRIMARY KEY,
        seen_at TEXT NOT NULL,
        record TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('seen', 'done', 'told'))
    );
    CREATE INDEX commands_not_told ON commands (state) WHERE state <> 'told';

    CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        record TEXT NOT NULL,
        acknowledged_at TEXT
    );
    CREATE INDEX events_acknowledged ON events (acknowledged_at) WHERE acknowledged_at IS NOT NULL;
    """,
    """
    DROP INDEX orders_by_market_time;
    UPDATE orders SET
        market_at = coalesce(market_at, json_extract(record, '$.created_at')),
        record = json_remove(
            json_set(
                record,
                '$.decided_at', json_extract(record, '$.created_at'),
                '$.placed_at', coalesce(json_extract(record, '$.market_at'), json_extract(record, '$.created_at'))
            ),
            '$.created_at'
        );
    ALTER TABLE orders RENAME COLUMN market_at TO placed_at;
    CREATE INDEX orders_by_time ON orders (placed_at);
    """,
)
"""Each brings the journal from the version of its index to the next. What has been released never changes."""

VERSION: Final = len(_MIGRATIONS)
"""The version that this program writes."""

_BUSY_SECONDS: Final = 5.0
_WRITABLE: Final = "let the node write to its data directory, and see that its disk is not mounted read-only"


class JournalError(Explained):
    """The journal cannot be trusted or written: nothing may be traded."""


class JournalMissing(JournalError):
    """There is no journal in this place."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into one line and what to do about it."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explain(path, error) from error
    except OSError as error:
        raise JournalError(
            f"the journal {path} cannot be written: {(error.strerror or '').lower()}", _WRITABLE
        ) from error


@contextmanager
def legible(path: Path) -> Iterator[None]:
    """Turn what a record raises that is not as it was written into the same: SQLite counts pages, not what they say."""
    try:
        yield
    except (ValueError, ArithmeticError, LookupError, TypeError) as error:
        raise _corrupt(path, f"a record cannot be read: {str(error).splitlines()[0]}") from error


def open_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes: made and migrated where needed, checked, synced in full. Raises JournalError."""
    with explained(path):
        if path.exists():
            _check_at_rest(path)
        # Made by hand, for SQLite would take the mode from the umask; its side files take it from this one.
        path.touch(mode=0o600)
        connection = _connect(f"file:{_quoted(path)}?mode=rwc", _Writer)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            _migrate(connection)
            # A read-only disk lets a file be opened and read; only a write shows it.
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("COMMIT")
            connection.marks(_mark(path))
        except BaseException:
            connection.close()
            raise
        return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads, beside the one that writes. Raises JournalError."""
    if not path.exists():
        raise JournalMissing(
            f"there is no journal at {path}", "make the node with `node-agent init`, or name its --data-dir"
        )
    with explained(path):
        _see_that_the_log_is_there(path)  # before SQLite makes a new one in its place
        connection = _connect(f"file:{_quoted(path)}?mode=ro", sqlite3.Connection)
        try:
            _check_version(path, connection)
            version = _version(connection)
            if version == 0:
                raise JournalMissing(f"the journal {path} is only just being made", "ask again in a moment")
            if version < VERSION:
                raise JournalError(
                    f"the journal {path} is of version {version}, and this program reads {VERSION}",
                    "start the node once: it brings its journal up to date",
                )
        except BaseException:
            connection.close()
            raise
        return connection


class _Writer(sqlite3.Connection):
    """A connection that leaves a mark beside the journal for as long as a log of SQLite's belongs to it.

    The log is there before the mark comes and after it goes: where there is a mark and no log, the log was lost.
    """

    _mark: Path | None = None

    def marks(self, mark: Path) -> None:
        """Leave the mark from now on."""
        mark.touch(mode=0o600)
        self._mark = mark

    def close(self) -> None:
        """Take the mark away, and let go of the file and its log."""
        if self._mark is not None:
            self._mark.unlink(missing_ok=True)
        super().close()


_C = TypeVar("_C", bound=sqlite3.Connection)


def _connect(uri: str, kind: type[_C]) -> _C:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_SECONDS, factory=kind)
    connection.row_factory = sqlite3.Row
    return connection


def _mark(path: Path) -> Path:
    return path.with_name(f"{path.name}-open")


def _check_at_rest(path: Path) -> None:
    """See that the journal is whole, without writing: a connection that may write takes the log in when it closes."""
    log = path.with_name(f"{path.name}-wal")
    if path.stat().st_size == 0:
        raise JournalError(
            f"the journal {path} is empty: what it held is lost",
            "restore it from your backup; if this node has never run, remove its directory and make it again",
        )
    _see_that_the_log_is_there(path)
    beside = "" if log.exists() else "&immutable=1"
    with closing(_connect(f"file:{_quoted(path)}?mode=ro{beside}", sqlite3.Connection)) as connection:
        _check_version(path, connection)
        see_that_it_is_sound(path, connection)


def _see_that_the_log_is_there(path: Path) -> None:
    log = path.with_name(f"{path.name}-wal")
    # Looked for twice, for a writer may begin or end meanwhile.
    if not log.exists() and _mark(path).exists() and not log.exists():
        raise JournalError(
            f"the journal {path} is not whole: what was written last is in {log.name}, and that is gone",
            f"put {log.name} back; if this journal is a whole copy from your backup, remove {_mark(path).name}",
            "without either, cancel open orders at the exchange by hand",
        )


def see_that_it_is_sound(path: Path, connection: sqlite3.Connection) -> None:
    """Have SQLite check all of the journal, indexes too. Raises JournalError."""
    findings = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(1)")]
    if findings != ["ok"]:
        raise _corrupt(path, findings[0])


def _check_version(path: Path, connection: sqlite3.Connection) -> None:
    version = _version(connection)
    if version > VERSION:
        raise JournalError(
            f"the journal {path} is of version {version}, and this program knows {VERSION}",
            "run the newer node-agent that wrote it",
        )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _migrate(connection: sqlite3.Connection) -> None:
    version = _version(connection)
    for number, migration in enumerate(_MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in migration.split(";"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def _explain(path: Path, error: sqlite3.Error) -> JournalError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _corrupt(path, str(error))
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return JournalError(
            f"the journal {path} cannot be written: {error}",
            "make room on the disk, then start again: nothing that was written is lost",
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return JournalError(f"the journal {path} cannot be written: {error}", _WRITABLE)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return JournalError(f"the journal {path} is held by another program", "end the program that holds it")
    return JournalError(f"the journal {path} cannot be used: {error}")


def _corrupt(path: Path, finding: str) -> JournalError:
    return JournalError(
        f"the journal {path} is damaged: {finding}",
        "do not trade on it: cancel open orders at the exchange by hand",
        "keep the file, and enrol a new node with `replaces` from an empty data directory",
    )


def _quoted(path: Path) -> str:
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
