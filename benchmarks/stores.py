"""What each store makes of a whole sync: time for one after the other, and how often the store has to be asked.

Redis, Valkey and PostgreSQL are started here, on loopback; a fast network adds its own time for each round trip.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from redis import Redis
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import StaticPool

from benchmarks.messages import AUTHORITY, KEY, KEY_ID, MACHINE, NODE_ID, NOW, TICKET, batch
from benchmarks.wire import CountingRelay
from tests.services import PostgresServer, RedisServer
from verifier import NodeKey, Verifier, enrolled
from verifier.stores import MemoryStore, RedisStore, SqlStore, Store

SIZE: Final = 1024
KINDS: Final = ("memory", "sqlite", "postgresql", "redis", "valkey")


def measure(seconds: float) -> list[dict[str, Any]]:
    """A row for each store; about so many seconds for each."""
    with ExitStack() as stack:
        return [_row(kind, stack, seconds) for kind in KINDS]


def _row(kind: str, stack: ExitStack, seconds: float) -> dict[str, Any]:
    store, relayed, relay = stack.enter_context(_opened(kind))
    store.save(NODE_ID, enrolled(TICKET, MACHINE))
    row: dict[str, Any] = {"store": kind, **_timed(store, seconds)}
    if relay is not None:
        _timed(relayed, 0)  # connections, scripts and prepared statements are there after that
        before = relay.round_trips
        done = _timed(relayed, 0)["syncs"]
        row["round_trips"] = round((relay.round_trips - before - 1) / done, 3)  # one reads the state at first
    return row


def _timed(store: Store, seconds: float) -> dict[str, Any]:
    """Syncs one after the other, in the fastest of some rounds."""
    state = store.load(NODE_ID)
    number = state.last.request if state and state.last else 0
    verifier = Verifier(
        keys={KEY_ID: NodeKey.of(KEY_ID, KEY)}.get, store=store, authorities=[AUTHORITY], now=lambda: NOW
    )
    until, best, done = time.perf_counter() + seconds, float("inf"), 0
    while not done or time.perf_counter() < until:
        requests = batch(SIZE, first=number + done)
        began = time.perf_counter()
        for request in requests:
            verifier.verify(request)
        best = min(best, (time.perf_counter() - began) / len(requests))
        done += len(requests)
    return {"syncs": done, "per_second": round(1 / best), "microseconds": round(best * 1e6, 1)}


@contextmanager
def _opened(kind: str) -> Iterator[tuple[Store, Store, CountingRelay | None]]:
    """The store, and once more behind a relay that counts, where there is a wire."""
    with ExitStack() as stack:
        if kind == "memory":
            store = MemoryStore()
            yield store, store, None
        elif kind == "sqlite":
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            sqlite = SqlStore(stack.enter_context(_sqlite(Path(folder) / "bench.sqlite3")))
            sqlite.create_tables()
            yield sqlite, sqlite, None
        elif kind == "postgresql":
            postgres = PostgresServer()
            stack.callback(postgres.remove)
            relay = stack.enter_context(CountingRelay(postgres.port))
            plain, counted = (
                create_engine(postgres.url),
                create_engine(postgres.url_at(relay.port), poolclass=StaticPool),
            )
            stack.callback(plain.dispose)
            stack.callback(counted.dispose)
            direct = SqlStore(plain)
            direct.create_tables()
            yield direct, SqlStore(counted), relay
        else:
            server = RedisServer(kind)
            stack.callback(server.remove)
            relay = stack.enter_context(CountingRelay(server.port))
            client = Redis(port=relay.port)
            stack.callback(client.close)
            in_redis = RedisStore(server.client)
            in_redis.start_new()
            yield in_redis, RedisStore(client), relay


@contextmanager
def _sqlite(path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    yield engine
    engine.dispose()
