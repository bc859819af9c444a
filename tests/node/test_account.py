"""Snapshots of the account: when they are made, and that what they say goes together."""

from __future__ import annotations

from decimal import Decimal as D

from node_agent.core import effects, events
from tests.node.values import START, Node, command, ready


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
