"""Node keys: looked up for the verifier, kept sealed, and replaced by the next version at the node's wish.

A rotation gives a second good version. The first use of the new one retires every older one; until then the one that
asked is good for 24 hours more at the most. A second attempt, because an answer was lost, gives a third.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, insert, or_, select, update

from control_plane.database import Database, node_keys, nodes
from control_plane.master_key import Purpose, Sealer
from node_protocol import PROTOCOL_VERSION
from node_protocol.handshake import KEY_BYTES, KeyId, derive_node_key, parse_key_id, public_key
from node_protocol.messages import KeysAnswer, KeysRequest
from node_protocol.refusals import Malformed
from node_protocol.signatures import MacKey
from verifier import NodeKey

GRACE: Final = timedelta(hours=24)
"""How long the old version is good when the new one is never used."""


def find(database: Database, sealer: Sealer, key_id: str, now: datetime) -> NodeKey | None:
    """The key under a node's key id, revoked ones too; None when there is none. Raises SealBroken."""
    try:
        parse_key_id(key_id)
    except Malformed:
        return None
    with database.reading() as connection:
        row = connection.execute(
            select(node_keys.c.sealed, node_keys.c.retires_at, nodes.c.revoked_at)
            .join(nodes, nodes.c.node_id == node_keys.c.node_id)
            .where(node_keys.c.key_id == key_id)
        ).one_or_none()
    if row is None:
        MacKey(sealer.open_decoy(Purpose.NODE_KEY))
        return None
    retired = row.retires_at is not None and row.retires_at <= now
    key = NodeKey.of(key_id, sealer.open(Purpose.NODE_KEY, key_id, row.sealed))
    return replace(key, revoked=retired or row.revoked_at is not None)


def keep(connection: Connection, sealer: Sealer, key_id: KeyId, key: bytes, now: datetime) -> None:
    """Stores a new version."""
    connection.execute(
        insert(node_keys).values(
            key_id=str(key_id),
            node_id=key_id.node_id,
            version=key_id.version,
            sealed=sealer.seal(Purpose.NODE_KEY, str(key_id), key),
            created_at=now,
        )
    )


def rotate(database: Database, sealer: Sealer, current: str, request: KeysRequest, now: datetime) -> KeysAnswer:
    """The next version, derived from the key `current` that asked for it, which is a use of that.

    Raises Refused for an unusable public key.
    """
    node_id = parse_key_id(current).node_id
    private = secrets.token_bytes(KEY_BYTES)
    with database.writing() as connection:
        newest: int = connection.execute(
            select(func.max(node_keys.c.version)).where(node_keys.c.node_id == node_id)
        ).scalar_one()
        sealed = connection.execute(select(node_keys.c.sealed).where(node_keys.c.key_id == current)).scalar_one()
        key_id = KeyId(node_id, newest).next()
        key = derive_node_key(
            private=private,
            peer_public=request.public_key,
            salt=sealer.open(Purpose.NODE_KEY, current, sealed),
            key_id=str(key_id),
            node_public=request.public_key,
            server_public=public_key(private),
        )
        note_use(connection, current, now)
        keep(connection, sealer, key_id, key, now)
        connection.execute(update(node_keys).where(node_keys.c.key_id == current).values(retires_at=now + GRACE))
    return KeysAnswer(protocol=PROTOCOL_VERSION, key_id=str(key_id), public_key=public_key(private), server_time=now)


def note_use(connection: Connection, key_id: str, now: datetime) -> None:
    """Keeps the first use of a version, which retires those before it."""
    first = connection.execute(
        update(node_keys)
        .where(node_keys.c.key_id == key_id, node_keys.c.first_used_at.is_(None))
        .values(first_used_at=now)
    )
    if first.rowcount:
        used = parse_key_id(key_id)
        connection.execute(
            update(node_keys)
            .where(
                node_keys.c.node_id == used.node_id,
                node_keys.c.version < used.version,
                or_(node_keys.c.retires_at.is_(None), node_keys.c.retires_at > now),
            )
            .values(retires_at=now)
        )
