"""Nonces in one store and states in another: what may happen in between makes nobody accepted twice, or stuck."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_protocol.refusals import Code
from tests.verifier.conftest import sqlite_engine
from tests.verifier.nodes import AUTHORITY, NOW, Node
from verifier import Refused, SignedRequest, StoreUnavailable, Verifier
from verifier.stores import MemoryStore, SplitStore, SqlStore
from verifier.stores.base import Admission, Step


class AwayOnce(SqlStore):
    """States whose database goes just when a nonce was spent, and comes back."""

    away = True

    def take(self, step: Step) -> Admission:
        if self.away:
            self.away = False
            raise StoreUnavailable("away")
        return super().take(step)


def test_a_message_that_was_cut_off_between_the_two_is_not_taken_again_and_its_sender_goes_on(tmp_path: Path) -> None:
    engine = sqlite_engine(tmp_path / "states.sqlite3")
    states = AwayOnce(engine)
    states.create_tables()
    store, node = SplitStore(MemoryStore(), states), Node()
    node.enrol(store)
    verifier = Verifier(keys={node.key_id: node.key}.get, store=store, authorities=[AUTHORITY], now=lambda: NOW)

    def refusal(request: SignedRequest) -> Code:
        with pytest.raises(Refused) as refused:
            verifier.verify(request)
        return refused.value.code

    before = store.load(node.node_id)
    request = node.signed()
    assert refusal(request) is Code.UNAVAILABLE
    assert refusal(request) is Code.REPLAYED
    assert store.load(node.node_id) == before
    node.ticket = verifier.verify(node.signed()).ticket
    verifier.verify(node.signed())
    engine.dispose()
