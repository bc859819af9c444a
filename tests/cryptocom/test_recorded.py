"""Bodies that Crypto.com once sent, read by ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from node_agent.core.market import Book, Candle, ExchangeOrder, ExchangeStatus, Level, Liquidity, Market, Side, Ticker
from tests.cryptocom.ours import RECORDED, account

pytestmark = pytest.mark.asyncio


async def test_recorded_bodies_of_an_account_are_read_to_the_digit() -> None:
    async with account(RECORDED, symbol="XRP/USDT") as (ours, _):
        assert await ours.markets() == {
            "XRP/USDT": Market("XRP/USDT", "XRP", "USDT", Decimal("0.0001"), Decimal("0.1"), Decimal(0))
        }
        filled = ExchangeOrder(
            "1700184926121",
            "6142909896902261394",
            "XRP/USDT",
            ExchangeStatus.FILLED,
            Decimal(1),
            Decimal(1),
            Decimal("0.61877"),
        )
        assert await ours.find_order("1700184926121", "XRP/USDT") == filled
        assert await ours.order("6142909896902261394") == filled
        (fill,) = await ours.fills_since(datetime.now(UTC))
        assert await ours.balances() == {
            "BTC": Decimal("0.0003999"),
            "USDT": Decimal("94.3411639875"),
            "CRO": Decimal("0.99625"),
            "LTC": Decimal("0.07109989"),
            "USD": Decimal("29.01316839415396"),
        }
    assert (fill.trade_id, fill.client_order_id) == ("6142909902007042569", "1700184926121")
    assert (fill.side, fill.price, fill.amount) == (Side.BUY, Decimal("0.61877"), Decimal(1))
    assert (fill.fee, fill.fee_currency, fill.liquidity) == (Decimal("0.00075"), "XRP", Liquidity.TAKER)
    assert fill.at == datetime(2023, 11, 17, 1, 35, 26, 414000, UTC)


async def test_recorded_bodies_of_a_market_are_read_to_the_digit() -> None:
    async with account(RECORDED, symbol="BTC/USDT", interval=timedelta(hours=1)) as (ours, _):
        assert await ours.ticker() == Ticker("BTC/USDT", Decimal("73375.26"), Decimal("73375.25"), Decimal("73375.26"))
        book = await ours.book(2)
        (candle,) = await ours.candles(None)
    assert book == Book(
        "BTC/USDT",
        (Level(Decimal("44238.31"), Decimal("0.22932")), Level(Decimal("44236.33"), Decimal("0.11424"))),
        (Level(Decimal("44238.32"), Decimal("0.29028")), Level(Decimal("44239.51"), Decimal("0.01358"))),
    )
    assert candle == Candle(
        "BTC/USDT",
        datetime(2024, 3, 13, 11, tzinfo=UTC),
        Decimal("73251.26"),
        Decimal("73449.06"),
        Decimal("73235.16"),
        Decimal("73411.02"),
        Decimal("49.8762"),
        timedelta(hours=1),
    )


async def test_a_recorded_acknowledgement_of_a_cancel_is_followed_by_a_look_at_the_order() -> None:
    async with account(RECORDED, symbol="XRP/USDT") as (ours, far):
        cancelled = await ours.cancel_order("1700188955703", "XRP/USDT")
    assert cancelled.exchange_order_id == "6142909896902261394"
    assert [method for method, _ in far.asked] == [
        "public/get-instruments",
        "private/cancel-order",
        "private/get-order-detail",
    ]
    assert far.of("private/cancel-order") == [{"client_oid": "1700188955703"}]
