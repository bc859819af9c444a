"""Events of nodes: each number stored once, without a gap, and never another event under a number that is taken."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, func, insert, literal, select, update

from control_plane import commands, node_keys
from control_plane.database import Database, UtcTime, events, nodes
from control_plane.orders import EVENT_PREFIX, NOT_CARRIED_OUT
from node_protocol import strict_json
from node_protocol.messages import Event, SyncRequest
from node_protocol.refusals import Code, Refused


class Stored(NamedTuple):
    """What a sync brought."""

    last_seq: int
    """The last event that is durable now: what the answer acknowledges."""
    news: bool
    """Whether the sync brought an event, or an end of a command: then the node is waiting to be told so."""


def objection(database: Database, node_id: str, message: SyncRequest) -> Refused | None:
    """What is wrong with a sync's events, if anything. Only looks."""
    with database.reading() as connection:
        try:
            _new_events(connection, node_id, message.events)
        except Refused as refused:
            return refused
    return None


def store(database: Database, node_id: str, key_id: str, message: SyncRequest, now: datetime) -> Stored:
    """Keeps all that an accepted sync says, in one transaction, and says what is durable now.

    Looks again, for another request of the node may have come in between. Raises Refused, as `objection` has it.
    """
    with database.writing() as connection:
        last_seq, new = _new_events(connection, node_id, message.events)
        if new:
            connection.execute(insert(events), [_row(node_id, event) | {"received_at": now} for event in new])
        done = commands.mark_done(connection, node_id, message.done_commands, now)
        connection.execute(
            update(nodes)
            .where(nodes.c.node_id == node_id)
            .values(
                first_sync_at=func.coalesce(nodes.c.first_sync_at, literal(now, UtcTime)),
                last_sync_at=now,
                last_seq=last_seq + len(new),
                status=strict_json.dumps(message.status).decode(),
            )
        )
        node_keys.note_use(connection, key_id, now)
    return Stored(last_seq + len(new), bool(message.events) or done > 0)


def of_node(connection: Connection, node_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Row[Any]]:
    """A node's events above a number, in order."""
    return connection.execute(
        select(events).where(events.c.node_id == node_id, events.c.seq > after).order_by(events.c.seq).limit(limit)
    ).all()


def order_events(connection: Connection, node_id: str) -> list[tuple[int, str, dict[str, Any]]]:
    """Number, type and data of a node's events about orders, in order."""
    return _told(connection, node_id, events.c.type.startswith(EVENT_PREFIX))


def refusal_events(connection: Connection, node_id: str) -> list[tuple[int, str, dict[str, Any]]]:
    """Number, type and data of a node's events about commands that it did not carry out, in order."""
    # A strategy may be refused all day, and those events name no command: they are not read.
    names_one = events.c.data.contains('"command_id":', autoescape=True)
    return _told(connection, node_id, events.c.type.in_(NOT_CARRIED_OUT) & names_one)


def _told(connection: Connection, node_id: str, wanted: ColumnElement[bool]) -> list[tuple[int, str, dict[str, Any]]]:
    query = select(events.c.seq, events.c.type, events.c.data).where(events.c.node_id == node_id, wanted)
    rows = connection.execute(query.order_by(events.c.seq))
    return [(row.seq, row.type, strict_json.loads(row.data.encode())) for row in rows]


def _new_events(connection: Connection, node_id: str, sent: Sequence[Event]) -> tuple[int, list[Event]]:
    """The last number that is stored, and what comes after it. Raises Refused (`event_gap`, `event_conflict`)."""
    last_seq: int = connection.execute(select(nodes.c.last_seq).where(nodes.c.node_id == node_id)).scalar_one()
    known = _known(connection, node_id, [event.seq for event in sent if event.seq <= last_seq])
    new: list[Event] = []
    for event in sent:
        row = _row(node_id, event)
        if event.seq == last_seq + len(new) + 1:
            new.append(event)
            known[event.seq] = row
        elif event.seq not in known:
            raise Refused(Code.EVENT_GAP, "events_missing", extra={"last_seq": last_seq})
        elif known[event.seq] != row:
            raise Refused(Code.EVENT_CONFLICT, "another_event_stored", extra={"seq": event.seq})
    return last_seq, new


def _known(connection: Connection, node_id: str, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
    if not numbers:
        return {}
    rows = connection.execute(
        select(events.c.node_id, events.c.seq, events.c.id, events.c.at, events.c.type, events.c.data).where(
            events.c.node_id == node_id, events.c.seq.in_(numbers)
        )
    )
    return {row.seq: dict(row._mapping) for row in rows}


def _row(node_id: str, event: Event) -> dict[str, Any]:
    # Sorted, so that one event has one text, in whatever order its sender writes the members.
    data = json.dumps(event.data, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return {"node_id": node_id, "seq": event.seq, "id": event.id, "at": event.at, "type": event.type, "data": data}
