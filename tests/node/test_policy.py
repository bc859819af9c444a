"""The owner's limits: each rule says no by its name, at its edge, and never holds an exit back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from node_agent.core.hours import parse
from node_agent.core.market import OrderRequest, OrderType, Side
from node_agent.core.policy import NOTHING, Exposure, check, notional
from tests.node.values import LIMITS, limits

AT_100 = Exposure(last=D(100), data_age=timedelta(0))
MINUTE = timedelta(minutes=1)


def order(side: str = "buy", amount: str = "5", **changes: object) -> OrderRequest:
    kind = OrderType.LIMIT if "price" in changes else OrderType.STOP if "stop_price" in changes else OrderType.MARKET
    prices = {name: D(str(value)) for name, value in changes.items() if name.endswith("price")}
    rest = {name: value for name, value in changes.items() if not name.endswith("price")}
    fields = {"symbol": "BTC/USD", "type": kind} | rest | prices
    return OrderRequest(client_order_id="0" * 32, side=Side(side), amount=D(amount), **fields)  # type: ignore[arg-type]


def rule(asked: OrderRequest, exposure: Exposure = AT_100, exchange: str = "paper", **changes: object) -> str | None:
    return check(limits(**changes), exposure, exchange, asked).rule


def test_what_is_within_every_limit_is_allowed() -> None:
    verdict = check(LIMITS, AT_100, "paper", order())
    assert verdict.allowed
    assert (verdict.notional, verdict.reduces) == (D(500), False)


def test_no_limits_read_means_nothing_is_allowed() -> None:
    assert not check(NOTHING, AT_100, "paper", order()).allowed


@pytest.mark.parametrize(
    ("name", "asked", "changes"),
    [
        ("symbol", order(symbol="XRP/USD"), {}),
        ("side", order("sell"), {"sides": frozenset({Side.BUY})}),
        ("order_type", order(stop_price=100), {"order_types": frozenset({OrderType.MARKET})}),
        ("max_order_notional", order(amount="10.0001"), {}),
        ("orders_per_minute", order(), {"orders_per_minute": 0}),
        ("reduce_only", order(reduce_only=True), {}),
        ("price_collar", order(amount="1", price="120.01"), {}),
        ("price_collar", order("sell", amount="1", price="79.99"), {}),
        ("price_collar", order(amount="1", stop_price="120.01"), {}),
    ],
)
def test_a_rule_says_no_by_its_name(name: str, asked: OrderRequest, changes: dict[str, Any]) -> None:
    assert rule(asked, **changes) == name


def test_another_exchange_is_refused() -> None:
    assert rule(order(), exchange="elsewhere") == "exchange"


def test_nothing_is_weighed_without_a_price() -> None:
    assert rule(order(), Exposure(last=None)) == "no_price"
    assert rule(order(price=100), Exposure(last=None)) == "no_price"


@pytest.mark.parametrize(
    "asked",
    [
        order(amount="10"),
        order(amount="8", price=120),
        order("sell", amount="10", price=80),
        order(amount="5", price=1),
    ],
)
def test_a_limit_is_kept_at_its_edge(asked: OrderRequest) -> None:
    assert rule(asked) is None


def test_a_better_price_than_the_collar_is_no_matter() -> None:
    assert rule(order(amount="1", price=1)) is None
    assert rule(order("sell", amount="1", price=900)) is None


def test_open_orders_count_into_the_position() -> None:
    held = replace(AT_100, position=D(10), open_buys=D(600), total=D(1600))
    assert rule(order(amount="4"), held) is None
    assert rule(order(amount="4.01"), held) == "max_position_notional"


def test_everything_counts_into_the_total() -> None:
    held = replace(AT_100, total=D(2500))
    assert rule(order(amount="5"), held) is None
    assert rule(order(amount="5.01"), held) == "max_total_notional"


@pytest.mark.parametrize("stopped", ["paused_by_owner", "paused_by_server", "suspended", "daily_loss"])
def test_a_pause_stops_new_risk_and_no_exit(stopped: str) -> None:
    held = Exposure(last=D(100), position=D(50), closable=D(50), total=D(9999), stopped_by=(stopped,), recent_orders=99)
    assert rule(order(), held) == stopped
    assert rule(order("sell", amount="50"), held) is None
    assert rule(order("sell", amount="50", reduce_only=True), held) is None


def test_an_exit_is_only_what_no_other_order_closes_already() -> None:
    held = Exposure(last=D(100), position=D(50), closable=D(20), stopped_by=("suspended",))
    assert rule(order("sell", amount="20"), held) is None
    assert rule(order("sell", amount="20.1"), held) == "suspended"
    assert rule(order("sell", amount="20.1", reduce_only=True), held) == "reduce_only"


def test_a_short_is_closed_by_buying() -> None:
    held = Exposure(last=D(100), position=D(-5), closable=D(5), stopped_by=("suspended",))
    assert rule(order("buy", amount="5"), held) is None
    assert rule(order("sell", amount="5"), held) == "suspended"


def test_a_protective_stop_may_lie_outside_the_collar() -> None:
    held = Exposure(last=D(100), position=D(5), closable=D(5))
    assert rule(order("sell", amount="5", stop_price=50), held) is None
    assert rule(order("sell", amount="5", price=50), held) == "price_collar"


def test_an_unknown_order_blocks_its_symbol() -> None:
    assert rule(order(), replace(AT_100, unknown_order=True)) == "unknown_order"


@pytest.mark.parametrize(
    ("name", "facts", "changes"),
    [
        ("market_data_age", {"data_age": timedelta(seconds=61)}, {"max_data_age": MINUTE}),
        ("market_data_age", {"data_age": None}, {}),
        ("trading_hours", {"in_hours": False}, {}),
        ("orders_per_day", {"orders_today": 7}, {"orders_per_day": 7}),
        ("max_open_notional", {"open_notional": D("500.01")}, {"max_open_notional": D(1000)}),
    ],
)
def test_more_rules_hold_new_risk_back_and_no_exit(name: str, facts: dict[str, Any], changes: dict[str, Any]) -> None:
    assert rule(order(), replace(AT_100, **facts), **changes) == name
    held = replace(AT_100, position=D(5), closable=D(5), **facts)
    assert rule(order("sell", amount="5"), held, **changes) is None


def test_these_rules_allow_what_is_at_their_edge() -> None:
    edge = replace(AT_100, data_age=MINUTE, orders_today=6, open_notional=D(500))
    assert rule(order(), edge, max_data_age=MINUTE, orders_per_day=7, max_open_notional=D(1000)) is None


def test_an_old_signal_takes_no_new_risk_and_still_closes() -> None:
    policy, old = limits(max_signal_age=MINUTE), timedelta(seconds=61)
    assert check(policy, AT_100, "paper", order(), signal_age=MINUTE).allowed
    assert check(policy, AT_100, "paper", order(), signal_age=old).rule == "signal_age"
    assert check(limits(max_signal_age=None), AT_100, "paper", order(), signal_age=old).allowed
    held = replace(AT_100, position=D(5), closable=D(5))
    assert check(policy, held, "paper", order("sell"), signal_age=old).allowed


@pytest.mark.parametrize(
    ("asked", "worth"),
    [
        (order(amount="2"), 200),
        (order(amount="2", price=90), 180),
        (order("sell", amount="2", price=90), 200),
        (order("sell", amount="2", price=110), 220),
        (order(amount="2", stop_price=110), 220),
        (order("sell", amount="2", stop_price=90), 200),
    ],
)
def test_notional_is_the_most_that_an_order_can_come_to(asked: OrderRequest, worth: int) -> None:
    assert notional(asked, D(100)) == worth


def test_equal_limits_have_one_digest_and_different_ones_another() -> None:
    assert limits(max_order_notional=D("1000.0")).digest == LIMITS.digest
    assert limits(max_order_notional=D("1001")).digest != LIMITS.digest
    assert limits(server_commands=frozenset()).digest != LIMITS.digest
    for change in (
        {"max_data_age": MINUTE},
        {"trading_hours": (parse("mon 08:00-09:00"),)},
        {"server_silence": MINUTE},
    ):
        assert limits(**change).digest != LIMITS.digest
