"""The life of an order: its table is whole, its ends are ends, and what cannot happen changes nothing."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from node_agent.core.market import OrderType, Side, TimeInForce
from node_agent.core.orders import ENDED, REPORTED, TRANSITIONS, ImpossibleTransition, Move, Order, OrderState, moved
from tests.node.values import START

ORDER = Order(
    client_order_id="0" * 32,
    exchange="paper",
    symbol="BTC/USD",
    side=Side.BUY,
    type=OrderType.LIMIT,
    amount=D("0.5"),
    price=D(100),
    stop_price=None,
    time_in_force=TimeInForce.GTC,
    reduce_only=False,
    decided_at=START,
    placed_at=START,
    wanted_until=START + timedelta(minutes=1),
)


def in_state(state: OrderState, **changes: Any) -> Order:
    from dataclasses import replace

    return replace(ORDER, state=state, **changes)


def test_the_table_has_a_row_for_every_state() -> None:
    assert set(TRANSITIONS) == set(OrderState)


def test_five_states_are_ends() -> None:
    assert {str(state) for state in ENDED} == {"filled", "cancelled", "expired", "rejected", "refused"}


@pytest.mark.parametrize("state", sorted(OrderState))
def test_a_move_follows_the_table_or_is_impossible(state: OrderState) -> None:
    for move in Move:
        if move in TRANSITIONS[state]:
            assert moved(in_state(state), move).state is TRANSITIONS[state][move]
        else:
            with pytest.raises(ImpossibleTransition):
                moved(in_state(state), move)


def test_every_state_can_be_reached_from_intent() -> None:
    reached = {OrderState.INTENT}
    while more := {after for state in reached for after in TRANSITIONS[state].values()} - reached:
        reached |= more
    assert reached == set(OrderState)


def test_every_state_that_is_not_an_end_can_end() -> None:
    for state in set(OrderState) - ENDED:
        reached = {state}
        while more := {after for each in reached for after in TRANSITIONS[each].values()} - reached:
            reached |= more
        assert reached & ENDED


def test_nothing_reaches_the_exchange_before_it_is_submitting() -> None:
    assert set(TRANSITIONS[OrderState.INTENT].values()) == {OrderState.ACCEPTED, OrderState.REFUSED}
    ways_out = {OrderState.SUBMITTING, OrderState.UNKNOWN, OrderState.CANCELLED}
    assert set(TRANSITIONS[OrderState.ACCEPTED].values()) == ways_out


def test_the_protocol_has_an_event_for_each_reported_state() -> None:
    names = "submitting open partly_filled filled cancelled expired rejected unknown"
    assert {str(state) for state in REPORTED} == set(names.split())


def test_a_found_order_with_fills_is_partly_filled_not_open() -> None:
    found = moved(in_state(OrderState.UNKNOWN, filled=D("0.1")), Move.OPENED)
    assert found.state is OrderState.PARTLY_FILLED


def test_what_remains_of_an_ended_order_is_nothing() -> None:
    assert in_state(OrderState.CANCELLED, filled=D("0.1")).remaining == 0
    assert in_state(OrderState.CANCELLING, filled=D("0.1")).remaining == D("0.4")
