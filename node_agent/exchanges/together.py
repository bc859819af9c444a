"""Questions for one thing each, asked as one: those that come while another is under way wait, and go together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from node_agent.exchanges.port import ExchangeError

T = TypeVar("T")


@dataclass
class _Question(Generic[T]):
    """What is asked for at once, and what came of it: nothing yet, or where the asker was called off."""

    names: list[str] = field(default_factory=list)
    told: Mapping[str, T] | None = None
    error: ExchangeError | None = None


class Together(Generic[T]):
    """Asks for things by their names, a question at a time."""

    def __init__(self, ask: Callable[[Sequence[str]], Awaitable[Mapping[str, T]]], *, most: int) -> None:
        """`ask` tells those that there are of at most so many."""
        self._ask = ask
        self._most = most
        self._asking = asyncio.Lock()
        self._next: _Question[T] = _Question()

    async def one(self, name: str) -> T | None:
        """One thing, as it is after this was called; None where there is none. Raises ExchangeError."""
        if len(self._next.names) == self._most:
            self._next = _Question()
        question = self._next
        question.names.append(name)
        async with self._asking:
            if question is self._next:
                self._next = _Question()  # whoever comes from now on wants to know how things are later
            if question.error is not None:
                raise question.error
            if question.told is None:
                try:
                    question.told = await self._ask(list(dict.fromkeys(question.names)))
                except ExchangeError as error:
                    question.error = error
                    raise
            return question.told.get(name)
