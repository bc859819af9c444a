"""What is told of each request: who and what, in bounded words, and nothing that is secret or was not verified."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from node_protocol.refusals import Code
from node_protocol.refusals import Refused as ProtocolRefused
from tests.verifier.nodes import AUTHORITY, NOW, Node, nonce
from verifier import (
    AsyncVerifier,
    Authenticated,
    Continuity,
    NodeKey,
    Observation,
    Place,
    Refused,
    SignedRequest,
    Verified,
    Verifier,
)
from verifier.integrations.prometheus import RequestCounter
from verifier.observation import Observer
from verifier.stores import MemoryStore, StoreUnavailable
from verifier.stores.base import Admission

PEER = "192.0.2.1"


def judge(observe: Observer, kind: str, node: Node, store: MemoryStore) -> Verifier | AsyncVerifier:
    async def find(key_id: str) -> NodeKey | None:
        return {node.key_id: node.key}.get(key_id)

    if kind == "async":
        return AsyncVerifier(keys=find, store=store, authorities=[AUTHORITY], now=lambda: NOW, observe=observe)
    keys = {node.key_id: node.key}
    return Verifier(keys=keys.get, store=store, authorities=[AUTHORITY], now=lambda: NOW, observe=observe)


def run(verifier: Verifier | AsyncVerifier, request: SignedRequest, *, sync: bool = True) -> str | None:
    """The new ticket of a sync that is accepted."""
    request = request._replace(peer=PEER)
    with suppress(Refused):
        if sync:
            verified = verifier.verify(request)
            return (verified if isinstance(verified, Verified) else asyncio.run(verified)).ticket
        sender = verifier.authenticate(request)
        if not isinstance(sender, Authenticated):
            asyncio.run(sender)
    return None


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_each_request_is_told_once_with_its_outcome_and_reason(kind: str) -> None:
    seen: list[Observation] = []
    node, store = Node(), MemoryStore()
    node.enrol(store)
    verifier = judge(seen.append, kind, node, store)

    first = node.signed()
    ticket = run(verifier, first)
    run(verifier, first)
    node.ticket = ticket or ""
    run(verifier, node.signed())
    run(verifier, node.signed(b"[1]"), sync=False)
    run(verifier, node.signed(wait=99))
    run(verifier, node.signed(created=NOW - 121))
    run(verifier, Node(secret=b"x" * 32).signed())
    run(verifier, node.signed(ticket="9." + "x" * 22))
    run(verifier, node.signed())

    assert [(each.outcome, each.reason) for each in seen] == [
        ("accepted", "continues"),
        ("replayed", "nonce_seen_before"),
        ("accepted", "continues"),
        ("accepted", "authenticated"),
        ("invalid_payload", "not_a_SyncRequest"),
        ("stale", "created_outside_window"),
        ("unauthenticated", "signature_mismatch"),
        ("ticket_conflict", "void_ticket"),
        ("suspended", "node_suspended"),
    ]
    assert (seen[0].continuity, seen[0].place) == (Continuity.CONTINUES, Place.SAME)
    assert [each.suspends for each in seen].index(True) == 7
    assert {each.peer for each in seen} == {PEER}
    unverified = seen[6]
    assert (unverified.node_id, unverified.key_id) == (None, None), "what a forger claims to be is not told"
    assert all(each.node_id == node.node_id for each in seen if each is not unverified)


def test_nothing_that_is_told_is_secret() -> None:
    seen: list[Observation] = []
    node, store = Node(), MemoryStore()
    node.enrol(store)
    verifier = judge(seen.append, "sync", node, store)
    request = node.signed()
    ticket = run(verifier, request)
    run(verifier, node.signed(ticket="9." + "x" * 22))
    told = repr(seen) + json.dumps([each.facts() for each in seen])
    secrets = [node.secret.hex(), repr(node.secret), str(ticket), "x" * 22, dict(request.headers)["signature"]]
    assert not [each for each in secrets if each in told]
    assert seen[0].facts() == {
        "outcome": "accepted",
        "reason": "continues",
        "node_id": node.node_id,
        "key_id": node.key_id,
        "peer": PEER,
        "continuity": "continues",
        "place": "same",
    }


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_is_refused_before_it_is_judged_is_told_too_and_what_a_handler_refuses_is_not(kind: str) -> None:
    seen: list[Observation] = []
    node, store = Node(), MemoryStore()
    node.enrol(store)
    verifier = judge(seen.append, kind, node, store)
    verifier.refuse(ProtocolRefused(Code.TOO_LARGE, "declared_over_1_mib"))
    assert [(each.outcome, each.reason, each.node_id) for each in seen] == [("too_large", "declared_over_1_mib", None)]
    sender = Verifier(keys={node.key_id: node.key}.get, store=store, authorities=[AUTHORITY], now=lambda: NOW)
    verifier.refuse(ProtocolRefused(Code.EVENT_GAP, "gap"), sender.authenticate(node.signed()))
    assert len(seen) == 1


def test_what_a_store_says_does_not_become_a_label() -> None:
    class Away(MemoryStore):
        def admit(self, *_: object, **__: object) -> Admission:
            raise StoreUnavailable(f"away since {nonce()}")

    seen: list[Observation] = []
    node = Node()
    run(judge(seen.append, "sync", node, Away()), node.signed())
    assert [(each.outcome, each.reason) for each in seen] == [("unavailable", "store")]


def test_prometheus_counts_by_outcome_and_reason() -> None:
    registry = CollectorRegistry()
    node, store = Node(), MemoryStore()
    node.enrol(store)
    verifier = judge(RequestCounter(registry), "sync", node, store)
    request = node.signed()
    for _ in range(3):
        run(verifier, request)
    text = generate_latest(registry).decode()
    assert 'trading_node_requests_total{outcome="accepted",reason="continues"} 1.0' in text
    assert 'trading_node_requests_total{outcome="replayed",reason="nonce_seen_before"} 2.0' in text
