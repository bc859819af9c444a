"""What a strategy is to the node: candles in, intents out, its memory a frozen value. Pure; it never sees an exchange.

A strategy decides again from its memory after any crash, so what it returns may depend on its arguments alone. What it
intends is held against the owner's limits before anything comes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from node_agent.core.market import Candle, OrderType, Side


@dataclass(frozen=True, slots=True)
class Intent:
    """What a strategy wants done on its symbol now."""

    side: Side
    amount: Decimal
    """In the base currency; rounded down to the market's step by the node."""
    type: OrderType = OrderType.MARKET
    price: Decimal | None = None
    stop_price: Decimal | None = None
    reduce_only: bool = False


class Strategy(Protocol):
    """One strategy on one symbol. Its memory is a JSON value, so that the journal can keep it."""

    @property
    def name(self) -> str:
        """Names its orders and its memory; unique on a node."""

    @property
    def symbol(self) -> str:
        """The one symbol that it watches and trades."""

    def start(self) -> Any:
        """Its memory before the first candle."""

    def on_candle(self, memory: Any, candle: Candle, position: Decimal) -> tuple[Any, Sequence[Intent]]:
        """Its memory after this candle, and what it wants done.

        `position` is what it holds and can close, in the base currency; what is too small to be traded counts as none.
        At most one intent a side and candle; a second one is dropped.
        """
