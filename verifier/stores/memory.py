"""A store in this process's memory: for one worker, for tests. It forgets all when the process ends."""

from __future__ import annotations

from threading import Lock
from typing import Final

from node_protocol import REPLAY_WINDOW
from verifier.clones import NodeState
from verifier.stores.base import NEW, SPENT, Admission, Nonce, Step

_SPAN: Final = 128
"""Seconds of `created` that share one generation of nonces."""


class MemoryStore:
    """Nonces and node states in dictionaries, under one lock.

    Nonces are kept in generations by their `created`, and a generation goes as a whole once all in it are stale, so
    memory holds what came within the replay window and no more.
    """

    blocking = False

    def __init__(self) -> None:
        self._lock = Lock()
        self._seen: set[tuple[str, str]] = set()
        self._generations: dict[int, list[tuple[str, str]]] = {}
        self._forgotten_through = -1
        self._nodes: dict[str, NodeState] = {}

    def admit(self, nonce: Nonce, now: int, step: Step | None = None) -> Admission:
        with self._lock:
            if not self._spend(nonce, now):
                return SPENT
            state = self._nodes.get(step.node_id) if step else None
            if step is None or state is None:
                return NEW
            decision = step(state)
            self._nodes[step.node_id] = decision.state
            return Admission(True, decision)

    def load(self, node_id: str) -> NodeState | None:
        return self._nodes.get(node_id)

    def save(self, node_id: str, state: NodeState) -> None:
        with self._lock:
            self._nodes[node_id] = state

    def __len__(self) -> int:
        """How many nonces are remembered."""
        return len(self._seen)

    def _spend(self, nonce: Nonce, now: int) -> bool:
        oldest = (now - REPLAY_WINDOW) // _SPAN
        if oldest - 1 > self._forgotten_through:
            self._forget_before(oldest)
        number = nonce.created // _SPAN
        name = (nonce.key_id, nonce.nonce)
        # Of a generation that was forgotten nobody can say what was in it (the clock went back): refuse.
        if name in self._seen or number <= self._forgotten_through:
            return False
        self._seen.add(name)
        generation = self._generations.get(number)
        if generation is None:
            generation = self._generations[number] = []
        generation.append(name)
        return True

    def _forget_before(self, oldest: int) -> None:
        for generation in [each for each in self._generations if each < oldest]:
            self._seen.difference_update(self._generations.pop(generation))
        self._forgotten_through = oldest - 1
