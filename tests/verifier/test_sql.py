"""What PostgreSQL may do to a store: crash in mid-load, be away, keep others waiting; and how often it is asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, create_mock_engine

from node_protocol.refusals import Code, Misuse
from tests.services import PostgresServer
from tests.verifier.nodes import AUTHORITY, NOW, Node
from verifier import Refused, SignedRequest, Verifier
from verifier.stores import SqlStore


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that a test may crash."""
    server = PostgresServer()
    yield server
    server.remove()


def outcome(store: SqlStore, node: Node, request: SignedRequest) -> str:
    verifier = Verifier(keys={node.key_id: node.key}.get, store=store, authorities=[AUTHORITY], now=lambda: NOW)
    try:
        node.ticket = verifier.verify(request).ticket
    except Refused as refused:
        return refused.code
    return "accepted"


def test_what_was_accepted_before_a_crash_is_not_accepted_after_it_and_the_node_goes_on(
    own_postgres: PostgresServer,
) -> None:
    engine = create_engine(own_postgres.url)
    store, node = SqlStore(engine), Node()
    store.create_tables()
    node.enrol(store)
    accepted: list[SignedRequest] = []
    enough, crashed = threading.Event(), threading.Event()

    def load() -> None:
        while not crashed.is_set():
            request = node.signed()
            if outcome(store, node, request) == "accepted":
                accepted.append(request)
            if len(accepted) >= 100:
                enough.set()

    worker = threading.Thread(target=load)
    worker.start()
    assert enough.wait(60)
    own_postgres.crash()
    crashed.set()
    worker.join()
    assert outcome(store, node, node.signed()) == "unavailable"
    own_postgres.start()
    outcomes = [outcome(store, node, request) for request in accepted]
    # A connection from before the crash is found dead once, and says so.
    assert set(outcomes) <= {Code.REPLAYED, Code.UNAVAILABLE}
    assert outcomes.count(Code.UNAVAILABLE) <= 1
    assert outcome(store, node, node.signed()) == "accepted"
    engine.dispose()


def test_of_two_requests_that_meet_on_one_state_the_second_is_decided_on_what_the_first_has_left(
    postgres_engine: Engine,
) -> None:
    """Two copies of one state at once, many times: their tickets are given out one after the other, never twice."""
    store = SqlStore(postgres_engine)
    for _ in range(40):
        owner, copy = Node(), Node(session="c" * 22)
        owner.enrol(store)
        start = threading.Barrier(2)
        outcomes: list[str] = []

        def run(node: Node, start: threading.Barrier = start, outcomes: list[str] = outcomes) -> None:
            for _ in range(2):
                request = node.signed()
                start.wait()
                outcomes.append(outcome(store, node, request))

        threads = [threading.Thread(target=run, args=(node,)) for node in (owner, copy)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # The first two are both good: one continues, one seems to have lost an answer. Then whoever came first forks.
        assert outcomes[:2] == ["accepted", "accepted"]
        assert "ticket_conflict" in outcomes[2:]


def test_a_database_of_another_kind_is_refused() -> None:
    engine = create_mock_engine("mssql://", lambda *_: None)
    with pytest.raises(Misuse, match="SQLite or PostgreSQL"):
        SqlStore(engine)  # type: ignore[arg-type]
