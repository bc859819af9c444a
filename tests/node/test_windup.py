"""The owner's kill switch: open orders cancelled, positions closed, whatever is away, over restarts, to its end."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal as D
from pathlib import Path

import pytest

from node_agent import at_rest, facts
from node_agent.cli import words
from node_agent.core import effects, events
from node_agent.core.events import Failure, Lookup
from node_agent.core.market import ExchangeStatus, OrderRequest, OrderType, Side
from node_agent.core.orders import OrderState
from node_agent.core.policy import OnSilence
from node_agent.core.state import Trading
from node_agent.journal import Journal
from node_agent.strategies import MaTrend
from tests.node.kept import cancelled, ends, kept, protecting, resting, sent, stops, ticked
from tests.node.values import START, Node, candle, command, fill, limits, place, ready, state_of, told

S = ExchangeStatus


# Open orders.


def test_all_open_orders_are_cancelled_and_then_the_process_ends() -> None:
    node = ready()
    node.bought("a", "0.02", 40000)
    entry, stop = resting(node, "b"), protecting(node)
    wanted = stops(node)
    assert cancelled(wanted) == [entry.client_order_id, stop.client_order_id]
    node.tell(entry, S.CANCELLED)
    assert node.state.windup is not None
    assert ends(node.take(events.OrderTold(START, told(stop, S.CANCELLED))))
    assert node.state.windup is None
    assert node.last("node.note")["text"].endswith("positions left: 0.02 BTC/USD")


def test_with_nothing_open_it_ends_at_once() -> None:
    assert ends(stops(ready()))


def test_without_then_end_the_process_goes_on() -> None:
    node = ready()
    assert not ends(stops(node, then_end=False))
    assert node.state.windup is None
    assert "stopped_by_owner" in node.state.pauses


def test_an_order_that_is_under_way_is_cancelled_when_the_exchange_has_it() -> None:
    node = ready()
    (request,) = node.order(place("a", type="limit", price="39000"))
    assert cancelled(stops(node)) == []
    assert cancelled(node.take(events.OrderTold(START, told(request, S.OPEN)))) == [request.client_order_id]
    assert ends(node.take(events.OrderTold(START, told(request, S.CANCELLED))))


def test_an_order_that_the_exchange_surely_does_not_have_is_given_up() -> None:
    node = ready()
    (request,) = node.order(place("a", type="limit", price="39000"))
    node.take(events.SubmitFailed(START, request.client_order_id, Failure.UNAVAILABLE, "away"))
    assert ends(stops(node))
    assert state_of(node, request) is OrderState.CANCELLED
    assert node.take(events.Due(START, request.client_order_id)) == ()


def test_an_order_that_may_or_may_not_exist_is_waited_for() -> None:
    node = ready()
    (request,) = node.order(place("a"))
    node.take(events.SubmitFailed(START, request.client_order_id, Failure.UNKNOWN, "timed out"))
    assert not ends(stops(node))
    wanted = node.take(events.LookedFor(START, request.client_order_id, Lookup(None)))
    assert sent(wanted) == []
    assert ends(wanted)


def test_a_lost_order_that_shows_itself_by_a_fill_is_cancelled() -> None:
    node = ready()
    (request,) = node.order(place("a", type="limit", price="39000"))
    node.take(events.SubmitFailed(START, request.client_order_id, Failure.UNKNOWN, "timed out"))
    stops(node)
    wanted = node.take(events.FillTold(START, fill(request, "t1", 39000, D("0.004"))))
    assert cancelled(wanted) == [request.client_order_id]


# Positions.


def test_a_position_is_closed_at_the_market_once_no_order_of_it_is_open() -> None:
    node = ready()
    node.bought("a", "0.02", 40000)
    stop = protecting(node)
    assert sent(stops(node, flatten=True)) == []
    (exit_,) = sent(node.take(events.OrderTold(START, told(stop, S.CANCELLED))))
    assert (exit_.side, exit_.type, exit_.amount, exit_.reduce_only) == (Side.SELL, OrderType.MARKET, D("0.02"), True)
    assert ends(node.take(events.FillTold(START, fill(exit_, "t2", 39000))))
    assert node.last("node.note")["text"].endswith("positions left: nothing")


def test_a_position_is_closed_whatever_the_limits_say() -> None:
    node = ready()
    node.bought("a", "0.02", 40000)
    nothing_allowed = limits(symbols=frozenset(), order_types=frozenset(), orders_per_day=0)
    node.take(events.PolicyRead(START, nothing_allowed))
    assert len(sent(stops(node, flatten=True))) == 1


def test_what_fills_while_it_is_cancelled_is_closed_too() -> None:
    node = ready()
    entry = resting(node, "a")
    stops(node, flatten=True)
    wanted = node.take(events.FillTold(START, fill(entry, "t1", 39000)))
    assert [each.amount for each in sent(wanted)] == [entry.amount]


def test_every_symbol_is_closed_without_waiting_for_another() -> None:
    node = ready()
    node.tick(0, 2000, "ETH/USD")
    node.bought("a", "0.02", 40000)
    node.bought("b", "0.1", 2000, "ETH/USD")
    stop = protecting(node)
    (eth,) = sent(stops(node, flatten=True))
    assert eth.symbol == "ETH/USD"
    (btc,) = sent(node.take(events.OrderTold(START, told(stop, S.CANCELLED))))
    assert btc.symbol == "BTC/USD"
    node.fill(eth, "t3", 2000)
    assert ends(node.take(events.FillTold(START, fill(btc, "t4", 39000))))


def test_a_short_position_is_bought_back() -> None:
    node = ready()
    (short,) = node.order(place("a", "sell", "0.02"))
    node.fill(short, "t1", 40000)
    (exit_,) = sent(stops(node, flatten=True))
    assert (exit_.side, exit_.amount) == (Side.BUY, D("0.02"))


# The exchange is away, or says no.


def test_cancels_are_asked_for_again_until_the_order_has_ended(tmp_path: Path) -> None:
    node = kept(tmp_path)
    entry = resting(node, "a")
    stops(node)
    for _ in range(3):
        node.take(events.CancelFailed(node.now, entry.client_order_id, Failure.UNAVAILABLE, "away"))
        assert cancelled(node.take(events.Due(node.after(30), entry.client_order_id))) == [entry.client_order_id]
    node.tell(entry, S.CANCELLED)
    assert node.state.windup is None


def test_an_exit_that_does_not_reach_the_exchange_is_the_same_exit_until_it_does(tmp_path: Path) -> None:
    node = kept(tmp_path)
    node.bought("a", "0.02", 40000)
    (exit_,) = sent(stops(node, flatten=True))
    for _ in range(3):
        node.take(events.SubmitFailed(node.now, exit_.client_order_id, Failure.UNAVAILABLE, "away"))
        assert sent(ticked(node, 3600)) == []
        assert sent(node.take(events.Due(node.now, exit_.client_order_id))) == [exit_]
    node.fill(exit_, "t2", 39000)
    assert node.state.windup is None


def test_an_exit_of_unknown_outcome_is_looked_for_before_another_is_sent(tmp_path: Path) -> None:
    node = kept(tmp_path)
    node.bought("a", "0.02", 40000)
    (exit_,) = sent(stops(node, flatten=True))
    node.take(events.SubmitFailed(node.now, exit_.client_order_id, Failure.UNKNOWN, "timed out"))
    assert sent(ticked(node, 600)) == []
    node.take(events.LookedFor(node.now, exit_.client_order_id, Lookup(told(exit_, S.FILLED))))
    assert sent(ticked(node, 600)) == []
    node.fill(exit_, "t2", 39000)
    assert node.state.windup is None


def test_an_exit_that_is_rejected_is_tried_again_later_and_not_at_once(tmp_path: Path) -> None:
    node = kept(tmp_path)
    node.bought("a", "0.02", 40000)
    (exit_,) = sent(stops(node, flatten=True))
    tries = [exit_]
    waits = []
    for _ in range(8):
        refused = events.SubmitFailed(node.now, tries[-1].client_order_id, Failure.REFUSED, "halted market")
        assert sent(node.take(refused)) == []
        begun = node.now
        while not (again := sent(ticked(node))):
            pass
        tries += again
        waits.append((node.now - begun).total_seconds())
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]
    assert len({each.client_order_id for each in tries}) == len(tries)
    assert {each.amount for each in tries} == {D("0.02")}


def test_that_the_exchange_does_not_take_the_key_is_told_with_what_stays_open(tmp_path: Path) -> None:
    node = kept(tmp_path)
    node.bought("a", "0.02", 40000)
    stops(node, flatten=True)
    assert facts.of_work(node.state)["hindered_by"] == []
    node.take(events.KeyRefused(node.now, "the exchange takes not our key: -2015", acting=False))
    left = facts.of_work(node.state)
    assert left["hindered_by"] == ["the exchange takes not our key: -2015"]
    assert list(words.of_work(left))[-1] == "  hindered: the exchange takes not our key: -2015"


def test_what_an_exit_leaves_is_closed_by_the_next(tmp_path: Path) -> None:
    node = kept(tmp_path)
    node.bought("a", "0.02", 40000)
    (exit_,) = sent(stops(node, flatten=True))
    node.fill(exit_, "t2", 39000, D("0.015"))
    node.tell(exit_, S.EXPIRED, D("0.015"))
    (rest,) = sent(ticked(node, 2))
    assert rest.amount == D("0.005")


# Restarts.


def test_it_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    node = kept(tmp_path)
    node.bought("a", "0.02", 40000)
    stop = protecting(node)
    stops(node, flatten=True)
    wanted = node.restart(lookups={stop.client_order_id: Lookup(told(stop, S.OPEN))})
    assert cancelled(wanted) == [stop.client_order_id]
    assert sent(wanted) == []
    (exit_,) = sent(node.take(events.OrderTold(node.now, told(stop, S.CANCELLED))))
    wanted = node.restart(lookups={exit_.client_order_id: Lookup(told(exit_, S.FILLED))})
    assert sent(wanted) == []
    assert ends(node.take(events.FillTold(node.now, fill(exit_, "t2", 39000))))


def test_an_exit_that_was_written_down_and_not_sent_is_sent_at_the_next_start(tmp_path: Path) -> None:
    node = kept(tmp_path)
    node.bought("a", "0.02", 40000)
    (exit_,) = sent(stops(node, flatten=True))
    assert sent(node.restart(lookups={exit_.client_order_id: Lookup(None)})) == [exit_]


def test_an_exit_is_no_order_to_be_cancelled_after_a_restart(tmp_path: Path) -> None:
    node = kept(tmp_path)
    node.bought("a", "0.02", 40000)
    node.after(0.123456)  # a clock tells more than the journal keeps
    (exit_,) = sent(stops(node, flatten=True))
    node.take(events.SubmitFailed(node.now, exit_.client_order_id, Failure.UNAVAILABLE, "away"))
    wanted = node.restart()
    assert cancelled(wanted) == []
    assert sent(wanted) == [exit_]
    order = node.state.orders[exit_.client_order_id]
    assert not order.ended
    assert not order.cancel_wanted


def test_an_exit_of_a_killed_process_is_not_sent_when_the_owner_has_resumed_meanwhile(tmp_path: Path) -> None:
    node = kept(tmp_path)
    node.bought("a", "0.02", 40000)
    node.after(0.123456)
    (exit_,) = sent(stops(node, flatten=True))
    node.journal.close()
    node.journal = Journal.open(node.path)
    at_rest.settle(node.journal, events.OwnerResumed(node.now))
    assert sent(node.restart(lookups={exit_.client_order_id: Lookup(None)})) == []
    assert state_of(node, exit_) is OrderState.CANCELLED


def test_exits_are_counted_over_a_restart(tmp_path: Path) -> None:
    node = kept(tmp_path)
    node.bought("a", "0.02", 40000)
    (exit_,) = sent(stops(node, flatten=True))
    node.take(events.SubmitFailed(node.now, exit_.client_order_id, Failure.REFUSED, "halted market"))
    (next_exit,) = sent(node.restart())
    assert next_exit.client_order_id != exit_.client_order_id
    assert state_of(node, exit_) is OrderState.REJECTED


def test_after_its_end_a_restart_trades_nothing_and_stays_stopped(tmp_path: Path) -> None:
    node = kept(tmp_path)
    node.bought("a", "0.02", 40000)
    stops(node)
    wanted = node.restart()
    assert not ends(wanted)
    assert node.state.windup is None
    assert node.refused_by(place("b")) == "stopped_by_owner"


# Meanwhile.


def test_asking_twice_changes_nothing_and_flatten_adds_to_what_has_begun() -> None:
    node = ready()
    node.bought("a", "0.02", 40000)
    stop = protecting(node)
    stops(node)
    begun = node.state.windup
    assert not cancelled(stops(node))
    assert node.state.windup == begun
    stops(node, flatten=True)
    stops(node, flatten=False)
    assert sent(node.take(events.OrderTold(START, told(stop, S.CANCELLED))))


def test_two_exits_of_one_position_are_never_open(tmp_path: Path) -> None:
    node = kept(tmp_path)
    node.bought("a", "0.02", 40000)
    (exit_,) = sent(stops(node, flatten=True))
    node.tell(exit_, S.OPEN)
    for wanted in (stops(node, flatten=True), ticked(node, 600), node.tick(20, 30000)):
        assert sent(wanted) == []


def test_resume_calls_it_off() -> None:
    node = ready()
    node.bought("a", "0.02", 40000)
    stop = protecting(node)
    stops(node, flatten=True)
    node.take(events.OwnerResumed(START))
    assert node.state.windup is None
    assert not node.state.pauses
    wanted = node.take(events.OrderTold(START, told(stop, S.CANCELLED)))
    assert sent(wanted) == []
    assert not ends(wanted)


def test_resume_is_remembered_over_a_restart(tmp_path: Path) -> None:
    node = kept(tmp_path)
    node.bought("a", "0.02", 40000)
    stop = protecting(node)
    stops(node, flatten=True)
    node.take(events.OwnerResumed(node.now))
    wanted = node.restart(lookups={stop.client_order_id: Lookup(told(stop, S.CANCELLED))})
    assert (sent(wanted), node.state.windup, node.state.pauses) == ([], None, {})


def test_an_exit_that_has_not_reached_the_exchange_is_not_sent_after_resume() -> None:
    node = ready()
    node.bought("a", "0.02", 40000)
    (exit_,) = sent(stops(node, flatten=True))
    node.take(events.SubmitFailed(START, exit_.client_order_id, Failure.UNAVAILABLE, "away"))
    node.take(events.OwnerResumed(START))
    assert sent(node.take(events.Due(START, exit_.client_order_id))) == []
    assert state_of(node, exit_) is OrderState.CANCELLED


HELD = OrderRequest("0" * 32, "BTC/USD", Side.SELL, OrderType.MARKET, D("0.01"), reduce_only=True)


@pytest.mark.parametrize("flatten", [False, True])
def test_nobody_else_trades_meanwhile_not_even_to_close(flatten: bool) -> None:
    trend = MaTrend("BTC/USD", fast=1, slow=2, notional=D(250))
    node = Node(strategies=(trend,))
    for minute, price in enumerate((40000, 39900, 40100)):
        node.tick(minute, price)
    (entry,) = [each.request for each in node.done if isinstance(each, effects.Submit)]
    node.fill(entry, "t1", 40100)
    stop = protecting(node, amount="0.005")
    stops(node, flatten=flatten)
    exits = [place("x", "sell", "0.001"), place("y", "sell", "0.001", reduce_only=True), place("z", "buy")]
    assert node.order(*exits) == []
    assert [each.data["rule"] for each in node.reports if each.type == "command.refused"] == ["stopped_by_owner"] * 3
    assert sent(node.take(events.OwnerWants(START, "paper", HELD))) == []
    assert node.last("intent.refused")["rule"] == "stopped_by_owner"
    books = node.state.strategy_books
    assert sent(node.take(events.CandleClosed(START, candle(3, 30000)))) == []
    assert node.state.strategy_books == books
    assert state_of(node, stop) is OrderState.CANCELLING


def test_pauses_and_cancels_are_taken_meanwhile() -> None:
    node = ready()
    entry = resting(node, "a")
    stops(node)
    node.order(command("p", "trading.pause"), command("c", "orders.cancel_all"))
    assert "paused_by_server" in node.state.pauses
    assert state_of(node, entry) is OrderState.CANCELLING


def test_a_strategy_trades_again_after_resume() -> None:
    node = Node(strategies=(MaTrend("BTC/USD", fast=1, slow=2, notional=D(250)),))
    node.tick(0, 40000)
    node.tick(1, 39900)
    stops(node, then_end=False)
    node.take(events.OwnerResumed(START))
    assert len(sent(node.tick(2, 40100))) == 1


def test_it_begins_before_the_exchange_has_said_how_things_stand(tmp_path: Path) -> None:
    node = kept(tmp_path)
    node.bought("a", "0.02", 40000)
    stop = protecting(node)
    node.kill()
    wanted = stops(node, flatten=True)
    assert cancelled(wanted) == [stop.client_order_id]
    assert sent(wanted) == []
    assert not ends(wanted)
    filled = fill(stop, "t2", 35000)
    event = {stop.client_order_id: Lookup(told(stop, S.FILLED))}
    (exit_,) = sent(node.restart(lookups=event, fills=(filled,)))
    assert exit_.amount == D("0.01")


def test_the_window_of_an_exit_has_no_end(tmp_path: Path) -> None:
    node = kept(tmp_path)
    node.bought("a", "0.02", 40000)
    (exit_,) = sent(stops(node, flatten=True))
    node.take(events.SubmitFailed(node.now, exit_.client_order_id, Failure.UNAVAILABLE, "away"))
    node.now += timedelta(days=3)
    assert sent(node.take(events.Due(node.now, exit_.client_order_id))) == [exit_]


def test_trading_reads_halted_until_the_kill_switch_has_done_its_work(tmp_path: Path) -> None:
    """What silence began goes on when the server is heard again."""
    policy = limits(server_silence=timedelta(minutes=10), on_server_silence=OnSilence.CANCEL_OPEN)
    node = kept(tmp_path, policy=policy, reports_to_server=True)
    node.order(place("a", type="limit", price="39000"))
    ticked(node, 601)
    node.take(events.ServerSeen(node.now))
    assert not node.state.pauses
    assert node.state.trading is Trading.HALTED


def test_a_cancel_that_failed_is_repeated_though_fills_are_late() -> None:
    """The exchange says that more is filled than its fills say; nothing of that is a reason to leave the rest open."""
    node = ready()
    entry = resting(node, "a", amount="0.02")
    node.tell(entry, S.OPEN, D("0.01"))
    assert cancelled(stops(node)) == [entry.client_order_id]
    node.take(events.CancelFailed(START, entry.client_order_id, Failure.UNAVAILABLE, "our own limit is used up"))
    wanted = node.take(events.Due(START, entry.client_order_id))
    assert cancelled(wanted) == [entry.client_order_id]
    assert any(isinstance(each, effects.ReadFills) for each in wanted)


@pytest.mark.parametrize("all_of_them", [True, False])
def test_the_server_cannot_take_back_an_exit(all_of_them: bool) -> None:
    node = ready()
    node.bought("a", "0.02", 40000)
    (exit_,) = sent(stops(node, flatten=True))
    if all_of_them:
        node.order(command("c", "orders.cancel_all"))
    else:
        one = command("c", "order.cancel", client_order_id=exit_.client_order_id)
        assert node.refused_by(one) == "stopped_by_owner"
    node.take(events.SubmitFailed(START, exit_.client_order_id, Failure.UNAVAILABLE, "away"))
    assert sent(node.take(events.Due(START, exit_.client_order_id))) == [exit_]


def test_a_clock_that_is_set_back_does_not_hold_up_the_next_exit() -> None:
    node = ready()
    node.bought("a", "0.02", 40000)
    (exit_,) = sent(stops(node, flatten=True))
    refused = events.SubmitFailed(node.now, exit_.client_order_id, Failure.REFUSED, "halted for a moment")
    assert sent(node.take(refused)) == []
    assert len(sent(node.take(events.Tick(node.now - timedelta(hours=1))))) == 1
