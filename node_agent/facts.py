"""What is told of a node, as JSON values: to its owner, whether it runs or not, and to its server."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from node_agent.core import memory
from node_agent.core.orders import Order, OrderState, fields
from node_agent.core.pauses import stored
from node_agent.core.state import KEY_REFUSED, TRADING_REFUSED, State
from node_agent.core.windup import open_work
from node_protocol.encoding import format_time
from node_protocol.messages import format_decimal

_HINDERING: Final = (KEY_REFUSED, TRADING_REFUSED)
"""Rules behind which no cancel and no exit is carried out either."""


def of_order(order: Order) -> dict[str, Any]:
    """One order of the node's own; `state` is `unknown` while it is not known whether the exchange has it."""
    return {**fields(order), "reduce_only": order.reduce_only, "state": str(order.state)}


def of_trading(state: State) -> dict[str, Any]:
    """Whether new risk is taken, and each reason why not."""
    return {"trading": str(state.trading), "pauses": stored(state.pauses)}


def of_work(state: State) -> dict[str, Any]:
    """What is still open: orders, positions, positions that are too small to be traded, and what hinders all of it."""
    work = open_work(state)
    return {
        "orders": [of_order(order) for order in work.orders],
        "positions": {symbol: format_decimal(amount) for symbol, amount in work.positions.items()},
        "dust": {symbol: format_decimal(amount) for symbol, amount in work.dust.items()},
        "hindered_by": [state.pauses[rule].reason for rule in _HINDERING if rule in state.pauses],
    }


def of_account(state: State) -> dict[str, Any]:
    """All of that, and open orders on the account that are not the node's."""
    return {**of_work(state), "foreign": memory.foreign(state)}


def of_health(state: State, now: datetime) -> dict[str, Any]:
    """How the node is: what its server is told with every sync."""
    unknown = sum(1 for order in state.live if order.state is OrderState.UNKNOWN)
    return {
        "health": "uncertain" if unknown else "good",
        "trading": str(state.trading),
        "rules": list(state.pauses),
        "open_orders": len(state.live),
        "foreign_orders": len(state.foreign),
        "unknown_orders": unknown,
        "prices": {symbol: format_decimal(price) for symbol, price in state.prices.items()},
        "market_at": None if state.market_at is None else format_time(state.market_at),
        "balances_age": None if state.balances_at is None else int((now - state.balances_at).total_seconds()),
        "policy_digest": state.policy_digest,
    }
