"""The node's mind: commands once, fills once, pauses kept, and everything written down before it is done."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D

import pytest

from node_agent.core import effects, events
from node_agent.core.events import Failure, Lookup
from node_agent.core.ids import order_of_command
from node_agent.core.market import ExchangeStatus, OrderRequest
from node_agent.core.orders import OrderState
from node_agent.strategies import MaTrend
from node_protocol.messages import Command
from tests.node.values import START, Node, candle, command, fill, limits, place, told

S = ExchangeStatus


def ready(price: int = 40000, **changes: object) -> Node:
    node = Node(limits(**changes))
    node.tick(0, price)
    return node


def state_of(node: Node, request: OrderRequest) -> OrderState:
    return node.state.orders[request.client_order_id].state


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


# Commands.


def test_a_command_is_carried_out_once_whatever_comes() -> None:
    node = ready()
    same = place("a")
    assert len(node.order(same, same)) == 1
    assert node.order(same) == []
    assert node.order(place("a", amount="0.02")) == []


def test_the_orders_id_comes_from_the_commands() -> None:
    (request,) = ready().order(place("a"))
    assert request.client_order_id == order_of_command("cmd_a")
    assert len(request.client_order_id) == 32
    assert set(request.client_order_id) <= set("0123456789abcdef")


def test_an_expired_command_is_told_and_not_carried_out() -> None:
    node = ready()
    assert node.order(place("a"), after=300) == []
    assert node.last("command.expired") == {"command_id": "cmd_a", "rule": "expired"}
    assert len(node.order(place("b"), after=299)) == 1


def test_a_refused_order_is_told_twice_in_one_append() -> None:
    node = ready()
    append, *rest = node.take(events.CommandsArrived((place("a", amount="1"),), START))
    assert isinstance(append, effects.Append)
    assert not rest
    intent, refused = append.events
    assert (intent.type, refused.type) == ("intent.refused", "command.refused")
    assert intent.data["rule"] == refused.data["rule"] == "max_order_notional"
    assert intent.data["detail"]
    assert intent.data["command_id"] == refused.data["command_id"] == "cmd_a"
    names = {"client_order_id", "exchange", "symbol", "side", "type", "amount", "filled"}
    assert names <= intent.data.keys()
    assert append.commands_done == ("cmd_a",)


@pytest.mark.parametrize(
    ("rule", "bad"),
    [
        ("unknown_command", command("x", "money.send")),
        ("malformed", place("x", amount="-1")),
        ("malformed", place("x", leverage="100")),
        ("malformed", place("x", price="1")),
        ("malformed", command("x", "order.cancel")),
        ("no_such_order", command("x", "order.cancel", client_order_id="0" * 32)),
        ("unsupported", command("x", "key.rotate")),
        ("exchange", place("x", exchange="binance")),
        ("symbol", place("x", symbol="XRP/USD")),
        ("step_size", place("x", amount="0.00001")),
        ("minimum_notional", place("x", amount="0.0002")),
        ("price_collar", place("x", type="limit", price="48000.5")),
        ("max_order_notional", place("x", amount="0.026")),
    ],
)
def test_a_command_that_is_not_carried_out_names_the_rule(rule: str, bad: object) -> None:
    assert ready().refused_by(bad) == rule  # type: ignore[arg-type]


def test_prices_are_rounded_for_the_owner_before_they_are_held_against_the_limits() -> None:
    node = ready()
    bought, sold = node.order(
        place("a", amount="0.01239", type="limit", price="40000.3"),
        place("b", "sell", amount="0.01", type="limit", price="40000.3"),
    )
    assert (bought.amount, bought.price) == (D("0.0123"), D("40000.0"))
    assert sold.price == D("40000.5")


def test_an_owner_who_takes_no_commands_gets_none() -> None:
    node = ready(server_commands=False)
    assert node.refused_by(place("a")) == "server_commands"
    assert node.last("intent.refused")["rule"] == "server_commands"
    assert node.refused_by(command("b", "trading.pause")) == "server_commands"
    assert not node.state.pauses


def test_an_account_report_is_made_of_what_the_exchange_tells() -> None:
    node = ready()
    node.take(events.BalancesTold(START, {}))
    node.bought("a", "0.01", 40000)
    node.take(events.BalancesTold(START, {"USD": D(9600), "BTC": D("0.01")}))
    wanted = node.take(events.CommandsArrived((command("r", "account.report"),), START))
    assert effects.ReadBalances() in wanted
    node.take(events.BalancesTold(START, {"USD": D(9600), "BTC": D("0.0100")}))
    snapshot = node.last("account.snapshot")
    assert snapshot["equity"] == "10000"
    assert snapshot["positions"] == {"BTC/USD": "0.01"}
    assert snapshot["balances"] == {"USD": "9600", "BTC": "0.01"}


def test_a_key_is_rotated_when_the_uplink_can() -> None:
    node = Node(can_rotate_key=True)
    assert effects.RotateKey("cmd_k") in node.take(events.CommandsArrived((command("k", "key.rotate"),), START))


def test_a_rotation_is_done_when_it_has_ended() -> None:
    node = Node(can_rotate_key=True)
    node.order(command("k", "key.rotate"), command("k", "key.rotate"))
    assert node.done.count(effects.RotateKey("cmd_k")) == 1
    assert not any(append.commands_done for append in node.appends)
    node.take(events.KeyRotationEnded(START, "cmd_k"))
    assert node.appends[-1].commands_done == ("cmd_k",)
    assert node.last("node.note") == {"text": "the node key was rotated", "command_id": "cmd_k"}


def protection(name: str, *, lives: float = 300) -> Command:
    return place(name, "sell", lives=lives, type="stop", stop_price="39000", reduce_only=True)


def protected(node: Node) -> tuple[OrderRequest, bool]:
    """An entry and its protection in one answer; and whether the protection waits."""
    (entry,) = node.order(place("a"), protection("b"))
    return entry, [each.command.id for each in node.state.waiting] == ["cmd_b"]


def sent_protection(node: Node) -> bool:
    return any(isinstance(each, effects.Submit) and each.request.reduce_only for each in node.done)


def test_an_order_that_reduces_waits_for_the_entry_before_it_and_for_its_fills() -> None:
    node = ready()
    entry, waits = protected(node)
    assert waits
    assert [append.commands_done for append in node.appends if append.commands_done] == [("cmd_a",)]
    node.tell(entry, S.FILLED)
    assert not sent_protection(node)
    node.fill(entry, "t", 40000)
    assert sent_protection(node)
    assert not node.state.waiting


def test_an_entry_that_fills_in_parts_is_waited_for_to_its_end() -> None:
    node = ready()
    entry, _ = protected(node)
    node.fill(entry, "t1", 40000, D("0.004"))
    node.tell(entry, S.OPEN, D("0.004"))
    assert not sent_protection(node)
    node.fill(entry, "t2", 40000, D("0.006"))
    assert sent_protection(node)


def test_an_entry_that_may_or_may_not_exist_is_waited_for() -> None:
    node = ready()
    entry, _ = protected(node)
    node.take(events.SubmitFailed(START, entry.client_order_id, Failure.UNKNOWN, "no answer"))
    assert node.state.waiting
    node.take(events.LookedFor(START, entry.client_order_id, Lookup(told(entry, S.FILLED))))
    node.fill(entry, "t", 40000)
    assert sent_protection(node)


def test_an_order_that_reduces_is_judged_once_the_entry_has_failed() -> None:
    node = ready()
    entry, _ = protected(node)
    node.take(events.SubmitFailed(START, entry.client_order_id, Failure.REFUSED, "no"))
    assert node.last("command.refused") == {"command_id": "cmd_b", "rule": "reduce_only"}


def test_orders_of_the_symbol_wait_behind_one_that_waits_and_all_else_overtakes() -> None:
    node = ready()
    protected(node)
    node.tick(0, 3000, "ETH/USD")
    other = place("d", amount="0.1", symbol="ETH/USD")
    assert len(node.order(place("c"), other, command("e", "trading.pause"))) == 1
    assert [each.command.id for each in node.state.waiting] == ["cmd_b", "cmd_c"]
    assert node.state.pauses


@pytest.mark.parametrize(
    "cancel",
    [
        command("x", "orders.cancel_all"),
        command("x", "orders.cancel_all", symbol="BTC/USD"),
        command("x", "order.cancel", client_order_id=order_of_command("cmd_b")),
    ],
)
def test_a_cancel_takes_out_what_waits(cancel: Command) -> None:
    node = ready()
    entry, _ = protected(node)
    node.order(cancel)
    assert not node.state.waiting
    assert node.last("command.refused") == {"command_id": "cmd_b", "rule": "cancelled"}
    assert node.last("node.note")["command_id"] == "cmd_x"
    node.fill(entry, "t", 40000)
    assert not sent_protection(node)


def test_a_cancel_of_another_symbol_leaves_what_waits() -> None:
    node = ready()
    protected(node)
    node.order(command("x", "orders.cancel_all", symbol="ETH/USD"))
    assert node.state.waiting


@pytest.mark.parametrize(("seconds", "waits"), [(29, True), (30, False)])
def test_nothing_waits_longer_than_half_a_minute(seconds: int, waits: bool) -> None:
    node = ready()
    protected(node)
    node.take(events.ServerSeen(START + timedelta(seconds=seconds)))
    assert bool(node.state.waiting) is waits
    if not waits:
        assert node.last("command.refused") == {"command_id": "cmd_b", "rule": "reduce_only"}


def test_an_order_that_has_waited_past_its_own_time_is_told_as_expired() -> None:
    node = ready()
    node.order(place("a"), protection("b", lives=5), place("c", lives=5))
    node.take(events.ServerSeen(START + timedelta(seconds=6)))
    told_of = [event.data["command_id"] for event in node.reports if event.type == "command.expired"]
    assert told_of == ["cmd_b", "cmd_c"]


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


def test_a_snapshot_is_made_every_quarter_of_an_hour_of_the_market() -> None:
    node = ready()
    node.take(events.BalancesTold(START, {}))
    asked = [minute for minute in range(1, 46) if effects.ReadBalances() in _read(node, minute)]
    assert asked == [15, 30, 45]


def _read(node: Node, minute: int) -> tuple[effects.Effect, ...]:
    wanted = node.tick(minute, 40000)
    if effects.ReadBalances() in wanted:
        node.take(events.BalancesTold(START, None))
    return wanted


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
