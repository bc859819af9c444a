"""Every store does what the one in memory does: for whatever several holders of a node's state send, in whatever order.

Redis moves ordinary syncs by a script of its own; this is what holds the script to `verifier.clones`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import Engine

from node_protocol.messages import SyncRequest, validate
from node_protocol.refusals import Code, Refused
from node_protocol.signatures import nonce_from
from tests.services import RedisServer
from tests.verifier.conftest import sqlite_engine
from tests.verifier.nodes import FIRST_TICKET, HOME, NOW, Node, nonce, other_machine
from verifier import accept_next, enrolled, let_move
from verifier.stores import MemoryStore, RedisStore, SplitStore, SqlStore, Store
from verifier.stores.base import Admission, Step

MACHINES = (
    dict(HOME),
    dict(HOME) | {"boot": "n" * 22},
    other_machine("machine_id", "storage"),
    other_machine("machine_id", "storage", "disk", "memory"),
    other_machine(),
    {"cpu": "h" * 22},
)
SESSIONS = tuple(letter * 22 for letter in "abcd")
VETO = Refused(Code.EVENT_GAP, "gap")


class Spent(NamedTuple):
    """As much of a signature as a store asks for."""

    key_id: str
    nonce: str
    created: int


class Stores(RuleBasedStateMachine):
    """All stores, and requests from anybody: a walk over states, not over honest lives."""

    shared: ClassVar[Mapping[str, Store]]
    stores: Mapping[str, Store]

    @initialize()
    def begin(self) -> None:
        # Each life has a node of its own, so no store has to be emptied. But the one in memory refuses what was signed
        # before what it has forgotten, and each life begins at the same time.
        self.stores = {"memory": MemoryStore(), **self.shared}
        self.node_id = "n_" + secrets.token_hex(10)
        self.now = NOW
        self.tickets = [FIRST_TICKET]
        self.sent: list[tuple[Spent, Step | None]] = []
        for store in self.stores.values():
            store.save(self.node_id, enrolled(FIRST_TICKET, HOME))
        for _ in range(2):
            self.one_goes_on(answered=True, but=None, machine=dict(HOME))

    @rule(
        session=st.sampled_from(SESSIONS),
        number=st.integers(1, 9),
        newest=st.booleans(),
        ticket=st.integers(0, 5),
        machine=st.sampled_from(MACHINES),
        named=st.booleans(),
        created=st.integers(-120, 120),
        veto=st.sampled_from([None, None, None, VETO]),
        peer=st.sampled_from([None, "192.0.2.1"]),
    )
    def anybody_syncs(
        self,
        session: str,
        number: int,
        newest: bool,
        ticket: int,
        machine: dict[str, str],
        named: bool,
        created: int,
        veto: Refused | None,
        peer: str | None,
    ) -> None:
        shown = self.tickets[-1] if newest else self.tickets[-1 - ticket % len(self.tickets)]
        node = Node(node_id=self.node_id, session=session, request=number - 1, ticket=shown, machine=machine)
        fields = node.message()
        if not named:
            del fields["fingerprint"]["components"]
        self._admit(fields, created, veto, peer)

    @rule(
        answered=st.booleans(),
        but=st.sampled_from([None, None, None, "same number", "lower number", "restart", "machine", "veto", "old"]),
        machine=st.sampled_from(MACHINES),
    )
    def one_goes_on(self, answered: bool, but: str | None, machine: dict[str, str]) -> None:
        """What nearly all requests are, the script's own way; or that in all but one thing."""
        state = self.stores["memory"].load(self.node_id)
        assert state is not None
        last = state.last
        number = last.request if last else 0
        node = Node(
            node_id=self.node_id,
            session=last.session if last and but != "restart" else SESSIONS[0],
            request=number - {"same number": 1, "lower number": 2}.get(but or "", 0),
            ticket=FIRST_TICKET if but == "old" else state.issued if answered else state.shown or state.issued,
            machine=machine if but == "machine" else dict(state.machine.components),
        )
        if node.request >= 0:
            self._admit(node.message(), 0, VETO if but == "veto" else None, None)

    @rule(data=st.data())
    def one_comes_again(self, data: st.DataObject) -> None:
        if self.sent:
            spent, step = data.draw(st.sampled_from(self.sent))
            assert {store.admit(spent, self.now, step).fresh for store in self.stores.values()} <= {False}

    @rule(seconds=st.integers(0, 119))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        self.sent = [each for each in self.sent if abs(self.now - each[0].created) <= 120]

    @rule(machine=st.sampled_from(MACHINES))
    def an_operator_lets_it_move(self, machine: dict[str, str]) -> None:
        digest = enrolled(FIRST_TICKET, machine).baseline.digest
        for store in self.stores.values():
            store.change(self.node_id, lambda state: let_move(state, digest))

    @rule(seconds=st.integers(0, 200))
    def an_operator_accepts_the_next_ticket(self, seconds: int) -> None:
        for store in self.stores.values():
            store.change(self.node_id, lambda state: accept_next(state, self.now + seconds))

    @rule()
    def an_operator_reinstates_it(self) -> None:
        for store in self.stores.values():
            store.change(self.node_id, lambda state: state._replace(suspended_at=None))

    @invariant()
    def all_know_the_same(self) -> None:
        states = [store.load(self.node_id) for store in self.stores.values()]
        assert all(state == states[0] for state in states)
        for store in self.stores.values():
            for machine in MACHINES[:3]:
                known = states[0].machine.components if states[0] else {}
                here = any(name in machine and machine[name] == known.get(name) for name in ("machine_id", "boot"))
                assert (self.node_id in store.on_machine(machine)) is here

    def teardown(self) -> None:
        for store in self.stores.values():
            store.forget(self.node_id)
            assert store.load(self.node_id) is None
            assert self.node_id not in store.on_machine(HOME)

    def _admit(self, fields: dict[str, object], created: int, veto: Refused | None, peer: str | None) -> None:
        message = validate(SyncRequest, fields)
        spent = Spent(f"{self.node_id}.1", nonce(), self.now + created)
        step = Step(self.node_id, message, spent.created, nonce(), self.now, peer, veto)
        found = {name: store.admit(spent, self.now, step) for name, store in self.stores.items()}
        assert len({plain(each) for each in found.values()}) == 1, found
        self.sent.append((spent, step))
        decision = found["memory"].decision
        assert decision is not None
        if decision.refusal is None:
            self.tickets.append(decision.state.issued)


def plain(admission: Admission) -> object:
    """An admission as something that can be compared."""
    decision = admission.decision
    assert decision is not None
    refusal = decision.refusal
    told = refusal and (refusal.code, refusal.reason)
    return (admission.fresh, told, repr(decision.verdict), repr(decision.state))


@pytest.fixture
def stores(
    tmp_path: Path, postgres_engine: Engine, redis: RedisServer, valkey: RedisServer
) -> Iterator[dict[str, Store]]:
    engine = sqlite_engine(tmp_path / "verifier.sqlite3")
    sqlite = SqlStore(engine)
    sqlite.create_tables()
    # Nonces are kept apart from those of `redis`, which this test spends too.
    split = sqlite_engine(tmp_path / "split.sqlite3")
    split_states = SqlStore(split)
    split_states.create_tables()
    split_nonces = RedisStore(redis.client, prefix=secrets.token_hex(4))
    split_nonces.start_new()
    in_redis = [RedisStore(server.client, prefix=secrets.token_hex(4)) for server in (redis, valkey)]
    for each in in_redis:
        each.start_new()
    yield {
        "sqlite": sqlite,
        "postgresql": SqlStore(postgres_engine),
        "redis": in_redis[0],
        "valkey": in_redis[1],
        "split": SplitStore(split_nonces, split_states),
    }
    engine.dispose()
    split.dispose()


@pytest.mark.parametrize(
    ("names", "lives"),
    [(("sqlite", "postgresql", "redis", "valkey", "split"), 20), (("redis",), 150)],
    ids=["all", "redis"],
)
def test_stores_decide_alike_and_remember_the_same(
    stores: dict[str, Store], names: tuple[str, ...], lives: int
) -> None:
    class These(Stores):
        shared: ClassVar[Mapping[str, Store]] = {name: stores[name] for name in names}

    run_state_machine_as_test(
        These,
        settings=settings(
            max_examples=lives, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_nonces_of_both_versions_of_a_key_and_of_tokens_are_kept_apart(stores: dict[str, Store]) -> None:
    same = nonce_from(b"n" * 16)
    for store in (MemoryStore(), *stores.values()):
        for key_id in ("n_a.1", "n_a.2", "n_b.1", "enroll.a", "enroll.b"):
            assert store.admit(Spent(key_id, same, NOW), NOW).fresh
        for key_id in ("n_a.1", "n_a.2", "n_b.1", "enroll.a", "enroll.b"):
            assert not store.admit(Spent(key_id, same, NOW + 100), NOW + 100).fresh


def test_a_nonce_of_a_message_far_ahead_is_kept_until_its_time_has_passed(stores: dict[str, Store]) -> None:
    ahead = Spent("n_a.1", nonce(), NOW + 86_000)
    for store in (MemoryStore(), *stores.values()):
        assert store.admit(ahead, NOW).fresh
        for passed in range(0, 86_121, 7_177):
            assert not store.admit(ahead, NOW + passed).fresh
