"""All that the server remembers of one node to tell it from its copies, and what an operator may change of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from hmac import compare_digest
from typing import Any, NamedTuple

from node_protocol import fingerprints


class Machine(NamedTuple):
    """A fingerprint that the server has: its digest and its salted components."""

    digest: str
    components: Mapping[str, str]


class Sighting(NamedTuple):
    """One request as evidence keeps it."""

    session: str
    request: int
    ticket: str
    digest: str
    peer: str | None
    at: int
    """The server's clock, Unix seconds."""
    created: int = 0
    """The node's clock, Unix seconds."""


class NodeState(NamedTuple):
    """What the next request of a node is held against."""

    issued: str
    """The ticket issued last."""
    baseline: Machine
    shown: str | None = None
    """The ticket that was presented when `issued` was issued; the protocol calls it `from`."""
    last: Sighting | None = None
    """The last accepted request."""
    former: tuple[str, ...] = ()
    """Sessions before the last one, the newest first: their packets may still be on their way."""
    seen: Machine | None = None
    """The fingerprint of the last accepted request, where it is not the baseline."""
    drifting: int = 0
    """Accepted syncs in a row with `seen` as a drifted fingerprint."""
    superseded_at: tuple[int, ...] = ()
    """When packets came that were late for no reason that is known, within the replay window."""
    suspended_at: int | None = None
    move_to: str | None = None
    """The digest of the machine that an operator lets the node move to."""
    accept_until: int | None = None
    """Until then an operator lets any one ticket continue this state."""

    @property
    def machine(self) -> Machine:
        """The machine that the node was last seen on."""
        return self.seen or self.baseline


def enrolled(ticket: str, components: Mapping[str, str]) -> NodeState:
    """The state of a node that has enrolled and has not synced yet."""
    return NodeState(issued=ticket, baseline=Machine(fingerprints.digest(components), components))


def next_ticket(after: str, random: str) -> str:
    """The ticket after another: its counter plus one, and 22 new characters."""
    return f"{counter(after) + 1}.{random}"


def counter(ticket: str) -> int:
    """The number before a ticket's dot."""
    return int(ticket.partition(".")[0])


def would_take(state: NodeState, ticket: str) -> bool:
    """Whether a sync with this ticket would continue the node's state; nothing moves."""
    # At a key's rotation a wrong ticket suspends nobody, so it could be tried often: no answer by its time, then.
    shown = state.issued if state.shown is None else state.shown
    good = [compare_digest(ticket.encode(), known.encode()) for known in (state.issued, shown)]
    return state.suspended_at is None and any(good)


def let_move(state: NodeState, digest: str) -> NodeState:
    """The state with an operator's word that the node may move to the machine of this fingerprint."""
    return state._replace(move_to=digest)


def accept_next(state: NodeState, until: int) -> NodeState:
    """The state with an operator's word that the next ticket is good, whichever it is, until that Unix second.

    For a server that was restored from a backup, or has lost a store: every honest node would look like a fork to it.
    The next sync that is accepted uses it up, whether it needed it or not. A suspended node stays suspended.
    """
    return state._replace(accept_until=until)


def to_json(state: NodeState) -> dict[str, Any]:
    """A node's state as JSON has it."""
    return {
        **state._asdict(),
        "baseline": _machine_to_json(state.baseline),
        "last": state.last._asdict() if state.last else None,
        "former": list(state.former),
        "seen": _machine_to_json(state.seen) if state.seen else None,
        "superseded_at": list(state.superseded_at),
    }


def from_json(value: Mapping[str, Any]) -> NodeState:
    """The state that `to_json` wrote, in this version or one before. Raises KeyError or TypeError for anything else."""
    return NodeState(
        **{
            **value,
            "baseline": Machine(**value["baseline"]),
            "last": Sighting(**value["last"]) if value["last"] else None,
            "former": tuple(value.get("former", ())),
            "seen": Machine(**value["seen"]) if value["seen"] else None,
            "superseded_at": tuple(value["superseded_at"]),
        }
    )


def _machine_to_json(machine: Machine) -> dict[str, Any]:
    return {"digest": machine.digest, "components": dict(machine.components)}
