"""Of an order that did not arrive: what the exchange did not find when it was asked, and what has changed since."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D

import pytest

from node_agent.core import effects, events
from node_agent.core.events import Failure, Lookup
from node_agent.core.market import Conduct, ExchangeStatus, OrderRequest, OrderType, Side
from node_agent.core.orders import OrderState
from tests.node.values import START, Node, candle, limits, place, ready, state_of, told

LATE = Conduct(settles_within=timedelta(seconds=30), ids_unique_for_ever=False)
SOON, LATER = START + timedelta(seconds=29), START + timedelta(seconds=31)


def by_hand(number: int, side: Side, amount: str, *, reduce_only: bool = False) -> OrderRequest:
    return OrderRequest(f"{number:032x}", "BTC/USD", side, OrderType.MARKET, D(amount), reduce_only=reduce_only)


def sent(wanted: tuple[effects.Effect, ...]) -> list[str]:
    return [each.request.client_order_id for each in wanted if isinstance(each, effects.Submit)]


def lost() -> tuple[Node, OrderRequest]:
    """An order whose request may arrive for half a minute yet."""
    node = Node(conduct=LATE)
    node.tick(0, 40000)
    (request,) = node.order(place("a"))
    node.take(events.SubmitFailed(START, request.client_order_id, Failure.UNKNOWN, "no answer"))
    return node, request


@pytest.mark.parametrize("asked_at", [SOON, LATER, None])
def test_what_was_not_found_counts_from_when_it_was_asked_for(asked_at: object) -> None:
    """Asked a moment too soon and answered late, the exchange knows nothing of what arrived in between."""
    node, request = lost()
    lookup = Lookup(None, asked_at=asked_at)  # type: ignore[arg-type]
    wanted = node.take(events.LookedFor(LATER, request.client_order_id, lookup))
    assert sent(wanted) == ([] if asked_at is SOON else [request.client_order_id])


@pytest.mark.parametrize("cancelled", [False, True])
def test_what_is_not_found_while_its_request_is_under_way_is_neither_sent_twice_nor_given_up(cancelled: bool) -> None:
    node = ready()
    (request,) = node.order(place("a"))
    if cancelled:
        node.take(events.OwnerCancels(START, request.client_order_id))
    assert not node.take(events.LookedFor(START, request.client_order_id, Lookup(None)))
    assert state_of(node, request) is OrderState.SUBMITTING


def test_an_exit_that_is_more_than_the_position_by_now_is_given_up() -> None:
    """Sent, it would open a position the other way, and that while new risk is stopped."""
    node = ready(max_position_notional=D(5000), max_total_notional=D(9000))
    node.bought("held", "0.02", 40000)
    exit_ = by_hand(1, Side.SELL, "0.02", reduce_only=True)
    assert sent(node.take(events.OwnerWants(START, "paper", exit_)))
    node.take(events.SubmitFailed(START, exit_.client_order_id, Failure.UNAVAILABLE, "away"))
    beyond = by_hand(2, Side.SELL, "0.015")
    assert sent(node.take(events.OwnerWants(START, "paper", beyond)))
    node.fill(beyond, "t9", 40000)
    node.take(events.OwnerPaused(START, "so"))
    assert not sent(node.take(events.Due(START, exit_.client_order_id)))
    assert state_of(node, exit_) is OrderState.CANCELLED


def test_an_exit_that_still_only_reduces_is_sent_again_though_new_risk_is_stopped() -> None:
    node = ready()
    node.bought("held", "0.02", 40000)
    exit_ = by_hand(1, Side.SELL, "0.02", reduce_only=True)
    node.take(events.OwnerWants(START, "paper", exit_))
    node.take(events.SubmitFailed(START, exit_.client_order_id, Failure.UNAVAILABLE, "away"))
    node.take(events.OwnerPaused(START, "so"))
    assert sent(node.take(events.Due(START, exit_.client_order_id))) == [exit_.client_order_id]


def live_node_before_midnight() -> Node:
    """Its wall clock says a second before midnight, and one order a day is allowed."""
    node = Node(limits(orders_per_day=1))
    node.state = replace(node.state, mode="live")
    node.now = START.replace(hour=23, minute=59, second=59)
    node.take(events.CandleClosed(node.now, replace(candle(0, 40000), at=node.now - timedelta(minutes=1))))
    return node


def test_the_first_order_after_midnight_counts_into_the_new_day() -> None:
    """Whatever comes first on a new day begins it, not the next tick."""
    node = live_node_before_midnight()
    midnight = node.now + timedelta(seconds=1)
    assert sent(node.take(events.OwnerWants(midnight, "paper", by_hand(1, Side.BUY, "0.01"))))
    node.take(events.Tick(midnight))
    assert not sent(node.take(events.OwnerWants(midnight, "paper", by_hand(2, Side.BUY, "0.01"))))


def test_an_order_of_yesterday_is_sent_today_only_when_today_has_room() -> None:
    node = live_node_before_midnight()
    old = by_hand(1, Side.BUY, "0.01")
    assert sent(node.take(events.OwnerWants(node.now, "paper", old)))
    node.take(events.SubmitFailed(node.now, old.client_order_id, Failure.UNAVAILABLE, "away"))
    midnight = node.now + timedelta(seconds=1)
    assert sent(node.take(events.OwnerWants(midnight, "paper", by_hand(2, Side.BUY, "0.01"))))
    assert not sent(node.take(events.Due(midnight, old.client_order_id)))


def test_an_order_that_waited_for_its_fills_when_the_process_died_asks_for_them_again() -> None:
    node = ready()
    (request,) = node.order(place("a"))
    node.tell(request, ExchangeStatus.FILLED)
    assert node.state.orders[request.client_order_id].told is not None
    filled = Lookup(told(request, ExchangeStatus.FILLED))
    wanted = node.take(replace(node.started, lookups={request.client_order_id: filled}))
    assert any(isinstance(each, effects.After) and each.client_order_id == request.client_order_id for each in wanted)


def test_the_age_of_a_signal_counts_from_when_it_was_decided_whenever_it_is_sent() -> None:
    node = ready(max_signal_age=timedelta(seconds=60))
    (request,) = node.order(place("a"), after=50)
    arrived = START + timedelta(seconds=50)
    node.take(events.SubmitFailed(arrived, request.client_order_id, Failure.UNAVAILABLE, "away"))
    later = [START + timedelta(seconds=seconds) for seconds in (59, 61)]
    assert sent(node.take(events.Due(later[0], request.client_order_id))) == [request.client_order_id]
    node.take(events.SubmitFailed(later[0], request.client_order_id, Failure.UNAVAILABLE, "away"))
    assert not sent(node.take(events.Due(later[1], request.client_order_id)))
    assert state_of(node, request) is OrderState.CANCELLED


@pytest.mark.parametrize("told_first", [True, False])
def test_what_surely_did_not_arrive_and_is_there_all_the_same_is_not_sent_again(told_first: bool) -> None:
    """Its id may be free again by now: sent once more it would buy twice."""
    node = ready()
    (request,) = node.order(place("a"))
    node.take(events.SubmitFailed(START, request.client_order_id, Failure.UNAVAILABLE, "away"))
    if told_first:
        node.tell(request, ExchangeStatus.FILLED)
        assert state_of(node, request) is OrderState.UNKNOWN
    node.fill(request, "t", 40000)
    assert state_of(node, request) is OrderState.FILLED
    assert not sent(node.take(events.Due(START, request.client_order_id)))
    assert "node.note" not in node.told_types


def test_an_end_that_waits_for_its_fills_is_not_taken_back_by_an_older_word() -> None:
    node = ready()
    (request,) = node.order(place("a", type="limit", price="39000", amount="0.02"))
    node.tell(request, ExchangeStatus.CANCELLED, D("0.01"))
    node.tell(request, ExchangeStatus.OPEN, D(0))
    node.fill(request, "t", 39000, D("0.01"))
    assert state_of(node, request) is OrderState.CANCELLED


def test_fills_behind_an_end_are_asked_for_soon_though_others_are_already_waited_for() -> None:
    node = ready()
    (request,) = node.order(place("a", type="limit", price="39000", amount="0.02"))
    node.tell(request, ExchangeStatus.OPEN, D("0.005"))
    end = events.OrderTold(START, told(request, ExchangeStatus.CANCELLED, D("0.01")))
    assert effects.After(1.0, request.client_order_id) in node.take(end)
