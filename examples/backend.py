"""What the example servers share, in the place of your own database: nodes from a file, what they sent in memory.

The environment says where things are; nothing here is secret but the file, which `python -m examples.new_node` makes:

    EXAMPLE_NODES        the file with the nodes and their keys     nodes.json
    EXAMPLE_STORE        replay and clone state, made where missing  sqlite:///example.sqlite3
    EXAMPLE_AUTHORITY    the name that nodes reach the server by    127.0.0.1:8000
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import create_engine, event

from node_protocol import PROTOCOL_VERSION
from node_protocol.encoding import b64url_decode
from node_protocol.messages import Event, Line, Message, SyncAnswer, SyncRequest
from node_protocol.refusals import Code, Refused
from verifier import NodeKey, Verified, enrolled
from verifier.stores import SqlStore

AUTHORITY: Final = os.environ.get("EXAMPLE_AUTHORITY", "127.0.0.1:8000")


class Signal(Message):
    """A payload of your own."""

    symbol: Line
    side: Literal["buy", "sell"]


def _store(url: str) -> SqlStore:
    engine = create_engine(url, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    store = SqlStore(engine)
    store.create_tables()
    return store


def _nodes(path: Path) -> dict[str, NodeKey]:
    """The keys of all nodes; those that the store does not know yet are made known to it, as an enrolment would."""
    keys = {}
    for each in json.loads(path.read_text(encoding="utf-8")):
        key = NodeKey.of(each["key_id"], b64url_decode(each["key"], length=32))
        if STORE.load(key.node_id) is None:
            STORE.save(key.node_id, enrolled(each["ticket"], each["components"]))
        keys[key.key_id] = key
    return keys


STORE: Final = _store(os.environ.get("EXAMPLE_STORE", "sqlite:///example.sqlite3"))
KEYS: Final = _nodes(Path(os.environ.get("EXAMPLE_NODES", "nodes.json")))
SIGNALS: Final = defaultdict[str, list[Signal]](list)
EVENTS: Final = defaultdict[str, list[Event]](list)


def keep_signal(node_id: str, signal: Signal) -> dict[str, Any]:
    """Keeps a signal; the answer to it."""
    SIGNALS[node_id].append(signal)
    return {"node": node_id, "kept": len(SIGNALS[node_id])}


def objection(node_id: str, message: SyncRequest) -> Refused | None:
    """What is wrong with a sync's events by our records: it is refused before its ticket moves. Only looks."""
    kept = list(EVENTS[node_id])
    for each in message.events:
        if each.seq == len(kept) + 1:
            kept.append(each)
        elif each.seq > len(kept):
            return Refused(Code.EVENT_GAP, "events_missing", extra={"last_seq": len(EVENTS[node_id])})
        elif each != kept[each.seq - 1]:
            return Refused(Code.EVENT_CONFLICT, "another_event_stored", extra={"seq": each.seq})
    return None


def keep_events(verified: Verified) -> SyncAnswer:
    """Keeps the events of a sync that was accepted; the answer to it."""
    kept = EVENTS[verified.node_id]
    kept += [each for each in verified.message.events if each.seq > len(kept)]
    return SyncAnswer(
        protocol=PROTOCOL_VERSION,
        ticket=verified.ticket,
        acked_through=len(kept),
        server_time=datetime.now(UTC),
        commands=(),
    )
