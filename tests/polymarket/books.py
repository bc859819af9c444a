"""Books whose fees are Polymarket's: of takers alone, in the quote, most where nobody knows the answer."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import Final

from tests.venue.books import Books
from tests.venue.market import Market
from tests.venue.orders import ZERO

RATE: Final = Decimal("0.04")


def fee(price: Decimal, quantity: Decimal, *, maker: bool) -> Decimal:
    """Of one trade."""
    return ZERO if maker else (quantity * RATE * price * (1 - price)).quantize(Decimal("1e-5"), ROUND_DOWN)


class FeeBooks(Books):
    """One wallet."""

    def commission(
        self, market: Market, side: str, price: Decimal, quantity: Decimal, *, maker: bool
    ) -> tuple[Decimal, str]:
        """What one fill costs."""
        return fee(price, quantity, maker=maker), market.rules.quote
