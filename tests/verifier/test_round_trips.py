"""How often a store is asked for one message: each of these is time that every request waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from redis import Redis
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import StaticPool

from benchmarks.wire import CountingRelay
from tests.services import PostgresServer, RedisServer
from tests.verifier.nodes import AUTHORITY, NOW, Node, other_machine
from verifier import Refused, SignedRequest, Verifier
from verifier.stores import RedisStore, SqlStore, Store


class Counted:
    """A verifier behind a relay that counts."""

    def __init__(self, store: Store, relay: CountingRelay) -> None:
        self.node = Node()
        self.node.enrol(store)
        keys = {self.node.key_id: self.node.key}
        self._verifier = Verifier(keys=keys.get, store=store, authorities=[AUTHORITY], now=lambda: NOW)
        self._relay = relay
        for _ in range(12):  # connections, scripts and prepared statements are there after that
            self.costs(self.signed())

    def signed(self, *, brief: bool = True) -> SignedRequest:
        """The node's next request; in brief without the components, as every one but a session's first."""
        fields = self.node.message()
        if brief:
            fingerprint = {name: value for name, value in fields["fingerprint"].items() if name != "components"}
            self.node.request -= 1
            return self.node.signed(fingerprint=fingerprint)
        self.node.request -= 1
        return self.node.signed()

    def costs(self, request: SignedRequest) -> int:
        """Round trips for one request."""
        before = self._relay.round_trips
        with suppress(Refused):
            self.node.ticket = self._verifier.verify(request).ticket
        return self._relay.round_trips - before


@pytest.fixture
def in_redis(redis: RedisServer) -> Iterator[Counted]:
    with CountingRelay(redis.port) as relay:
        store = RedisStore(Redis(port=relay.port), prefix="counted")
        store.start_new()
        yield Counted(store, relay)
        store.close()


@pytest.fixture
def in_postgresql(postgres: PostgresServer, postgres_engine: Engine) -> Iterator[Counted]:
    with CountingRelay(postgres.port) as relay:
        # One connection: the relay serves one client.
        engine = create_engine(postgres.url.replace(str(postgres.port), str(relay.port)), poolclass=StaticPool)
        yield Counted(SqlStore(engine), relay)
        engine.dispose()


def test_a_sync_costs_one_round_trip_to_redis_and_so_does_a_replay(in_redis: Counted) -> None:
    request = in_redis.signed()
    assert [in_redis.costs(request), in_redis.costs(request)] == [1, 1]
    assert [in_redis.costs(in_redis.signed()) for _ in range(50)] == [1] * 50


def test_a_restart_a_changed_part_and_a_fork_cost_redis_a_few_more(in_redis: Counted) -> None:
    in_redis.node.session, in_redis.node.request = "r" * 22, 0
    assert in_redis.costs(in_redis.signed()) == 2
    in_redis.node.machine = other_machine("machine_id", "storage", "disk", "memory")
    assert in_redis.costs(in_redis.signed(brief=False)) <= 7
    in_redis.node.ticket = "1." + "x" * 22
    assert in_redis.costs(in_redis.signed()) == 2
    assert in_redis.costs(in_redis.signed()) == 1


def test_a_sync_costs_two_round_trips_to_postgresql_and_a_replay_one(in_postgresql: Counted) -> None:
    request = in_postgresql.signed()
    assert [in_postgresql.costs(request), in_postgresql.costs(request)] == [2, 1]
    assert [in_postgresql.costs(in_postgresql.signed()) for _ in range(50)] == [2] * 50
