"""Enrolment: one token makes one node, in one transaction; an answer that was lost is given again.

The token's secret signs, so it is looked up as a key. Whether the token is still good is looked at only after the
signature was: who knows the secret is told what became of it, and nobody else. How many live nodes are on the machine
is counted in that transaction too, so that of two that race for the last place one gets it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from control_plane import node_keys, registry
from control_plane.database import Database, nodes, tokens
from control_plane.master_key import Purpose, Sealer
from node_protocol import PROTOCOL_VERSION
from node_protocol.encoding import b64url_decode, b64url_encode
from node_protocol.handshake import (
    KEY_BYTES,
    KeyId,
    derive_node_key,
    enroll_key_id,
    node_id_from,
    parse_enroll_key_id,
    public_key,
)
from node_protocol.messages import EnrollAnswer, EnrollRequest
from node_protocol.refusals import Code, Malformed, Refused
from node_protocol.signatures import MacKey, nonce_from
from verifier import NodeKey, Policy, enrolled, live_on, see_that_there_is_room
from verifier.stores import SqlStore


class MachineTaken(Refused):
    """As many live nodes as may be are on the machine of the one that wants to enrol: `fingerprint_duplicate`."""

    def __init__(self, neighbours: Sequence[str], evidence: Mapping[str, Any]) -> None:
        # Which nodes those are is the operator's to know, not the applicant's.
        detail = (
            "no more nodes of this server may be on this machine: ask its operator to raise the limit, or for a token "
            "made with --replaces that takes the old node's place; this one stays good"
        )
        super().__init__(Code.FINGERPRINT_DUPLICATE, "machine_taken", detail=detail)
        self.neighbours = neighbours
        """The ids of those nodes."""
        self.evidence = evidence
        """Who wanted to join them, in its own words."""


def find_token(database: Database, sealer: Sealer, key_id: str) -> NodeKey | None:
    """The key under `enroll.<token id>`, good or spent; None when there is no such token. Raises SealBroken."""
    try:
        token_id = parse_enroll_key_id(key_id)
    except Malformed:
        return None
    with database.reading() as connection:
        sealed = connection.execute(select(tokens.c.sealed).where(tokens.c.token_id == token_id)).scalar_one_or_none()
    if sealed is None:
        MacKey(sealer.open_decoy(Purpose.TOKEN))
        return None
    return NodeKey("", enroll_key_id(token_id), MacKey(sealer.open(Purpose.TOKEN, token_id, sealed)))


def enrol(
    database: Database,
    sealer: Sealer,
    key_id: str,
    request: EnrollRequest,
    *,
    salt_id: str,
    policy: Policy,
    now: datetime,
) -> EnrollAnswer:
    """The node that the token `key_id` stands for: made now, or the same again until its first sync.

    Raises Refused: `revoked` for a token that was used or has expired, `invalid_payload` for a salt, a public key or a
    `replaces` that cannot be taken; and MachineTaken. None of them spends the token.
    """
    if request.fingerprint.salt_id != salt_id:
        raise _invalid("fingerprint.salt_id", "not this server's salt: ask for /v1/enroll/salt")
    token_id = parse_enroll_key_id(key_id)
    with database.writing() as connection:
        token = connection.execute(select(tokens).where(tokens.c.token_id == token_id)).one()
        if token.node_id is not None:
            return _again(connection, token, request, now)
        if token.expires_at <= now:
            raise Refused(Code.REVOKED, "token_expired", detail="this enrolment token has expired")
        replaces = request.replaces or token.replaces
        if replaces is not None:
            _see_to_place(database, connection, token, replaces)
        _see_to_machine(connection, token, request, policy)
        return _make(connection, sealer, token, request, replaces, now)


def _again(connection: Connection, token: Row[Any], request: EnrollRequest, now: datetime) -> EnrollAnswer:
    node = registry.require(connection, token.node_id)
    same = token.node_public == b64url_encode(request.public_key)
    if not same or node.first_sync_at is not None or node.revoked_at is not None:
        raise Refused(Code.REVOKED, "token_spent", detail="this enrolment token was used already")
    return _answer(token.node_id, b64url_decode(token.server_public, length=KEY_BYTES), token.ticket, now)


def _see_to_place(database: Database, connection: Connection, token: Row[Any], node_id: str) -> None:
    """Whether an enrolment may name this node as the one that it replaces.

    A token that was made for it takes the node's place, once. A suspended node may be named with any token: that
    is kept for the operator to see, and takes nothing from anybody. Raises Refused.
    """
    if token.replaces == node_id:
        try:
            registry.see_that_none_replaced(connection, node_id)
        except registry.Replaced as error:
            raise Refused(Code.REVOKED, "replaced_already", detail=str(error)) from None
        return
    try:
        suspended = registry.state_of(database, node_id) is registry.State.SUSPENDED
    except registry.UnknownNode:
        raise _invalid("replaces", "no such node has enrolled here") from None
    if token.replaces is not None or not suspended:
        raise _invalid("replaces", "this enrolment token was not made to replace that node")


def _see_to_machine(connection: Connection, token: Row[Any], request: EnrollRequest, policy: Policy) -> None:
    """Whether there is room on the machine, once the node that the token replaces is gone. Raises MachineTaken."""
    components = request.fingerprint.components
    found = SqlStore(connection.engine).on_machine_in(connection, components)
    neighbours = [node_id for node_id in live_on(components, found.items()) if node_id != token.replaces]
    try:
        see_that_there_is_room(neighbours, policy)
    except Refused:
        applicant = {"token_id": token.token_id, "name": request.name, "platform": request.agent.platform}
        raise MachineTaken(neighbours, applicant) from None


def _make(
    connection: Connection,
    sealer: Sealer,
    token: Row[Any],
    request: EnrollRequest,
    replaces: str | None,
    now: datetime,
) -> EnrollAnswer:
    key_id = KeyId(node_id_from(secrets.token_bytes(13)), 1)
    private = secrets.token_bytes(KEY_BYTES)
    server_public = public_key(private)
    ticket = f"0.{nonce_from(secrets.token_bytes(16))}"
    key = derive_node_key(
        private=private,
        peer_public=request.public_key,
        salt=sealer.open(Purpose.TOKEN, token.token_id, token.sealed),
        key_id=str(key_id),
        node_public=request.public_key,
        server_public=server_public,
    )
    connection.execute(
        insert(nodes).values(
            node_id=key_id.node_id,
            name=request.name,
            agent_version=request.agent.version,
            platform=request.agent.platform,
            enrolled_at=now,
            replaces=replaces,
        )
    )
    node_keys.keep(connection, sealer, key_id, key, now)
    store = SqlStore(connection.engine)
    store.save_in(connection, key_id.node_id, enrolled(ticket, request.fingerprint.components))
    connection.execute(
        update(tokens)
        .where(tokens.c.token_id == token.token_id)
        .values(
            node_id=key_id.node_id,
            node_public=b64url_encode(request.public_key),
            server_public=b64url_encode(server_public),
            ticket=ticket,
        )
    )
    if token.replaces is not None:
        connection.execute(
            update(nodes).where(nodes.c.node_id == token.replaces, nodes.c.revoked_at.is_(None)).values(revoked_at=now)
        )
        store.forget_in(connection, token.replaces)
    return _answer(key_id.node_id, server_public, ticket, now)


def _answer(node_id: str, server_public: bytes, ticket: str, now: datetime) -> EnrollAnswer:
    return EnrollAnswer(
        protocol=PROTOCOL_VERSION,
        node_id=node_id,
        key_id=str(KeyId(node_id, 1)),
        public_key=server_public,
        ticket=ticket,
        server_time=now,
    )


def _invalid(where: str, what: str) -> Refused:
    return Refused(Code.INVALID_PAYLOAD, f"bad_{where}", extra={"errors": [{"at": where, "error": what}]})
