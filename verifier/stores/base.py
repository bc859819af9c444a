"""What a store of replay and clone state promises: nonces once, one node's state moved by one request at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from node_protocol.messages import SyncRequest
from node_protocol.refusals import Refused
from verifier.clones import Decision, Machine, NodeState, Sighting, decide


class StoreUnavailable(Exception):
    """The store cannot be reached, or did not answer as it must: nothing may be accepted."""


class Nonce(Protocol):
    """The right of one message to be accepted once: what its signature says, or as much of that."""

    @property
    def key_id(self) -> str:
        """Under which key it was signed."""

    @property
    def nonce(self) -> str:
        """22 characters, new for each message of a key."""

    @property
    def created(self) -> int:
        """Unix seconds, as the message says; until the replay window after it the nonce is kept."""


class Step(NamedTuple):
    """What one sync asks of its node's state. Called with the state, it decides."""

    node_id: str
    message: SyncRequest
    ticket_random: str
    now: int
    peer: str | None = None
    veto: Refused | None = None
    """What the caller would refuse: it counts only where all else accepts, and then nothing moves."""

    def __call__(self, state: NodeState) -> Decision:
        decision = decide(state, self.message, ticket_random=self.ticket_random, now=self.now, peer=self.peer)
        if decision.refusal is None and self.veto is not None:
            return Decision(state, decision.verdict, self.veto)
        return decision


class Admission(NamedTuple):
    """What a store says to one message."""

    fresh: bool
    """Whether the nonce was new. When it was not, nothing else was looked at."""
    decision: Decision | None
    """What the step decided; None without a step, and for a node that the store does not know."""


SPENT: Final = Admission(False, None)
"""The nonce was seen before."""
NEW: Final = Admission(True, None)
"""The nonce was new, and there was nothing to decide."""


class Store(Protocol):
    """Replay and clone state. All verifiers of one deployment share one."""

    blocking: bool
    """Whether a call may wait for a disk or a socket: an event loop hands those to a thread."""

    def admit(self, nonce: Nonce, now: int, step: Step | None = None) -> Admission:
        """Spend the nonce and, when it was new, take the step: all in one atomic move.

        The nonce is spent even when the step refuses. `now` in Unix seconds decides which nonces may be forgotten.
        Raises StoreUnavailable.
        """

    def load(self, node_id: str) -> NodeState | None:
        """The node's state, if there is one. Raises StoreUnavailable."""

    def save(self, node_id: str, state: NodeState) -> None:
        """Put a node's state over what was there, for enrolment and an operator's repairs. Raises StoreUnavailable."""


def state_to_json(state: NodeState) -> dict[str, Any]:
    """A node's state as JSON has it."""
    return {
        "issued": state.issued,
        "shown": state.shown,
        "baseline": _machine_to_json(state.baseline),
        "seen": _machine_to_json(state.seen) if state.seen else None,
        "drifting": state.drifting,
        "last": state.last._asdict() if state.last else None,
        "superseded_at": list(state.superseded_at),
        "suspended_at": state.suspended_at,
    }


def state_from_json(value: Mapping[str, Any]) -> NodeState:
    """The state that `state_to_json` wrote. Raises KeyError or TypeError for anything else."""
    return NodeState(
        issued=value["issued"],
        shown=value["shown"],
        baseline=Machine(**value["baseline"]),
        seen=Machine(**value["seen"]) if value["seen"] else None,
        drifting=value["drifting"],
        last=Sighting(**value["last"]) if value["last"] else None,
        superseded_at=tuple(value["superseded_at"]),
        suspended_at=value["suspended_at"],
    )


def _machine_to_json(machine: Machine) -> dict[str, Any]:
    return {"digest": machine.digest, "components": dict(machine.components)}
