"""What the account comes to: snapshots that go together, fees, what a strategy holds, the day, the last minute."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from node_agent.core import effects, events
from node_agent.core.market import Candle, ExchangeStatus, OrderRequest, OrderType, Side
from node_agent.core.risk import day_loss
from node_agent.strategies import MaTrend
from node_agent.strategies.interface import Intent
from tests.node.kept import Kept, kept, sent
from tests.node.values import START, Node, candle, command, fill, limits, place, ready


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


def test_balances_ahead_of_the_trades_that_were_told_are_read_again_before_they_are_reported() -> None:
    node = ready()
    node.take(events.BalancesTold(START, {"USD": D(10000)}))
    node.bought("a", "0.01", 40000)
    told = node.told_types.count("account.snapshot")
    ahead = events.BalancesTold(START, {"USD": D(9200), "BTC": D("0.02")})
    assert node.take(ahead) == (effects.ReadBalances(after=0.05),)
    assert node.take(ahead) == (effects.ReadBalances(after=0.1),)
    assert node.told_types.count("account.snapshot") == told
    node.bought("b", "0.01", 40000)
    node.take(ahead)
    snapshot = node.last("account.snapshot")
    assert (snapshot["positions"], snapshot["balances"]["BTC"]) == ({"BTC/USD": "0.02"}, "0.02")


def test_an_account_that_somebody_else_moves_is_reported_after_a_few_readings() -> None:
    node = ready()
    node.take(events.BalancesTold(START, {"USD": D(10000)}))
    node.bought("a", "0.01", 40000)
    paid_in = events.BalancesTold(START, {"USD": D(9600), "BTC": D(3)})
    readings = 1
    while effects.ReadBalances(after=0.05 * 2 ** (readings - 1)) in node.take(paid_in):
        readings += 1
    assert readings == 6
    assert node.last("account.snapshot")["balances"]["BTC"] == "3"
    node.bought("b", "0.01", 40000)
    node.take(events.BalancesTold(START, {"USD": D(9200), "BTC": D("3.01")}))
    assert node.last("account.snapshot")["balances"]["BTC"] == "3.01"


# Fees.


@pytest.mark.parametrize(("fee", "lost"), [(D("0.002"), D("0.8")), (D(0), D(0))])
def test_a_fee_in_a_currency_without_a_price_counts_as_the_dearest_there_is(fee: D, lost: D) -> None:
    """Binance takes it in BNB from whoever has some; a loss limit that does not see it is none."""
    node = ready()
    (request,) = node.order(place("a", amount="0.02"))
    node.take(events.FillTold(START, replace(fill(request, "t1", 40000), fee=fee, fee_currency="BNB")))
    assert day_loss(node.state) == lost


# What a strategy holds.


def trending(tmp_path: Path) -> Kept:
    """A strategy has bought 0.0199 at 40100."""
    trend = MaTrend("BTC/USD", fast=1, slow=2, notional=D(800))
    node = Kept(tmp_path, strategies=(trend,))
    for minute, price in enumerate((40000, 39900)):
        node.tick(minute, price)
    (entry,) = sent(node.tick(2, 40100))
    node.fill(entry, "t1", 40100)
    return node


def flattened(node: Kept) -> None:
    """The owner has closed all positions, and lets trading go on."""
    (exit_,) = sent(node.take(events.OwnerStops(START, flatten=True, then_end=False, reason="so")))
    node.fill(exit_, "t2", 40100)
    node.take(events.OwnerResumed(START))


@pytest.mark.parametrize("ran", [True, False])
def test_a_strategy_does_not_sell_what_others_bought_after_its_own_was_sold(tmp_path: Path, ran: bool) -> None:
    """Whether it ran when its position was closed, or the process ran for just that."""
    node = trending(tmp_path)
    if not ran:
        node.restart(strategies=())
    flattened(node)
    if not ran:
        node.restart()
    node.bought("hand", "0.0199", 40100)
    assert sent(node.tick(3, 39000)) == []
    assert node.state.holdings["BTC/USD"].amount == D("0.0199")


def test_a_strategy_owns_what_is_left_when_a_part_of_its_own_was_sold(tmp_path: Path) -> None:
    node = trending(tmp_path)
    (sale,) = node.order(place("part", "sell", "0.01"))
    node.fill(sale, "t2", 40100)
    (exit_,) = sent(node.tick(3, 39000))
    assert exit_.amount == D("0.0099")


@dataclass(frozen=True)
class BuysOnce:
    """Buys on its second candle."""

    name: str = "once"
    symbol: str = "BTC/USD"

    def start(self) -> int:
        return 0

    def on_candle(self, memory: int, candle: Candle, position: D) -> tuple[int, tuple[Intent, ...]]:
        return memory + 1, (Intent(Side.BUY, D("0.01")),) if memory == 1 else ()


def test_a_strategy_owns_what_it_bought_though_others_sold_what_the_node_did_not_buy(tmp_path: Path) -> None:
    node = Kept(tmp_path, strategies=(BuysOnce(),))
    node.tick(0, 40000)
    (sale,) = node.order(place("coins-of-before", "sell", "0.02"))
    node.fill(sale, "t1", 40000)
    (entry,) = sent(node.tick(1, 40000))
    node.fill(entry, "t2", 40000)
    node.restart()
    assert node.state.strategy_books["once"].position == D("0.01")


# A clock that was wrong.


def test_a_day_that_a_wrong_clock_began_ends_when_the_clock_is_right_again(tmp_path: Path) -> None:
    node = kept(tmp_path, policy=limits(daily_loss=D(20)), mode="live")
    node.bought("a", "0.02", 40000)
    node.take(events.Tick(START + timedelta(days=3650)))
    node.tick(1, 38000)
    assert "daily_loss" in node.state.pauses
    node.take(events.Tick(START + timedelta(days=1)))
    assert "daily_loss" not in node.state.pauses


def test_a_clock_that_is_set_back_over_midnight_begins_no_day(tmp_path: Path) -> None:
    node = kept(tmp_path, policy=limits(daily_loss=D(20)), mode="live")
    node.bought("a", "0.02", 40000)
    node.tick(1, 38000)
    node.take(events.Tick(START - timedelta(days=1)))
    assert "daily_loss" in node.state.pauses


def test_a_restart_begins_no_day_that_is_over_though_the_last_candle_is_of_it(tmp_path: Path) -> None:
    """Fills go on where candles do not come; a day of the past would lift the halt, and forget the loss."""
    node = kept(tmp_path, policy=limits(daily_loss=D(100), max_data_age=timedelta(days=30)), mode="live")
    node.bought("a", "0.02", 40000)
    node.now = START + timedelta(days=3)
    node.take(events.Tick(node.now))
    sale = OrderRequest("0" * 32, "BTC/USD", Side.SELL, OrderType.MARKET, D("0.02"), reduce_only=True)
    node.take(events.OwnerWants(node.now, "paper", sale))
    node.fill(sale, "t2", 30000)
    assert "daily_loss" in node.state.pauses
    node.kill()
    node.take(events.ServerSeen(node.now))
    node.take(replace(node.started, at=node.now))
    assert "daily_loss" in node.state.pauses


# The last minute.


def live(tmp_path: Path, interval: timedelta = timedelta(minutes=1), **changes: Any) -> Kept:
    """A node on a real exchange, that has a price of just now."""
    node = Kept(tmp_path, limits(max_data_age=timedelta(hours=9), max_signal_age=None, **changes), mode="live")
    node.take(events.CandleClosed(START, replace(candle(0, 40000), at=START - interval, interval=interval)))
    return node


def wants(node: Kept, number: int) -> bool:
    """Whether an order by hand is sent now. It comes to nothing there."""
    asked = OrderRequest(f"{number:032x}", "BTC/USD", Side.BUY, OrderType.MARKET, D("0.001"))
    found = sent(node.take(events.OwnerWants(node.now, "paper", asked)))
    for request in found:
        node.tell(request, ExchangeStatus.EXPIRED)
    return bool(found)


def test_a_minute_is_one_of_the_clock_and_not_of_the_candles(tmp_path: Path) -> None:
    node = live(tmp_path, orders_per_minute=2)
    node.after(59)
    assert [wants(node, number) for number in range(3)] == [True, True, False]
    node.after(2)
    node.take(events.CandleClosed(node.now, candle(0, 40000)))
    assert not wants(node, 4)
    node.after(57.9)
    assert not wants(node, 5)
    node.after(0.1)
    assert wants(node, 6)


def test_candles_of_an_hour_make_no_hour_of_a_minute(tmp_path: Path) -> None:
    node = live(tmp_path, interval=timedelta(hours=1), orders_per_minute=1)
    assert wants(node, 1)
    node.after(60)
    assert wants(node, 2)


def test_the_last_minute_is_the_same_after_a_restart_though_the_clock_was_ahead_once(tmp_path: Path) -> None:
    node = live(tmp_path, orders_per_minute=4)
    node.after(7200)
    assert wants(node, 1)
    node.after(-7200)
    assert [wants(node, number) for number in (2, 3, 4)] == [True] * 3
    node.restart()
    assert not wants(node, 5)


def test_the_last_minute_outlives_the_process(tmp_path: Path) -> None:
    node = live(tmp_path, orders_per_minute=1)
    assert wants(node, 1)
    node.after(30)
    node.restart()
    assert not wants(node, 2)
    node.after(30)
    assert wants(node, 3)
