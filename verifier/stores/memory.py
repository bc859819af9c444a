"""A store in this process's memory: for one worker, for tests. It forgets all when the process ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock

from node_protocol import REPLAY_WINDOW, fingerprints
from verifier.node_state import NodeState
from verifier.stores.base import NEW, SPENT, Admission, Nonce, Step


class MemoryStore:
    """Nonces and node states in dictionaries, under one lock.

    Once in a replay window the nonces of messages that have become stale go, all together. So a nonce is held for some
    three windows; that of a message far ahead of our clock until a window after the message is stale.
    """

    blocking = False

    def __init__(self) -> None:
        self._lock = Lock()
        self._created: dict[tuple[str, str], int] = {}
        self._forgotten_before = 0
        self._sweep_at = 0
        self._nodes: dict[str, NodeState] = {}

    def admit(self, nonce: Nonce, now: int, step: Step | None = None) -> Admission:
        with self._lock:
            if now >= self._sweep_at:
                self._sweep(now)
            # Of what was forgotten nobody can say whether it was seen (the clock went back): refuse.
            if nonce.created < self._forgotten_before:
                return SPENT
            before = len(self._created)
            self._created.setdefault((nonce.key_id, nonce.nonce), nonce.created)
            if len(self._created) == before:
                return SPENT
            if step is None or (state := self._nodes.get(step.node_id)) is None:
                return NEW
            decision = step(state)
            self._nodes[step.node_id] = decision.state
            return Admission(True, decision)

    def load(self, node_id: str) -> NodeState | None:
        return self._nodes.get(node_id)

    def save(self, node_id: str, state: NodeState) -> None:
        with self._lock:
            self._nodes[node_id] = state

    def change(self, node_id: str, change: Callable[[NodeState], NodeState]) -> NodeState | None:
        with self._lock:
            if (state := self._nodes.get(node_id)) is None:
                return None
            self._nodes[node_id] = changed = change(state)
            return changed

    def forget(self, node_id: str) -> None:
        with self._lock:
            self._nodes.pop(node_id, None)

    def on_machine(self, components: Mapping[str, str]) -> dict[str, NodeState]:
        with self._lock:
            return {
                node_id: state
                for node_id, state in self._nodes.items()
                if fingerprints.on_one_machine(components, state.machine.components)
            }

    def __len__(self) -> int:
        """How many nonces are remembered."""
        return len(self._created)

    def _sweep(self, now: int) -> None:
        self._forgotten_before = max(now - REPLAY_WINDOW, self._forgotten_before)
        self._created = {name: at for name, at in self._created.items() if at >= self._forgotten_before}
        self._sweep_at = now + REPLAY_WINDOW
