"""Enrolment tokens: made by the operator, shown once, good for one node within their time."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import insert

from control_plane import registry
from control_plane.database import Database, tokens
from control_plane.master_key import Purpose, Sealer
from node_protocol.handshake import KEY_BYTES, Token, token_id_from

DEFAULT_LIFETIME: Final = timedelta(hours=1)


def create(
    database: Database,
    sealer: Sealer,
    now: datetime,
    *,
    lifetime: timedelta = DEFAULT_LIFETIME,
    replaces: str | None = None,
) -> tuple[Token, datetime]:
    """A new token and when it expires.

    `replaces` names the node whose place the enrolled one may take. Raises UnknownNode when there is no such node, and
    Replaced when its place was taken already.
    """
    token = Token(token_id_from(secrets.token_bytes(10)), secrets.token_bytes(KEY_BYTES))
    expires_at = now + lifetime
    with database.writing() as connection:
        if replaces is not None:
            registry.see_that_none_replaced(connection, replaces)
        connection.execute(
            insert(tokens).values(
                token_id=token.token_id,
                sealed=sealer.seal(Purpose.TOKEN, token.token_id, token.secret),
                created_at=now,
                expires_at=expires_at,
                replaces=replaces,
            )
        )
    return token, expires_at
