"""An exchange's one account with one key: books, fault plan, counts, and the key's state, whatever it speaks."""

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


class Account(ABC):
    """Answers requests from its books; `venue.control` looks into it and sets it, `venue.serving` serves it."""

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
    only_for: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Faults that go with one method and path alone."""
    more_faults: ClassVar[tuple[str, ...]] = ()
    """Faults that this exchange alone knows."""

    def __init__(
        self,
        key: Mapping[str, str],
        *,
        listed: Mapping[str, Rules] | None = None,
        deposits: Mapping[str, str] | None = None,
        interval: int = 1000,
        seed: int = 0,
    ) -> None:
        """`key`: its parts by the names that the node's profile gives them. `interval`: of the price, in ms.

        `listed` and `deposits`: others than its usual ones.
        """
        self.key = dict(key)
        self.clock = Clock()
        self._rules, self._deposits = listed or self.listed, deposits or self.deposits
        self._interval, self._seed = interval, seed
        self.reset()

    def reset(self) -> None:
        """New books, faults and counts."""
        self.clock.ahead = 0.0
        self.valid = True
        self.permissions: dict[str, Any] = dict(self.trade_only)
        markets = {name: Market(rules, self._interval, self._seed) for name, rules in self._rules.items()}
        deposits = {asset: Decimal(amount) for asset, amount in self._deposits.items()}
        self.books = self.keeps(self.clock.now, markets, deposits, self._seed)
        self.faults = Faults(self.order_paths, self.only_for, self.more_faults)
        self.requests: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()

    @abstractmethod
    async def respond(self, request: HttpRequest) -> Answer | None:
        """The answer; None when the connection is to be closed without one."""

    @abstractmethod
    def unavailable(self) -> Answer:
        """What its front says when it is not in a state to pass anything on."""

    async def _after(self, fault: Fault, done: Answer) -> Answer | None:
        """What becomes of the answer to a request that was carried out."""
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
