"""The node's mind: fills once, pauses kept, nothing sent twice, and everything written down before it is done."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D

import pytest

from node_agent.core import effects, events
from node_agent.core.events import Failure, Lookup
from node_agent.core.market import ExchangeStatus, OrderRequest
from node_agent.core.orders import OrderState
from node_agent.strategies import MaTrend
from tests.node.values import START, Node, candle, command, fill, limits, place, ready, state_of, told

S = ExchangeStatus


# What is written down comes before what is done.


def test_an_order_is_written_down_before_it_is_sent() -> None:
    wanted = ready().take(events.CommandsArrived((place("a"),), START))
    append, submit = wanted
    assert isinstance(append, effects.Append)
    assert isinstance(submit, effects.Submit)
    assert append.orders[0].request() == submit.request
    assert append.commands_done == ("cmd_a",)
    assert [event.type for event in append.events] == ["order.submitting"]


def test_a_fill_and_its_report_are_one_append() -> None:
    node = ready()
    (request,) = node.order(place("a"))
    first, *_ = node.take(events.FillTold(START, fill(request, "t1", 40000)))
    assert isinstance(first, effects.Append)
    assert [event.type for event in first.events] == ["trade", "order.filled"]
    assert first.fills[0].trade_id == "t1"
    assert "holdings" in first.facts


def test_events_are_numbered_without_a_gap() -> None:
    node = ready()
    node.bought("a", "0.01", 40000)
    node.order(place("b", amount="99"), command("c", "trading.pause"))
    assert [event.seq for event in node.reports] == list(range(1, len(node.reports) + 1))
    assert len({event.id for event in node.reports}) == len(node.reports)


def test_an_event_that_changes_nothing_has_no_effect() -> None:
    node = ready()
    assert node.take(events.ServerSeen(START)) == ()
    assert node.take(events.Due(START, "nothing")) == ()


# Cancels.


def test_an_open_order_is_cancelled_once() -> None:
    node = ready()
    (request,) = node.order(place("a", type="limit", price="39000"))
    node.tell(request, S.OPEN)
    cancel = command("c", "order.cancel", client_order_id=request.client_order_id)
    again = command("d", "orders.cancel_all")
    assert effects.Cancel(request.client_order_id, "BTC/USD") in node.take(events.CommandsArrived((cancel,), START))
    assert not any(isinstance(each, effects.Cancel) for each in node.take(events.CommandsArrived((again,), START)))
    node.tell(request, S.CANCELLED)
    assert node.last("order.cancelled")["client_order_id"] == request.client_order_id


def test_a_cancel_waits_until_the_exchange_has_the_order() -> None:
    node = ready()
    (request,) = node.order(place("a", type="limit", price="39000"))
    node.order(command("c", "orders.cancel_all"))
    assert state_of(node, request) is OrderState.SUBMITTING
    wanted = node.take(events.OrderTold(START, told(request, S.OPEN)))
    assert effects.Cancel(request.client_order_id, "BTC/USD") in wanted


def test_cancel_all_keeps_to_its_symbol() -> None:
    node = ready()
    node.tick(0, 2000, "ETH/USD")
    btc, eth = node.order(
        place("a", type="limit", price="39000"),
        place("b", symbol="ETH/USD", amount="0.1", type="limit", price="1990"),
    )
    node.tell(btc, S.OPEN)
    node.tell(eth, S.OPEN)
    node.order(command("c", "orders.cancel_all", symbol="ETH/USD"))
    assert state_of(node, btc) is OrderState.OPEN
    assert state_of(node, eth) is OrderState.CANCELLING


def test_an_ended_order_cannot_be_cancelled() -> None:
    node = ready()
    request = node.bought("a", "0.01", 40000)
    assert node.refused_by(command("c", "order.cancel", client_order_id=request.client_order_id)) == "order_ended"


# Fills.


def test_a_fill_seen_twice_counts_once() -> None:
    node = ready()
    (request,) = node.order(place("a"))
    half = request.amount / 2
    for trade_id in ("t1", "t1", "t2", "t2"):
        node.fill(request, trade_id, 40000, half)
    assert node.told_types.count("trade") == 2
    assert node.state.holdings["BTC/USD"].amount == request.amount
    assert node.told_types[-3:] == ["order.partly_filled", "trade", "order.filled"]


def test_an_answer_before_its_fills_waits_for_them() -> None:
    node = ready()
    (request,) = node.order(place("a"))
    node.tell(request, S.FILLED)
    assert "order.filled" not in node.told_types
    node.fill(request, "t1", 40000)
    assert node.last("order.filled")["filled"] == "0.01"


def test_fills_that_do_not_come_are_asked_for() -> None:
    node = ready()
    (request,) = node.order(place("a"))
    node.tell(request, S.FILLED)
    wanted = node.take(events.Due(START, request.client_order_id))
    assert effects.ReadFills(START) in wanted


def test_the_average_price_is_that_of_the_fills() -> None:
    node = ready()
    (request,) = node.order(place("a"))
    node.fill(request, "t1", 40000, D("0.004"))
    node.fill(request, "t2", 40010, D("0.006"))
    assert node.last("order.filled")["average_price"] == "40006"


def test_a_fill_after_the_end_counts_and_is_noted() -> None:
    node = ready()
    (request,) = node.order(place("a", type="limit", price="39000"))
    node.tell(request, S.OPEN)
    node.tell(request, S.CANCELLED)
    node.fill(request, "t1", 39000)
    assert node.state.holdings["BTC/USD"].amount == request.amount
    assert "cancelled" in node.last("node.note")["text"]
    assert state_of(node, request) is OrderState.CANCELLED


def test_a_contradiction_is_noted_and_changes_nothing() -> None:
    node = ready()
    request = node.bought("a", "0.01", 40000)
    node.tell(request, S.CANCELLED)
    assert "says: cancelled" in node.last("node.note")["text"]
    assert state_of(node, request) is OrderState.FILLED


def test_a_late_word_of_an_ended_order_is_not_worth_one() -> None:
    node = ready()
    (request,) = node.order(place("a"))
    node.tell(request, S.OPEN)
    node.fill(request, "t1", 40000)
    before = len(node.reports)
    node.tell(request, S.OPEN)
    node.tell(request, S.FILLED)
    assert len(node.reports) == before


def test_a_strangers_fill_is_seen_and_not_counted() -> None:
    node = ready()
    (request,) = node.order(place("a"))
    node.fill(replace(request, client_order_id="f" * 32), "t9", 40000)
    assert "not ours" in node.last("node.note")["text"]
    assert "BTC/USD" not in node.state.holdings


def test_a_fee_in_the_base_currency_makes_the_position_smaller() -> None:
    node = ready()
    (request,) = node.order(place("a"))
    node.take(events.FillTold(START, replace(fill(request, "t1", 40000, fee=D("0.0001")), fee_currency="BTC")))
    assert node.state.holdings["BTC/USD"].amount == request.amount - D("0.0001")


# What the exchange does not do, or may have done.


def test_an_order_that_the_exchange_refuses_is_rejected() -> None:
    node = ready()
    (request,) = node.order(place("a"))
    node.take(events.SubmitFailed(START, request.client_order_id, Failure.REFUSED, "no money"))
    assert node.last("order.rejected")["reason"] == "no money"


def test_an_order_that_was_not_sent_is_sent_again_while_it_is_wanted() -> None:
    node = ready()
    (request,) = node.order(place("a"))
    failed = events.SubmitFailed(START, request.client_order_id, Failure.UNAVAILABLE, "away")
    node.take(failed)
    assert node.take(events.Due(START, request.client_order_id))[-1] == effects.Submit(request)
    node.take(failed)
    late = START + timedelta(seconds=301)
    assert not any(isinstance(each, effects.Submit) for each in node.take(events.Due(late, request.client_order_id)))
    assert "order.cancelled" in node.told_types


def test_an_unknown_outcome_is_looked_for_and_never_sent_blindly() -> None:
    node = ready()
    (request,) = node.order(place("a"))
    wanted = node.take(events.SubmitFailed(START, request.client_order_id, Failure.UNKNOWN, "timed out"))
    assert wanted[1:] == (effects.LookFor(request.client_order_id, "BTC/USD"),)
    assert node.last("order.unknown")["reason"] == "timed out"
    assert node.refused_by(place("b")) == "unknown_order"
    node.take(events.LookedFor(START, request.client_order_id, Lookup(None, unsure="away")))
    assert effects.LookFor(request.client_order_id, "BTC/USD") in node.take(events.Due(START, request.client_order_id))
    node.take(events.LookedFor(START, request.client_order_id, Lookup(told(request, S.FILLED))))
    node.fill(request, "t1", 40000)
    assert state_of(node, request) is OrderState.FILLED
    sent = [each for each in node.done if isinstance(each, effects.Submit)]
    assert len(sent) == 1


def test_what_is_surely_not_there_is_sent_under_the_same_id() -> None:
    node = ready()
    (request,) = node.order(place("a"))
    node.take(events.SubmitFailed(START, request.client_order_id, Failure.UNKNOWN, "timed out"))
    wanted = node.take(events.LookedFor(START, request.client_order_id, Lookup(None)))
    assert wanted[-1] == effects.Submit(request)


def test_what_is_surely_not_there_and_too_old_is_given_up() -> None:
    node = ready()
    (request,) = node.order(place("a"))
    late = START + timedelta(hours=1)
    node.take(events.SubmitFailed(late, request.client_order_id, Failure.UNKNOWN, "timed out"))
    node.take(events.LookedFor(late, request.client_order_id, Lookup(None)))
    assert state_of(node, request) is OrderState.CANCELLED


def test_an_open_order_that_the_exchange_does_not_find_is_not_taken_for_ended() -> None:
    node = ready()
    (request,) = node.order(place("a", type="limit", price="39000"))
    node.tell(request, S.OPEN)
    node.take(events.LookedFor(START, request.client_order_id, Lookup(None)))
    assert state_of(node, request) is OrderState.UNKNOWN
    assert node.refused_by(place("b")) == "unknown_order"


def test_at_start_every_order_is_what_the_exchange_says() -> None:
    node = ready()
    requests = node.order(*(place(name, type="limit", price="39000", amount="0.001") for name in "abcd"))
    open_, filled, absent, unsure = requests
    lookups = {
        open_.client_order_id: Lookup(told(open_, S.OPEN)),
        filled.client_order_id: Lookup(told(filled, S.FILLED)),
        absent.client_order_id: Lookup(None),
        unsure.client_order_id: Lookup(None, unsure="away"),
    }
    wanted = node.take(replace(node.started, lookups=lookups, fills=(fill(filled, "t1", 39000),)))
    states = [state_of(node, request) for request in requests]
    assert states == [OrderState.OPEN, OrderState.FILLED, OrderState.SUBMITTING, OrderState.UNKNOWN]
    assert [each.request for each in wanted if isinstance(each, effects.Submit)] == [absent]


# Pauses.


def test_a_pause_of_the_server_is_lifted_by_it() -> None:
    node = ready()
    node.order(command("p", "trading.pause", reason="news"))
    assert node.last("node.paused") == {"by": "server", "rule": "paused_by_server", "reason": "news"}
    assert node.refused_by(place("a")) == "paused_by_server"
    node.order(command("r", "trading.resume"))
    assert node.last("node.resumed")["by"] == "server"
    assert len(node.order(place("b"))) == 1


def test_a_pause_of_the_owner_is_lifted_by_the_owner_alone() -> None:
    node = ready()
    node.take(events.OwnerPaused(START, "holidays"))
    assert node.refused_by(command("r", "trading.resume")) == "paused_by_owner"
    assert node.refused_by(place("a")) == "paused_by_owner"
    node.take(events.OwnerResumed(START))
    assert len(node.order(place("b"))) == 1


def test_a_suspended_node_takes_no_new_risk_and_keeps_its_protection() -> None:
    node = ready()
    node.bought("a", "0.02", 40000)
    entry, stop = node.order(
        place("b", type="limit", price="39000"),
        place("c", "sell", type="stop", amount="0.01", stop_price="35000"),
    )
    node.tell(entry, S.OPEN)
    node.tell(stop, S.OPEN)
    node.take(events.Suspended("a fork", START))
    assert node.last("node.paused") == {"by": "rule", "rule": "suspended", "reason": "a fork"}
    assert state_of(node, entry) is OrderState.CANCELLING
    assert state_of(node, stop) is OrderState.OPEN
    assert node.refused_by(place("d")) == "suspended"
    assert len(node.order(place("e", "sell", amount="0.01"))) == 1
    node.take(events.ServerSeen(START))
    assert node.last("node.resumed") == {"by": "rule", "rule": "suspended"}


def test_the_days_loss_stops_new_risk_until_the_markets_next_day() -> None:
    node = ready(daily_loss=D(20))
    node.bought("a", "0.02", 40000)
    node.tick(1, 39001)
    assert not node.state.pauses
    node.tick(2, 39000)
    assert node.last("node.paused")["rule"] == "daily_loss"
    assert node.refused_by(place("b")) == "daily_loss"
    node.tick(24 * 60, 39000)
    assert node.last("node.resumed")["rule"] == "daily_loss"
    assert len(node.order(place("c", amount="0.01"))) == 1


def test_orders_a_minute_go_by_the_markets_time() -> None:
    node = ready(orders_per_minute=2)
    assert len(node.order(*(place(name, amount="0.001") for name in "abc"))) == 2
    assert node.last("command.refused")["rule"] == "orders_per_minute"
    node.tick(1, 40000)
    assert len(node.order(place("d", amount="0.001"))) == 1


def test_no_new_order_is_made_while_stopping_and_commands_wait() -> None:
    node = ready()
    node.take(events.Stopping(START, "SIGTERM"))
    assert node.last("node.stopping") == {"version": "0.1.0", "mode": "paper", "reason": "SIGTERM"}
    assert node.order(place("a")) == []
    assert "cmd_a" not in node.state.commands
    assert node.take(events.Stopping(START, "SIGTERM")) == ()


def test_changed_limits_hold_for_the_next_intent_and_are_told() -> None:
    node = ready()
    tighter = limits(max_order_notional=D(100))
    node.take(events.PolicyRead(START, tighter))
    assert node.last("policy.changed") == {"digest": tighter.digest}
    assert node.refused_by(place("a")) == "max_order_notional"
    assert node.take(events.PolicyRead(START, tighter)) == ()


# The market's clock and strategies.


def test_an_old_candle_changes_nothing() -> None:
    node = ready()
    node.tick(5, 41000)
    assert node.tick(5, 1) == ()
    assert node.tick(4, 1) == ()
    assert node.state.prices["BTC/USD"] == 41000


TREND = MaTrend("BTC/USD", fast=2, slow=4, notional=D(250))
RISING = [100, 99, 98, 97, 96, 97, 99]


def trending() -> tuple[Node, OrderRequest]:
    node = Node(strategies=(TREND,))
    sent = [each for n, price in enumerate(RISING) for each in node.tick(n, price) if isinstance(each, effects.Submit)]
    (submit,) = sent
    return node, submit.request


def test_the_trend_is_bought_once_and_left_in_whole() -> None:
    node, request = trending()
    assert request.amount == D("2.5252")
    assert node.last("order.submitting")["strategy"] == "ma_trend"
    node.fill(request, "t1", 99)
    node.tick(7, 101)
    wanted = node.tick(8, 60)
    (exit_,) = [each.request for each in wanted if isinstance(each, effects.Submit)]
    assert (exit_.amount, exit_.reduce_only, str(exit_.side)) == (request.amount, True, "sell")
    assert not any(isinstance(each, effects.Submit) for each in node.tick(9, 50))


def test_the_same_decision_has_the_same_id_after_a_crash() -> None:
    assert trending()[1].client_order_id == trending()[1].client_order_id


def test_a_strategy_leaves_while_trading_is_paused_and_enters_nothing() -> None:
    node, request = trending()
    node.fill(request, "t1", 99)
    node.take(events.OwnerPaused(START, "enough"))
    wanted = node.tick(7, 60)
    assert [str(each.request.side) for each in wanted if isinstance(each, effects.Submit)] == ["sell"]


def test_dust_is_not_sold_for_ever() -> None:
    node, request = trending()
    node.fill(request, "t1", 99, D("0.05"))
    node.tell(request, S.CANCELLED, D("0.05"))
    for minute in range(7, 12):
        assert not any(isinstance(each, effects.Submit) for each in node.tick(minute, 60))
    assert "intent.refused" not in node.told_types


def test_a_strategys_memory_is_written_with_its_intent() -> None:
    node = Node(strategies=(TREND,))
    for minute, price in enumerate(RISING[:-1]):
        node.tick(minute, price)
    append = node.take(events.CandleClosed(START, candle(6, RISING[-1])))[0]
    assert isinstance(append, effects.Append)
    assert append.facts["strategies"]["ma_trend"]["memory"]["long"] is True


def test_a_repeated_switch_does_not_switch_again() -> None:
    node = ready()
    pause = command("p", "trading.pause")
    node.order(pause)
    node.order(command("r", "trading.resume"))
    node.order(pause)
    assert not node.state.pauses


def test_the_market_must_be_one_that_this_node_trades_on() -> None:
    both = ready(exchanges=frozenset({"paper", "binance"}), symbols=frozenset({"BTC/USD", "XRP/USD"}))
    both.take(events.CandleClosed(START, candle(1, 1, "XRP/USD")))
    assert both.refused_by(place("a", exchange="binance")) == "exchange"
    assert both.refused_by(place("b", symbol="XRP/USD")) == "symbol"


def test_a_price_below_one_tick_is_none() -> None:
    assert ready().refused_by(place("a", type="limit", price="0.1")) == "tick_size"


def test_ended_orders_are_forgotten_in_time_and_open_ones_never() -> None:
    node = ready(orders_per_minute=10_000, max_position_notional=D(10**9), max_total_notional=D(10**9))
    (kept,) = node.order(place("open", type="limit", price="39000"))
    node.tell(kept, S.OPEN)
    for number in range(700):
        node.order(place(f"x{number}", amount="99"))
    assert len(node.state.orders) < 650
    assert state_of(node, kept) is OrderState.OPEN
    assert node.order(place("x0", amount="0.01")) == []


def test_a_cancel_that_comes_to_nothing_is_tried_again_until_the_order_has_ended() -> None:
    node = ready()
    (request,) = node.order(place("a", type="limit", price="39000"))
    node.tell(request, S.OPEN)
    node.order(command("c", "orders.cancel_all"))
    name = request.client_order_id
    for failure in (Failure.UNAVAILABLE, Failure.UNKNOWN):
        wanted = node.take(events.CancelFailed(START, name, failure, "away"))
        assert any(isinstance(each, effects.After) for each in wanted)
        assert node.take(events.Due(START, name)) == (effects.Cancel(name, "BTC/USD"),)
    wanted = node.take(events.CancelFailed(START, name, Failure.REFUSED, "no such order"))
    assert effects.LookFor(name, "BTC/USD") in wanted
    node.take(events.LookedFor(START, name, Lookup(told(request, S.EXPIRED))))
    assert state_of(node, request) is OrderState.EXPIRED
    assert node.take(events.Due(START, name)) == ()


def test_a_cancel_is_not_forgotten_when_the_order_is_lost_and_found() -> None:
    node = ready()
    (request,) = node.order(place("a", type="limit", price="39000"))
    node.tell(request, S.OPEN)
    node.order(command("c", "orders.cancel_all"))
    node.take(events.LookedFor(START, request.client_order_id, Lookup(None, unsure="away")))
    assert state_of(node, request) is OrderState.UNKNOWN
    wanted = node.take(events.LookedFor(START, request.client_order_id, Lookup(told(request, S.OPEN))))
    assert effects.Cancel(request.client_order_id, "BTC/USD") in wanted


def test_an_unsent_order_that_is_to_be_cancelled_is_never_sent() -> None:
    node = ready()
    (request,) = node.order(place("a"))
    node.take(events.SubmitFailed(START, request.client_order_id, Failure.UNAVAILABLE, "away"))
    node.order(command("c", "orders.cancel_all"))
    assert state_of(node, request) is OrderState.CANCELLED
    assert node.take(events.Due(START, request.client_order_id)) == ()


def test_the_end_of_a_key_rotation_is_noted() -> None:
    node = Node(can_rotate_key=True)
    node.take(events.KeyRotationEnded(START, "cmd_k"))
    assert node.last("node.note")["text"] == "the node key was rotated"
    node.take(events.KeyRotationEnded(START, "cmd_k", "no answer"))
    assert "no answer" in node.last("node.note")["text"]


def test_strategies_that_cannot_be_are_refused() -> None:
    for fast, slow, notional in ((0, 2, 1), (2, 2, 1), (1, 2, 0)):
        with pytest.raises(ValueError, match="must be"):
            MaTrend("BTC/USD", fast, slow, D(notional))
