"""Whether an order keeps its symbol's filters, as exchangeInfo tells them. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from tests.venue.market import Rules
from tests.venue.orders import AT_MARKET, Ask
from tests.venue.refusals import Refused, filter_failed

PRECISION: Final = 8


def check(ask: Ask, quantity: Decimal, rules: Rules, last: Decimal) -> None:
    """Raises Refused when it does not. `quantity` is in the base, also for orders that were asked in the quote."""
    for name, amount in (
        ("quantity", ask.quantity),
        ("price", ask.price),
        ("stopPrice", ask.stop_price),
        ("quoteOrderQty", ask.quote_quantity),
    ):
        if amount is None:
            continue
        if amount == 0:
            raise Refused(-1013, f"Invalid {name}.")
        if len(f"{amount:f}".partition(".")[2].rstrip("0")) > PRECISION:
            raise Refused(-1111, f"Parameter '{name}' has too much precision.")
    for price in (ask.price, ask.stop_price):
        if price is not None:
            _price(price, rules, last)
    if not rules.least <= quantity <= rules.most or quantity % rules.step:
        raise filter_failed("LOT_SIZE")
    if ask.type in AT_MARKET and quantity > rules.market_most:
        raise filter_failed("MARKET_LOT_SIZE")
    notional = quantity * (ask.price or ask.stop_price or last)
    if not rules.notional <= notional <= rules.notional_most:
        raise filter_failed("NOTIONAL")


def _price(price: Decimal, rules: Rules, last: Decimal) -> None:
    if not rules.tick <= price <= rules.highest or price % rules.tick:
        raise filter_failed("PRICE_FILTER")
    if not last * rules.down <= price <= last * rules.up:
        raise filter_failed("PERCENT_PRICE_BY_SIDE")
