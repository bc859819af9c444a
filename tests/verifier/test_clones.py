"""One identity, one machine: an honest node is never suspended, and of two holders of one state one is found out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_protocol import fingerprints
from node_protocol.messages import SyncRequest, validate
from node_protocol.refusals import Code, Refused
from tests.verifier.nodes import FIRST_TICKET, HOME, NOW, Node, nonce, other_machine
from verifier.clones import TABLE, Continuity, Decision, Place, Policy, decide, live_on, see_that_there_is_room
from verifier.evidence import Cause
from verifier.node_state import NodeState, accept_next, enrolled, let_move, would_take

MOVED = other_machine()
DRIFTED = other_machine("machine_id", "storage")  # 55 of 100
MENDED = other_machine("machine_id", "storage", "disk", "memory")  # 75 of 100
TWIN = other_machine("machine_id", "disk", "memory")  # 50 of 100


def sync(node: Node) -> SyncRequest:
    return validate(SyncRequest, node.message())


def asked(state: NodeState, node: Node, *, now: int = NOW, answered: bool = True, policy: Policy = TABLE) -> Decision:
    """One request of a node; it keeps the new ticket only when the answer arrives."""
    decision = decide(state, sync(node), ticket_random=nonce(), created=now, now=now, policy=policy)
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
        decision = decide(state, old, ticket_random=nonce(), created=NOW, now=at)
        assert decision.refusal is not None
        assert decision.refusal.code is code
        assert decision.state.issued == state.issued
        state = decision.state
    assert state.suspended_at == NOW + 120


def test_late_packets_far_apart_are_no_fork() -> None:
    state, node = after_one_sync()
    old = sync(copy_of(node, session=node.session, request=0))
    for number in range(5):
        state = decide(state, old, ticket_random=nonce(), created=NOW, now=NOW + number * 61).state
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
    unknown = decide(
        state, validate(SyncRequest, node.message(fingerprint=short)), ticket_random=nonce(), created=NOW, now=NOW
    )
    assert unknown.refusal is not None
    assert unknown.refusal.code is Code.INVALID_PAYLOAD
    assert unknown.state == state
    state = asked(state, node).state
    known = decide(
        state, validate(SyncRequest, node.message(fingerprint=short)), ticket_random=nonce(), created=NOW, now=NOW
    )
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
    for neither in ("", "\N{LATIN SMALL LETTER E WITH ACUTE}"):
        assert not would_take(enrolled(FIRST_TICKET, HOME), neither)


def test_a_packet_that_was_signed_before_the_last_accepted_one_is_late_for_a_reason_however_often() -> None:
    state, node = after_one_sync()
    old = sync(copy_of(node, session=node.session, request=0))
    for seconds in range(1, 6):
        decision = decide(state, old, ticket_random=nonce(), created=NOW - seconds, now=NOW)
        assert decision.refusal is not None
        assert decision.refusal.code is Code.SUPERSEDED
        assert decision.state == state


def test_a_packet_of_a_session_before_a_restart_is_late_whatever_its_ticket() -> None:
    state, node = after_one_sync()
    held_up = sync(node)
    node.session, node.request = "r" * 22, 0
    for number in range(3):
        state = asked(state, node, now=NOW + 1 + number).state
        decision = decide(state, held_up, ticket_random=nonce(), created=NOW, now=NOW + 2)
        assert decision.refusal is not None
        assert decision.refusal.code is Code.SUPERSEDED
        assert decision.state == state


def test_a_stranger_who_dates_its_requests_back_is_found_out_at_the_third() -> None:
    state, node = after_one_sync()
    old = node.ticket
    for _ in range(2):
        state = asked(state, node).state
    thief = copy_of(node, ticket=old)
    codes = []
    for _ in range(3):
        decision = decide(state, sync(thief), ticket_random=nonce(), created=NOW - 100, now=NOW)
        assert decision.refusal is not None
        codes.append(decision.refusal.code)
        state = decision.state
    assert codes == [Code.SUPERSEDED, Code.SUPERSEDED, Code.TICKET_CONFLICT]


def test_a_process_that_changes_machines_in_two_small_steps_is_a_fork() -> None:
    """Each is like the baseline, and they are not like one another."""
    baseline = dict.fromkeys(HOME, "h" * 22)
    first = baseline | dict.fromkeys(("storage", "disk", "pci", "memory"), "1" * 22)  # 48 of 100
    second = baseline | dict.fromkeys(("machine_id", "cpu", "board"), "2" * 22)  # 52 of 100
    state = enrolled(FIRST_TICKET, baseline)
    node = at_home(machine=first)
    decision = asked(state, node)
    assert decision.refusal is None
    node.machine = second
    decision = asked(decision.state, node)
    assert decision.suspends
    assert decision.refusal is not None
    assert decision.refusal.code is Code.FINGERPRINT_MISMATCH


def test_an_approved_move_is_taken_once_by_that_machine_alone_which_becomes_the_baseline() -> None:
    state, node = after_one_sync()
    state = let_move(state, fingerprints.digest(MOVED))
    elsewhere = dict.fromkeys(MOVED, "x" * 22)
    assert asked(state, copy_of(node, machine=elsewhere)).refusal is not None
    moved = copy_of(node, machine=MOVED)
    decision = asked(state, moved)
    assert (decision.refusal, decision.verdict.place) == (None, Place.ELSEWHERE)
    assert decision.state.baseline.components == MOVED
    assert asked(decision.state, moved).verdict.place is Place.SAME
    back = copy_of(moved, session="b" * 22, machine=HOME)
    assert asked(decision.state, back).refusal is not None


def test_the_old_machine_forks_once_the_move_is_made() -> None:
    state, node = after_one_sync()
    state = let_move(state, fingerprints.digest(MOVED))
    moved = copy_of(node, machine=MOVED)
    state = asked(state, moved).state
    state = asked(state, moved).state
    assert asked(state, node).suspends


def test_the_next_ticket_is_accepted_once_within_its_time_and_only_on_the_same_machine() -> None:
    restored, node = after_one_sync()
    live = restored
    for _ in range(5):
        live = asked(live, node).state  # moves that the backup does not know
    assert asked(restored, copy_of(node)).suspends
    armed = accept_next(restored, NOW + 60)
    assert asked(armed, copy_of(node), now=NOW + 61).suspends
    assert asked(armed, copy_of(node, machine=MOVED)).refusal is not None
    decision = asked(armed, node, now=NOW + 60)
    assert (decision.refusal, decision.verdict.continuity) == (None, Continuity.RESTORED)
    assert asked(decision.state, node, now=NOW + 60).verdict.continuity is Continuity.CONTINUES
    assert asked(decision.state, copy_of(node, ticket="3." + "z" * 22), now=NOW + 60).suspends


def test_a_node_that_goes_on_as_ever_uses_up_that_its_next_ticket_is_accepted() -> None:
    state, node = after_one_sync()
    armed = accept_next(state, NOW + 60)
    decision = asked(armed, node)
    assert decision.verdict.continuity is Continuity.CONTINUES
    assert asked(decision.state, copy_of(node, ticket="99." + "z" * 22)).suspends


def test_a_suspended_node_is_not_let_in_by_accepting_its_next_ticket() -> None:
    state, node = after_one_sync()
    state = accept_next(state._replace(suspended_at=NOW), NOW + 60)
    refusal = asked(state, node).refusal
    assert refusal is not None
    assert refusal.code is Code.SUSPENDED


def test_a_deployment_may_refuse_a_fork_without_suspending_and_let_nodes_move_unasked() -> None:
    state, node = after_one_sync()
    thief = copy_of(node, ticket="9." + "x" * 22)
    decision = asked(state, thief, policy=Policy(suspend_on_fork=False))
    assert decision.refusal is not None
    assert not decision.suspends
    assert decision.state == state
    assert decision.verdict.continuity is Continuity.FORKS
    moved = asked(state, copy_of(node, machine=MOVED), policy=Policy(ask_before_move=False))
    assert moved.refusal is None
    assert moved.state.baseline.components == MOVED


def test_nodes_on_one_machine_share_its_machine_id_or_its_boot_and_are_not_suspended() -> None:
    at = {"a": HOME, "b": other_machine("boot"), "c": other_machine("disk", "cpu"), "d": HOME, "e": {"boot": "e" * 22}}
    others = {name: enrolled(FIRST_TICKET, machine) for name, machine in at.items()}
    others["d"] = others["d"]._replace(suspended_at=NOW)
    assert live_on(HOME, others.items()) == ["a", "b"]
    assert live_on({"cpu": HOME["cpu"]}, others.items()) == []
    see_that_there_is_room(["a", "b"], Policy(max_nodes_per_machine=3))
    for neighbours, most in ((["a"], 1), (["a", "b"], 2)):
        with pytest.raises(Refused) as refused:
            see_that_there_is_room(neighbours, Policy(max_nodes_per_machine=most))
        assert refused.value.code is Code.FINGERPRINT_DUPLICATE
