"""What a store of replay and clone state promises: nonces once, one node's state moved by one request at a time.

A nonce is spent before a state moves, or in the same transaction; a state moves only from what was decided on (under a
lock, or by compare-and-set). So whatever dies in between, no message is taken twice and no two requests move one state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

from node_protocol.messages import SyncRequest
from node_protocol.refusals import Refused
from verifier.clones import TABLE, Decision, Policy, decide
from verifier.node_state import NodeState


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
    """What one sync asks of its node's state. Called with the state, it decides; the same each time."""

    node_id: str
    message: SyncRequest
    created: int
    ticket_random: str
    now: int
    peer: str | None = None
    veto: Refused | None = None
    """What the caller would refuse: it counts only where all else accepts, and then nothing moves."""
    policy: Policy = TABLE

    def __call__(self, state: NodeState) -> Decision:
        decision = decide(
            state,
            self.message,
            created=self.created,
            ticket_random=self.ticket_random,
            now=self.now,
            peer=self.peer,
            policy=self.policy,
        )
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
CLOCKS_APART: Final = 60
"""Seconds for which a shared store keeps a nonce beyond its time, for servers whose clocks differ or are set back."""


class Store(Protocol):
    """Replay and clone state. All verifiers of one deployment share one."""

    blocking: bool
    """Whether a call may wait for a disk or a socket: an event loop hands those to a thread."""

    def admit(self, nonce: Nonce, now: int, step: Step | None = None) -> Admission:
        """Spend the nonce and, when it was new, take the step.

        The nonce is spent even when the step refuses. `now` in Unix seconds decides which nonces may be forgotten.
        Raises StoreUnavailable: then the nonce may be spent, and the state has not moved, or the store cannot tell.
        """

    def load(self, node_id: str) -> NodeState | None:
        """The node's state, if there is one. Raises StoreUnavailable."""

    def save(self, node_id: str, state: NodeState) -> None:
        """Put a node's state over what was there, for enrolment. Raises StoreUnavailable."""

    def change(self, node_id: str, change: Callable[[NodeState], NodeState]) -> NodeState | None:
        """An operator's repair: put what `change` makes of the state in its place.

        It is called again when a request came between. Gives the state after it; None for a node that the store does
        not know. Raises StoreUnavailable.
        """

    def forget(self, node_id: str) -> None:
        """Drop the state of a node that was revoked: it is in nobody's way any more. Raises StoreUnavailable."""

    def on_machine(self, components: Mapping[str, str]) -> dict[str, NodeState]:
        """Nodes that may have been seen last on the machine with these components: all that were, perhaps others too.

        `clones.live_on` picks those that were. Raises StoreUnavailable.
        """
