"""Active, reducing or halted: by which rule, with what reason, over restarts; exits and cancels are allowed in all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from node_agent.core import events
from node_agent.core.market import ExchangeStatus, OrderRequest, OrderType, Side
from node_agent.core.orders import OrderState
from node_agent.core.state import HALTING, Trading
from node_agent.strategies import MaTrend
from tests.node.kept import Kept, cancelled, kept, protecting, resting, sent
from tests.node.values import START, Node, candle, command, limits, place, ready, state_of, told

S = ExchangeStatus
LIMITS = limits(daily_loss=D(20), drawdown=D(30), server_silence=timedelta(minutes=10))


@dataclass(frozen=True)
class Rule:
    """What makes a rule hold, and what lifts it."""

    name: str
    by: str
    enter: Callable[[Node], object]
    leave: Callable[[Node], object]

    @property
    def lifted_by(self) -> str:
        return "owner" if self.name in ("risk_check_failed", "trading_refused") else self.by


def asks_what_cannot_be_judged(node: Node) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("node_agent.core.intents.check", _broken)
        node.take(events.OwnerWants(START, "paper", BUY))


def falls(node: Node) -> None:
    """A thousand down on 0.02 is a loss of 20."""
    node.tick(1, 39000)


def rises_and_falls(node: Node) -> None:
    """Down by 30 from the best moment, and by no more than 10 from where the day began."""
    node.tick(1, 41000)
    node.tick(2, 39500)


BUY = OrderRequest("0" * 32, "BTC/USD", Side.BUY, OrderType.MARKET, D("0.001"))
NEXT_DAY = 24 * 60
RULES = [
    Rule(
        "paused_by_owner",
        "owner",
        lambda node: node.take(events.OwnerPaused(START, "so")),
        lambda node: node.take(events.OwnerResumed(START)),
    ),
    Rule(
        "paused_by_server",
        "server",
        lambda node: node.order(command("p", "trading.pause")),
        lambda node: node.order(command("r", "trading.resume")),
    ),
    Rule(
        "clock_drift",
        "rule",
        lambda node: node.take(events.ClockCompared(START, 9.0)),
        lambda node: node.take(events.ClockCompared(START, 0.1)),
    ),
    Rule(
        "server_silence",
        "rule",
        lambda node: node.take(events.Tick(START + timedelta(minutes=11))),
        lambda node: node.take(events.ServerSeen(START)),
    ),
    Rule(
        "suspended",
        "rule",
        lambda node: node.take(events.Suspended("a fork", START)),
        lambda node: node.take(events.ServerSeen(START)),
    ),
    Rule("daily_loss", "rule", falls, lambda node: node.tick(NEXT_DAY, 39000)),
    Rule("drawdown", "rule", rises_and_falls, lambda node: node.tick(NEXT_DAY, 39500)),
    Rule(
        "key_refused",
        "rule",
        lambda node: node.take(events.KeyRefused(START, "expired")),
        lambda node: node.take(events.OpenOrdersTold(START, ())),
    ),
    Rule(
        "trading_refused",
        "rule",
        lambda node: node.take(events.KeyRefused(START, "for reading alone", acting=True)),
        lambda node: node.take(events.OwnerResumed(START)),
    ),
    Rule(
        "key_rejected",
        "rule",
        lambda node: node.take(events.KeyJudged(START, "it could take money out")),
        lambda node: node.take(events.KeyJudged(START, None)),
    ),
    Rule(
        "policy_unreadable",
        "rule",
        lambda node: node.take(events.PolicyUnreadable(START, "not a number")),
        lambda node: node.take(events.PolicyRead(START, LIMITS)),
    ),
    Rule(
        "risk_check_failed",
        "rule",
        asks_what_cannot_be_judged,
        lambda node: node.take(events.OwnerResumed(START)),
    ),
]
WINDING_UP = [
    Rule(
        "stopped_by_owner",
        "owner",
        lambda node: node.take(events.OwnerStops(START, flatten=False, then_end=False, reason="so")),
        lambda node: node.take(events.OwnerResumed(START)),
    ),
    Rule(
        "stop_file",
        "owner",
        lambda node: node.take(events.StopFile(START, there=True)),
        lambda node: node.take(events.StopFile(START, there=False)),
    ),
]
every_rule = pytest.mark.parametrize("rule", [*RULES, *WINDING_UP], ids=lambda rule: rule.name)
every_rule_that_winds_nothing_up = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


def holding(data_dir: Path) -> Kept:
    """A node that holds 0.02, with no order open."""
    node = kept(data_dir, policy=LIMITS, reports_to_server=True)
    node.bought("a", "0.02", 40000)
    return node


def test_no_rule_is_left_out() -> None:
    named = {rule.name for rule in (*RULES, *WINDING_UP)}
    assert named >= HALTING
    assert named - HALTING == {
        "paused_by_owner",
        "paused_by_server",
        "policy_unreadable",
        "clock_drift",
        "server_silence",
    }


@every_rule
def test_a_rule_stops_new_risk_and_no_exit_until_it_is_lifted(tmp_path: Path, rule: Rule) -> None:
    node = holding(tmp_path)
    assert node.state.trading is Trading.ACTIVE
    rule.enter(node)
    assert node.state.trading is (Trading.HALTED if rule.name in HALTING else Trading.REDUCING)
    told_of = node.last("node.paused")
    assert (told_of["rule"], told_of["by"]) == (rule.name, rule.by)
    assert node.refused_by(place("b", amount="0.001")) == rule.name
    (exit_,) = node.order(place("c", "sell", "0.001"))
    node.fill(exit_, "t-c", node.state.prices["BTC/USD"])
    rule.leave(node)
    assert node.state.trading is Trading.ACTIVE
    assert node.last("node.resumed") == {"by": rule.lifted_by, "rule": rule.name}


@every_rule
def test_a_rule_and_its_reason_outlive_the_process(tmp_path: Path, rule: Rule) -> None:
    node = holding(tmp_path)
    rule.enter(node)
    before, trading = node.state.pauses, node.state.trading
    assert before[rule.name].reason
    node.kill()
    assert (node.state.pauses, node.state.trading) == (before, trading)


@every_rule_that_winds_nothing_up
def test_a_rule_that_halts_cancels_what_adds_risk_and_leaves_exits(tmp_path: Path, rule: Rule) -> None:
    node = holding(tmp_path)
    entry, stop = resting(node, "entry", amount="0.001", price="35000"), protecting(node, amount="0.02")
    rule.enter(node)
    halts = rule.name in HALTING
    assert state_of(node, entry) is (OrderState.CANCELLING if halts else OrderState.OPEN)
    assert state_of(node, stop) is OrderState.OPEN
    assert cancelled(tuple(node.done)) == ([entry.client_order_id] if halts else [])


@every_rule_that_winds_nothing_up
def test_orders_are_cancelled_by_command_and_by_hand_under_every_rule(tmp_path: Path, rule: Rule) -> None:
    node = holding(tmp_path)
    one, other = protecting(node, "one", "0.01"), protecting(node, "other", "0.01")
    rule.enter(node)
    node.order(command("c", "order.cancel", client_order_id=one.client_order_id))
    node.take(events.OwnerCancels(START, other.client_order_id))
    assert [state_of(node, each) for each in (one, other)] == [OrderState.CANCELLING] * 2


def test_an_order_that_covers_more_than_the_position_adds_risk() -> None:
    node = ready()
    node.bought("a", "0.01", 40000)
    sell = resting(node, "sell", "sell", "0.02", price="41000")
    assert cancelled(node.take(events.KeyRefused(START, "expired"))) == [sell.client_order_id]


def test_an_order_under_way_that_adds_risk_is_cancelled_when_the_exchange_has_it() -> None:
    node = ready()
    (entry,) = node.order(place("a", type="limit", price="39000"))
    node.take(events.KeyRefused(START, "expired"))
    assert cancelled(node.take(events.OrderTold(START, told(entry, S.OPEN)))) == [entry.client_order_id]


def test_several_rules_hold_until_the_last_of_them_is_lifted() -> None:
    node = ready()
    node.take(events.OwnerPaused(START, "so"))
    node.take(events.KeyRefused(START, "expired"))
    node.take(events.OwnerResumed(START))
    assert node.state.trading == "halted"
    assert node.last("node.note")["text"] == "paused_by_owner no longer holds; new risk stays stopped: key_refused"
    node.take(events.OpenOrdersTold(START, ()))
    assert node.state.trading == "active"
    assert node.told_types.count("node.resumed") == 1


def test_what_was_halted_stays_halted_by_the_rule_that_is_left() -> None:
    node = ready()
    node.take(events.KeyRefused(START, "expired"))
    node.take(events.OwnerPaused(START, "so"))
    node.take(events.OpenOrdersTold(START, ()))
    assert node.state.trading is Trading.REDUCING


# What was accepted and waits to be sent is judged anew, and so is a check that fails then.


def test_a_check_that_fails_on_an_order_that_waits_gives_it_up_and_halts(monkeypatch: pytest.MonkeyPatch) -> None:
    node = ready()
    (waits,) = node.order(place("a", amount="0.001"))
    entry = resting(node, "entry", amount="0.001")
    node.take(events.SubmitFailed(START, waits.client_order_id, events.Failure.UNAVAILABLE, "away"))
    monkeypatch.setattr("node_agent.core.intents.check", _broken)
    wanted = node.take(events.Due(START, waits.client_order_id))
    assert sent(wanted) == []
    assert state_of(node, waits) is OrderState.CANCELLED
    assert node.told_types.count("order.cancelled") == 1
    assert cancelled(wanted) == [entry.client_order_id]
    assert node.state.pauses["risk_check_failed"].reason.endswith("ZeroDivisionError: a check that is broken")


def test_a_check_that_fails_on_an_order_in_doubt_wants_it_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    node = ready()
    (lost,) = node.order(place("a", type="limit", price="39000"))
    node.take(events.SubmitFailed(START, lost.client_order_id, events.Failure.UNKNOWN, "timed out"))
    monkeypatch.setattr("node_agent.core.intents.check", _broken)
    unsure = events.Lookup(None, unsure="away")
    node.take(events.LookedFor(START, lost.client_order_id, unsure))
    assert state_of(node, lost) is OrderState.UNKNOWN
    found = events.LookedFor(START, lost.client_order_id, events.Lookup(told(lost, S.OPEN)))
    assert cancelled(node.take(found)) == [lost.client_order_id]


# Many at once.


@pytest.mark.parametrize(
    "limit",
    [
        {"max_open_notional": D(400)},
        {"max_position_notional": D(400)},
        {"max_total_notional": D(400)},
        {"orders_per_minute": 1},
        {"orders_per_day": 1},
    ],
    ids=lambda limit: next(iter(limit)),
)
@pytest.mark.parametrize("together", [True, False], ids=["in one answer", "one after the other"])
def test_ten_orders_at_once_do_not_pass_where_one_does(limit: dict[str, Any], together: bool) -> None:
    node = ready(**limit)
    commands = [place(f"n{number}") for number in range(10)]
    arrivals = [commands] if together else [[each] for each in commands]
    passed = [request for arrived in arrivals for request in node.order(*arrived)]
    assert len(passed) == 1
    rules = [each.data["rule"] for each in node.reports if each.type == "command.refused"]
    assert rules == [next(iter(limit))] * 9


def test_ten_exits_at_once_do_not_close_more_than_there_is() -> None:
    node = ready(orders_per_minute=100)
    node.bought("a", "0.02", 40000)
    stops: dict[str, Any] = {"type": "stop", "stop_price": "35000", "reduce_only": True}
    before = len(sent(tuple(node.done)))
    passed = node.order(*(place(f"n{number}", "sell", "0.01", **stops) for number in range(10)))
    assert len(passed) == 1
    node.tell(passed[0], S.OPEN)
    node.tell(sent(tuple(node.done))[-1], S.OPEN)
    assert sum(each.amount for each in sent(tuple(node.done))[before:]) == D("0.02")
    assert node.state.waiting == ()


def test_strategy_server_and_owner_at_once_do_not_pass_where_one_does() -> None:
    node = Node(limits(max_position_notional=D(400)), strategies=(MaTrend("BTC/USD", fast=1, slow=2, notional=D(250)),))
    node.tick(0, 40000)
    node.tick(1, 39900)
    by_hand = OrderRequest("0" * 32, "BTC/USD", Side.BUY, OrderType.MARKET, D("0.01"))
    assert len(node.order(place("a"))) == 1
    assert sent(node.take(events.OwnerWants(START, "paper", by_hand))) == []
    assert sent(node.take(events.CandleClosed(START, candle(2, 40000)))) == []
    rules = [each.data["rule"] for each in node.reports if each.type == "intent.refused"]
    assert rules == ["max_position_notional"] * 2


def _broken(*args: object, **more: object) -> None:
    raise ZeroDivisionError("a check that is broken")


def test_what_a_key_turns_out_to_be_able_to_do_is_told_though_nothing_was_known_of_it_before() -> None:
    node = ready()
    node.take(events.KeyJudged(START, "Binance does not say what this key may do"))
    node.take(events.KeyJudged(START, "this key could take money out: enableWithdrawals"))
    assert node.state.pauses["key_rejected"].reason.endswith("enableWithdrawals")
    assert node.last("node.paused")["reason"].endswith("enableWithdrawals")
