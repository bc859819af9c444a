"""What is at risk now: the facts that the owner's limits are held against, drawn from the node's books.

Every order that may still trade counts, whatever we last heard of it, and those that somebody else placed on the
account too. Orders against a position are covered by it, the cheapest first; only what they come to beyond it adds
risk.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from node_agent.core import hours
from node_agent.core.amounts import whole_steps
from node_agent.core.market import Market, OpenOrder, Side
from node_agent.core.orders import Order, OrderState
from node_agent.core.policy import Exposure, notional
from node_agent.core.state import Holding, State

_ZERO: Final = Decimal(0)
_NOTHING_HELD: Final = Holding()
MINUTE: Final = timedelta(minutes=1)


def exposure(state: State, symbol: str, at: datetime) -> Exposure:
    """What is at risk, as an order of this symbol sees it at this time of the wall clock."""
    live = state.live
    foreign = [each for each in state.foreign.values() if each.order.symbol == symbol]
    priced_at = state.priced_at.get(symbol)
    ours = [order for order in live if order.symbol == symbol]
    position = position_of(state, symbol)
    against = [order for order in ours if order.side is (Side.SELL if position > 0 else Side.BUY)]
    symbols = {order.symbol for order in live} | set(state.holdings)
    return Exposure(
        last=state.prices.get(symbol),
        position=position,
        open_buys=_open(state, ours, foreign, Side.BUY),
        open_sells=_open(state, ours, foreign, Side.SELL),
        closable=max(abs(position) - sum((order.remaining for order in against), _ZERO), _ZERO),
        total=sum((_total(state, each, live) for each in symbols), foreign_notional(state)),
        open_notional=sum((_worth(state, order) for order in live), foreign_notional(state)),
        recent_orders=len(recent(state.placed, trading_time(state, at))),
        orders_today=0 if state.day is None else state.day.orders,
        data_age=None if priced_at is None else at - priced_at,
        in_hours=not state.policy.trading_hours or hours.is_within(state.policy.trading_hours, trading_time(state, at)),
        stopped_by=tuple(state.pauses),
        unknown_order=any(order.state is OrderState.UNKNOWN for order in ours),
    )


def trading_time(state: State, at: datetime) -> datetime:
    """The time that days and hours of trading go by: the wall clock's, or that of a recording which is being played."""
    return at if state.mode == "live" or state.market_at is None else state.market_at


def recent(placed: Iterable[datetime], now: datetime) -> tuple[datetime, ...]:
    """What of it is within the last minute. A time that is still to come counts: the clock was set back."""
    return tuple(at for at in placed if at > now - MINUTE)


def foreign_notional(state: State) -> Decimal:
    """What open orders that this node did not place may still trade, in the quote currency."""
    return sum((_worth_of_foreign(state, each) for each in state.foreign.values()), _ZERO)


def is_dust(amount: Decimal, market: Market, last: Decimal) -> bool:
    """Whether a position is too small for the market to take an order that closes it."""
    size = whole_steps(abs(amount), market)
    return not size or size < market.minimum_amount or size * last < market.minimum_notional


def position_of(state: State, symbol: str) -> Decimal:
    """What the node holds of a symbol, in the base currency."""
    return state.holdings.get(symbol, _NOTHING_HELD).amount


def adding_risk(state: State) -> list[Order]:
    """Orders that may still trade and would make a position larger, in part at least."""
    live = state.live
    symbols = dict.fromkeys(order.symbol for order in live)
    return [order for symbol in symbols for order, uncovered in _uncovered(state, symbol, live) if uncovered]


def result(state: State) -> Decimal:
    """What the node's trading has come to, open positions at the last price, in the quote currency."""
    return sum(
        (held.cash + held.amount * state.prices.get(symbol, _ZERO) for symbol, held in state.holdings.items()), _ZERO
    )


def day_loss(state: State) -> Decimal:
    """What has been lost since the day began; zero when nothing has."""
    return _ZERO if state.day is None else max(state.day.baseline - result(state), _ZERO)


def drawdown(state: State) -> Decimal:
    """What has been lost since the day's best moment; zero at that moment."""
    return _ZERO if state.day is None else max(state.day.high - result(state), _ZERO)


def _open(state: State, ours: Iterable[Order], foreign: Iterable[OpenOrder], side: Side) -> Decimal:
    """Notional of open orders to one side."""
    own = sum((_worth(state, order) for order in ours if order.side is side), _ZERO)
    return sum((_worth_of_foreign(state, each) for each in foreign if each.side is side), own)


def _worth_of_foreign(state: State, each: OpenOrder) -> Decimal:
    """Reckoned at whichever is more, its price or the last."""
    remaining = max(each.order.amount - each.order.filled, _ZERO)
    return remaining * max(each.price or _ZERO, state.prices.get(each.order.symbol, _ZERO))


def _total(state: State, symbol: str, live: Iterable[Order]) -> Decimal:
    held = abs(position_of(state, symbol)) * state.prices.get(symbol, _ZERO)
    added = (_worth(state, order, amount) for order, amount in _uncovered(state, symbol, live))
    return held + sum(added, _ZERO)


def _uncovered(state: State, symbol: str, live: Iterable[Order]) -> list[tuple[Order, Decimal]]:
    """Each order of the symbol with the amount of it that no position covers."""
    position = position_of(state, symbol)
    cover = {Side.SELL: max(position, _ZERO), Side.BUY: max(-position, _ZERO)}
    ours = [order for order in live if order.symbol == symbol]
    found = []
    for order in sorted(ours, key=lambda order: _worth(state, order, Decimal(1))):
        covered = min(cover[order.side], order.remaining)
        cover[order.side] -= covered
        found.append((order, order.remaining - covered))
    return found


def _worth(state: State, order: Order, amount: Decimal | None = None) -> Decimal:
    """Notional of `amount` of the order, or of all that may still trade."""
    asked = replace(order.request(), amount=order.remaining if amount is None else amount)
    return notional(asked, state.prices.get(order.symbol, _ZERO))
