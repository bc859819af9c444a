"""A store in a SQL database through SQLAlchemy 2: shared by workers, kept over restarts.

Each `admit` is one transaction that begins with the insert of the nonce, so that of two racing copies one waits for the
other and then finds it. SQLite takes the write lock there; PostgreSQL locks the node's row when it is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    MetaData,
    String,
    Table,
    Text,
    delete,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from node_protocol import REPLAY_WINDOW
from verifier.clones import NodeState
from verifier.stores.base import NEW, SPENT, Admission, Nonce, Step, StoreUnavailable, state_from_json, state_to_json

metadata = MetaData()

nonces = Table(
    "verifier_nonces",
    metadata,
    Column("key_id", String(64), primary_key=True),
    Column("nonce", String(22), primary_key=True),
    Column("kept_until", BigInteger, nullable=False),
    Index("verifier_nonces_kept_until", "kept_until"),
)

nodes = Table(
    "verifier_nodes",
    metadata,
    Column("node_id", String(22), primary_key=True),
    Column("state", Text, nullable=False),
)

_PURGE_EVERY: Final = 30
"""Seconds between two clean-ups of nonces that nobody could use any more."""


class SqlStore:
    """Nonces and node states in two tables of `engine`'s database.

    The tables are made by `create_tables`, or by the migrations of whoever owns the database. On SQLite the engine's
    connections should use WAL, and `synchronous=FULL`: a ticket that a power cut takes back looks like a fork.
    """

    blocking = True

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        self._purge_lock = Lock()
        self._purge_after = 0

    def create_tables(self) -> None:
        """Make the tables where they are missing."""
        with _reachable():
            metadata.create_all(self._engine)

    def admit(self, nonce: Nonce, now: int, step: Step | None = None) -> Admission:
        with self._transaction() as connection:
            if not self._spend(connection, nonce, now):
                return SPENT
            state = _load(connection, step.node_id, lock=True) if step else None
            if step is None or state is None:
                return NEW
            decision = step(state)
            if decision.state is not state:
                _update(connection, step.node_id, decision.state)
            return Admission(True, decision)

    def load(self, node_id: str) -> NodeState | None:
        with self._transaction() as connection:
            return _load(connection, node_id, lock=False)

    def save(self, node_id: str, state: NodeState) -> None:
        with self._transaction() as connection:
            self.save_in(connection, node_id, state)

    def save_in(self, connection: Connection, node_id: str, state: NodeState) -> None:
        """As `save`, within a transaction of the caller's own on the same database."""
        row = {"node_id": node_id, "state": _encode(state)}
        insert = self._insert(nodes).values(row)
        connection.execute(insert.on_conflict_do_update(index_elements=["node_id"], set_={"state": row["state"]}))

    def _spend(self, connection: Connection, nonce: Nonce, now: int) -> bool:
        row = {"key_id": nonce.key_id, "nonce": nonce.nonce, "kept_until": nonce.created + REPLAY_WINDOW}
        fresh = connection.execute(self._insert(nonces).values(row).on_conflict_do_nothing()).rowcount == 1
        with self._purge_lock:
            due = now >= self._purge_after
            if due:
                self._purge_after = now + _PURGE_EVERY
        if due:
            connection.execute(delete(nonces).where(nonces.c.kept_until < now))
        return fresh

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with _reachable(), self._engine.begin() as connection:
            yield connection


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise StoreUnavailable(f"the database did not answer as it must: {type(error).__name__}") from error


def _load(connection: Connection, node_id: str, *, lock: bool) -> NodeState | None:
    query = select(nodes.c.state).where(nodes.c.node_id == node_id)
    text = connection.execute(query.with_for_update() if lock else query).scalar_one_or_none()
    if text is None:
        return None
    try:
        return state_from_json(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise StoreUnavailable(f"the stored state of {node_id} cannot be read") from error


def _update(connection: Connection, node_id: str, state: NodeState) -> None:
    connection.execute(update(nodes).where(nodes.c.node_id == node_id).values(state=_encode(state)))


def _encode(state: NodeState) -> str:
    return json.dumps(state_to_json(state), separators=(",", ":"))
