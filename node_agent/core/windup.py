"""The owner's kill switch at work: open orders cancelled, with `flatten` positions closed too, until nothing is left.

It goes on whatever is away, the server or the exchange, and over restarts: cancels are asked for again until each
order has ended, exits are sent again until the position is zero or dust, too small for the market to take. Nothing else
trades meanwhile. What it has not done yet is what `open_work` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Final

from node_agent.core import memory
from node_agent.core.amounts import whole_steps
from node_agent.core.effects import End
from node_agent.core.ids import order_of_exit
from node_agent.core.intents import Source, close
from node_agent.core.market import OrderRequest, OrderType, Side
from node_agent.core.orders import Order
from node_agent.core.pauses import cancel
from node_agent.core.risk import is_dust
from node_agent.core.state import State, Windup
from node_agent.core.turn import Turn
from node_protocol.encoding import format_time, parse_time
from node_protocol.messages import format_decimal

_WANTED_FOR: Final = timedelta(days=365)
"""An exit that has not reached the exchange is wanted until it has."""
_LONGEST_PAUSE: Final = 60.0
"""Seconds between two exits of one symbol, at the most."""


@dataclass(frozen=True, slots=True)
class OpenWork:
    """What is still open: of the node itself, or of what its owner wants closed."""

    orders: tuple[Order, ...]
    positions: Mapping[str, Decimal]
    """By symbol, in the base currency; without dust."""
    dust: Mapping[str, Decimal]
    """Positions that the market takes no order for."""

    def is_left(self, *, flatten: bool) -> bool:
        """Whether a kill switch has something to close; only with `flatten` are positions its work."""
        return bool(self.orders or (flatten and self.positions))


def open_work(state: State) -> OpenWork:
    """The node's open orders, positions and dust."""
    held = {symbol: holding.amount for symbol, holding in state.holdings.items() if holding.amount}
    dust = {symbol: amount for symbol, amount in held.items() if _is_dust(state, symbol, amount)}
    positions = {symbol: amount for symbol, amount in held.items() if symbol not in dust}
    return OpenWork(tuple(state.live), positions, dust)


def exits(state: State) -> frozenset[str]:
    """Client order ids of the orders that close positions for the kill switch at work."""
    if state.windup is None:
        return frozenset()
    return frozenset(
        order_of_exit(state.origin, state.windup.begun_at, symbol, attempt)
        for symbol, attempts in state.windup.attempts.items()
        for attempt in range(1, attempts + 1)
    )


def begin(turn: Turn, rule: str, *, flatten: bool, then_end: bool = False) -> None:
    """Begin for a rule, or add to what has begun: what was wanted before is still wanted."""
    before = turn.state.windup
    if before is None:
        # As the journal keeps it: the ids of the exits are made of it.
        wanted = Windup(parse_time(format_time(turn.at)), flatten, then_end, frozenset((rule,)))
    else:
        wanted = replace(
            before,
            flatten=before.flatten or flatten,
            then_end=before.then_end or then_end,
            wanted_by=before.wanted_by | {rule},
        )
    turn.change(windup=wanted)
    turn.fact("windup", memory.windup(turn.state))


def call_off(turn: Turn) -> None:
    """Leave the rest as it is: the owner lets trading go on. What is left of an exit is cancelled."""
    if turn.state.windup is None:
        return
    closing = exits(turn.state)
    turn.change(windup=None)
    turn.fact("windup", None)
    for order in turn.state.live:
        if order.client_order_id in closing:
            cancel(turn, order)


def go_on(turn: Turn) -> None:
    """Do what can be done now; at the end of every step, for every step may have made something possible."""
    windup = turn.state.windup
    if windup is None or turn.state.stopping:
        return
    closing = exits(turn.state)
    for order in turn.state.live:
        if order.client_order_id not in closing and not order.cancel_wanted:
            cancel(turn, order)
    work = open_work(turn.state)
    if windup.flatten:
        for symbol, amount in work.positions.items():
            if all(order.symbol != symbol for order in work.orders):
                _close(turn, turn.state.windup or windup, symbol, amount)
    if not work.is_left(flatten=windup.flatten):
        _finish(turn, windup, work)


def _close(turn: Turn, windup: Windup, symbol: str, amount: Decimal) -> None:
    market = turn.state.markets.get(symbol)
    # A clock that was set back makes nobody wait for longer than the longest pause.
    if market is None or 0.0 < (windup.next_try_at.get(symbol, turn.at) - turn.at).total_seconds() <= _LONGEST_PAUSE:
        return
    attempt = windup.attempts.get(symbol, 0) + 1
    pause = timedelta(seconds=min(2.0 ** min(attempt, 10), _LONGEST_PAUSE))
    turn.change(
        windup=replace(
            windup,
            attempts={**windup.attempts, symbol: attempt},
            next_try_at={**windup.next_try_at, symbol: turn.at + pause},
        )
    )
    turn.fact("windup", memory.windup(turn.state))
    asked = OrderRequest(
        client_order_id=order_of_exit(turn.state.origin, windup.begun_at, symbol, attempt),
        symbol=symbol,
        side=Side.SELL if amount > 0 else Side.BUY,
        type=OrderType.MARKET,
        amount=whole_steps(abs(amount), market),
        reduce_only=True,
    )
    close(turn, asked, Source(wanted_until=turn.at + _WANTED_FOR))


def _finish(turn: Turn, windup: Windup, work: OpenWork) -> None:
    turn.change(windup=None)
    turn.fact("windup", None)
    kept = {**work.positions, **work.dust}
    left = ", ".join(f"{format_decimal(amount)} {symbol}" for symbol, amount in kept.items()) or "nothing"
    turn.note(f"no order of this node is open any more; positions left: {left}")
    if windup.then_end:
        turn.do(End("stopped by the owner"))


def _is_dust(state: State, symbol: str, amount: Decimal) -> bool:
    """Whether it is known to be too small: of a market that is not known, nothing is."""
    market, last = state.markets.get(symbol), state.prices.get(symbol)
    return market is not None and last is not None and is_dust(amount, market, last)
