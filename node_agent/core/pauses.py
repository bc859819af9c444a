"""Why new risk is stopped, and who may let it go on. Each reason stands alone; trading goes on when none is left.

A pause by the owner is lifted by the owner, one by the server by the server or the owner, a rule's by the rule. Some
rules (`state.HALTING`) halt: orders that would still add risk are cancelled too; exits and protection stay where they
are.

    rule                 since                                             until
    paused_by_owner      `node-agent pause`                                `node-agent resume`
    paused_by_server     a command                                         a command, or `node-agent resume`
    policy_unreadable    policy.toml is not what it must be                it is
    clock_drift          our clock and the exchange's are too far apart    they are not
    server_silence       the server was silent for longer than allowed     it accepts a sync, or may be silent
  and halting:
    stopped_by_owner     `node-agent stop --cancel-open`                   `node-agent resume`
    stop_file            a file STOP is in the data directory              it is gone
    suspended            the server said so, signed                        it accepts a sync
    daily_loss, drawdown the day's limit was reached                       the market's next day (UTC)
    key_refused          the exchange does not take our key                it does
    trading_refused      it takes it for reading, not for orders           `node-agent resume`
    key_rejected         our key may do what no key of a node may         it may not, or another is put in
    risk_check_failed    the node's own check of an order raised           `node-agent resume`

Each is in the journal with its reason, and outlives the process.
"""

from __future__ import annotations

from typing import Any

from node_agent.core.effects import Cancel
from node_agent.core.orders import Move, Order, OrderState
from node_agent.core.risk import adding_risk
from node_agent.core.state import HALTING, Pause
from node_agent.core.turn import Turn
from node_protocol.encoding import format_time


def pause(turn: Turn, rule: str, *, by: str, reason: str, renews: bool = False) -> None:
    """Stop new risk for one more reason. Nothing changes when it is stopped by that rule already.

    `renews`: but that another reason takes the place of the one that was given for it.
    """
    held = turn.state.pauses.get(rule)
    if held is not None and (not renews or held.reason == reason):
        return
    pauses = {**turn.state.pauses, rule: Pause(rule, by, reason, turn.at)}
    turn.change(pauses=pauses)
    turn.fact("pauses", stored(pauses))
    turn.report("node.paused", by=by, rule=rule, reason=reason)
    if rule in HALTING:
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
    elif order.state is OrderState.ACCEPTED:
        turn.move(order, Move.ABANDON, reason="cancelled before it reached the exchange")
    else:
        turn.put(order.wanting_cancel())


def stored(pauses: Any) -> list[dict[str, str]]:
    """The pauses as the JSON value that the journal keeps."""
    return [
        {"rule": each.rule, "by": each.by, "reason": each.reason, "since": format_time(each.since)}
        for each in pauses.values()
    ]
