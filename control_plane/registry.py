"""The nodes that are known, where they stand, and what the operator should know of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select

from control_plane.database import Database, alerts, nodes, tokens
from node_protocol import strict_json
from verifier.stores import SqlStore

_SAME_FINDING: Final = timedelta(minutes=10)
_MOST_FINDINGS: Final = 20
"""Alerts of one kind about one node in that time."""


class State(StrEnum):
    """Where a node stands."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class UnknownNode(LookupError):
    """No node of this id has enrolled here."""


class Replaced(LookupError):
    """Another node has taken this one's place already."""

    def __init__(self, node_id: str, by: str) -> None:
        super().__init__(f"{by} has taken the place of {node_id} already")
        self.by = by


class NotActive(LookupError):
    """The node is suspended or revoked, and stays so: it goes on by a new enrolment alone."""

    def __init__(self, node_id: str, state: State, replaced_by: str | None) -> None:
        super().__init__(f"{node_id} is {state}, and stays so")
        self.node_id = node_id
        self.replaced_by = replaced_by


def see_that_none_replaced(connection: Connection, node_id: str) -> None:
    """Raises Replaced for a node whose place was taken, by a token made for it, and UnknownNode."""
    require(connection, node_id)
    by = replaced_by(connection, node_id)
    if by is not None:
        raise Replaced(node_id, by)


def replaced_by(connection: Connection, node_id: str) -> str | None:
    """The node that took this one's place, by a token made for it, if any has."""
    spent = select(tokens.c.node_id).where(tokens.c.replaces == node_id, tokens.c.node_id.is_not(None))
    by: str | None = connection.execute(spent.limit(1)).scalar_one_or_none()
    return by


def require(connection: Connection, node_id: str) -> Row[Any]:
    """The node's row. Raises UnknownNode."""
    row = connection.execute(select(nodes).where(nodes.c.node_id == node_id)).one_or_none()
    if row is None:
        raise UnknownNode(f"no node {node_id} has enrolled here")
    return row


def every(connection: Connection) -> Sequence[Row[Any]]:
    """All nodes, the oldest first."""
    return connection.execute(select(nodes).order_by(nodes.c.enrolled_at, nodes.c.node_id)).all()


def state_of(database: Database, node_id: str) -> State:
    """Where a node stands: revoked by the operator, suspended by the verifier, or active. Raises UnknownNode."""
    with database.reading() as connection:
        if require(connection, node_id).revoked_at is not None:
            return State.REVOKED
    # Without a state nobody can tell whose ticket is good: only a new enrolment helps, as after a fork.
    continuity = SqlStore(database.engine).load(node_id)
    return State.ACTIVE if continuity is not None and continuity.suspended_at is None else State.SUSPENDED


def require_active(database: Database, node_id: str) -> None:
    """Raises NotActive for a node that takes nothing from the operator any more, and UnknownNode."""
    state = state_of(database, node_id)
    if state is not State.ACTIVE:
        with database.reading() as connection:
            raise NotActive(node_id, state, replaced_by(connection, node_id))


def alerts_of(connection: Connection, node_id: str) -> Sequence[Row[Any]]:
    """What was noted of a node, the newest first."""
    return connection.execute(select(alerts).where(alerts.c.node_id == node_id).order_by(alerts.c.number.desc())).all()


def raise_alert(
    database: Database,
    node_id: str,
    now: datetime,
    *,
    code: str,
    reason: str,
    evidence: Mapping[str, Any],
    each_time: bool = False,
) -> None:
    """Keeps evidence for the operator. It comes from the sender in part: to be shown, not to be acted on.

    The same finding about the same node again within ten minutes is no second alert, so that nobody fills the table.
    About another machine, or another token, it is another finding; of those the first twenty are kept.
    `each_time` is for what takes an operator's word each time, and that nobody else can repeat: it is kept always.
    """
    with database.writing() as connection:
        if each_time:
            record(connection, node_id, now, code=code, reason=reason, evidence=evidence)
            return
        lately = connection.execute(
            select(alerts.c.evidence).where(
                alerts.c.node_id == node_id,
                alerts.c.code == code,
                alerts.c.reason == reason,
                alerts.c.at > now - _SAME_FINDING,
            )
        ).scalars()
        known = [_about(strict_json.loads(text.encode())) for text in lately]
        if _about(evidence) not in known and len(known) < _MOST_FINDINGS:
            record(connection, node_id, now, code=code, reason=reason, evidence=evidence)


def record(
    connection: Connection, node_id: str, now: datetime, *, code: str, reason: str, evidence: Mapping[str, Any]
) -> None:
    """Keeps among a node's alerts what was found or done, however often it was before."""
    text = strict_json.dumps(dict(evidence)).decode()
    connection.execute(insert(alerts).values(node_id=node_id, at=now, code=code, reason=reason, evidence=text))


def _about(evidence: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Which machine, or which applicant, a finding is about, where it is about one."""
    sighting = evidence.get("refused_now") or evidence.get("accepted_now") or {}
    return sighting.get("fingerprint"), evidence.get("token_id")
