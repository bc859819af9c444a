"""Two stores as one: nonces in the one, node states in the other.

For a server that writes node states within transactions of its own, as at an enrolment, and shares nonces through
Redis. The nonce is spent first: whatever dies before the state has moved, the message is not taken again, its sender
gets no answer or `unavailable`, and signs anew. The other way round a message could be taken twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from verifier.node_state import NodeState
from verifier.stores.base import NEW, SPENT, Admission, Nonce, Step, Store


class States(Store, Protocol):
    """A store that takes a step without a nonce, as `SqlStore` does."""

    def take(self, step: Step) -> Admission:
        """As `admit`, for a step whose nonce was spent elsewhere. Raises StoreUnavailable."""


class SplitStore:
    """Nonces in `nonces`, node states in `states`."""

    def __init__(self, nonces: Store, states: States) -> None:
        self.blocking = nonces.blocking or states.blocking
        self._nonces = nonces
        self._states = states

    def admit(self, nonce: Nonce, now: int, step: Step | None = None) -> Admission:
        if not self._nonces.admit(nonce, now).fresh:
            return SPENT
        return NEW if step is None else self._states.take(step)

    def load(self, node_id: str) -> NodeState | None:
        return self._states.load(node_id)

    def save(self, node_id: str, state: NodeState) -> None:
        self._states.save(node_id, state)

    def change(self, node_id: str, change: Callable[[NodeState], NodeState]) -> NodeState | None:
        return self._states.change(node_id, change)

    def forget(self, node_id: str) -> None:
        self._states.forget(node_id)

    def on_machine(self, components: Mapping[str, str]) -> dict[str, NodeState]:
        return self._states.on_machine(components)
