"""A store in a SQL database through SQLAlchemy 2: shared by workers, kept over restarts.

On SQLite each `admit` is one transaction, which takes the write lock with the insert of the nonce. On PostgreSQL it is
two round trips, each a transaction of one statement: the nonce is spent and the state read, and the state is set where
it is still the one that was read. Another request that came between makes it read and decide once more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    MetaData,
    Select,
    String,
    Table,
    Text,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from node_protocol import REPLAY_WINDOW
from node_protocol.refusals import Misuse
from verifier import node_state
from verifier.node_state import NodeState
from verifier.stores.base import CLOCKS_APART, NEW, SPENT, Admission, Nonce, Step, StoreUnavailable

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
    Column("machine_id", Text, index=True),
    Column("boot", Text, index=True),
)
"""`machine_id` and `boot` are those of the machine that the node was last seen on, as it salted them."""

_PURGE_EVERY: Final = 30
"""Seconds between two clean-ups of nonces that nobody could use any more."""
_MOST_TRIES: Final = 20
"""How often a state that others move is decided on anew before the store gives up."""


class SqlStore:
    """Nonces and node states in two tables of `engine`'s database.

    The tables are made by `create_tables`, or by the migrations of whoever owns the database. On SQLite the engine's
    connections should use WAL, and `synchronous=FULL`: a ticket that a power cut takes back looks like a fork. Raises
    Misuse for an engine of another dialect.
    """

    blocking = True

    def __init__(self, engine: Engine) -> None:
        if engine.dialect.name not in ("sqlite", "postgresql"):
            raise Misuse(f"SqlStore: SQLite or PostgreSQL, not {engine.dialect.name}")
        self._engine = engine
        self._postgresql = engine.dialect.name == "postgresql"
        self._insert = postgresql.insert if self._postgresql else sqlite.insert
        self._single_statements = engine.execution_options(isolation_level="AUTOCOMMIT") if self._postgresql else engine
        self._purge_lock = Lock()
        self._purge_after = 0

    def create_tables(self) -> None:
        """Make the tables where they are missing."""
        with _reachable():
            metadata.create_all(self._engine)

    def admit(self, nonce: Nonce, now: int, step: Step | None = None) -> Admission:
        with self._connected() as connection:
            fresh, text = self._spend(connection, nonce, step)
            self._purge(connection, now)
            if not fresh:
                return SPENT
            return NEW if step is None else self._taken(connection, step, text)

    def take(self, step: Step) -> Admission:
        """As `admit`, for a step whose nonce was spent elsewhere: see `verifier.stores.split`."""
        with self._connected() as connection:
            return self._taken(connection, step, connection.execute(_read(step.node_id)).scalar_one_or_none())

    def load(self, node_id: str) -> NodeState | None:
        with self._connected() as connection:
            text: str | None = connection.execute(_read(node_id)).scalar_one_or_none()
        return None if text is None else _decoded(node_id, text)

    def save(self, node_id: str, state: NodeState) -> None:
        with self._connected() as connection:
            self.save_in(connection, node_id, state)

    def save_in(self, connection: Connection, node_id: str, state: NodeState) -> None:
        """As `save`, within a transaction of the caller's own on the same database."""
        row = _row(state)
        insert = self._insert(nodes).values(node_id=node_id, **row)
        connection.execute(insert.on_conflict_do_update(index_elements=["node_id"], set_=row))

    def change(self, node_id: str, change: Callable[[NodeState], NodeState]) -> NodeState | None:
        for _ in range(_MOST_TRIES):
            with self._connected() as connection:
                text = connection.execute(_read(node_id)).scalar_one_or_none()
                if text is None:
                    return None
                changed = change(_decoded(node_id, text))
                if _set(connection, node_id, text, changed):
                    return changed
        raise StoreUnavailable(f"too many requests for {node_id} at once")

    def forget(self, node_id: str) -> None:
        with self._connected() as connection:
            self.forget_in(connection, node_id)

    def forget_in(self, connection: Connection, node_id: str) -> None:
        """As `forget`, within a transaction of the caller's own on the same database."""
        connection.execute(delete(nodes).where(nodes.c.node_id == node_id))

    def on_machine(self, components: Mapping[str, str]) -> dict[str, NodeState]:
        with self._connected() as connection:
            return self.on_machine_in(connection, components)

    def on_machine_in(self, connection: Connection, components: Mapping[str, str]) -> dict[str, NodeState]:
        """As `on_machine`, within a transaction of the caller's own on the same database."""
        marks = [nodes.c[name] == value for name, value in _marks(components).items() if value is not None]
        if not marks:
            return {}
        rows = connection.execute(select(nodes.c.node_id, nodes.c.state).where(or_(*marks)))
        return {node_id: _decoded(node_id, text) for node_id, text in rows}

    def _taken(self, connection: Connection, step: Step, text: str | None) -> Admission:
        """What comes of a step from this state, or from the one that another request left in its place."""
        for _ in range(_MOST_TRIES):
            if text is None:
                return NEW
            state = _decoded(step.node_id, text)
            decision = step(state)
            if decision.state is state or _set(connection, step.node_id, text, decision.state):
                return Admission(True, decision)
            text = connection.execute(_read(step.node_id)).scalar_one_or_none()
        raise StoreUnavailable(f"too many requests for {step.node_id} at once")

    def _spend(self, connection: Connection, nonce: Nonce, step: Step | None) -> tuple[bool, str | None]:
        """Whether the nonce was new, and the state that the step is about, as text."""
        row = {"key_id": nonce.key_id, "nonce": nonce.nonce, "kept_until": nonce.created + REPLAY_WINDOW}
        insert = self._insert(nonces).values(row).on_conflict_do_nothing()
        query = _read(step.node_id if step else "")
        if not self._postgresql:
            fresh = connection.execute(insert).rowcount == 1
            return fresh, connection.execute(query).scalar_one_or_none() if fresh and step else None
        spent = insert.returning(nonces.c.nonce).cte("spent")
        count = select(func.count()).select_from(spent).scalar_subquery()
        found = connection.execute(select(count, query.scalar_subquery())).one()
        return found[0] == 1, found[1]

    def _purge(self, connection: Connection, now: int) -> None:
        with self._purge_lock:
            if now < self._purge_after:
                return
            self._purge_after = now + _PURGE_EVERY
        connection.execute(delete(nonces).where(nonces.c.kept_until < now - CLOCKS_APART))

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """One transaction on SQLite; on PostgreSQL one for each statement, without a round trip to begin or end it."""
        with _reachable():
            if self._postgresql:
                with self._single_statements.connect() as connection:
                    yield connection
            else:
                with self._engine.begin() as connection:
                    yield connection


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise StoreUnavailable(f"the database did not answer as it must: {type(error).__name__}") from error


def _read(node_id: str) -> Select[Any]:
    return select(nodes.c.state).where(nodes.c.node_id == node_id)


def _set(connection: Connection, node_id: str, before: str, after: NodeState) -> bool:
    """Compare and set: whether the state was still `before`, and is `after` now."""
    unchanged = (nodes.c.node_id == node_id, nodes.c.state == before)
    return connection.execute(update(nodes).where(*unchanged).values(_row(after))).rowcount == 1


def _row(state: NodeState) -> dict[str, Any]:
    text = json.dumps(node_state.to_json(state), separators=(",", ":"))
    return {"state": text, **_marks(state.machine.components)}


def _marks(components: Mapping[str, str]) -> dict[str, str | None]:
    """What two nodes on one machine have in common."""
    return {name: components.get(name) for name in ("machine_id", "boot")}


def _decoded(node_id: str, text: str) -> NodeState:
    try:
        return node_state.from_json(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreUnavailable(f"the stored state of {node_id} cannot be read") from error
