"""Why new risk is stopped, and who may let it go on. Each reason stands alone; trading goes on when none is left.

A pause by the owner is lifted by the owner, one by the server by the server or the owner, a rule's by the rule. When a
rule stops new risk (a suspension, the day's loss), orders that would still add to it are cancelled; exits and
protection stay where they are.
"""

from __future__ import annotations

from typing import Any

from node_agent.core.effects import Cancel
from node_agent.core.orders import Move, Order, OrderState
from node_agent.core.risk import adding_risk
from node_agent.core.state import Pause
from node_agent.core.turn import Turn
from node_protocol.encoding import format_time


def pause(turn: Turn, rule: str, *, by: str, reason: str) -> None:
    """Stop new risk for one more reason. Nothing changes when it is stopped for that one already."""
    if rule in turn.state.pauses:
        return
    pauses = {**turn.state.pauses, rule: Pause(rule, by, reason, turn.at)}
    turn.change(pauses=pauses)
    turn.fact("pauses", stored(pauses))
    turn.report("node.paused", by=by, rule=rule, reason=reason)
    if by == "rule":
        for order in adding_risk(turn.state):
            cancel(turn, order)


def lift(turn: Turn, rule: str, *, by: str) -> None:
    """Take one reason away. Nothing changes when it does not hold."""
    if rule not in turn.state.pauses:
        return
    pauses = {name: each for name, each in turn.state.pauses.items() if name != rule}
    turn.change(pauses=pauses)
    turn.fact("pauses", stored(pauses))
    if pauses:
        turn.note(f"{rule} no longer holds; new risk stays stopped: {', '.join(pauses)}")
    else:
        turn.report("node.resumed", by=by, rule=rule)


def cancel(turn: Turn, order: Order) -> None:
    """Have what is left of an order cancelled: at once, or as soon as the exchange is known to have it."""
    if order.ended or order.state is OrderState.CANCELLING:
        return
    if order.state in (OrderState.OPEN, OrderState.PARTLY_FILLED):
        turn.move(order, Move.CANCEL)
        turn.do(Cancel(order.client_order_id, order.symbol))
    elif order.unsent:
        turn.move(order, Move.ABANDON, reason="cancelled before it reached the exchange")
    else:
        turn.put(order.wanting_cancel())


def stored(pauses: Any) -> list[dict[str, str]]:
    """The pauses as the JSON value that the journal keeps."""
    return [
        {"rule": each.rule, "by": each.by, "reason": each.reason, "since": format_time(each.since)}
        for each in pauses.values()
    ]
