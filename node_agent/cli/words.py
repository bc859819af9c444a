"""How commands say what a node does and holds: orders, what is open, why new risk is stopped and what lifts that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from node_agent.core import state

LIFTED_BY: Final[Mapping[str, str]] = {
    state.PAUSED_BY_OWNER: "`node-agent resume`",
    state.PAUSED_BY_SERVER: "`node-agent resume`, or the server",
    state.STOPPED_BY_OWNER: "`node-agent resume`",
    state.STOP_FILE: "removing the file STOP from the data directory",
    state.SUSPENDED: "the server, when it accepts a sync: ask its operator",
    state.DAILY_LOSS: "the market's next day (UTC)",
    state.DRAWDOWN: "the market's next day (UTC)",
    state.CLOCK_DRIFT: "setting this machine's clock right",
    state.SERVER_SILENCE: "the server, when it accepts a sync",
    state.KEY_REFUSED: "a key that the exchange takes",
    state.TRADING_REFUSED: "`node-agent resume`, once the key may trade",
    state.KEY_REJECTED: "the exchange's word that the key cannot take money out: it is asked again by itself, and at"
    " each start; or another key: `node-agent keys add --help`",
    state.POLICY_UNREADABLE: "a policy.toml that can be read: try `node-agent policy show`",
    state.RISK_CHECK_FAILED: "`node-agent resume`, once it is clear why the check failed",
}
"""What lets trading go on, by the rule that stops it."""


def of_trading(facts: Mapping[str, Any]) -> Iterator[str]:
    """Whether new risk is taken, and if not, each reason and what lifts it."""
    pauses = facts["pauses"]
    if not pauses:
        yield "trading"
        return
    yield f"new risk is stopped: {', '.join(each['rule'] for each in pauses)}"
    for each in pauses:
        lifted_by = LIFTED_BY.get(each["rule"], "nothing that this version knows")
        yield f"  {each['rule']}: {each['reason']}, since {each['since']}; lifted by {lifted_by}"


def of_order(order: Mapping[str, Any]) -> str:
    """One order of the node's own, in one line."""
    price = order.get("price") or order.get("stop_price")
    filled = f", {order['filled']} filled" if order["filled"] != "0" else ""
    only = ", reduces only" if order.get("reduce_only") else ""
    unsure = ": whether the exchange has it is being found out" if order["state"] == "unknown" else ""
    at = f" at {price}" if price else ""
    what = f"{order['side']} {order['amount']} {order['symbol']} {order['type']}{at}{only}{filled}"
    return f"{what}  {order['state']}{unsure}  {order['client_order_id']}"


def of_foreign(order: Mapping[str, Any]) -> str:
    """One open order that is not the node's, in one line."""
    at = f" at {order['price']}" if order["price"] else ""
    what = f"{order['side']} {order['amount']} {order['symbol']}{at}, {order['filled']} filled"
    return f"{what}  {order['exchange_order_id']}"


def of_work(facts: Mapping[str, Any]) -> Iterator[str]:
    """Each order, position and rest, in a line of its own."""
    for order in facts["orders"]:
        yield f"  {of_order(order)}"
    for symbol, amount in facts["positions"].items():
        yield f"  position {amount} {symbol}"
    for symbol, amount in facts["dust"].items():
        yield f"  dust {amount} {symbol}: too little for the market to take an order"
    for reason in facts.get("hindered_by", ()):  # a node that runs may be older than this command
        yield f"  hindered: {reason}"


def counted(facts: Mapping[str, Any]) -> str:
    """How many orders and positions there are."""
    return f"{orders_counted(facts)}, {_many(len(facts['positions']), 'position')}"


def orders_counted(facts: Mapping[str, Any]) -> str:
    """How many orders there are."""
    return _many(len(facts["orders"]), "order")


def listed(values: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(values[:-1]), *values[-1:])))


def _many(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
