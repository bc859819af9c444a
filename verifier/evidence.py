"""What an operator is shown of a fork or a move: both sides, and the likely cause. Nothing is decided by it. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from node_protocol.encoding import format_time
from verifier.node_state import Machine, NodeState, Sighting, counter


class Cause(StrEnum):
    """The likely cause of a fork."""

    ROLLBACK = "rollback"
    """One writer that goes on from an old backup or snapshot."""
    COPY_SAME_HOST = "copy_same_host"
    COPY_OTHER_HOST = "copy_other_host"
    LIVE_CLONE = "live_clone"
    """One session that goes on twice."""
    STOLEN_KEY = "stolen_key"
    """A ticket that was never issued."""


def likely_cause(state: NodeState, sighting: Sighting, machine: Machine, *, elsewhere: bool) -> Cause:
    """What may have led to a request that forks; `elsewhere` says that the fingerprint is another machine's."""
    if _never_issued(state, sighting.ticket):
        return Cause.STOLEN_KEY
    if state.last is not None and state.last.session == sighting.session:
        return Cause.LIVE_CLONE
    if elsewhere:
        return Cause.COPY_OTHER_HOST
    before, after = state.machine.components, machine.components
    same_boot = "boot" in before and before["boot"] == after.get("boot")
    other_inode = before.get("storage") != after.get("storage")
    return Cause.COPY_SAME_HOST if same_boot and other_inode else Cause.ROLLBACK


def both(state: NodeState, sighting: Sighting) -> dict[str, Any]:
    """The last request that was accepted, and the one that is refused now."""
    return {"accepted_last": _facts(state.last), "refused_now": _facts(sighting)}


def _never_issued(state: NodeState, ticket: str) -> bool:
    """Whether a ticket is surely invented, for each counter was given out once. Of older ones nobody knows."""
    known = [each for each in (state.issued, state.shown) if each is not None]
    number = counter(ticket)
    return ticket not in known and (number > counter(state.issued) or number in map(counter, known))


def _facts(sighting: Sighting | None) -> dict[str, Any] | None:
    if sighting is None:
        return None
    # Tickets stay out but for their counter: evidence is read by more people than may continue a node's state.
    return {
        "session": sighting.session,
        "request": sighting.request,
        "ticket_counter": counter(sighting.ticket),
        "fingerprint": sighting.digest,
        "address": sighting.peer,
        "at": format_time(datetime.fromtimestamp(sighting.at, UTC)),
    }
