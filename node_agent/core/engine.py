"""The node's mind: one pure function from what happened to what is to be done.

    state, effects = step(state, event)

The first effect is the append of all that the step decided, whenever it decided anything; what touches an exchange or
the server comes behind it. An event that changes nothing has no effect. Nothing here waits, reads a clock or fails.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from node_agent.core import events, memory, windup
from node_agent.core.account import begin_day, own_no_more_than_is_held, stop_at_loss, take_balances, take_price
from node_agent.core.commands import end_rotation, take_commands
from node_agent.core.effects import Cancel, Effect
from node_agent.core.execution import (
    reconcile,
    take_cancel_failure,
    take_due,
    take_fill,
    take_lookup,
    take_open_orders,
    take_submit_failure,
    take_told,
)
from node_agent.core.intents import ask_strategies
from node_agent.core.orders import OrderState
from node_agent.core.owner import take_owner
from node_agent.core.pauses import lift, pause
from node_agent.core.policy import Policy
from node_agent.core.risk import trading_time
from node_agent.core.state import (
    KEY_REFUSED,
    KEY_REJECTED,
    POLICY_UNREADABLE,
    SERVER_SILENCE,
    SUSPENDED,
    TRADING_REFUSED,
    State,
)
from node_agent.core.turn import Turn
from node_agent.core.watch import take_clock, take_tick


def step(state: State, event: events.CoreEvent) -> tuple[State, tuple[Effect, ...]]:
    """The state after `event`, and what is to be done about it, in this order."""
    turn = Turn(state, event.at)
    if state.day is not None:  # whatever it is that happens first on a new day
        begin_day(turn, trading_time(state, event.at))
    if isinstance(event, events.OwnerEvent):
        take_owner(turn, event)
    elif isinstance(event, events.OrderEvent):
        _about_an_order(turn, event)
    else:
        _about_the_node(turn, event)
    take_commands(turn, event.commands if isinstance(event, events.CommandsArrived) else ())
    windup.go_on(turn)
    return turn.finish()


def _about_the_node(turn: Turn, event: events.NodeEvent) -> None:
    match event:
        case events.CandleClosed():
            if take_price(turn, event.candle) and not turn.state.stopping:
                ask_strategies(turn, event.candle)
        case events.CommandsArrived():
            pass
        case events.Started():
            _start(turn, event)
        case events.Stopping():
            _stop(turn, event)
        case events.BalancesTold():
            take_balances(turn, event)
        case events.OpenOrdersTold():
            take_open_orders(turn, event.orders)
            lift(turn, KEY_REFUSED, by="rule")
        case events.KeyRotationEnded():
            end_rotation(turn, event.command_id, event.failed)
        case events.Tick():
            take_tick(turn)
        case _:
            _switch(turn, event)


def _about_an_order(turn: Turn, event: events.OrderEvent) -> None:
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


def _switch(
    turn: Turn,
    event: events.Suspended
    | events.ServerSeen
    | events.PolicyRead
    | events.PolicyUnreadable
    | events.ClockCompared
    | events.KeyRefused
    | events.KeyJudged,
) -> None:
    """What stops new risk, and what lets it go on."""
    match event:
        case events.Suspended():
            pause(turn, SUSPENDED, by="rule", reason=event.reason)
        case events.ServerSeen():
            turn.change(server_seen_at=turn.at, server_ahead=event.server_ahead)
            lift(turn, SUSPENDED, by="rule")
            lift(turn, SERVER_SILENCE, by="rule")
        case events.PolicyRead():
            _take_policy(turn, event.policy)
        case events.PolicyUnreadable():
            pause(turn, POLICY_UNREADABLE, by="rule", reason=event.reason)
        case events.ClockCompared():
            take_clock(turn, event.ahead)
        case events.KeyRefused():
            _take_key_refused(turn, event)
        case events.KeyJudged(flaw=str(flaw)):
            # That nothing was told of it, or what it may do, are two things, and its owner is to see the last.
            pause(turn, KEY_REJECTED, by="rule", reason=flaw, renews=True)
        case events.KeyJudged():
            lift(turn, KEY_REJECTED, by="rule")
        case _:
            assert_never(event)


def _take_key_refused(turn: Turn, event: events.KeyRefused) -> None:
    """Reading shows by itself when the key is taken again; that orders are taken only an order would show."""
    if not event.acting:
        pause(turn, KEY_REFUSED, by="rule", reason=event.reason)
        lift(turn, TRADING_REFUSED, by="rule")
    elif KEY_REFUSED not in turn.state.pauses:
        pause(turn, TRADING_REFUSED, by="rule", reason=event.reason)


def _start(turn: Turn, event: events.Started) -> None:
    turn.change(
        version=event.version,
        mode=event.mode,
        exchange=event.exchange,
        markets=dict(event.markets),
        strategies=event.strategies,
        can_rotate_key=event.can_rotate_key,
        conduct=event.conduct,
        reports_to_server=event.reports_to_server,
        server_ahead=event.server_ahead,
        started_at=turn.at,
        server_seen_at=turn.state.server_seen_at or turn.at,
        stopping=False,
        reading_balances=False,
        read_again=False,
        untraded={},
        rereadings=0,
    )
    turn.fact("markets", memory.markets(turn.state))
    turn.fact("node", {"version": event.version, "mode": event.mode, "exchange": event.exchange})
    turn.report("node.started", version=event.version, mode=event.mode)
    if event.unreadable is None:
        _take_policy(turn, event.policy)
    else:
        turn.change(policy=event.policy)
        pause(turn, POLICY_UNREADABLE, by="rule", reason=event.unreadable)
    own_no_more_than_is_held(turn)
    for fill in event.fills:
        take_fill(turn, fill)
    for client_order_id, lookup in event.lookups.items():
        order = turn.state.orders.get(client_order_id)
        if order is None or order.ended:
            continue
        # What was told before the crash, and waited for fills, is told anew by the answer.
        reconcile(turn, turn.put(replace(order, told=None)), lookup)
        if turn.state.orders[client_order_id].state is OrderState.CANCELLING:
            turn.do(Cancel(client_order_id, order.symbol))


def _stop(turn: Turn, event: events.Stopping) -> None:
    if turn.state.stopping:
        return
    turn.change(stopping=True)
    turn.report("node.stopping", version=turn.state.version, mode=turn.state.mode, reason=event.reason)


def _take_policy(turn: Turn, policy: Policy) -> None:
    before = turn.state.policy_digest
    lift(turn, POLICY_UNREADABLE, by="rule")
    turn.change(policy=policy, policy_digest=policy.digest)
    if before == policy.digest:
        return
    turn.fact("policy_digest", policy.digest)
    if before is not None:
        turn.report("policy.changed", digest=policy.digest)
    stop_at_loss(turn)
