"""The journal: SQLite, the one place of truth. Whoever comes back after a crash reads it, and nothing else.

One writer, one thread. What `append` writes is on the disk when it returns; a fact put with `put_fact` may lose its
latest value in a power cut, and nothing else. An answer with commands is on the disk with the first append behind it,
or with `settle`: SQLite's log is one file, so what is synced includes what was written to it before. Every error is a
JournalError.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, Self

from pydantic import TypeAdapter

from node_agent.core import memory
from node_agent.core.effects import Append
from node_agent.core.market import Fill
from node_agent.core.orders import Order, OrderState
from node_agent.core.risk import MINUTE
from node_agent.core.state import State
from node_agent.journal_schema import JournalError, JournalMissing, explained, legible, open_reader, open_writer
from node_agent.redaction import redacted
from node_protocol.encoding import format_time, parse_time
from node_protocol.messages import Command, Event

__all__ = ["JOURNAL_FILE", "Journal", "JournalError", "JournalMissing", "Registration"]

JOURNAL_FILE: Final = "journal.sqlite3"
KEPT_AFTER_ACKNOWLEDGEMENT: Final = timedelta(days=30)
_ENDED_ORDERS_RESTORED: Final = 500
_ORDER: Final = TypeAdapter(Order)
_FILL: Final = TypeAdapter(Fill)


@dataclass(frozen=True, slots=True)
class Registration:
    """With which server this node is enrolled, and as whom."""

    server: str
    authority: str
    insecure_loopback: bool
    node_id: str
    key_id: str
    salt_id: str
    salt: str
    """Base64url, as the server gave it."""
    ticket: str
    registered_at: datetime


class Journal:
    """An open journal. Make it with `open` or `open_read_only`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path, *, create: bool = True) -> Self:
        """Open for writing. The caller holds the data directory's lock.

        Raises JournalMissing when there is none and none is to be `create`d: a node without its journal has forgotten
        what it ordered.
        """
        if not create and not path.exists():
            raise JournalMissing(
                f"there is no journal at {path}: without it the node knows nothing of its orders and reports",
                "restore it from your backup, or make a new node with `node-agent init` in another directory",
            )
        journal = cls(path, open_writer(path))
        if journal.fact("origin") is None:
            with journal._transaction():
                journal._new_origin()
        return journal

    @classmethod
    def open_read_only(cls, path: Path) -> Self:
        """Open for reading, also while another process writes."""
        return cls(path, open_reader(path))

    def close(self) -> None:
        """Let go of the file."""
        with explained(self._path):
            try:
                self.settle()
            finally:
                self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # What the core wants written, and the state that it stands for.

    def append(self, append: Append) -> None:
        """Write all of it, durably, in one transaction. Raises JournalError, and then none of it is written."""
        with self._transaction():
            for order in append.orders:
                self._execute(
                    "INSERT INTO orders (client_order_id, ended, placed_at, record) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (client_order_id) DO UPDATE SET ended = excluded.ended, record = excluded.record",
                    order.client_order_id,
                    _end_of(order),
                    format_time(order.placed_at),
                    _ORDER.dump_json(order).decode(),
                )
            for fill in append.fills:
                self._execute(
                    "INSERT OR IGNORE INTO fills (trade_id, client_order_id, at, record) VALUES (?, ?, ?, ?)",
                    fill.trade_id,
                    fill.client_order_id,
                    format_time(fill.at),
                    _FILL.dump_json(fill).decode(),
                )
            for command_id in append.commands_done:
                self._execute("UPDATE commands SET state = 'done' WHERE id = ? AND state = 'seen'", command_id)
            for name, value in append.facts.items():
                self._set_fact(name, value)
            self._add_events(append.events)

    def restore(self) -> State:
        """The node's state as it was written down."""
        with legible(self._path):
            return self._restored()

    def _restored(self) -> State:
        latest = self._all("SELECT placed_at FROM orders ORDER BY rowid DESC LIMIT 1")
        rows = self._all(
            "SELECT rowid, record FROM orders WHERE ended = 0"
            " UNION SELECT * FROM (SELECT rowid, record FROM orders WHERE ended <> 0 ORDER BY rowid DESC LIMIT ?)"
            " UNION SELECT * FROM (SELECT rowid, record FROM orders WHERE ended = 1 ORDER BY rowid DESC LIMIT ?)"
            " UNION SELECT rowid, record FROM orders WHERE ended = 2"
            " UNION SELECT rowid, record FROM orders WHERE placed_at > ?"  # all that count into the last minute
            " ORDER BY 1",
            _ENDED_ORDERS_RESTORED,
            _ENDED_ORDERS_RESTORED,
            format_time(parse_time(latest[0]["placed_at"]) - MINUTE) if latest else "~",
        )
        names = (
            "market",
            "holdings",
            "strategies",
            "pauses",
            "policy_digest",
            "windup",
            "foreign",
            "last_sync_at",
            "clock_offset",
            "node",
        )
        return memory.restored(
            origin=str(self.fact("origin")),
            last_seq=self.last_seq(),
            facts={name: self.fact(name) for name in names},
            orders=(_ORDER.validate_json(row["record"]) for row in rows),
            commands=(row["id"] for row in self._all("SELECT id FROM commands WHERE state <> 'seen'")),
        )

    def has_order(self, client_order_id: str) -> bool:
        """Whether this order has been written down, however long ago."""
        return bool(self._all("SELECT 1 FROM orders WHERE client_order_id = ?", client_order_id))

    def has_orders(self) -> bool:
        """Whether there was ever an order that the owner's limits did not refuse: those alone went to an exchange."""
        return bool(self._all("SELECT 1 FROM orders WHERE ended <> 3 LIMIT 1"))

    def has_fill(self, fill: Fill) -> bool:
        """Whether this fill has been written down; where it is not told whose it is, whether it has as anybody's."""
        if not fill.client_order_id:
            return bool(self._all("SELECT 1 FROM fills WHERE trade_id = ? LIMIT 1", fill.trade_id))
        rows = self._all(
            "SELECT 1 FROM fills WHERE client_order_id = ? AND trade_id = ?", fill.client_order_id, fill.trade_id
        )
        return bool(rows)

    def last_fill_at(self) -> datetime | None:
        """The exchange's time of the latest fill; None before the first."""
        latest = self._all("SELECT max(at) AS at FROM fills")[0]["at"]
        return None if latest is None else parse_time(latest)

    # Facts, for `status` above all.

    def put_fact(self, name: str, value: Any) -> None:
        """Write one fact, a JSON value, without waiting for the disk."""
        self.put_facts({name: value})

    def put_facts(self, facts: Mapping[str, Any]) -> None:
        """Write facts, JSON values, together, without waiting for the disk."""
        with self._transaction(durable=False):
            for name, value in facts.items():
                self._set_fact(name, value)

    def fact(self, name: str) -> Any:
        """A fact's value; None when there is none."""
        rows = self._all("SELECT value FROM facts WHERE name = ?", name)
        return json.loads(rows[0]["value"]) if rows else None

    # Registration.

    def registration(self) -> Registration | None:
        """With whom the node is enrolled; None before it is. Its ticket is the newest."""
        stored = self.fact("registration")
        if stored is None:
            return None
        stored["registered_at"] = parse_time(stored["registered_at"])
        return replace(Registration(**stored), ticket=self.ticket())

    def save_registration(self, registration: Registration) -> None:
        """Write an enrolment down, durably.

        Another node id counts its events from 1: what the old one still owed is numbered anew, and what was
        acknowledged stays with the old one.
        """
        before = self.fact("registration")
        stored = {**asdict(registration), "registered_at": format_time(registration.registered_at)}
        with self._transaction():
            self._set_fact("registration", stored)
            self._set_fact("ticket", registration.ticket)
            if before is not None and before["node_id"] != registration.node_id:
                self._number_anew()

    def ticket(self) -> str:
        """The newest ticket; empty before enrolment."""
        return str(self.fact("ticket") or "")

    def set_key_id(self, key_id: str) -> None:
        """Write down, durably, that the node signs under this key id from now on."""
        stored = self.fact("registration")
        if stored is None:
            raise JournalError("the node is not registered", "register it with `node-agent register`")
        with self._transaction():
            self._set_fact("registration", stored | {"key_id": key_id})

    # The server's side of things.

    def record_answer(
        self, *, ticket: str, acked_through: int, commands: Sequence[Command], at: datetime
    ) -> list[Command]:
        """Write a verified answer down in one transaction, before anything in it is acted on.

        Returns the commands that were never seen before, in their order. One that comes again after the server was told
        that it is done will be told again. With commands it is one transaction with the append behind it, or with
        `settle` before the next request: the disk is synced once for both. Without any it is on the disk at once.
        """
        now = format_time(at)
        new = []
        with self._transaction(held=bool(commands)):
            self._set_fact("ticket", ticket)
            if acked_through:
                self._execute(
                    "UPDATE events SET acknowledged_at = ? WHERE seq <= ? AND acknowledged_at IS NULL",
                    now,
                    acked_through,
                )
            if not commands:  # an order is not to wait for it
                self._execute(
                    "DELETE FROM events WHERE acknowledged_at < ? AND seq < (SELECT max(seq) FROM events)",
                    format_time(at - KEPT_AFTER_ACKNOWLEDGEMENT),
                )
            for command in commands:
                added = self._execute(
                    "INSERT OR IGNORE INTO commands (id, seen_at, record, state) VALUES (?, ?, ?, 'seen')",
                    command.id,
                    now,
                    command.model_dump_json(),
                )
                if added:
                    new.append(command)
                else:
                    self._execute("UPDATE commands SET state = 'done' WHERE id = ? AND state = 'told'", command.id)
        return new

    def settle(self) -> None:
        """Have the last answer on the disk, its ticket above all: before the server is asked again."""
        if self._connection.in_transaction:
            with self._transaction():
                pass

    def commands_not_done(self) -> list[Command]:
        """Commands that were seen, and that a crash kept from being dealt with; oldest first."""
        rows = self._all("SELECT record FROM commands WHERE state = 'seen' ORDER BY rowid")
        with legible(self._path):
            return [Command.model_validate(json.loads(row["record"])) for row in rows]

    def done_commands(self, limit: int = 500) -> list[str]:
        """Commands that are done and that the server is still to be told of; oldest first."""
        return [
            row["id"] for row in self._all("SELECT id FROM commands WHERE state = 'done' ORDER BY rowid LIMIT ?", limit)
        ]

    def commands_told(self, ids: Sequence[str]) -> None:
        """The server has accepted a sync that listed these as done."""
        with self._transaction():
            for command_id in ids:
                self._execute("UPDATE commands SET state = 'told' WHERE id = ? AND state = 'done'", command_id)

    def pending_events(self, limit: int = 500) -> list[Event]:
        """Events that the server has not acknowledged, in their order."""
        rows = self._all("SELECT record FROM events WHERE acknowledged_at IS NULL ORDER BY seq LIMIT ?", limit)
        return [Event.model_validate(json.loads(row["record"])) for row in rows]

    def rewind_acknowledged(self, last_seq: int) -> None:
        """The server has events through `last_seq` alone: what comes after is owed again, as far as it is kept."""
        with self._transaction():
            self._execute("UPDATE events SET acknowledged_at = NULL WHERE seq > ?", last_seq)

    def last_seq(self) -> int:
        """The number of the latest event; 0 before the first."""
        return int(self._all("SELECT max(seq) AS seq FROM events")[0]["seq"] or 0)

    def event_counts(self) -> dict[str, int]:
        """How many events there were, how many of them the server has, and how many are still to be sent."""
        pending = int(self._all("SELECT count(*) AS n FROM events WHERE acknowledged_at IS NULL")[0]["n"])
        last = self.last_seq()
        return {"last_seq": last, "acknowledged": last - pending, "pending": pending}

    def open_orders(self) -> list[Order]:
        """Orders that have not ended, oldest first."""
        rows = self._all("SELECT record FROM orders WHERE ended = 0 ORDER BY rowid")
        return [_ORDER.validate_json(row["record"]) for row in rows]

    def _add_events(self, events: Sequence[Event]) -> None:
        expected = self.last_seq() + 1
        for seq, event in enumerate(events, start=expected):
            if event.seq != seq:
                raise JournalError(f"event {event.seq} would leave a gap: the next is {seq}", "report this as a fault")
            # What is written here leaves the machine: words of an exchange or a library may have come into it.
            clean = event.model_copy(update={"data": redacted(event.data)})
            self._execute("INSERT INTO events (seq, record) VALUES (?, ?)", seq, clean.model_dump_json())

    def _number_anew(self) -> None:
        self._execute("DELETE FROM events WHERE acknowledged_at IS NOT NULL")
        for seq, event in enumerate(self.pending_events(limit=-1), start=1):
            self._execute("DELETE FROM events WHERE seq = ?", event.seq)
            renumbered = event.model_copy(update={"seq": seq})
            self._execute("INSERT INTO events (seq, record) VALUES (?, ?)", seq, renumbered.model_dump_json())
        # Ids are made of origin and number, and no number of the old origin may come again.
        self._new_origin()

    def _new_origin(self) -> None:
        self._set_fact("origin", token_hex(16))

    def _set_fact(self, name: str, value: Any) -> None:
        self._execute(
            "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            name,
            json.dumps(value, separators=(",", ":"), sort_keys=True),
        )

    def _execute(self, statement: str, *values: object) -> int:
        """How many rows it added or changed."""
        return self._connection.execute(statement, values).rowcount

    def _all(self, query: str, *values: object) -> list[sqlite3.Row]:
        with explained(self._path):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self, *, durable: bool = True, held: bool = False) -> Iterator[None]:
        """Write all of it or nothing. What is `held` waits for the next durable one, and is written with that."""
        with explained(self._path):
            joins = self._connection.in_transaction
            loose = not (durable or held or joins)
            if loose:
                self._connection.execute("PRAGMA synchronous = NORMAL")
            try:
                if not joins:
                    self._connection.execute("BEGIN IMMEDIATE")
                yield
                if loose or (durable and not held):
                    self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                if loose:
                    self._connection.execute("PRAGMA synchronous = FULL")


def _end_of(order: Order) -> int:
    """0 of one that has not ended; 1 of one that has; 2 of one that was given up; 3 of one that was refused."""
    if order.given_up:
        return 2
    return 3 if order.state is OrderState.REFUSED else int(order.ended)
