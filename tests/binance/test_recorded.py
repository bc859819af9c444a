"""Bodies that Binance once sent, read by ours."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from node_agent.core.market import Book, Candle, ExchangeStatus, Level, Liquidity, Market, Side, Ticker
from node_agent.exchanges.binance import Binance, binance_traits
from node_agent.exchanges.through_ccxt import connect
from tests.exchanges.opening import an_opening
from tests.venue.http import Answer, HttpRequest
from tests.venue.replay import Replay
from tests.venue.writing import as_json

pytestmark = pytest.mark.asyncio

RECORDED: Final = json.loads((Path(__file__).parent.parent / "data/ccxt-static/binance.json").read_text())


@asynccontextmanager
async def account(symbol: str, **answers: str) -> AsyncIterator[Binance]:
    """An account of ours on a server that gives each path the recorded answer, `answers` in place of some."""

    def answer(request: HttpRequest) -> Answer:
        name = request.path.removeprefix("/api/v3/")
        if name == "time":
            return as_json({"serverTime": time.time_ns() // 1_000_000})
        told: Any = RECORDED[answers.get(name, name)]
        return as_json(told)

    async with Replay(answer) as far:
        traits = binance_traits(5.0)
        line = connect(traits, an_opening(far.url))
        ours = Binance(line, traits, symbol=symbol, interval=timedelta(hours=1))
        try:
            yield ours
        finally:
            await ours.close()


async def test_recorded_bodies_of_an_account_are_read_to_the_digit() -> None:
    async with account("LTC/USDT", order="order, filled") as ours:
        rules = Market("LTC/USDT", "LTC", "USDT", Decimal("0.01"), Decimal("0.001"), Decimal(5), Decimal("0.001"))
        assert await ours.markets() == {"LTC/USDT": rules}
        filled = await ours.order("3397148653")
        assert (filled.status, filled.amount, filled.filled) == (ExchangeStatus.FILLED, Decimal("0.1"), Decimal("0.1"))
        assert filled.average_price == Decimal("90.8")
        (resting,) = await ours.open_orders()
        (cancelled,) = await ours.recent_orders(datetime(2023, 12, 1, tzinfo=UTC))
        ours.know([("sold", "3784695242")])  # its order is not among what was recorded
        (fill,) = await ours.fills_since(None)
        assert await ours.balances() == {"LTC": Decimal("0.919741"), "ETH": Decimal("0.02229833")}
    assert (resting.side, resting.price, resting.order.amount) == (Side.BUY, Decimal(50), Decimal("0.2"))
    assert (resting.order.exchange_order_id, resting.order.status) == ("3811057334", ExchangeStatus.OPEN)
    assert (cancelled.exchange_order_id, cancelled.status) == ("3854801792", ExchangeStatus.CANCELLED)
    assert fill.client_order_id == "sold"
    assert (fill.trade_id, fill.side, fill.price, fill.amount) == (
        "309520010",
        Side.SELL,
        Decimal("69.63"),
        Decimal("0.2"),
    )
    assert (fill.fee, fill.fee_currency, fill.liquidity) == (Decimal("0.013926"), "USDT", Liquidity.TAKER)
    assert fill.at == datetime(2023, 10, 24, 9, 16, 32, 358000, UTC)


async def test_recorded_bodies_of_a_market_are_read_to_the_digit() -> None:
    async with account("BTC/USDT") as ours:
        assert await ours.ticker() == Ticker("BTC/USDT", Decimal("73369.84"), Decimal("73369.83"), Decimal("73369.84"))
        book = await ours.book(2)
        first, _, last = await ours.candles(None)
    assert book == Book(
        "BTC/USDT",
        (Level(Decimal("42574.30"), Decimal("0.0107")), Level(Decimal("42574.20"), Decimal("0.00646"))),
        (Level(Decimal("42574.31"), Decimal("0.0087")), Level(Decimal("42574.80"), Decimal("0.00893"))),
    )
    assert first == Candle(
        "BTC/USDT",
        datetime(2024, 1, 30, 16, tzinfo=UTC),
        Decimal("43519.34"),
        Decimal("43936.00"),
        Decimal("43171.00"),
        Decimal("43488.71"),
        Decimal("20.55495"),
        timedelta(hours=1),
    )
    assert last.close == Decimal("43361.11")
