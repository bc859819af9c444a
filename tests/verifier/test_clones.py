"""One identity, one machine: an honest node is never suspended, and of two holders of one state one is found out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from node_protocol import fingerprints
from node_protocol.messages import SyncRequest, validate
from node_protocol.refusals import Code
from tests.verifier.nodes import FIRST_TICKET, HOME, NOW, Node, nonce, other_machine
from verifier.clones import Cause, Continuity, Decision, NodeState, Place, decide, enrolled, would_take

MOVED = other_machine()
DRIFTED = other_machine("machine_id", "storage")  # 55 of 100
MENDED = other_machine("machine_id", "storage", "disk", "memory")  # 75 of 100
TWIN = other_machine("machine_id", "disk", "memory")  # 50 of 100


def sync(node: Node) -> SyncRequest:
    return validate(SyncRequest, node.message())


def asked(state: NodeState, node: Node, *, now: int = NOW, answered: bool = True) -> Decision:
    """One request of a node; it keeps the new ticket only when the answer arrives."""
    decision = decide(state, sync(node), ticket_random=nonce(), now=now)
    if decision.refusal is None and answered:
        node.ticket = decision.state.issued
    return decision


def at_home(**changes: object) -> Node:
    return Node(**changes)  # type: ignore[arg-type]


def after_one_sync() -> tuple[NodeState, Node]:
    node = at_home()
    return asked(enrolled(FIRST_TICKET, HOME), node).state, node


def copy_of(node: Node, **changes: object) -> Node:
    values = {"ticket": node.ticket, "session": "c" * 22, "machine": dict(HOME)} | changes
    return Node(**values)  # type: ignore[arg-type]


class HonestNode(RuleBasedStateMachine):
    """One holder that loses answers, is restarted, whose packets come late, and whose hardware changes."""

    @initialize()
    def begin(self) -> None:
        self.node = at_home()
        self.state = enrolled(FIRST_TICKET, HOME)
        self.now = NOW
        self.late: list[int] = []
        self.sent: list[SyncRequest] = []
        self.sessions = 0

    @rule(answered=st.booleans(), seconds=st.integers(0, 90))
    def syncs(self, answered: bool, seconds: int) -> None:
        self.now += seconds
        message = sync(self.node)
        self.sent.append(message)
        decision = decide(self.state, message, ticket_random=nonce(), now=self.now)
        assert decision.refusal is None
        assert decision.verdict.continuity in (Continuity.CONTINUES, Continuity.RETRIES)
        self.state = decision.state
        if answered:
            self.node.ticket = decision.state.issued

    @rule()
    def is_restarted(self) -> None:
        self.sessions += 1
        self.node.session = f"{self.sessions:022}"
        self.node.request = 0
        self.sent.clear()

    @rule(data=st.data())
    def a_packet_comes_late(self, data: st.DataObject) -> None:
        if not self.sent or sum(1 for at in self.late if self.now - at <= 120) >= 2:
            return
        decision = decide(self.state, data.draw(st.sampled_from(self.sent)), ticket_random=nonce(), now=self.now)
        assert decision.refusal is not None
        assert decision.refusal.code is Code.SUPERSEDED
        assert decision.state.issued == self.state.issued
        self.state = decision.state
        self.late.append(self.now)

    @rule(machine=st.sampled_from([HOME, DRIFTED, MENDED]))
    def hardware_changes(self, machine: Mapping[str, str]) -> None:
        likeness = fingerprints.compare(self.state.baseline.components, machine)
        if likeness.score >= fingerprints.DRIFT:
            self.node.machine = dict(machine)

    @invariant()
    def is_never_suspended(self) -> None:
        assert self.state.suspended_at is None


HonestNode.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestHonestNode = HonestNode.TestCase


@settings(max_examples=500)
@given(st.integers(0, 3), st.lists(st.tuples(st.booleans(), st.booleans()), min_size=3, max_size=12))
def test_two_holders_of_one_state_cannot_both_go_on(before: int, requests: list[tuple[bool, bool]]) -> None:
    """Whoever speaks, on whichever machine the copy runs: the first to speak again after the other has, forks."""
    owner = at_home()
    state = enrolled(FIRST_TICKET, HOME)
    for _ in range(before):
        state = asked(state, owner).state
    thief = copy_of(owner)
    order = []
    for owner_speaks, at_home_too in requests:
        thief.machine = dict(HOME if at_home_too else MENDED)
        decision = asked(state, owner if owner_speaks else thief)
        state = decision.state
        order.append(owner_speaks)
        turns = [order[0], *(now for last, now in pairwise(order) if last != now)]
        if len(turns) >= 3 or (len(turns) == 2 and order.index(turns[1]) >= 2):
            assert state.suspended_at is not None
            break
        assert decision.refusal is None


def test_a_late_packet_moves_nothing_and_the_third_in_two_minutes_is_a_fork() -> None:
    state, node = after_one_sync()
    old = sync(copy_of(node, session=node.session, request=0))
    for at, code in [(NOW, Code.SUPERSEDED), (NOW + 60, Code.SUPERSEDED), (NOW + 120, Code.TICKET_CONFLICT)]:
        decision = decide(state, old, ticket_random=nonce(), now=at)
        assert decision.refusal is not None
        assert decision.refusal.code is code
        assert decision.state.issued == state.issued
        state = decision.state
    assert state.suspended_at == NOW + 120


def test_late_packets_far_apart_are_no_fork() -> None:
    state, node = after_one_sync()
    old = sync(copy_of(node, session=node.session, request=0))
    for number in range(5):
        state = decide(state, old, ticket_random=nonce(), now=NOW + number * 61).state
    assert state.suspended_at is None


def test_a_drifted_machine_becomes_the_baseline_after_five_syncs() -> None:
    state, node = after_one_sync()
    node.machine = dict(DRIFTED)
    for number in range(1, 6):
        decision = asked(state, node)
        assert decision.verdict.place is Place.DRIFT
        state = decision.state
        assert (state.baseline.components == DRIFTED) is (number == 5)
    assert asked(state, node).verdict.place is Place.SAME


def test_another_machine_in_a_new_session_waits_for_an_operator_and_nothing_moves() -> None:
    state, node = after_one_sync()
    decision = asked(state, copy_of(node, machine=MOVED))
    assert decision.refusal is not None
    assert decision.refusal.code is Code.FINGERPRINT_MISMATCH
    assert decision.state == state
    assert not decision.suspends
    assert decision.verdict.evidence["accepted_last"]["session"] == node.session


def test_another_machine_within_a_session_is_a_fork_whatever_the_ticket() -> None:
    state, node = after_one_sync()
    node.machine = MOVED
    decision = asked(state, node)
    assert decision.refusal is not None
    assert decision.refusal.code is Code.FINGERPRINT_MISMATCH
    assert decision.suspends
    assert decision.verdict.cause is Cause.LIVE_CLONE


@dataclass(frozen=True)
class Row:
    """A row of the contract's table of cases."""

    name: str
    ticket: str = "old"
    machine: Mapping[str, str] = field(default_factory=lambda: HOME)
    session: str = "c" * 22
    request: int = 1
    cause: Cause | None = None


@pytest.mark.parametrize(
    "row",
    [
        Row("copied, other host", machine=MOVED, cause=Cause.COPY_OTHER_HOST),
        Row("copied, same host", machine=TWIN | {"boot": HOME["boot"]}, cause=Cause.COPY_SAME_HOST),
        Row("old backup, after a reboot", machine={**HOME, "boot": "n" * 22}, cause=Cause.ROLLBACK),
        Row("old backup, same inode", cause=Cause.ROLLBACK),
        Row("key stolen, state not", ticket="99." + "x" * 22, cause=Cause.STOLEN_KEY),
        Row("key stolen, the counter guessed", ticket="3." + "x" * 22, cause=Cause.STOLEN_KEY),
        Row("key stolen, the counter before", ticket="2." + "x" * 22, machine=MOVED, cause=Cause.STOLEN_KEY),
        Row("cloned live", session="s" * 22, request=50, cause=Cause.LIVE_CLONE),
    ],
    ids=lambda row: row.name,
)
def test_a_fork_suspends_and_names_its_likely_cause(row: Row) -> None:
    state, node = after_one_sync()
    old = node.ticket
    for _ in range(2):
        state = asked(state, node).state
    ticket = old if row.ticket == "old" else row.ticket
    holder = Node(ticket=ticket, session=row.session, request=row.request - 1, machine=dict(row.machine))
    decision = asked(state, holder)
    assert decision.refusal is not None
    assert decision.refusal.code is Code.TICKET_CONFLICT
    assert decision.suspends
    assert decision.verdict.cause is row.cause
    for each in (node, holder):
        refused = asked(decision.state, each).refusal
        assert refused is not None
        assert refused.code is Code.SUSPENDED


def test_a_digest_is_enough_once_its_components_are_known() -> None:
    state, node = after_one_sync()
    node.machine = dict(MENDED)
    digest = fingerprints.digest(MENDED)
    short = {"salt_id": "s1", "digest": digest}
    unknown = decide(state, validate(SyncRequest, node.message(fingerprint=short)), ticket_random=nonce(), now=NOW)
    assert unknown.refusal is not None
    assert unknown.refusal.code is Code.INVALID_PAYLOAD
    assert unknown.state == state
    state = asked(state, node).state
    known = decide(state, validate(SyncRequest, node.message(fingerprint=short)), ticket_random=nonce(), now=NOW)
    assert known.refusal is None


def test_a_machine_that_shows_too_little_gets_no_verdict_from_that() -> None:
    bare = {"cpu": "h" * 22, "memory": "h" * 22}
    state = enrolled(FIRST_TICKET, bare)
    decision = asked(state, at_home(machine={"cpu": "o" * 22, "memory": "o" * 22}))
    assert decision.refusal is None
    assert decision.verdict.place is Place.INSUFFICIENT


def test_asking_whether_a_ticket_would_be_taken_moves_nothing() -> None:
    state, node = after_one_sync()
    assert would_take(state, node.ticket)
    assert would_take(state, FIRST_TICKET)
    assert not would_take(state, "1." + "x" * 22)
    assert not would_take(state._replace(suspended_at=NOW), node.ticket)
