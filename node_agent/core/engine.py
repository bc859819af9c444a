"""The node's mind: one pure function from what happened to what is to be done.

    state, effects = step(state, event)

The first effect is the append of all that the step decided, whenever it decided anything; what touches an exchange or
the server comes behind it. An event that changes nothing has no effect. Nothing here waits, reads a clock or fails.
"""

from __future__ import annotations

from typing import assert_never

from node_agent.core import events
from node_agent.core.account import take_balances, take_price
from node_agent.core.commands import end_rotation, take_commands
from node_agent.core.effects import Cancel, Effect
from node_agent.core.execution import (
    reconcile,
    take_cancel_failure,
    take_due,
    take_fill,
    take_lookup,
    take_submit_failure,
    take_told,
)
from node_agent.core.intents import ask_strategies
from node_agent.core.orders import OrderState
from node_agent.core.pauses import lift, pause
from node_agent.core.policy import Policy
from node_agent.core.state import PAUSED_BY_OWNER, PAUSED_BY_SERVER, SUSPENDED, State
from node_agent.core.turn import Turn
from node_protocol.messages import Command


def step(state: State, event: events.CoreEvent) -> tuple[State, tuple[Effect, ...]]:
    """The state after `event`, and what is to be done about it, in this order."""
    turn = Turn(state, event.at)
    commands: tuple[Command, ...] = ()
    match event:
        case events.CandleClosed():
            if take_price(turn, event.candle) and not state.stopping:
                ask_strategies(turn, event.candle)
        case events.CommandsArrived():
            commands = event.commands
        case events.Started():
            _start(turn, event)
        case events.Stopping():
            _stop(turn, event)
        case events.BalancesTold():
            take_balances(turn, event)
        case events.PolicyRead():
            _take_policy(turn, event.policy)
        case events.KeyRotationEnded():
            end_rotation(turn, event.command_id, event.failed)
        case events.Suspended() | events.ServerSeen() | events.OwnerPaused() | events.OwnerResumed():
            _switch(turn, event)
        case _:
            _about_an_order(turn, event)
    take_commands(turn, commands)
    return turn.finish()


def _about_an_order(
    turn: Turn,
    event: events.FillTold
    | events.OrderTold
    | events.SubmitFailed
    | events.CancelFailed
    | events.LookedFor
    | events.Due,
) -> None:
    match event:
        case events.FillTold():
            take_fill(turn, event.fill)
        case events.OrderTold():
            take_told(turn, event.order)
        case events.SubmitFailed():
            take_submit_failure(turn, event)
        case events.CancelFailed():
            take_cancel_failure(turn, event)
        case events.LookedFor():
            take_lookup(turn, event)
        case events.Due():
            take_due(turn, event.client_order_id)
        case _:
            assert_never(event)


def _switch(turn: Turn, event: events.Suspended | events.ServerSeen | events.OwnerPaused | events.OwnerResumed) -> None:
    match event:
        case events.Suspended():
            pause(turn, SUSPENDED, by="rule", reason=event.reason)
        case events.ServerSeen():
            lift(turn, SUSPENDED, by="rule")
        case events.OwnerPaused():
            pause(turn, PAUSED_BY_OWNER, by="owner", reason=event.reason)
        case events.OwnerResumed():
            lift(turn, PAUSED_BY_SERVER, by="owner")
            lift(turn, PAUSED_BY_OWNER, by="owner")
        case _:
            assert_never(event)


def _start(turn: Turn, event: events.Started) -> None:
    turn.change(
        version=event.version,
        mode=event.mode,
        exchange=event.exchange,
        markets=dict(event.markets),
        strategies=event.strategies,
        can_rotate_key=event.can_rotate_key,
        stopping=False,
        reading_balances=False,
        read_again=False,
        untraded={},
        rereadings=0,
    )
    turn.fact("node", {"version": event.version, "mode": event.mode, "exchange": event.exchange})
    turn.report("node.started", version=event.version, mode=event.mode)
    _take_policy(turn, event.policy)
    for fill in event.fills:
        take_fill(turn, fill)
    for client_order_id, lookup in event.lookups.items():
        order = turn.state.orders.get(client_order_id)
        if order is None or order.ended:
            continue
        reconcile(turn, order, lookup)
        if turn.state.orders[client_order_id].state is OrderState.CANCELLING:
            turn.do(Cancel(client_order_id, order.symbol))


def _stop(turn: Turn, event: events.Stopping) -> None:
    if turn.state.stopping:
        return
    turn.change(stopping=True)
    turn.report("node.stopping", version=turn.state.version, mode=turn.state.mode, reason=event.reason)


def _take_policy(turn: Turn, policy: Policy) -> None:
    before = turn.state.policy_digest
    turn.change(policy=policy, policy_digest=policy.digest)
    if before == policy.digest:
        return
    turn.fact("policy_digest", policy.digest)
    if before is not None:
        turn.report("policy.changed", digest=policy.digest)
