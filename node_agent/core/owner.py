"""The owner's own word: pause, resume, the kill switch, an order by hand, a cancel, or that one is not there."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, assert_never

from node_agent.core import events, windup
from node_agent.core.changed import changed
from node_agent.core.intents import Source, propose, refuse
from node_agent.core.orders import Move, OrderState
from node_agent.core.pauses import cancel, lift, pause
from node_agent.core.policy import Verdict
from node_agent.core.state import (
    PAUSED_BY_OWNER,
    PAUSED_BY_SERVER,
    RISK_CHECK_FAILED,
    STOP_FILE,
    STOPPED_BY_OWNER,
    TRADING_REFUSED,
)
from node_agent.core.turn import Turn

_PATIENCE: Final = timedelta(seconds=60)
"""How long an order that the owner asked for by hand is worth sending."""


def take_owner(turn: Turn, event: events.OwnerEvent) -> None:
    """Do what the owner asks for."""
    match event:
        case events.OwnerPaused():
            pause(turn, PAUSED_BY_OWNER, by="owner", reason=event.reason)
        case events.OwnerResumed():
            windup.call_off(turn)
            for rule in (PAUSED_BY_SERVER, PAUSED_BY_OWNER, STOPPED_BY_OWNER, TRADING_REFUSED, RISK_CHECK_FAILED):
                lift(turn, rule, by="owner")
        case events.OwnerStops():
            pause(turn, STOPPED_BY_OWNER, by="owner", reason=event.reason)
            windup.begin(turn, STOPPED_BY_OWNER, flatten=event.flatten, then_end=event.then_end)
        case events.StopFile():
            _take_stop_file(turn, event)
        case events.OwnerWants():
            _take_wish(turn, event)
        case events.OwnerCancels():
            order = turn.state.orders.get(event.client_order_id)
            if order is not None:
                cancel(turn, order)
        case events.OwnerGivesUp():
            order = turn.state.orders.get(event.client_order_id)
            if order is not None and order.state is OrderState.UNKNOWN:
                reason = "the owner says that the exchange does not have it"
                turn.move(changed(order, given_up=True), Move.CANCELLED, reason=reason)
        case _:
            assert_never(event)


def _take_wish(turn: Turn, event: events.OwnerWants) -> None:
    if turn.state.stopping:
        return
    asked_at = event.asked_at or turn.at
    source = Source(wanted_until=asked_at + _PATIENCE, signal_age=turn.at - asked_at)
    if turn.at <= source.wanted_until:
        propose(turn, event.exchange, event.request, source)
    elif event.request.client_order_id not in turn.state.orders:
        late = Verdict("expired", "the exchange could not be asked in time")
        refuse(turn, event.exchange, event.request, source, late)


def _take_stop_file(turn: Turn, event: events.StopFile) -> None:
    if not event.there:
        if turn.state.windup is not None and turn.state.windup.wanted_by == {STOP_FILE}:
            windup.call_off(turn)
        lift(turn, STOP_FILE, by="owner")
        return
    begun = STOP_FILE in turn.state.pauses
    pause(turn, STOP_FILE, by="owner", reason="a file STOP is in the data directory")
    if event.flatten or not begun:
        windup.begin(turn, STOP_FILE, flatten=event.flatten)
