"""Enrolment over real HTTP: one token makes one node, whatever races, gets lost or comes again."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

from node_protocol.encoding import b64url_encode
from node_protocol.handshake import Token, format_token
from node_protocol.signatures import nonce_from
from tests.control_plane.support import (
    Enrolment,
    FrozenServer,
    ServerProcess,
    control_plane,
    enrolled,
    event,
    json_of,
    salt_of,
)


def test_an_enrolled_node_syncs_under_the_key_that_both_sides_derived(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    assert node.signer.key_id == f"{node.node_id}.1"
    assert node.ticket.startswith("0.")

    reply = node.sync(events=[event(1)])

    assert (reply.status, reply.signed) == (200, True)
    assert reply.json["acked_through"] == 1
    assert reply.json["ticket"].startswith("1.")


def test_the_salt_is_cacheable_and_outlives_a_restart(server: ServerProcess) -> None:
    before = salt_of(server.address)
    server.end()
    server.start()
    after = salt_of(server.address)
    assert before.json == after.json
    assert before.header("cache-control") == "public, max-age=3600, no-transform"


def test_a_lost_answer_is_given_again_until_the_first_sync(server: ServerProcess) -> None:
    enrolment = Enrolment(server.address, server.token())
    first, second = enrolment.post(), enrolment.post()
    same = ("node_id", "key_id", "public_key", "ticket")
    assert [first.json[name] for name in same] == [second.json[name] for name in same]
    assert second.signed

    assert enrolment.node(second).sync().status == 200

    third = enrolment.post()
    assert third.refusal == (403, "revoked", True)
    assert "used" in third.json["detail"]


def test_a_used_token_is_refused_to_another_public_key(server: ServerProcess) -> None:
    token = server.token()
    enrolled(server.address, token)
    reply = Enrolment(server.address, token).post()
    assert reply.refusal == (403, "revoked", True)
    assert "used" in reply.json["detail"]
    assert len(_nodes(server)) == 1


def test_of_racing_enrolments_one_makes_the_node_and_the_others_are_refused(server: ServerProcess) -> None:
    token = server.token()
    racers = [Enrolment(server.address, token) for _ in range(6)]
    with ThreadPoolExecutor(len(racers)) as pool:
        replies = list(pool.map(lambda racer: racer.post(), racers))
    assert sorted(reply.status for reply in replies) == [201, 403, 403, 403, 403, 403]
    assert all(reply.signed for reply in replies)
    assert len(_nodes(server)) == 1


def test_a_token_expires_on_its_second(frozen: FrozenServer) -> None:
    token = frozen.token()
    frozen.clock.now += timedelta(hours=1)
    reply = Enrolment(frozen.address, token).post(created=frozen.clock.seconds)
    assert reply.refusal == (403, "revoked", True)
    assert "expired" in reply.json["detail"]

    frozen.clock.now -= timedelta(microseconds=1)
    frozen_enrolment = Enrolment(frozen.address, token)
    assert frozen_enrolment.post(created=frozen.clock.seconds).status == 201


def test_an_unknown_token_is_unauthenticated_and_the_answer_is_not_signed(server: ServerProcess) -> None:
    token = format_token(Token("a" * 16, secrets.token_bytes(32)))
    enrolment = Enrolment(server.address, token)
    assert enrolment.post().refusal == (401, "unauthenticated", False)
    for key_id in ("enroll.", "enroll.x", "n_" + "a" * 20 + ".1"):
        stranger = replace(enrolment.signer, key_id=key_id)
        assert stranger.post("/v1/enroll", enrolment.message()).refusal == (401, "unauthenticated", False)


def test_an_unknown_node_is_unauthenticated(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    for key_id in ("x", "n_" + "a" * 20 + ".1", f"{node.node_id}.2", f"{node.node_id}.01"):
        stranger = replace(node.signer, key_id=key_id)
        assert stranger.post("/v1/sync", node.message()).refusal == (401, "unauthenticated", False)


def test_a_token_s_name_with_another_secret_is_unauthenticated(server: ServerProcess) -> None:
    known = server.token().split("_")[1]
    token = format_token(Token(known, secrets.token_bytes(32)))
    assert Enrolment(server.address, token).post().refusal == (401, "unauthenticated", False)


def test_an_enrolment_is_fresh_for_120_seconds_and_serves_once(frozen: FrozenServer) -> None:
    enrolment = Enrolment(frozen.address, frozen.token())
    for offset in (-121, 121):
        stale = enrolment.post(created=frozen.clock.seconds + offset)
        assert stale.refusal == (401, "stale", True)
        assert stale.json["server_time"] == "2026-11-24T09:00:00.000Z"
    nonce = nonce_from(secrets.token_bytes(16))
    assert enrolment.post(created=frozen.clock.seconds - 120, nonce=nonce).status == 201
    assert enrolment.post(created=frozen.clock.seconds - 120, nonce=nonce).refusal == (409, "replayed", True)


def test_a_replacement_revokes_the_node_that_its_token_was_made_for(server: ServerProcess) -> None:
    old = enrolled(server.address, server.token())
    enrolment = Enrolment(server.address, server.token("--replaces", old.node_id))

    assert enrolment.post(replaces="n_" + "b" * 20).refusal == (422, "invalid_payload", True)
    assert old.sync().status == 200

    new = enrolment.node(enrolment.post(replaces=old.node_id))
    assert new.sync().status == 200
    assert old.sync().refusal == (403, "revoked", True)
    assert {node["node_id"]: node["state"] for node in _nodes(server)} == {
        old.node_id: "revoked",
        new.node_id: "active",
    }


def test_a_plain_token_replaces_no_node_that_is_active(server: ServerProcess) -> None:
    old = enrolled(server.address, server.token())
    reply = Enrolment(server.address, server.token()).post(replaces=old.node_id)
    assert reply.refusal == (422, "invalid_payload", True)
    assert old.sync().status == 200


def test_a_suspended_node_may_be_named_with_any_token_and_loses_nothing_by_it(server: ServerProcess) -> None:
    old = enrolled(server.address, server.token())
    old.sync()
    assert old.copy(ticket="7." + "x" * 22).sync().refusal == (409, "ticket_conflict", True)
    enrolment = Enrolment(server.address, server.token())
    named = enrolment.node(enrolment.post(replaces=old.node_id))
    assert named.sync().status == 200
    assert old.sync().refusal == (403, "suspended", True)

    real = Enrolment(server.address, server.token("--replaces", old.node_id))
    new = real.node(real.post(replaces=old.node_id))
    assert new.sync().status == 200
    assert old.sync().refusal == (403, "revoked", True)
    told = control_plane("token", "create", *server.database, "--replaces", old.node_id)
    assert f"--replaces {new.node_id}" in told.stderr, "who took the place, not who only named it"


def test_a_place_is_taken_once(server: ServerProcess) -> None:
    old = enrolled(server.address, server.token())
    tokens = [server.token("--replaces", old.node_id) for _ in range(2)]
    first, second = (Enrolment(server.address, token) for token in tokens)
    new = first.node(first.post())
    refused = second.post()
    assert refused.refusal == (403, "revoked", True)
    assert refused.json["detail"] == f"{new.node_id} has taken the place of {old.node_id} already"
    told = control_plane("token", "create", *server.database, "--replaces", old.node_id)
    assert told.returncode == 1
    assert f"--replaces {new.node_id}" in told.stderr


def test_what_cannot_be_taken_does_not_spend_the_token(server: ServerProcess) -> None:
    enrolment = Enrolment(server.address, server.token())
    bad: list[dict[str, Any]] = [
        {"public_key": b64url_encode(bytes(32))},
        {"fingerprint": {"salt_id": "another", "components": {}}},
        {"surprise": 1},
        {"protocol": 2},
    ]
    for changes in bad:
        reply = enrolment.post(**changes)
        assert reply.refusal == (422, "invalid_payload", True)
        assert reply.json["errors"]
    assert enrolment.post().status == 201


def test_a_node_key_is_no_enrolment_and_a_token_no_node(server: ServerProcess) -> None:
    enrolment = Enrolment(server.address, server.token())
    node = enrolment.node(enrolment.post())
    assert node.signer.post("/v1/enroll", enrolment.message()).refusal == (401, "unauthenticated", False)
    assert enrolment.signer.post("/v1/sync", node.message()).refusal == (401, "unauthenticated", False)


def _nodes(server: ServerProcess) -> list[dict[str, str]]:
    nodes: list[dict[str, str]] = json_of("nodes", "list", *server.database)
    return nodes
