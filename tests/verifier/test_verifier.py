"""The checks of one request in their order, for threads and for event loops, around every store."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node_protocol import fingerprints
from node_protocol.encoding import parse_time
from node_protocol.refusals import Code, Misuse
from node_protocol.refusals import Refused as ProtocolRefused
from node_protocol.signatures import TAG_ENROLL, MacKey, signature_of, verify_response
from tests.verifier.conftest import sqlite_engine
from tests.verifier.nodes import AUTHORITY, FIRST_TICKET, NOW, Node, nonce, other_machine
from verifier import (
    AsyncVerifier,
    NodeKey,
    Policy,
    Refused,
    SignedRequest,
    StoreUnavailable,
    SyncRequest,
    Verified,
    Verifier,
)
from verifier.stores import MemoryStore, SqlStore, Store

Veto = Callable[[str, SyncRequest], ProtocolRefused | None]


class Judge:
    """Either verifier behind one face."""

    def __init__(self, kind: str, store: Store, keys: Callable[[str], NodeKey | None]) -> None:
        self.now = NOW
        self._kind = kind

        async def async_keys(key_id: str) -> NodeKey | None:
            return keys(key_id)

        self.sync = Verifier(keys=keys, store=store, authorities=[AUTHORITY], now=lambda: self.now)
        self.asynchronous = AsyncVerifier(keys=async_keys, store=store, authorities=[AUTHORITY], now=lambda: self.now)

    def verify(self, request: SignedRequest, veto: Veto | None = None) -> Verified:
        if self._kind == "sync":
            return self.sync.verify(request, veto=veto)

        async def async_veto(node_id: str, message: SyncRequest) -> ProtocolRefused | None:
            return veto(node_id, message) if veto else None

        return asyncio.run(self.asynchronous.verify(request, veto=async_veto if veto else None))

    def refusal(self, request: SignedRequest, veto: Veto | None = None) -> Refused:
        with pytest.raises(Refused) as refused:
            self.verify(request, veto)
        return refused.value


@pytest.fixture
def node(store: Store) -> Node:
    node = Node()
    node.enrol(store)
    return node


@pytest.fixture(params=["sync", "async"])
def judge(request: pytest.FixtureRequest, store: Store, node: Node) -> Judge:
    return Judge(request.param, store, {node.key_id: node.key}.get)


def test_a_good_sync_is_verified_and_continues(judge: Judge, node: Node) -> None:
    verified = judge.verify(node.signed())
    assert (verified.node_id, verified.key_id, verified.created) == (node.node_id, node.key_id, NOW)
    assert verified.body["request"] == verified.message.request == 1
    assert verified.verdict.continuity == "continues"
    assert verified.ticket.startswith("1.")
    node.ticket = verified.ticket
    assert judge.verify(node.signed()).ticket.startswith("2.")


@pytest.mark.parametrize(("offset", "fresh"), [(-121, False), (-120, True), (0, True), (120, True), (121, False)])
def test_two_minutes_either_way_are_taken_and_a_second_more_is_not(
    judge: Judge, node: Node, offset: int, fresh: bool
) -> None:
    request = node.signed(created=NOW + offset)
    if fresh:
        assert judge.verify(request).created == NOW + offset
    else:
        refused = judge.refusal(request)
        assert (refused.code, refused.signed) == (Code.STALE, True)
        assert parse_time(refused.problem()["server_time"]).timestamp() == NOW


def test_a_request_is_taken_once(judge: Judge, node: Node) -> None:
    request = node.signed()
    judge.verify(request)
    for later in (0, 60, 120):
        judge.now = NOW + later
        refused = judge.refusal(request)
        assert (refused.code, refused.signed) == (Code.REPLAYED, True)
    judge.now = NOW + 121
    assert judge.refusal(request).code is Code.STALE


def test_a_nonce_that_is_used_again_with_another_time_is_refused(judge: Judge, node: Node) -> None:
    same = nonce()
    node.ticket = judge.verify(node.signed(nonce=same)).ticket
    assert judge.refusal(node.signed(nonce=same, created=NOW + 100)).code is Code.REPLAYED


def test_a_request_of_a_clock_that_is_ahead_is_not_good_once_its_time_has_come(judge: Judge, node: Node) -> None:
    request = node.signed(created=NOW + 3600)
    assert judge.refusal(request).code is Code.STALE
    judge.now = NOW + 3600
    assert judge.refusal(request).code is Code.REPLAYED


def bad_signature(request: SignedRequest) -> SignedRequest:
    return request._replace(body=request.body + b" ")


def test_checks_come_in_their_order(judge: Judge, node: Node, store: Store) -> None:
    """A request that is wrong in all that follows is refused for the first thing that is wrong."""
    fork: dict[str, Any] = {"ticket": "9." + "x" * 22}
    spent = nonce()
    node.ticket = judge.verify(node.signed(nonce=spent)).ticket

    old = node.signed(created=NOW - 200, nonce=spent, wait=99, **fork)
    assert judge.refusal(bad_signature(old)).reason == "digest_mismatch"
    assert judge.refusal(bad_signature(old)._replace(path="/v1/sync?")).reason == "malformed_path"
    assert judge.refusal(old).code is Code.STALE
    assert judge.refusal(node.signed(nonce=spent, wait=99, **fork)).code is Code.REPLAYED
    assert judge.refusal(node.signed(wait=99, **fork)).code is Code.INVALID_PAYLOAD
    assert judge.refusal(node.signed(**fork), lambda *_: ProtocolRefused(Code.EVENT_GAP, "gap")).code is (
        Code.TICKET_CONFLICT
    )
    assert judge.refusal(node.signed()).code is Code.SUSPENDED


@pytest.mark.parametrize("how", ["body", "veto", "revoked"])
def test_a_refusal_spends_the_nonce_and_moves_nothing_else(how: str, store: Store, node: Node, judge: Judge) -> None:
    before = store.load(node.node_id)
    if how == "body":
        request, veto, code = node.signed(wait=99), None, Code.INVALID_PAYLOAD
    elif how == "veto":
        request, code = node.signed(), Code.EVENT_GAP

        def veto(*_: object) -> ProtocolRefused:
            return ProtocolRefused(Code.EVENT_GAP, "gap", extra={"last_seq": 3})
    else:
        revoked = NodeKey(node.node_id, node.key_id, MacKey(node.secret), revoked=True)
        judge = Judge("sync", store, {node.key_id: revoked}.get)
        request, veto, code = node.signed(), None, Code.REVOKED
    refused = judge.refusal(request, veto)
    assert (refused.code, refused.signed) == (code, True)
    assert judge.refusal(request, veto).code is Code.REPLAYED
    assert store.load(node.node_id) == before


def test_an_unknown_key_and_a_wrong_one_are_refused_alike(judge: Judge, node: Node) -> None:
    stranger = Node(node_id="n_" + "b" * 20)
    thief = Node(secret=b"x" * 32)
    refusals = [judge.refusal(each.signed()) for each in (stranger, thief)]
    assert [refused.reason for refused in refusals] == ["unknown_key", "signature_mismatch"]
    assert refusals[0].problem() == refusals[1].problem()
    assert not any(refused.signed for refused in refusals)


def test_an_enrolment_s_signature_is_no_node_s(judge: Judge, node: Node) -> None:
    assert judge.refusal(node.signed(tag=TAG_ENROLL)).reason == "wrong_tag"


def test_a_body_over_a_mebibyte_is_too_large(judge: Judge, node: Node) -> None:
    refused = judge.refusal(node.signed(b'"' + b"x" * 1024 * 1024 + b'"'))
    assert (refused.code, refused.signed) == (Code.TOO_LARGE, False)


def test_any_json_can_be_authenticated(node: Node, store: Store) -> None:
    verifier = Verifier(keys={node.key_id: node.key}.get, store=store, authorities=[AUTHORITY], now=lambda: NOW)
    request = node.signed(b"[1]", path="/signals")
    assert verifier.authenticate(request).key.node_id == node.node_id
    with pytest.raises(Refused) as refused:
        verifier.authenticate(request)
    assert refused.value.code is Code.REPLAYED


def test_answers_and_refusals_are_signed_for_their_request(judge: Judge, node: Node) -> None:
    request = node.signed()
    verified = judge.verify(request)
    answers = [judge.sync.answer(verified.sender, {"ticket": verified.ticket})]
    answers.append(judge.sync.refuse(judge.refusal(request)))
    for answer, status in zip(answers, (200, 409), strict=True):
        facts = verify_response(
            node.secret,
            key_id=node.key_id,
            status=status,
            headers=answer.headers,
            body=answer.body,
            request_signature=signature_of(request.headers),
        )
        assert facts.created == NOW
    unsigned = judge.sync.refuse(judge.refusal(bad_signature(node.signed())))
    assert "signature" not in dict(unsigned.headers)
    assert json.loads(unsigned.body)["code"] == "unauthenticated"


def test_a_sync_that_brings_its_machine_s_components_is_refused_where_another_live_node_is(
    judge: Judge, node: Node, store: Store
) -> None:
    neighbour = Node(node_id="n_" + "b" * 20, machine=other_machine("boot"))
    neighbour.enrol(store)
    before = store.load(node.node_id)
    refused = judge.refusal(node.signed())
    assert (refused.code, refused.status, refused.signed) == (Code.FINGERPRINT_DUPLICATE, 403, True)
    assert store.load(node.node_id) == before

    brief = {"salt_id": "s1", "digest": fingerprints.digest(node.machine)}
    node.ticket = judge.verify(node.signed(fingerprint=brief)).ticket
    store.change(neighbour.node_id, lambda state: state._replace(suspended_at=NOW))
    node.ticket = judge.verify(node.signed()).ticket
    store.change(neighbour.node_id, lambda state: state._replace(suspended_at=None))
    assert judge.refusal(node.signed()).code is Code.FINGERPRINT_DUPLICATE
    store.forget(neighbour.node_id)
    assert judge.verify(node.signed()).ticket


def test_a_deployment_may_have_more_nodes_on_a_machine(node: Node, store: Store) -> None:
    Node(node_id="n_" + "b" * 20).enrol(store)
    policy = Policy(max_nodes_per_machine=2)
    verifier = Verifier(
        keys={node.key_id: node.key}.get, store=store, authorities=[AUTHORITY], now=lambda: NOW, policy=policy
    )
    node.ticket = verifier.verify(node.signed()).ticket
    Node(node_id="n_" + "c" * 20).enrol(store)
    with pytest.raises(Refused) as refused:
        verifier.verify(node.signed())
    assert refused.value.code is Code.FINGERPRINT_DUPLICATE


class Broken(MemoryStore):
    """A store that cannot be reached."""

    def admit(self, *_: object, **__: object) -> Any:
        raise StoreUnavailable("away")


def test_a_store_that_cannot_be_reached_means_unavailable(node: Node) -> None:
    for kind in ("sync", "async"):
        refused = Judge(kind, Broken(), {node.key_id: node.key}.get).refusal(node.signed())
        assert (refused.code, refused.status, refused.signed) == (Code.UNAVAILABLE, 503, True)
        assert refused.reason == "store: away"


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_key_source_that_cannot_be_reached_means_unavailable_unsigned(kind: str, node: Node) -> None:
    def away(_: str) -> NodeKey | None:
        raise StoreUnavailable("away")

    refused = Judge(kind, MemoryStore(), away).refusal(node.signed())
    assert (refused.code, refused.signed, refused.reason) == (Code.UNAVAILABLE, False, "keys: away")


def test_a_veto_that_cannot_tell_means_unavailable_and_nothing_moves(judge: Judge, node: Node) -> None:
    def away(_: str, __: SyncRequest) -> ProtocolRefused | None:
        raise StoreUnavailable("away")

    request = node.signed()
    refused = judge.refusal(request, away)
    assert (refused.code, refused.signed) == (Code.UNAVAILABLE, True)
    assert judge.verify(request).ticket


def test_a_node_that_the_store_does_not_know_is_refused(node: Node) -> None:
    refused = Judge("sync", MemoryStore(), {node.key_id: node.key}.get).refusal(node.signed())
    assert (refused.code, refused.reason) == (Code.UNAVAILABLE, "node_without_state")


def test_replays_are_known_after_a_restart_of_the_server(tmp_path: Path) -> None:
    path, node = tmp_path / "v.sqlite3", Node()
    engine = sqlite_engine(path)
    store = SqlStore(engine)
    store.create_tables()
    node.enrol(store)
    request = node.signed()
    Judge("sync", store, {node.key_id: node.key}.get).verify(request)
    engine.dispose()
    again = sqlite_engine(path)
    assert Judge("sync", SqlStore(again), {node.key_id: node.key}.get).refusal(request).code is Code.REPLAYED
    again.dispose()


@pytest.mark.parametrize("copies", [400])
def test_of_racing_copies_of_one_request_exactly_one_is_accepted(node: Node, store: Store, copies: int) -> None:
    verifiers = [
        Verifier(keys={node.key_id: node.key}.get, store=store, authorities=[AUTHORITY], now=lambda: NOW)
        for _ in range(2)
    ]
    request = node.signed()
    outcomes: list[str] = []
    start = threading.Barrier(8)

    def race(number: int) -> None:
        start.wait()
        for _ in range(copies // 8):
            try:
                outcomes.append(verifiers[number % 2].verify(request).verdict.continuity)
            except Refused as refused:
                outcomes.append(refused.code)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("continues") == 1
    assert outcomes.count("replayed") == copies - 1


def test_evidence_of_a_fork_tells_both_sides_and_no_ticket(judge: Judge, node: Node) -> None:
    judge.verify(node.signed()._replace(peer="192.0.2.1"))
    thief = Node(ticket=FIRST_TICKET, session="z" * 22, machine=other_machine())
    judge.verify(node.signed())  # the answer before was lost, so the first ticket is good once more
    refused = judge.refusal(Node(ticket="7." + "x" * 22, session="z" * 22).signed()._replace(peer="192.0.2.2"))
    assert refused.decision is not None
    evidence = refused.decision.verdict.evidence
    assert evidence["refused_now"]["address"] == "192.0.2.2"
    assert evidence["accepted_last"]["session"] == node.session
    assert refused.decision.verdict.cause == "stolen_key"
    assert "x" * 22 not in json.dumps(evidence)
    assert thief.ticket not in json.dumps(evidence)


def test_a_verifier_must_know_its_names() -> None:
    wrong: Any
    for wrong in ([], "bots.example", ["https://bots.example"], ["bots.example", "bots.example/"], ["bücher.example"]):
        with pytest.raises(Misuse):
            Verifier(keys=lambda _: None, store=MemoryStore(), authorities=wrong)
