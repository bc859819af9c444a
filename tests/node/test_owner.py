"""What the owner says holds: pause, resume, an order, a cancel or a giving-up by hand, under the owner's own limits."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from node_agent.core import effects, events
from node_agent.core.events import Failure, Lookup
from node_agent.core.ids import order_of_owner
from node_agent.core.market import ExchangeStatus, OpenOrder, OrderRequest, OrderType, Side
from node_agent.core.orders import OrderState
from node_agent.core.state import PAUSED_BY_OWNER, RISK_CHECK_FAILED, STOP_FILE, STOPPED_BY_OWNER, Trading
from tests.node.kept import Kept, cancelled, kept, protecting, resting, sent, stop_file
from tests.node.values import START, Node, command, fill, limits, place, ready, state_of, told

S = ExchangeStatus


def by_hand(number: str = "1", side: Side = Side.BUY, amount: str = "0.01", **more: Any) -> OrderRequest:
    """An order that the owner asks for."""
    asked = OrderRequest(order_of_owner("test", number), "BTC/USD", side, OrderType.MARKET, D(amount))
    return replace(asked, **more)


def wants(node: Node, asked: OrderRequest, exchange: str = "paper") -> list[OrderRequest]:
    """What of it is sent."""
    return sent(node.take(events.OwnerWants(node.now, exchange, asked)))


# Pause and resume.


def test_a_pause_stops_entries_and_leaves_orders_and_exits() -> None:
    node = ready()
    node.bought("a", "0.02", 40000)
    entry, stop = resting(node, "entry"), protecting(node)
    wanted = node.take(events.OwnerPaused(START, "holidays"))
    assert cancelled(wanted) == []
    assert node.last("node.paused") == {"by": "owner", "rule": "paused_by_owner", "reason": "holidays"}
    assert node.state.trading is Trading.REDUCING
    assert [state_of(node, each) for each in (entry, stop)] == [OrderState.OPEN, OrderState.OPEN]
    assert node.refused_by(place("b")) == "paused_by_owner"
    assert len(node.order(place("c", "sell"))) == 1


def test_a_pause_that_is_asked_for_twice_keeps_its_first_reason() -> None:
    node = ready()
    node.take(events.OwnerPaused(START, "holidays"))
    assert node.take(events.OwnerPaused(START, "lunch")) == ()
    assert node.state.pauses[PAUSED_BY_OWNER].reason == "holidays"


def test_a_pause_outlives_the_process(tmp_path: Path) -> None:
    node = kept(tmp_path)
    node.take(events.OwnerPaused(START, "holidays"))
    before = node.state.pauses
    node.restart()
    assert node.state.pauses == before
    assert node.refused_by(place("a")) == "paused_by_owner"


def test_resume_lifts_what_owner_and_server_stopped_and_no_rule_of_the_limits() -> None:
    node = ready(daily_loss=D(20))
    node.bought("a", "0.02", 40000)
    node.order(command("p", "trading.pause"))
    node.take(events.OwnerPaused(START, "so"))
    node.take(events.OwnerStops(START, flatten=False, then_end=False, reason="so"))
    node.tick(1, 39000)
    node.take(events.ClockCompared(START, 5.0))
    node.take(events.OwnerResumed(START))
    assert sorted(node.state.pauses) == ["clock_drift", "daily_loss"]
    assert "clock_drift" in node.last("node.note")["text"]
    assert "node.resumed" not in node.told_types


def test_the_server_cannot_lift_what_the_owner_stopped() -> None:
    node = ready()
    node.take(events.OwnerStops(START, flatten=False, then_end=False, reason="so"))
    assert node.refused_by(command("r", "trading.resume")) == STOPPED_BY_OWNER
    assert node.refused_by(place("a")) == STOPPED_BY_OWNER


# By hand.


def test_an_order_by_hand_is_written_down_sent_and_reported_like_any_other() -> None:
    node = ready()
    append, submit = node.take(events.OwnerWants(START, "paper", by_hand()))
    assert isinstance(append, effects.Append)
    assert isinstance(submit, effects.Submit)
    assert append.orders[0].request() == submit.request == by_hand()
    assert [event.type for event in append.events] == ["order.submitting"]


@pytest.mark.parametrize(
    ("rule", "asked", "exchange"),
    [
        ("exchange", by_hand(), "binance"),
        ("symbol", by_hand(symbol="XRP/USD"), "paper"),
        ("max_order_notional", by_hand(amount="0.0251"), "paper"),
        ("price_collar", by_hand(type=OrderType.LIMIT, price=D(48001)), "paper"),
        ("reduce_only", by_hand(reduce_only=True), "paper"),
        ("step_size", by_hand(amount="0.00001"), "paper"),
        ("minimum_notional", by_hand(amount="0.0002"), "paper"),
    ],
)
def test_the_owners_limits_hold_for_the_owners_hand(rule: str, asked: OrderRequest, exchange: str) -> None:
    node = ready()
    assert wants(node, asked, exchange) == []
    assert node.last("intent.refused")["rule"] == rule
    assert state_of(node, asked) is OrderState.REFUSED


@pytest.mark.parametrize("rule", [PAUSED_BY_OWNER, STOP_FILE, RISK_CHECK_FAILED])
def test_what_is_stopped_is_stopped_for_the_owners_hand_too(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    node = ready()
    node.bought("a", "0.02", 40000)
    if rule == PAUSED_BY_OWNER:
        node.take(events.OwnerPaused(START, "so"))
    elif rule == STOP_FILE:
        stop_file(node)
    else:
        with monkeypatch.context() as patch:
            patch.setattr("node_agent.core.intents.check", _broken)
            wants(node, by_hand("0"))
    assert wants(node, by_hand("1")) == []
    assert node.last("intent.refused")["rule"] == rule
    assert len(wants(node, by_hand("2", Side.SELL))) == 1


def test_the_same_order_by_hand_is_one_order() -> None:
    node = ready()
    assert len(wants(node, by_hand())) == 1
    assert node.take(events.OwnerWants(START, "paper", by_hand())) == ()


def test_orders_by_hand_count_into_the_limits_of_everybody() -> None:
    node = ready(orders_per_minute=1)
    wants(node, by_hand())
    assert node.refused_by(place("a")) == "orders_per_minute"


def test_an_order_by_hand_that_cannot_be_sent_is_wanted_for_a_minute(tmp_path: Path) -> None:
    node = kept(tmp_path)
    wants(node, by_hand())
    name = by_hand().client_order_id
    node.take(events.SubmitFailed(START, name, Failure.UNAVAILABLE, "away"))
    node.after(60)
    assert sent(node.take(events.Due(node.now, name))) == [by_hand()]
    node.take(events.SubmitFailed(node.now, name, Failure.UNAVAILABLE, "away"))
    node.after(1)
    assert sent(node.take(events.Due(node.now, name))) == []
    assert state_of(node, by_hand()) is OrderState.CANCELLED


def test_what_waited_for_the_exchange_at_a_start_is_as_old_as_the_owners_word() -> None:
    node = ready(max_signal_age=timedelta(seconds=20))
    later = START + timedelta(seconds=30)
    node.take(events.OwnerWants(later, "paper", by_hand("1"), asked_at=START))
    assert node.last("intent.refused")["rule"] == "signal_age"
    assert len(sent(node.take(events.OwnerWants(later, "paper", by_hand("2"), asked_at=later)))) == 1


def test_a_node_that_is_stopping_places_nothing_by_hand() -> None:
    node = ready()
    node.take(events.Stopping(START, "SIGTERM"))
    assert wants(node, by_hand()) == []
    assert by_hand().client_order_id not in node.state.orders


def test_an_order_is_cancelled_by_hand_whoever_asked_for_it(tmp_path: Path) -> None:
    node: Kept = kept(tmp_path)
    entry = resting(node, "entry")
    assert cancelled(node.take(events.OwnerCancels(START, entry.client_order_id))) == [entry.client_order_id]
    assert node.take(events.OwnerCancels(START, entry.client_order_id)) == ()
    node.tell(entry, S.CANCELLED)
    assert node.take(events.OwnerCancels(START, entry.client_order_id)) == ()
    assert node.take(events.OwnerCancels(START, "f" * 32)) == ()


def test_protection_is_cancelled_by_hand_while_trading_is_halted() -> None:
    node = ready()
    node.bought("a", "0.02", 40000)
    stop = protecting(node)
    node.take(events.KeyRefused(START, "expired"))
    assert cancelled(node.take(events.OwnerCancels(START, stop.client_order_id))) == [stop.client_order_id]


# An order that is nowhere.


def nowhere(node: Node) -> OrderRequest:
    """An order that was open, and that the exchange does not find any more."""
    request = resting(node, "gone")
    node.take(events.LookedFor(node.now, request.client_order_id, Lookup(None)))
    assert state_of(node, request) is OrderState.UNKNOWN
    return request


def given_up(node: Node) -> OrderRequest:
    """The same, when the owner has said that it is not there."""
    request = nowhere(node)
    node.take(events.OwnerGivesUp(node.now, request.client_order_id))
    return request


def turns_up(node: Node, request: OrderRequest) -> None:
    """It is open at the exchange after all; it is cancelled there, and has traded meanwhile."""
    listed = events.OpenOrdersTold(node.now, (OpenOrder(told(request, S.OPEN), request.side, request.price),))
    node.take(listed)
    assert cancelled(node.take(listed)) == [request.client_order_id]
    node.take(events.FillTold(node.now, fill(request, "t1", 39000)))


def test_an_order_that_is_nowhere_is_given_up_at_the_owners_word_and_its_symbol_is_free_again() -> None:
    node = ready()
    request = nowhere(node)
    assert node.refused_by(place("a")) == "unknown_order"
    node.take(events.OwnerGivesUp(node.now, request.client_order_id))
    assert node.last("order.cancelled")["reason"] == "the owner says that the exchange does not have it"
    assert len(node.order(place("b"))) == 1


def test_the_kill_switch_need_not_wait_for_an_order_that_is_given_up() -> None:
    node = ready()
    request = nowhere(node)
    node.take(events.OwnerStops(START, flatten=True, then_end=True, reason="so"))
    wanted = node.take(events.OwnerGivesUp(node.now, request.client_order_id))
    assert any(isinstance(each, effects.End) for each in wanted)


def test_an_order_that_is_given_up_and_turns_up_is_cancelled_and_what_it_traded_counts(tmp_path: Path) -> None:
    node = kept(tmp_path)
    request = given_up(node)
    node.restart()
    turns_up(node, request)
    assert node.state.holdings["BTC/USD"].amount == request.amount
    assert sent(tuple(node.done)) == [request]


@pytest.mark.parametrize("restarts", [True, False])
def test_an_order_that_is_given_up_is_known_for_ours_however_many_ended_since(tmp_path: Path, restarts: bool) -> None:
    """A server need only ask for what is refused to make a node forget it."""
    node = kept(tmp_path, policy=limits(orders_per_minute=10_000))
    request = given_up(node)
    node.order(*[place(f"refused-{number}", amount="99") for number in range(700)])
    for number in range(700):
        node.tell(node.order(place(f"ended-{number}", amount="0.0003"))[0], S.EXPIRED)
    if restarts:
        node.restart()
    turns_up(node, request)
    assert node.state.holdings["BTC/USD"].amount == request.amount


def test_orders_that_were_refused_push_none_out_that_were_not(tmp_path: Path) -> None:
    node = kept(tmp_path)
    entry = resting(node, "a")
    node.tell(entry, S.CANCELLED)
    node.order(*[place(f"refused-{number}", amount="99") for number in range(1300)])
    assert entry.client_order_id in node.state.orders
    node.restart()
    assert entry.client_order_id in node.state.orders


@pytest.mark.parametrize("state", [S.OPEN, S.FILLED, None])
def test_only_an_unknown_order_can_be_given_up(state: ExchangeStatus | None) -> None:
    node = ready()
    (request,) = node.order(place("a"))
    if state is not None:
        node.tell(request, state)
    before = state_of(node, request)
    assert node.take(events.OwnerGivesUp(START, request.client_order_id)) == ()
    assert node.take(events.OwnerGivesUp(START, "f" * 32)) == ()
    assert state_of(node, request) is before


def _broken(*args: object, **more: object) -> None:
    raise ZeroDivisionError("a check that is broken")
