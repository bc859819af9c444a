"""Rounding to a market's steps, always in the owner's favour: never a larger order, never a worse price.

An amount goes down to a multiple of the step. A buy's price goes down and a sell's up to a multiple of the tick; a
stop's trigger likewise, which lets it act no later and no worse than was asked.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Final

from node_agent.core.market import Market, OrderRequest, Side

_WIDE: Final = Context(prec=128)
"""Twice the digits that an amount on the wire may have: no quotient of two of them is rounded to a whole number."""
_TOO_LARGE: Final = Decimal(10) ** 31
"""The wire has 31 digits before the point."""


def rounded(order: OrderRequest, market: Market) -> OrderRequest:
    """The order in the market's steps. An amount below one step becomes zero, as does a buy's price below one tick."""
    return replace(
        order,
        amount=_multiple(order.amount, market.step_size, ROUND_FLOOR),
        price=_price(order.price, order.side, market),
        stop_price=_price(order.stop_price, order.side, market),
    )


def can_be_written(order: OrderRequest) -> bool:
    """Whether all its numbers are of a size that the wire has a form for: a price may have been rounded out of it."""
    return all(number is None or number < _TOO_LARGE for number in (order.amount, order.price, order.stop_price))


def whole_steps(amount: Decimal, market: Market) -> Decimal:
    """The amount down to a multiple of the market's step."""
    return _multiple(amount, market.step_size, ROUND_FLOOR)


def _price(price: Decimal | None, side: Side, market: Market) -> Decimal | None:
    if price is None:
        return None
    return _multiple(price, market.tick_size, ROUND_FLOOR if side is Side.BUY else ROUND_CEILING)


def _multiple(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    steps = _WIDE.divide(value, step).to_integral_value(rounding=rounding)
    return _WIDE.multiply(steps, step)
