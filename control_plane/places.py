"""The operator's word on where a node may live, and whose ticket is good.

It is noted among the node's alerts before it is given, so that nothing is allowed of which there is no record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from control_plane import registry
from control_plane.database import Database
from node_protocol import strict_json
from node_protocol.encoding import format_time
from node_protocol.refusals import Code
from verifier import accept_next, let_move
from verifier.stores import SqlStore

_BY: Final = "the operator, at the console"
"""Who gave the word, as far as it can be known: somebody who may write the database."""


class NothingToApprove(LookupError):
    """The node was not refused on such a machine, or lives there already."""


class Armed(NamedTuple):
    """What became of the nodes whose next ticket was to be taken."""

    armed: list[str]
    suspended: list[str]
    """Nobody knows which of two holders has spoken: these enrol anew."""


def approve_move(database: Database, node_id: str, digest: str | None, now: datetime) -> Mapping[str, Any]:
    """Lets a node go on, on the machine that it was refused on: of this digest, or on the last one.

    Gives that refusal: session, request, fingerprint, address and time. Raises UnknownNode, NotActive, and
    NothingToApprove.
    """
    registry.require_active(database, node_id)
    store = SqlStore(database.writer)
    refused = _refused_elsewhere(database, node_id, digest)
    state = store.load(node_id)
    if state is not None and state.machine.digest == refused["fingerprint"]:
        raise NothingToApprove(f"{node_id} lives on the machine {refused['fingerprint']} already")
    _note(database, node_id, now, "move_approved", {"to": refused})
    store.change(node_id, lambda before: let_move(before, refused["fingerprint"]))
    return refused


def arm(database: Database, node_ids: Iterable[str], until: datetime, now: datetime) -> Armed:
    """Has the next ticket of each of these nodes taken until then, whichever it is; of those that are active."""
    store, found = SqlStore(database.writer), Armed([], [])
    for node_id in node_ids:
        state = registry.state_of(database, node_id)
        if state is registry.State.ACTIVE:
            _note(database, node_id, now, "accept_next_armed", {"until": format_time(until)})
            store.change(node_id, lambda before: accept_next(before, int(until.timestamp())))
            found.armed.append(node_id)
        elif state is registry.State.SUSPENDED:
            found.suspended.append(node_id)
    return found


def _refused_elsewhere(database: Database, node_id: str, digest: str | None) -> Mapping[str, Any]:
    """The newest refusal of a node on another machine, as its evidence has it."""
    with database.reading() as connection:
        alerts = registry.alerts_of(connection, node_id)
    for alert in alerts:
        if alert.code == Code.FINGERPRINT_MISMATCH:
            refused: Mapping[str, Any] = strict_json.loads(alert.evidence.encode())["refused_now"]
            if digest in (None, refused["fingerprint"]):
                return refused
    where = "another machine" if digest is None else f"the machine {digest}"
    raise NothingToApprove(f"{node_id} was not refused on {where}")


def _note(database: Database, node_id: str, now: datetime, code: str, evidence: Mapping[str, Any]) -> None:
    with database.writing() as connection:
        registry.record(connection, node_id, now, code=code, reason="by_the_operator", evidence={"by": _BY, **evidence})
