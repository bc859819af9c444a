"""Commands to nodes: issued by the operator, brought with every answer until the node says done.

Expired ones too: what became of them is the node's to say, for its events tell it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from control_plane import registry
from control_plane.database import Database, commands
from node_protocol import strict_json
from node_protocol.encoding import b64url_encode
from node_protocol.messages import Command, CommandData

if TYPE_CHECKING:
    from control_plane.bell import Bell

DEFAULT_LIFETIME: Final = timedelta(seconds=60)
MOST_AT_ONCE: Final = 100
"""Commands that one answer brings; the rest come with the next ones."""
_LOOK_SECONDS: Final = 0.1
_SAFETY_SECONDS: Final = 2.0
"""Where a bell says what is new, and one look is for what it did not say."""


def issue(
    database: Database,
    now: datetime,
    *,
    node_id: str,
    command_type: str,
    data: CommandData,
    lifetime: timedelta = DEFAULT_LIFETIME,
    bell: Bell | None = None,
) -> Command:
    """A new command, durable, for which the bell calls the node's held requests.

    Raises UnknownNode, and NotActive for a node that will not come for it.
    """
    registry.require_active(database, node_id)
    command = Command(
        id=f"cmd_{b64url_encode(secrets.token_bytes(16))}",
        issued_at=now,
        expires_at=now + lifetime,
        type=command_type,
        data=data.model_dump(mode="json", exclude_defaults=True),
    )
    with database.writing() as connection:
        connection.execute(
            insert(commands).values(
                command_id=command.id,
                node_id=node_id,
                issued_at=command.issued_at,
                expires_at=command.expires_at,
                type=command.type,
                data=strict_json.dumps(command.data).decode(),
            )
        )
    if bell is not None:
        bell.ring(node_id)
    return command


def fetch(database: Database, node_id: str, now: datetime) -> list[Command]:
    """What the node has not done yet, the oldest first, at most MOST_AT_ONCE. Keeps when a command first went out."""
    with database.reading() as connection:
        rows = connection.execute(
            select(commands)
            .where(commands.c.node_id == node_id, commands.c.done_at.is_(None))
            .order_by(commands.c.number)
            .limit(MOST_AT_ONCE)
        ).all()
    unsent = [row.number for row in rows if row.first_sent_at is None]
    if unsent:
        with database.writing() as connection:
            connection.execute(update(commands).where(commands.c.number.in_(unsent)).values(first_sent_at=now))
    return [
        Command(
            id=row.command_id,
            issued_at=row.issued_at,
            expires_at=row.expires_at,
            type=row.type,
            data=strict_json.loads(row.data.encode()),
        )
        for row in rows
    ]


def mark_done(connection: Connection, node_id: str, command_ids: Sequence[str], now: datetime) -> int:
    """Ends the node's own commands that it lists; how many were new. Ids that are not its own say nothing."""
    return connection.execute(
        update(commands)
        .where(commands.c.node_id == node_id, commands.c.command_id.in_(command_ids), commands.c.done_at.is_(None))
        .values(done_at=now)
    ).rowcount


def of_node(connection: Connection, node_id: str) -> Sequence[Row[Any]]:
    """All commands of a node, the oldest first."""
    return connection.execute(select(commands).where(commands.c.node_id == node_id).order_by(commands.c.number)).all()


class Watch:
    """Tells held requests that a command was issued, by whatever process.

    One look at the database every 100 ms serves them all, and only while there are any. With a bell that all processes
    hear, it takes one look every two seconds.
    """

    def __init__(self, database: Database, bell: Bell | None = None) -> None:
        self._database = database
        self._bell = bell
        self._listening: asyncio.Task[None] | None = None
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._seen = 0
        self._looking: asyncio.Task[None] | None = None
        self.closed = False
        """Whether nobody is to wait any more."""

    @contextmanager
    def entered(self, node_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when the node gets a command, or all are to answer. Look for commands after entering."""
        woken = asyncio.Event()
        self._waiting.setdefault(node_id, set()).add(woken)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        if self._bell is not None and self._listening is None:
            self._listening = asyncio.create_task(self._bell.listen(self._heard))
        try:
            yield woken
        finally:
            self._waiting[node_id].discard(woken)
            if not self._waiting[node_id]:
                del self._waiting[node_id]

    async def call(self, node_id: str) -> None:
        """Has the node's held requests look again, in whatever process they are held."""
        self.wake(node_id)
        if self._bell is not None:
            await asyncio.to_thread(self._bell.ring, node_id)

    def wake(self, node_id: str) -> None:
        """Has the node's requests that are held here look again."""
        for woken in self._waiting.get(node_id, ()):
            woken.set()

    def close(self) -> None:
        """Wakes everybody; from now on nobody is to wait."""
        self.closed = True
        self._wake_all()
        if self._listening is not None:
            self._listening.cancel()

    def _heard(self, node_id: str | None) -> None:
        if node_id is None:
            self._wake_all()
        else:
            self.wake(node_id)

    def _wake_all(self) -> None:
        for node_id in self._waiting:
            self.wake(node_id)

    async def _look(self) -> None:
        try:
            while self._waiting:
                try:
                    newer = await asyncio.to_thread(self._newer)
                except SQLAlchemyError:
                    # Whoever waits looks for itself then, and answers by what it finds.
                    newer = []
                    self._wake_all()
                for node_id, number in newer:
                    self._seen = max(self._seen, number)
                    self.wake(node_id)
                await asyncio.sleep(_LOOK_SECONDS if self._bell is None else _SAFETY_SECONDS)
        finally:
            self._looking = None

    def _newer(self) -> list[tuple[str, int]]:
        with self._database.reading() as connection:
            rows = connection.execute(
                select(commands.c.node_id, func.max(commands.c.number))
                .where(commands.c.number > self._seen)
                .group_by(commands.c.node_id)
            )
            return [(row[0], row[1]) for row in rows]
