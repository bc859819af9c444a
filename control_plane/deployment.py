"""What all nodes of one server share: the fingerprint salt; and the check that the master key is this database's."""

from __future__ import annotations

import secrets
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import insert, select

from control_plane.database import Database, deployment
from control_plane.master_key import Purpose, Sealer
from node_protocol.encoding import b64url_decode, b64url_encode
from node_protocol.messages import SaltAnswer
from verifier import StoreUnavailable

if TYPE_CHECKING:
    from verifier.stores import RedisStore

_OWNER: Final = "deployment"
_SALT_BYTES: Final = 32


def ensure(database: Database, sealer: Sealer, now: datetime, *, nonces: RedisStore | None = None) -> SaltAnswer:
    """The deployment's salt, made on the first call. Raises SealBroken when the master key is not the database's.

    A store of nonces is told then that it is new too; where it cannot be, it lets nobody in for a replay window.
    """
    with database.writing() as connection:
        row = connection.execute(select(deployment)).one_or_none()
        if row is None:
            salt_id, salt = secrets.token_hex(8), secrets.token_bytes(_SALT_BYTES)
            connection.execute(
                insert(deployment).values(
                    id=1,
                    salt_id=salt_id,
                    salt=b64url_encode(salt),
                    master_key_check=sealer.seal(Purpose.CHECK, _OWNER, b""),
                    created_at=now,
                )
            )
    if row is None:
        if nonces is not None:
            with suppress(StoreUnavailable):
                nonces.start_new()
        return SaltAnswer(salt_id=salt_id, salt=salt)
    sealer.open(Purpose.CHECK, _OWNER, row.master_key_check)
    return SaltAnswer(salt_id=row.salt_id, salt=b64url_decode(row.salt, length=_SALT_BYTES))
