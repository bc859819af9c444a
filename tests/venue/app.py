"""An exchange of some dialect as one thing that answers requests: books, fault plan, counts, and the key's state.

A dialect is a subclass that reads a request strictly, checks its signature as the real exchange does, carries it out on
`self.books`, and writes the answer as the real exchange writes it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

from tests.venue.books import Books
from tests.venue.faults import Fault, Faults
from tests.venue.http import Answer, Clock, HttpRequest
from tests.venue.market import Market, Rules
from tests.venue.refusals import Refused


class Venue(ABC):
    """One account with one key."""

    listed: ClassVar[Mapping[str, Rules]]
    """Symbols by the exchange's own names; the books know them under these."""
    deposits: ClassVar[Mapping[str, str]]
    """What the account begins with."""
    keeps: ClassVar[type[Books]] = Books
    """Its books: some take their commission in another way."""
    trade_only: ClassVar[Mapping[str, Any]] = {}
    """What the key may do, in the words of the exchange's answer."""
    order_paths: ClassVar[tuple[str, ...]] = ()
    """Paths that faults by chance go with."""

    def __init__(self, key: Mapping[str, str], *, interval: int = 1000, seed: int = 0) -> None:
        """`key`: its parts by the names that the node's profile gives them. `interval`: of the price, in ms."""
        self.key = dict(key)
        self.clock = Clock()
        self._interval, self._seed = interval, seed
        self.reset()

    def reset(self) -> None:
        """New books, faults and counts."""
        self.clock.ahead = 0.0
        self.valid = True
        self.permissions: dict[str, Any] = dict(self.trade_only)
        markets = {name: Market(rules, self._interval, self._seed) for name, rules in self.listed.items()}
        deposits = {asset: Decimal(amount) for asset, amount in self.deposits.items()}
        self.books = self.keeps(self.clock.now, markets, deposits, self._seed)
        self.faults = Faults(self.order_paths)
        self.requests: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()

    @abstractmethod
    def perform(self, request: HttpRequest) -> Answer:
        """Check the request and do what it asks. Raises Refused, which `refused` writes down."""

    @abstractmethod
    def refused(self, refused: Refused) -> Answer:
        """A refusal in this exchange's words."""

    @abstractmethod
    def unavailable(self) -> Answer:
        """What its front says when it is not in a state to pass anything on."""

    async def respond(self, request: HttpRequest) -> Answer | None:
        """The answer; None when the connection is to be closed without one."""
        self.requests[f"{request.method} {request.path}"] += 1
        fault = self.faults.next(request.method, request.path)
        if fault is None:
            return self._performed(request)
        match fault.what:
            case "drop_before":
                return None
            case "5xx_before":
                return self.unavailable()
            case "hang_before":
                await asyncio.sleep(fault.seconds)
                return self._performed(request)
        return await self._after(fault, self._performed(request))

    async def _after(self, fault: Fault, done: Answer) -> Answer | None:
        match fault.what:
            case "drop_after":
                return None
            case "hang_after":
                await asyncio.sleep(fault.seconds)
                return None
            case "answer_late":
                await asyncio.sleep(fault.seconds)
            case "5xx_after":
                return self.unavailable()
            case "garbage":
                return Answer(200, done.body[: len(done.body) // 2], done.headers)
        return done

    def _performed(self, request: HttpRequest) -> Answer:
        try:
            return self.perform(request)
        except Refused as refused:
            self.refusals[f"{refused.code} {refused.message}"] += 1
            return self.refused(refused)
