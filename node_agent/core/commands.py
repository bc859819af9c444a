"""What the server asks for: each command once, in its time, and only as far as the owner's limits let it.

Order of the checks, the first that fails being the rule that is reported: seen before (nothing happens, not even a
report), `expired`, `unknown_command`, `malformed`, `server_commands`, then the command's own. What became of a command
is told by an event that names it; one that was dealt with is written down as done in the same append.

An order that only reduces waits, before all these checks, while another of its symbol is on its way: the position that
it is to reduce is not known yet. Orders of that symbol behind it wait with it; all else overtakes, and a cancel takes
out what waits. Nothing waits longer than half a minute, or than its own time. A rotation of the key is done when it has
ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

from node_agent.core import windup
from node_agent.core.account import read_balances
from node_agent.core.effects import RotateKey
from node_agent.core.ids import order_of_command
from node_agent.core.intents import Source, propose, refuse, request_of
from node_agent.core.pauses import cancel, lift, pause
from node_agent.core.policy import TRADING_COMMANDS, Verdict
from node_agent.core.state import PAUSED_BY_OWNER, PAUSED_BY_SERVER, STOPPED_BY_OWNER, Waiting
from node_agent.core.turn import Turn, shifted
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

_PATIENCE: Final = timedelta(seconds=30)
"""How long an order waits for those before it: then it is judged by what is known."""


def take_commands(turn: Turn, commands: Iterable[Command] = ()) -> None:
    """Take those that waited, and these behind them; what must still wait is kept.

    Of a node that is stopping nothing is taken: the next start finds them in the journal.
    """
    found = (*turn.state.waiting, *(Waiting(command, turn.at) for command in commands))
    if turn.state.stopping or not found:
        return
    turn.change(waiting=())
    for each in found:
        if _must_wait(turn, each):
            turn.change(waiting=(*turn.state.waiting, each))
        elif each.command.id not in turn.state.commands:
            _take(turn, each.command)


def end_rotation(turn: Turn, command_id: str, failed: str | None) -> None:
    """A rotation that a command asked for is over."""
    turn.done(command_id)
    text = "the node key was rotated" if failed is None else f"no new node key: {failed}"
    turn.report("node.note", text=text, command_id=command_id)


def _must_wait(turn: Turn, each: Waiting) -> bool:
    """Whether an order comes too early to be judged, or behind one of its symbol that does."""
    command = each.command
    if command.type != "order.place":
        return False
    if turn.server_at >= command.expires_at or turn.at >= each.since + _PATIENCE:
        return False
    symbol = command.data.get("symbol")
    if any(before.command.data.get("symbol") == symbol for before in turn.state.waiting):
        return True
    if command.data.get("reduce_only") is not True:
        return False
    return any(order.on_its_way and order.symbol == symbol for order in turn.state.orders.values())


def _take_out(turn: Turn, taken: Callable[[Command], bool]) -> bool:
    """Refuse those that wait and are meant, as cancelled. Whether there were any."""
    meant = [each.command for each in turn.state.waiting if taken(each.command)]
    turn.change(waiting=tuple(each for each in turn.state.waiting if each.command not in meant))
    for command in meant:
        _refused(turn, command, "cancelled")
    return bool(meant)


def _take(turn: Turn, command: Command) -> None:
    """Carry one command out, or say why not."""
    if turn.server_at >= command.expires_at:
        turn.done(command.id)
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
    if command.type in TRADING_COMMANDS and command.type not in turn.state.policy.server_commands:
        if isinstance(data, OrderPlace):
            verdict = Verdict("server_commands", "the owner takes no such command from the server")
            asked = request_of(order_of_command(command.id), data)
            refuse(turn, data.exchange, asked, _source(turn, command), verdict)
        _refused(turn, command, "server_commands")
        return
    _carry_out(turn, command, data)


def _carry_out(turn: Turn, command: Command, data: CommandData) -> None:
    if command.type == "key.rotate" and turn.state.can_rotate_key:
        turn.begun(command.id)
        turn.do(RotateKey(command.id))
        return
    rule = _tried(turn, command, data)
    if rule is not None:
        _refused(turn, command, rule)
        return
    turn.done(command.id)
    if not isinstance(data, OrderPlace):  # an order's own events name its command
        turn.report("node.note", text=f"carried out: {command.type}", command_id=command.id)


def _tried(turn: Turn, command: Command, data: CommandData) -> str | None:
    """Do what is asked. Returns the rule by which it was not done."""
    if isinstance(data, OrderPlace):
        asked = request_of(order_of_command(command.id), data)
        return propose(turn, data.exchange, asked, _source(turn, command))
    if isinstance(data, OrderCancel):
        return _cancel_one(turn, data)
    if isinstance(data, CancelAll):
        _cancel_all(turn, data)
        return None
    if isinstance(data, TradingSwitch):
        return _switch(turn, command, data)
    if command.type == "account.report":
        read_balances(turn)
        return None
    return "unsupported"


def _cancel_one(turn: Turn, data: OrderCancel) -> str | None:
    order = turn.state.orders.get(data.client_order_id)
    if order is None:
        waited = _take_out(turn, lambda command: order_of_command(command.id) == data.client_order_id)
        return None if waited else "no_such_order"
    if order.ended:
        return "order_ended"
    if order.client_order_id in windup.exits(turn.state):
        return STOPPED_BY_OWNER
    cancel(turn, order)
    return None


def _cancel_all(turn: Turn, data: CancelAll) -> None:
    def meant(command: Command) -> bool:
        wanted = ((data.exchange, command.data.get("exchange")), (data.symbol, command.data.get("symbol")))
        return all(asked in (None, has) for asked, has in wanted)

    _take_out(turn, meant)
    exits = windup.exits(turn.state)
    for order in turn.state.live:
        if order.client_order_id in exits:
            continue
        if data.exchange in (None, order.exchange) and data.symbol in (None, order.symbol):
            cancel(turn, order)


def _switch(turn: Turn, command: Command, data: TradingSwitch) -> str | None:
    if command.type == "trading.pause":
        pause(turn, PAUSED_BY_SERVER, by="server", reason=data.reason or "the server asked for it")
        return None
    lift(turn, PAUSED_BY_SERVER, by="server")
    if not turn.state.pauses:
        return None
    return PAUSED_BY_OWNER if PAUSED_BY_OWNER in turn.state.pauses else next(iter(turn.state.pauses))


def _source(turn: Turn, command: Command) -> Source:
    """Who asks, with the command's times by our own clock."""
    return Source(
        wanted_until=shifted(command.expires_at, -turn.state.server_ahead),
        command_id=command.id,
        signal_age=turn.server_at - command.issued_at,
    )


def _refused(turn: Turn, command: Command, rule: str, *, detail: str | None = None) -> None:
    turn.done(command.id)
    more = {} if detail is None else {"detail": detail}
    turn.report("command.refused", command_id=command.id, rule=rule, **more)
