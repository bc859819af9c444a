"""Stories of two bots on one account, or on one database, that traded each other's positions."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from node_agent.core import events
from node_agent.core.market import ExchangeStatus, OrderRequest, OrderType, Side
from node_agent.journal import JOURNAL_FILE, Journal, JournalMissing
from tests.node.shop import Shop
from tests.node.until import becomes
from tests.node.values import limits
from tests.stories.lives import PRICE, SHOP_FILE, life
from tests.support import NodeDir, NodeProcess, node_agent, told, until

THEIRS = OrderRequest("x-other-bot-1", "BTC/USD", Side.BUY, OrderType.LIMIT, D("0.02"), price=D(39000))


def has_started(node: NodeDir) -> bool | None:
    """Whether its journal says so."""
    try:
        with Journal.open_read_only(node.path / JOURNAL_FILE) as journal:
            return bool(journal.pending_events()) or None
    except JournalMissing:
        return None


# 10. Two bots on one account or database.


def test_a_second_process_on_the_same_directory_is_refused_and_the_first_is_not_disturbed(tmp_path: Path) -> None:
    """freqtrade/freqtrade#9782: two bots on one database; what one had bought the other one sold.

    freqtrade/freqtrade#1855: two on one directory, for two exchanges, and each tried the other's pair.
    """
    node = NodeDir.made(tmp_path)
    with NodeProcess(node) as first:
        until(lambda: has_started(node), "the start")
        said = told(node_agent("run", "--data-dir", node.path), 1)
        assert f"another node-agent (process {first.process.pid}) is running on {node.path}" in said
        assert first.process.poll() is None
        assert first.stop()[0] == 0
    with NodeProcess(node) as after:
        until(lambda: node.status()["running"] or None, "a start when the first is gone")
        assert after.stop()[0] == 0


@pytest.mark.asyncio
async def test_orders_of_another_bot_are_seen_shown_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """freqtrade/freqtrade#9782: neither bot knew that there was another one. hummingbot/hummingbot#3225: `stop` of one
    bot cancelled the orders of all bots on the account.
    """
    monkeypatch.setattr("tests.node.shop.Shop.survey_every", 0.02)
    async with life(tmp_path) as node:
        node.shop._trade(THEIRS)
        note = await node.until("node.note")
        assert note["text"].endswith("is left alone: buy 0.02 BTC/USD")
        assert node.runner.status()["foreign_orders"] == 1
        shown: dict[str, Any] = NodeDir(tmp_path, tmp_path / "none").status()
        assert [each["client_order_id"] for each in shown["foreign_orders"]] == [THEIRS.client_order_id]
        node.order("a", type="limit", price="39500")
        await node.until("order.open")
        await node.runner.settle(events.OwnerStops(datetime.now(UTC), flatten=True, then_end=False, reason="so"))
        await node.until("order.cancelled")
        theirs, ours = node.shop.orders()
        assert theirs.status is ExchangeStatus.OPEN
        assert ours.status is ExchangeStatus.CANCELLED
        await becomes(lambda: node.runner.state.windup is None, "the end of it")
        assert node.told("node.note")[-1]["text"] == ("no order of this node is open any more; positions left: nothing")


@pytest.mark.asyncio
@pytest.mark.parametrize("limit", ["max_open_notional", "max_position_notional", "max_total_notional"])
async def test_orders_of_another_bot_count_into_the_owners_limits(
    tmp_path: Path, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """freqtrade/freqtrade#9782: 0.02 of another bot's at 40000 are 800 of the owner's 1000; our 400 are too much."""
    monkeypatch.setattr("tests.node.shop.Shop.survey_every", 0.02)
    changes: dict[str, Any] = {limit: D(1000)}
    async with life(tmp_path, policy=limits(**changes)) as node:
        node.shop._trade(THEIRS)
        await node.until("node.note")
        node.order("a")
        assert (await node.until("command.refused"))["rule"] == limit
        await node.shop.cancel_order(THEIRS.client_order_id, "BTC/USD")
        await becomes(lambda: not node.runner.state.foreign, "that it is gone")
        node.order("b")
        await node.until("order.filled")


@pytest.mark.asyncio
async def test_trades_of_another_bot_are_no_position_of_ours(tmp_path: Path) -> None:
    """freqtrade/freqtrade#9782: the second bot took the first one's buys for its own, and sold them."""
    shop = Shop(tmp_path / SHOP_FILE, [PRICE])
    shop._trade(OrderRequest("x-other-bot-2", "BTC/USD", Side.BUY, OrderType.MARKET, D("0.02")))
    async with life(tmp_path, shop) as node:
        assert "is of an order that is not ours" in (await node.until("node.note"))["text"]
        assert node.runner.state.holdings == {}
        node.order("exit", "sell", reduce_only=True)
        assert (await node.until("command.refused"))["rule"] == "reduce_only"
