"""Stories of limits that did not hold: a check that failed, a loss that a restart forgot, a key that had expired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from node_agent.core import events
from node_agent.core.market import ExchangeOrder, ExchangeStatus, Fill, Market, OpenOrder, OrderRequest, OrderType, Side
from node_agent.core.state import Trading
from node_agent.exchanges.port import KeyRefused
from node_agent.strategies import MaTrend
from tests.node.kept import Kept, cancelled, kept, protecting, resting, sent
from tests.node.shop import Shop
from tests.node.until import becomes
from tests.node.values import START, command, limits, place, ready
from tests.stories.lives import PRICE, SHOP_FILE, life
from tests.support import NodeDir

S = ExchangeStatus
LOSING = limits(daily_loss=D(20))


# 6. An exception inside the risk check let it go on trading.


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Every check of an order raises; `undo` mends it."""

    def check(*args: object, **more: object) -> None:
        raise AttributeError("no attribute trade_performance_report")

    monkeypatch.setattr("node_agent.core.intents.check", check)
    return monkeypatch


@pytest.mark.parametrize("who", ["server", "owner", "strategy"])
def test_a_check_that_raises_refuses_the_order_and_halts_whoever_asked(
    tmp_path: Path, who: str, request: pytest.FixtureRequest
) -> None:
    """hummingbot/hummingbot#2534: the kill switch was reached, raised an AttributeError, and the bot traded on."""
    node = Kept(tmp_path, strategies=(MaTrend("BTC/USD", fast=1, slow=2, notional=D(250)),))
    node.tick(0, 40000)
    node.tick(1, 39900)
    entry = resting(node, "entry", amount="0.001")
    request.getfixturevalue("broken")
    by_hand = OrderRequest("0" * 32, "BTC/USD", Side.BUY, OrderType.MARKET, D("0.001"))
    wanted = {
        "server": lambda: node.take(events.CommandsArrived((place("a"),), START)),
        "owner": lambda: node.take(events.OwnerWants(START, "paper", by_hand)),
        "strategy": lambda: node.tick(2, 40100),
    }[who]()
    assert sent(wanted) == []
    refused = node.last("intent.refused")
    assert refused["rule"] == "risk_check_failed"
    assert refused["detail"] == "AttributeError: no attribute trade_performance_report"
    assert node.last("node.paused")["rule"] == "risk_check_failed"
    assert node.state.trading is Trading.HALTED
    assert cancelled(wanted) == [entry.client_order_id]


def test_what_a_failed_check_halted_stays_halted_until_the_owner_resumes(
    tmp_path: Path, broken: pytest.MonkeyPatch
) -> None:
    """hummingbot/hummingbot#2534: the error came again and again, and so did the orders."""
    node = kept(tmp_path)
    assert node.refused_by(place("a")) == "risk_check_failed"
    broken.undo()
    assert node.refused_by(place("b")) == "risk_check_failed"
    node.restart()
    node.take(events.ServerSeen(START))
    node.take(events.OpenOrdersTold(START, ()))
    node.tick(24 * 60, 40000)
    assert node.refused_by(command("r", "trading.resume")) == "risk_check_failed"
    assert node.refused_by(place("c")) == "risk_check_failed"
    node.take(events.OwnerResumed(START))
    assert len(node.order(place("d"))) == 1


def test_the_kill_switch_does_not_hang_on_the_check_that_is_broken(tmp_path: Path, broken: pytest.MonkeyPatch) -> None:
    """hummingbot/hummingbot#2534: what was to stop it was what failed."""
    broken.undo()
    node = kept(tmp_path)
    node.bought("a", "0.02", 40000)
    stop = protecting(node)
    broken.setattr("node_agent.core.intents.check", None)
    wanted = node.take(events.OwnerStops(START, flatten=True, then_end=True, reason="so"))
    assert cancelled(wanted) == [stop.client_order_id]
    node.tell(stop, S.CANCELLED)
    assert [each.amount for each in sent(tuple(node.done))][-1] == D("0.02")


# 7. The loss limit was measured from the process's start, and forgotten by a restart.


def test_a_loss_is_not_forgotten_by_a_restart(tmp_path: Path) -> None:
    """sanketagarwal/hyperliquid-trading-agent#5: a restart amid a loss measured the day from the poorer account.

    Its circuit breaker, set for 10% of 100, would have stopped at 72 instead of 90.
    """
    node = kept(tmp_path, policy=LOSING)
    node.bought("a", "0.02", 40000)
    node.tick(1, 39100)
    assert node.state.trading is Trading.ACTIVE
    node.restart()
    node.tick(2, 39000)
    assert node.last("node.paused")["reason"] == "lost 20 today, the limit is 20"
    assert node.refused_by(place("b")) == "daily_loss"


def test_a_stop_for_losses_is_not_lifted_by_a_restart(tmp_path: Path) -> None:
    """sanketagarwal/hyperliquid-trading-agent#5: the restart also took back a breaker that was at work."""
    node = kept(tmp_path, policy=LOSING)
    node.bought("a", "0.02", 40000)
    node.tick(1, 39000)
    for _ in range(3):
        node.restart()
        assert node.refused_by(place(f"b{len(node.reports)}")) == "daily_loss"
    node.tick(2, 41000)
    assert node.refused_by(place("c")) == "daily_loss"


def test_the_best_moment_of_the_day_is_not_forgotten_either(tmp_path: Path) -> None:
    """sanketagarwal/hyperliquid-trading-agent#5: its daily high went with the process."""
    node = kept(tmp_path, policy=limits(drawdown=D(30)))
    node.bought("a", "0.02", 40000)
    node.tick(1, 41000)
    node.restart()
    node.tick(2, 39500)
    assert node.last("node.paused")["reason"] == "lost 30 since the day's best moment, the limit is 30"


def test_neither_owner_nor_server_lift_it_before_the_day_is_over(tmp_path: Path) -> None:
    """sanketagarwal/hyperliquid-trading-agent#5: a limit that the next start or command takes back is none."""
    node = kept(tmp_path, policy=LOSING)
    node.bought("a", "0.02", 40000)
    node.tick(1, 39000)
    node.order(command("r", "trading.resume"))
    node.take(events.OwnerResumed(START))
    assert node.refused_by(place("b")) == "daily_loss"
    node.tick(15 * 60 - 1, 39000)
    assert node.refused_by(place("c")) == "daily_loss"
    node.tick(15 * 60, 39000)
    assert len(node.order(place("d"))) == 1


def test_status_says_from_where_losses_are_measured_and_when_that_begins_anew(tmp_path: Path) -> None:
    """sanketagarwal/hyperliquid-trading-agent#5: nobody could see that the baseline had moved."""
    node = kept(tmp_path, policy=LOSING)
    node.bought("a", "0.02", 40000)
    node.tick(1, 41000)
    node.tick(24 * 60, 41000)
    node.tick(24 * 60 + 1, 41500)
    node.tick(24 * 60 + 2, 40500)
    node.kill()
    status: dict[str, Any] = NodeDir(tmp_path, tmp_path / "none").status()
    assert status["day"] == {
        "date": "2026-01-06",
        "baseline": "20",
        "high": "30",
        "result": "10",
        "loss": "10",
        "drawdown": "20",
        "orders": 0,
        "resets_at": "2026-01-07T00:00:00Z",
    }
    assert status["trading"] == "active"


# 13. An expired key went unnoticed, and a stop was missed.


class Locked(Shop):
    """A shop that takes our key, or does not."""

    key_is_good = True

    def _ask(self) -> None:
        if not self.key_is_good:
            raise KeyRefused("Invalid API-key, IP, or permissions for action")

    async def markets(self) -> Mapping[str, Market]:
        self._ask()
        return await super().markets()

    async def balances(self) -> Mapping[str, D]:
        self._ask()
        return await super().balances()

    async def create_order(self, request: OrderRequest) -> ExchangeOrder:
        self._ask()
        return await super().create_order(request)

    async def open_orders(self) -> Sequence[OpenOrder]:
        self._ask()
        return await super().open_orders()

    async def fills_since(self, at: datetime | None) -> Sequence[Fill]:
        self._ask()
        return await super().fills_since(at)


class ReadOnly(Shop):
    """A shop that shows all and takes no order."""

    surveys = 0

    async def create_order(self, request: OrderRequest) -> ExchangeOrder:
        raise KeyRefused("Invalid API-key, IP, or permissions for action")

    async def open_orders(self) -> Sequence[OpenOrder]:
        self.surveys += 1
        return await super().open_orders()


@pytest.mark.asyncio
async def test_a_key_that_is_refused_is_told_and_halts_until_it_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """freqtrade/freqtrade#6783: a key that had run out after 90 days was a line in a log; found days later, a position
    stood at -89% under a stop of 25%.
    """
    monkeypatch.setattr("tests.node.shop.Shop.survey_every", 0.02)
    shop = Locked(tmp_path / SHOP_FILE, [PRICE])
    async with life(tmp_path, shop) as node:
        shop.key_is_good = False
        told = await node.until("node.paused")
        assert (told["rule"], told["by"]) == ("key_refused", "rule")
        assert "Invalid API-key" in told["reason"]
        status = node.runner.status()
        assert (status["trading"], status["rules"]) == ("halted", ["key_refused"])
        shown = NodeDir(tmp_path, tmp_path / "none").status()
        assert (shown["trading"], shown["pauses"][0]["rule"]) == ("halted", "key_refused")
        node.order("a")
        assert (await node.until("command.refused"))["rule"] == "key_refused"
        assert shop.asked == []
        shop.key_is_good = True
        assert (await node.until("node.resumed"))["rule"] == "key_refused"
        assert len(node.told("node.paused")) == 1
        node.order("b")
        await becomes(shop.fills, "an order that is placed again")
        await node.until("order.filled")


@pytest.mark.asyncio
async def test_a_key_that_may_read_alone_halts_at_its_first_order_until_the_owner_lets_it_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """freqtrade/freqtrade#6783, the other way round: reading goes on, so nothing but an order would show it."""
    monkeypatch.setattr("tests.node.shop.Shop.survey_every", 0.02)
    shop = ReadOnly(tmp_path / SHOP_FILE, [PRICE])
    async with life(tmp_path, shop) as node:
        node.order("a")
        told = await node.until("node.paused")
        assert told["rule"] == "trading_refused"
        assert "takes no order under our key" in told["reason"]
        assert await node.until("order.rejected")
        surveys = shop.surveys
        await becomes(lambda: shop.surveys >= surveys + 2, "two looks at the account")
        node.order("b")
        assert (await node.until("command.refused"))["rule"] == "trading_refused"
        await node.runner.settle(events.OwnerResumed(datetime.now(UTC)))
        assert (await node.until("node.resumed"))["rule"] == "trading_refused"


def test_a_key_that_is_refused_altogether_is_one_reason_and_ends_with_the_next_look() -> None:
    """freqtrade/freqtrade#6783: whichever request is refused first."""
    for first_acting in (True, False):
        node = ready()
        for acting in (first_acting, not first_acting):
            node.take(events.KeyRefused(START, "expired", acting=acting))
        assert list(node.state.pauses) == ["key_refused"]
        node.take(events.OpenOrdersTold(START, ()))
        assert node.state.pauses == {}


def test_a_refused_key_cancels_what_adds_risk_and_leaves_the_protection(tmp_path: Path) -> None:
    """freqtrade/freqtrade#6783: what was left of the protection must not go too."""
    node = kept(tmp_path)
    node.bought("a", "0.02", 40000)
    entry, _ = resting(node, "entry"), protecting(node)
    assert cancelled(node.take(events.KeyRefused(START, "expired"))) == [entry.client_order_id]


def test_a_refused_key_is_remembered_over_a_restart(tmp_path: Path) -> None:
    """freqtrade/freqtrade#6783: a restart is no new key."""
    node = kept(tmp_path)
    node.take(events.KeyRefused(START, "expired"))
    node.restart()
    assert node.refused_by(place("a")) == "key_refused"
    node.take(events.OpenOrdersTold(START, ()))
    assert node.last("node.resumed") == {"by": "rule", "rule": "key_refused"}
