"""Looking a key up tells nobody, by the work that it takes, which keys there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert

from control_plane import enrolment, node_keys, schema, tokens
from control_plane.database import Database, nodes, open_database
from control_plane.location import Location
from control_plane.master_key import Purpose, Sealer
from node_protocol.handshake import KeyId, enroll_key_id
from node_protocol.signatures import MacKey
from tests.control_plane.support import sealer
from verifier import NodeKey

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
KNOWN, STRANGER = KeyId("n_" + "a" * 20, 1), KeyId("n_" + "b" * 20, 1)


@pytest.fixture
def database(where: Location) -> Iterator[Database]:
    """One with a node and its key."""
    opened = open_database(where, create=True)
    schema.upgrade(opened)
    with opened.writing() as connection:
        facts = {"name": "attic-pi", "agent_version": "0.1.0", "platform": "linux/amd64", "enrolled_at": NOW}
        connection.execute(insert(nodes).values(node_id=KNOWN.node_id, **facts))
        node_keys.keep(connection, sealer(), KNOWN, b"k" * 32, NOW)
    yield opened
    opened.close()


def test_an_unknown_key_id_costs_the_same_work_as_a_known_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    work: list[str] = []
    sealed_by, open_, make = sealer(), Sealer.open, MacKey.__init__

    def counted_open(self: Sealer, purpose: Purpose, owner: str, sealed: str) -> bytes:
        work.append(f"open {purpose}")
        return open_(self, purpose, owner, sealed)

    def counted_make(self: MacKey, key: bytes) -> None:
        work.append("make a key")
        make(self, key)

    monkeypatch.setattr(Sealer, "open", counted_open)
    monkeypatch.setattr(MacKey, "__init__", counted_make)

    def cost(find: Callable[[], NodeKey | None], found: bool) -> list[str]:
        work.clear()
        assert (find() is not None) is found
        return list(work)

    token, _ = tokens.create(database, sealed_by, NOW)
    for known, unknown in (
        (
            cost(lambda: node_keys.find(database, sealed_by, str(KNOWN), NOW), found=True),
            cost(lambda: node_keys.find(database, sealed_by, str(STRANGER), NOW), found=False),
        ),
        (
            cost(lambda: enrolment.find_token(database, sealed_by, enroll_key_id(token.token_id)), found=True),
            cost(lambda: enrolment.find_token(database, sealed_by, enroll_key_id("z" * 16)), found=False),
        ),
    ):
        assert known == unknown
        assert len(known) == 2
