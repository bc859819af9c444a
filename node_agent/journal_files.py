"""The journal as a file: a whole copy of it, made while the node runs or not, and whether it is sound."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node_agent.errors import Explained
from node_agent.journal_schema import explained, open_reader, see_that_it_is_sound

_TABLES: Final = ("orders", "fills", "events", "commands")


class ExportRefused(Explained):
    """There is something in the way of a copy."""


@dataclass(frozen=True, slots=True)
class Held:
    """How much a journal holds."""

    orders: int
    open_orders: int
    fills: int
    events: int
    """That are kept: those that a server has had for a month are not."""
    commands: int


def export(path: Path, target: Path, *, force: bool) -> Held:
    """Copy the journal to a file, as it is at one moment, and see that the copy is sound; what it holds.

    The target appears when it is whole and on the disk, for its owner alone. Raises JournalError, ExportRefused.
    """
    if target.exists() and path.exists() and target.samefile(path):
        raise ExportRefused(f"{target} is the journal itself", "name another file")
    if target.exists() and not force:
        raise ExportRefused(f"{target} is there already", "name another file, or add --force")
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(open_reader(path)) as source, closing(sqlite3.connect(draft, isolation_level=None)) as copy:
            held = _copied(path, source, draft, copy)
        _sync(draft)
        draft.replace(target)
        _sync(target.parent)
    except OSError as error:
        raise ExportRefused(f"{target} cannot be written: {(error.strerror or str(error)).lower()}") from error
    finally:
        draft.unlink(missing_ok=True)
    return held


def check(path: Path) -> Held:
    """See that the journal is sound, all of it; what it holds. Raises JournalError."""
    with closing(open_reader(path)) as connection, explained(path):
        see_that_it_is_sound(path, connection)
        return _held(connection)


def _copied(path: Path, source: sqlite3.Connection, draft: Path, copy: sqlite3.Connection) -> Held:
    with explained(path):
        source.execute("SELECT 1 FROM facts").fetchone()
        try:
            source.backup(copy)
            # The copy is one file: what is beside a journal in write-ahead mode would have to be moved with it.
            copy.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.OperationalError as error:
            raise ExportRefused(f"{draft.parent} cannot take the copy: {error}", "make room there") from error
        see_that_it_is_sound(path, copy)
        return _held(copy)


def _held(connection: sqlite3.Connection) -> Held:
    counts = {table: _count(connection, table) for table in _TABLES}
    return Held(**counts, open_orders=_count(connection, "orders WHERE ended = 0"))


def _count(connection: sqlite3.Connection, rows: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {rows}").fetchone()[0])  # noqa: S608  (words of this file)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
