"""What the server asks for: each command once, in its time, and only as far as the owner's limits let it.

Order of the checks, the first that fails being the rule that is reported: seen before (nothing happens, not even a
report), `expired`, `unknown_command`, `malformed`, `server_commands`, then the command's own. Every command that is not
carried out is told so by an event; every one that was dealt with is written down as done in the same append.
"""

from __future__ import annotations

from typing import Final

from node_agent.core.account import read_balances
from node_agent.core.effects import RotateKey
from node_agent.core.ids import order_of_command
from node_agent.core.intents import Source, propose, refuse
from node_agent.core.market import OrderRequest, OrderType, Side, TimeInForce
from node_agent.core.orders import Order
from node_agent.core.pauses import cancel, lift, pause
from node_agent.core.policy import Verdict
from node_agent.core.state import PAUSED_BY_OWNER, PAUSED_BY_SERVER
from node_agent.core.turn import Turn
from node_protocol.messages import (
    CancelAll,
    Command,
    CommandData,
    OrderCancel,
    OrderPlace,
    TradingSwitch,
    UnknownCommand,
    parse_command_data,
)
from node_protocol.refusals import Malformed

_HOUSEKEEPING: Final = frozenset(("key.rotate", "account.report"))
"""Commands that neither trade nor stop trading: the owner's word on server commands is not about them."""


def take_command(turn: Turn, command: Command) -> None:
    """Carry one command out, or say why not. While the node is stopping it is left for the next start."""
    if command.id in turn.state.commands or turn.state.stopping:
        return
    turn.done(command.id)
    if turn.at >= command.expires_at:
        turn.report("command.expired", command_id=command.id, rule="expired")
        return
    try:
        data = parse_command_data(command.type, command.data)
    except UnknownCommand:
        _refused(turn, command, "unknown_command")
        return
    except Malformed as error:
        _refused(turn, command, "malformed", detail=str(error))
        return
    if command.type not in _HOUSEKEEPING and not turn.state.policy.server_commands:
        if isinstance(data, OrderPlace):
            _refuse_order(turn, command, data)
        _refused(turn, command, "server_commands")
        return
    _carry_out(turn, command, data)


def _carry_out(turn: Turn, command: Command, data: CommandData) -> None:
    if isinstance(data, OrderPlace):
        source = Source(wanted_until=command.expires_at, command_id=command.id)
        rule = propose(turn, data.exchange, _request(command, data), source)
        if rule is not None:
            _refused(turn, command, rule)
    elif isinstance(data, OrderCancel):
        _cancel_one(turn, command, data)
    elif isinstance(data, CancelAll):
        _cancel_all(turn, data)
    elif isinstance(data, TradingSwitch):
        _switch(turn, command, data)
    elif command.type == "account.report":
        read_balances(turn)
    elif turn.state.can_rotate_key:
        turn.do(RotateKey(command.id))
    else:
        _refused(turn, command, "unsupported")


def _cancel_one(turn: Turn, command: Command, data: OrderCancel) -> None:
    order = turn.state.orders.get(data.client_order_id)
    if order is None:
        _refused(turn, command, "no_such_order")
    elif order.ended:
        _refused(turn, command, "order_ended")
    else:
        cancel(turn, order)


def _cancel_all(turn: Turn, data: CancelAll) -> None:
    for order in list(turn.state.orders.values()):
        if data.exchange in (None, order.exchange) and data.symbol in (None, order.symbol):
            cancel(turn, order)


def _switch(turn: Turn, command: Command, data: TradingSwitch) -> None:
    if command.type == "trading.pause":
        pause(turn, PAUSED_BY_SERVER, by="server", reason=data.reason or "the server asked for it")
        return
    lift(turn, PAUSED_BY_SERVER, by="server")
    if turn.state.pauses:
        held_by = PAUSED_BY_OWNER if PAUSED_BY_OWNER in turn.state.pauses else next(iter(turn.state.pauses))
        _refused(turn, command, held_by)


def _request(command: Command, data: OrderPlace) -> OrderRequest:
    return OrderRequest(
        client_order_id=order_of_command(command.id),
        symbol=data.symbol,
        side=Side(data.side),
        type=OrderType(data.type),
        amount=data.amount,
        price=data.price,
        stop_price=data.stop_price,
        time_in_force=TimeInForce(data.time_in_force),
        reduce_only=data.reduce_only,
    )


def _refuse_order(turn: Turn, command: Command, data: OrderPlace) -> None:
    asked = _request(command, data)
    order = Order(
        client_order_id=asked.client_order_id,
        exchange=data.exchange,
        symbol=asked.symbol,
        side=asked.side,
        type=asked.type,
        amount=asked.amount,
        price=asked.price,
        stop_price=asked.stop_price,
        time_in_force=asked.time_in_force,
        reduce_only=asked.reduce_only,
        created_at=turn.at,
        wanted_until=command.expires_at,
        market_at=turn.state.market_at,
        command_id=command.id,
    )
    refuse(turn, order, Verdict("server_commands", "the owner takes no commands from the server"))


def _refused(turn: Turn, command: Command, rule: str, *, detail: str | None = None) -> None:
    more = {} if detail is None else {"detail": detail}
    turn.report("command.refused", command_id=command.id, rule=rule, **more)
