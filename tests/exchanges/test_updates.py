"""What a stream tells: closed candles once each, every fill, and changes of orders behind their fills."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

import httpx
import pytest
import pytest_asyncio

from node_agent.core.market import Candle, ExchangeOrder, ExchangeStatus, Fill, OrderType, Side
from node_agent.exchanges.port import ExchangeError, OutcomeUnknown, Update
from node_agent.exchanges.spot import SpotExchange
from node_agent.exchanges.traits import Pace
from tests.binance.process import BinanceProcess
from tests.exchanges.opening import SYMBOL, an_order, at_market, opened
from tests.node.until import becomes

pytestmark = pytest.mark.asyncio

QUICK = Pace(orders_every_fast=0.05, candle_settles=0.05)
SECOND = timedelta(seconds=1)

T = TypeVar("T", Candle, ExchangeOrder, Fill)


class Heard(list[Update]):
    """What was told so far."""

    def of(self, kind: type[T]) -> list[T]:
        """Those of one kind."""
        return [each for each in self if isinstance(each, kind)]

    def fills_of(self, client_order_id: str) -> list[Fill]:
        """Fills of one order."""
        return [fill for fill in self.of(Fill) if fill.client_order_id == client_order_id]

    def ended(self, client_order_id: str) -> bool:
        """Whether the end of this order was told."""
        return any(
            order.client_order_id == client_order_id and order.status is not ExchangeStatus.OPEN
            for order in self.of(ExchangeOrder)
        )


@contextmanager
def listening(exchange: SpotExchange) -> Iterator[tuple[Heard, asyncio.Task[None]]]:
    heard = Heard()

    async def listen() -> None:
        async for update in exchange.updates():
            heard.append(update)

    task = asyncio.create_task(listen())
    try:
        yield heard, task
    finally:
        task.cancel()


@pytest_asyncio.fixture
async def ours(binance: BinanceProcess) -> AsyncIterator[SpotExchange]:
    """One that asks often."""
    ours = opened(binance, pace=QUICK)
    await ours.open_orders()
    yield ours
    await ours.close()


async def test_each_closed_candle_is_told_once_in_order_and_never_the_open_one(
    ours: SpotExchange, binance: BinanceProcess
) -> None:
    binance.walk()
    with listening(ours) as (heard, _):
        await becomes(lambda: heard.of(Candle))
        assert datetime.now(UTC) - heard.of(Candle)[0].closed_at < 2 * SECOND  # the first is the last that closed
        await becomes(lambda: len(heard.of(Candle)) >= 3)
    candles = heard.of(Candle)[:3]
    assert [candle.at for candle in candles] == [candles[0].at + n * SECOND for n in range(3)]
    assert all(candle.interval == SECOND and candle.closed_at <= datetime.now(UTC) for candle in candles)
    since = int(candles[0].at.timestamp() * 1000)
    asked: dict[str, str | int] = {"symbol": "BTCUSDT", "interval": "1s", "startTime": since, "limit": 3}
    async with httpx.AsyncClient(trust_env=False) as client:
        rows = (await client.get(f"{binance.url}/api/v3/klines", params=asked)).json()
    assert [(c.open, c.high, c.low, c.close, c.volume) for c in candles] == [
        tuple(Decimal(each) for each in row[1:6]) for row in rows
    ]


async def test_after_a_break_the_stream_goes_on_where_it_was(ours: SpotExchange, binance: BinanceProcess) -> None:
    with listening(ours) as (heard, task):
        await becomes(lambda: heard.of(Candle))
        binance.faults({"what": "5xx_before", "path": "/api/v3/klines"})
        await becomes(task.done)
        assert isinstance(task.exception(), ExchangeError)
    with listening(ours) as (again, _):
        await becomes(lambda: len(again.of(Candle)) >= 2)
    candles = [*heard.of(Candle), *again.of(Candle)]
    assert [candle.at for candle in candles] == [candles[0].at + n * SECOND for n in range(len(candles))]


async def test_a_resting_order_is_told_of_behind_each_of_its_fills(ours: SpotExchange, binance: BinanceProcess) -> None:
    placed = await ours.create_order(an_order(price=Decimal(39_000)))
    with listening(ours) as (heard, _):
        await becomes(lambda: heard.of(Candle))
        binance.price("38900")
        await becomes(lambda: heard.ended(placed.client_order_id))
    seen = Decimal(0)
    for update in heard:
        if isinstance(update, Fill):
            seen += update.amount
            assert (update.client_order_id, update.side) == (placed.client_order_id, Side.BUY)
        elif isinstance(update, ExchangeOrder):
            assert update.filled <= seen
    assert seen == placed.amount
    assert heard.of(ExchangeOrder)[-1].status is ExchangeStatus.FILLED


async def test_our_own_market_order_is_told_of_at_once(binance: BinanceProcess) -> None:
    ours = opened(binance, pace=Pace(orders_every=600.0, fills_every=600.0), interval=timedelta(minutes=15))
    with listening(ours) as (heard, _):
        await becomes(lambda: "GET /api/v3/myTrades" in binance.books()["requests"], "the first look")
        placed = await ours.create_order(at_market())
        await becomes(lambda: heard.ended(placed.client_order_id))
    assert sum(fill.amount for fill in heard.fills_of(placed.client_order_id)) == placed.filled
    assert isinstance(heard[-1], ExchangeOrder)
    await ours.close()


async def test_a_triggered_stop_is_told_of(ours: SpotExchange, binance: BinanceProcess) -> None:
    stop = an_order(type=OrderType.STOP, side=Side.SELL, price=None, stop_price=Decimal(39_500))
    placed = await ours.create_order(stop)
    with listening(ours) as (heard, _):
        await becomes(lambda: heard.of(Candle))
        binance.price("39400")
        await becomes(lambda: heard.ended(placed.client_order_id))
    assert sum(fill.amount for fill in heard.fills_of(placed.client_order_id)) == placed.amount


async def test_what_the_owner_does_by_hand_is_told_of(ours: SpotExchange, binance: BinanceProcess) -> None:
    placed = await ours.create_order(an_order())
    theirs = binance.foreign(side="SELL", type="LIMIT", quantity="0.02", price="41000")
    with listening(ours) as (heard, _):
        await becomes(lambda: heard.of(Candle))
        binance.foreign_cancel(int(placed.exchange_order_id))
        binance.price("41000")
        await becomes(lambda: heard.ended(placed.client_order_id) and heard.ended(theirs["clientOrderId"]))
    assert sum(fill.amount for fill in heard.fills_of(theirs["clientOrderId"])) == Decimal("0.02")
    assert heard.fills_of(placed.client_order_id) == []


async def test_a_list_that_is_late_ends_no_order(ours: SpotExchange, binance: BinanceProcess) -> None:
    with listening(ours) as (heard, _):
        await becomes(lambda: heard.of(Candle))
        binance.faults({"what": "stale_list", "times": 3})
        placed = await ours.create_order(an_order())
        await becomes(lambda: binance.books()["faults"].get("stale_list") == 3)
        await becomes(lambda: len(heard.of(Candle)) >= 3)
        assert not heard.ended(placed.client_order_id)
        await ours.cancel_order(placed.client_order_id, SYMBOL)


async def test_fills_of_orders_that_were_never_listed_are_found_too(binance: BinanceProcess) -> None:
    ours = opened(binance, pace=Pace(orders_every_fast=0.05, fills_every=0.2))
    with listening(ours) as (heard, _):
        await becomes(lambda: heard.of(Candle))
        theirs = binance.foreign(side="BUY", type="MARKET", quantity="0.03")
        await becomes(lambda: heard.ended(theirs["clientOrderId"]))
    assert sum(fill.amount for fill in heard.fills_of(theirs["clientOrderId"])) == Decimal("0.03")
    await ours.close()


async def test_following_an_idle_account_costs_little(binance: BinanceProcess) -> None:
    ours = opened(binance)
    with listening(ours) as (heard, _):
        await becomes(lambda: len(heard.of(Candle)) >= 4)
    requests = binance.books()["requests"]
    assert requests["GET /api/v3/myTrades"] == 1
    assert requests["GET /api/v3/openOrders"] <= 6
    assert requests["GET /api/v3/klines"] <= 8
    assert "GET /api/v3/order" not in requests
    await ours.close()


async def test_an_order_that_is_found_after_a_lost_answer_is_followed_like_any_other(binance: BinanceProcess) -> None:
    ours = opened(binance, pace=Pace(orders_every_fast=0.05, fills_every=600.0))
    with listening(ours) as (heard, _):
        await becomes(lambda: "GET /api/v3/myTrades" in binance.books()["requests"], "the first look")
        binance.faults({"what": "drop_after", "method": "POST", "path": "/api/v3/order"})
        lost = an_order(price=Decimal(39_000))
        with pytest.raises(OutcomeUnknown):
            await ours.create_order(lost)
        assert await ours.find_order(lost.client_order_id, SYMBOL) is not None
        binance.price("38900")
        await becomes(lambda: heard.ended(lost.client_order_id))
    assert sum(fill.amount for fill in heard.fills_of(lost.client_order_id)) == lost.amount
    await ours.close()
