"""Rotation over real HTTP: the next version, how long the old one is good, what a thief of the key alone cannot do."""

from __future__ import annotations

import secrets
from datetime import timedelta

from node_protocol.encoding import b64url_encode
from node_protocol.handshake import public_key
from tests.control_plane.support import (
    FrozenServer,
    Node,
    Reply,
    ServerProcess,
    Signer,
    derived,
    enrolled,
    json_of,
)


def rotate(node: Node, *, ticket: str | None = None, created: int | None = None) -> tuple[Reply, bytes]:
    """A rotation's answer, and the private key that goes with it."""
    private = secrets.token_bytes(32)
    message = {"protocol": 1, "ticket": ticket or node.ticket, "public_key": b64url_encode(public_key(private))}
    return node.signer.post("/v1/keys", message, created=created), private


def under(node: Node, reply: Reply, private: bytes) -> Signer:
    """The signer of the version that an answer gave."""
    assert (reply.status, reply.signed) == (200, True), reply.body
    return Signer(node.signer.address, reply.json["key_id"], derived(private, reply.json, salt=node.signer.key))


def test_the_first_use_of_the_new_version_retires_the_old_one(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    old, new = node.signer, under(node, *rotate(node))
    assert new.key_id == f"{node.node_id}.2"
    assert node.sync().status == 200

    node.signer = new
    assert node.sync().status == 200
    node.signer = old
    assert node.sync().refusal == (403, "revoked", True)
    node.signer = new
    assert node.sync().status == 200


def test_after_a_lost_answer_a_second_attempt_gives_the_next_version(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    rotate(node)
    assert node.sync().status == 200
    node.signer = under(node, *rotate(node))
    assert node.signer.key_id == f"{node.node_id}.3"
    assert node.sync().status == 200


def test_a_rotation_under_the_new_version_is_a_use_of_it(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    old = node.signer
    node.signer = under(node, *rotate(node))
    node.signer = under(node, *rotate(node))
    assert node.signer.key_id == f"{node.node_id}.3"
    newest, node.signer = node.signer, old
    assert node.sync().refusal == (403, "revoked", True)
    node.signer = newest
    assert node.sync().status == 200


def test_the_old_version_is_good_for_24_hours_at_the_most(frozen: FrozenServer) -> None:
    node = frozen.node()
    rotate(node, created=frozen.clock.seconds)
    frozen.clock.now += timedelta(hours=24) - timedelta(microseconds=1)
    assert node.sync(created=frozen.clock.seconds).status == 200
    frozen.clock.now += timedelta(microseconds=1)
    assert node.sync(created=frozen.clock.seconds).refusal == (403, "revoked", True)


def test_without_the_ticket_the_key_alone_neither_rotates_nor_suspends(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    node.sync()
    for _ in range(3):
        reply, _ = rotate(node, ticket="1." + "A" * 22)
        assert reply.refusal == (409, "ticket_conflict", True)
    assert node.sync().status == 200

    shown = json_of("nodes", "show", *server.database, node.node_id)
    assert shown["state"] == "active"
    assert [key["key_id"] for key in shown["keys"]] == [f"{node.node_id}.1"]
    assert [alert["reason"] for alert in shown["alerts"]] == ["void_ticket_at_rotation"]


def test_a_rotation_moves_no_ticket(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    node.sync()
    before = node.ticket
    rotate(node)
    assert node.ticket == before
    assert node.sync().status == 200


def test_a_public_key_that_shares_nothing_is_refused(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    message = {"protocol": 1, "ticket": node.ticket, "public_key": b64url_encode(bytes(32))}
    assert node.signer.post("/v1/keys", message).refusal == (422, "invalid_payload", True)
    assert node.sync().status == 200


def test_a_suspended_node_does_not_rotate(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    fork = node.copy(ticket="7." + "A" * 22)
    assert fork.sync().refusal == (409, "ticket_conflict", True)
    assert rotate(node)[0].refusal == (403, "suspended", True)
