"""The account's books as Kraken keeps them: fees are in the quote currency, numbers are of the whole exchange."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import ROUND_UP, Decimal
from typing import Final

from tests.venue.books import COMMISSION, Books
from tests.venue.market import Market
from tests.venue.orders import Ask, Order

FEE_STEP: Final = Decimal("0.00001")
NAMELESS: Final = "."
"""What the client id of an order begins with that has none: in the books each has one of its own."""
_APART: Final = 1_000_000


class KrakenBooks(Books):
    """One account."""

    def __init__(
        self, now: Callable[[], int], markets: Mapping[str, Market], deposited: Mapping[str, Decimal], seed: int = 0
    ) -> None:
        super().__init__(now, markets, deposited, seed)
        for place, name in enumerate(self.markets):
            self._next_order[name] += place * _APART
            self._next_trade[name] += place * _APART

    def place(self, ask: Ask) -> Order:
        """Accepts the order and fills what the price allows, or raises Refused."""
        return super().place(ask if ask.client_id else replace(ask, client_id=f"{NAMELESS}{len(self.orders)}"))

    def commission(
        self, market: Market, side: str, price: Decimal, quantity: Decimal, *, maker: bool
    ) -> tuple[Decimal, str]:
        """In the quote currency, whichever side it is on."""
        return (price * quantity * COMMISSION).quantize(FEE_STEP, ROUND_UP), market.rules.quote
