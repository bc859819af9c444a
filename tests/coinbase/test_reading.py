"""Coinbase's orders and fills, recorded ones among them, read for what they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import pytest

from node_agent.core.market import ExchangeOrder, ExchangeStatus, Fill, Liquidity, Market, Side, Ticker
from node_agent.exchanges.coinbase import Coinbase
from node_agent.exchanges.port import ExchangeUnavailable
from tests.coinbase.caller import FILLS, LIST
from tests.coinbase.ours import RECORDED, SYMBOL, answering, opened, product

pytestmark = pytest.mark.asyncio

ORDER: Final = {
    "order_id": "11111111-1111-4111-8111-111111111111",
    "product_id": "BTC-USD",
    "order_configuration": {"limit_limit_gtc": {"base_size": "2", "limit_price": "30000.5", "post_only": False}},
    "side": "BUY",
    "client_order_id": "01234567-89ab-cdef-0123-456789abcdef",
    "status": "OPEN",
    "filled_size": "0",
    "average_filled_price": "0",
}


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ("PENDING", ExchangeStatus.OPEN),
        ("OPEN", ExchangeStatus.OPEN),
        ("QUEUED", ExchangeStatus.OPEN),
        ("CANCEL_QUEUED", ExchangeStatus.OPEN),
        ("EDIT_QUEUED", ExchangeStatus.OPEN),
        ("FILLED", ExchangeStatus.FILLED),
        ("CANCELLED", ExchangeStatus.CANCELLED),
        ("EXPIRED", ExchangeStatus.EXPIRED),
        ("FAILED", ExchangeStatus.REJECTED),
        ("UNKNOWN_ORDER_STATUS", None),
    ],
)
async def test_each_status_is_read_for_what_it_is(told: str, status: ExchangeStatus | None) -> None:
    async with (
        answering({"orders/historical/x1": {"order": {**ORDER, "status": told}}}) as (url, _),
        opened(url) as ours,
    ):
        if status is None:
            with pytest.raises(ExchangeUnavailable):
                await ours.order("x1")
            return
        order = await ours.order("x1")
    assert (order.status, order.client_order_id) == (status, "0123456789abcdef0123456789abcdef")
    assert (order.amount, order.filled, order.average_price) == (Decimal(2), Decimal(0), None)


@pytest.mark.parametrize(
    ("configuration", "amount", "price"),
    [
        ({"limit_limit_gtc": {"base_size": "2", "limit_price": "30000.5"}}, "2", "30000.5"),
        ({"limit_limit_fok": {"base_size": "2", "limit_price": "30000.5"}}, "2", "30000.5"),
        (
            {"stop_limit_stop_limit_gtc": {"base_size": "2", "limit_price": "29000", "stop_price": "29500"}},
            "2",
            "29000",
        ),
        ({"trigger_bracket_gtc": {"base_size": "2", "limit_price": "1", "stop_trigger_price": "3"}}, "2", "1"),
        ({"twap_limit_gtd": {"quote_size": "10", "base_size": "", "limit_price": "1"}}, "0.5", "1"),
        ({"market_market_ioc": {"quote_size": "100.0", "base_size": "0.0"}}, "0.5", None),
        ({"something_new": {}}, "0.5", None),
        (None, "0.5", None),
    ],
)
async def test_an_order_of_any_kind_is_read(configuration: Any, amount: str, price: str | None) -> None:
    """One that cannot be read would hide all others."""
    raw = {**ORDER, "order_configuration": configuration, "filled_size": "0.5", "average_filled_price": "30000"}
    answers = {
        "market/products/BTC-USD": {**RECORDED["market/products/ADA-USDT"], **product("BTC", "USD")},
        "orders/historical/batch": {"orders": [raw], "has_next": False, "cursor": ""},
    }
    async with answering(answers) as (url, _), opened(url) as ours:
        (told,) = await ours.open_orders()
    assert (told.order.amount, told.order.filled) == (Decimal(amount), Decimal("0.5"))
    assert told.price == (None if price is None else Decimal(price))


@pytest.mark.parametrize(
    ("symbol", "seen"),
    [("BTC/USD", True), ("BTC/USDC", True), ("BTC/EUR", False), ("ETH/USD", False)],
)
async def test_dollars_and_dollar_coins_are_one_book(symbol: str, seen: bool) -> None:
    """Coinbase may call a product of the one by the other; what is on it is told under the symbol that we asked for."""
    base, _, quote = symbol.partition("/")
    answers = {
        f"market/products/{base}-{quote}": {**RECORDED["market/products/ADA-USDT"], **product(base, quote)},
        "orders/historical/batch": {"orders": [ORDER], "has_next": False, "cursor": ""},
    }
    async with answering(answers) as (url, _), opened(url, symbol=symbol) as ours:
        listed = await ours.open_orders()
    assert [each.order.symbol for each in listed] == ([symbol] if seen else [])


FILL: Final = {
    "entry_id": "e1",
    "trade_id": "t1",
    "order_id": ORDER["order_id"],
    "trade_time": "2026-01-05T10:00:00.123456789Z",
    "trade_type": "FILL",
    "price": "40000",
    "size": "0.5",
    "commission": "20.5",
    "product_id": "BTC-USD",
    "liquidity_indicator": "MAKER",
    "size_in_quote": False,
    "side": "BUY",
}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, ("0.5", Liquidity.MAKER)),
        ({"liquidity_indicator": "UNKNOWN_LIQUIDITY_INDICATOR"}, ("0.5", Liquidity.TAKER)),
        ({"size": "20000", "size_in_quote": True}, ("0.5", Liquidity.MAKER)),
        ({"trade_type": "REVERSAL"}, None),
        ({"trade_type": "CORRECTION"}, None),
        ({"product_id": "ETH-USD"}, None),
    ],
)
async def test_a_fill_is_read_for_what_it_is(changes: Mapping[str, Any], told: tuple[str, Liquidity] | None) -> None:
    async with filled({**FILL, **changes}) as ours:
        fills = await ours.fills_since(None)
    if told is None:
        assert fills == []
        return
    amount, liquidity = told
    assert fills == [
        Fill(
            trade_id="t1",
            client_order_id="0123456789abcdef0123456789abcdef",
            symbol=SYMBOL,
            side=Side.BUY,
            price=Decimal(40000),
            amount=Decimal(amount),
            fee=Decimal("20.5"),
            fee_currency="USD",
            liquidity=liquidity,
            at=datetime(2026, 1, 5, 10, 0, 0, 123000, UTC),
        )
    ]


@pytest.mark.parametrize(
    "changes",
    [{"price": None}, {"size": "much"}, {"trade_time": "once"}, {"trade_id": None}, {"commission": ""}, {"side": "?"}],
    ids=str,
)
async def test_a_fill_that_cannot_be_read_is_an_error_of_the_port(changes: Mapping[str, Any]) -> None:
    async with filled({**FILL, **changes}) as ours:
        with pytest.raises(ExchangeUnavailable):
            await ours.fills_since(None)


@asynccontextmanager
async def filled(fill: Mapping[str, Any]) -> AsyncIterator[Coinbase]:
    """Ours, at a server that knows one fill of one order."""
    answers = {
        "market/products/BTC-USD": {**RECORDED["market/products/ADA-USDT"], **product("BTC", "USD")},
        f"orders/historical/{ORDER['order_id']}": {"order": ORDER},
        "orders/historical/fills": {"fills": [fill], "cursor": ""},
    }
    async with answering(answers) as (url, _), opened(url) as ours:
        yield ours


async def test_recorded_rules_fills_and_orders_are_read_exactly() -> None:
    answers = {
        "market/products/ADA-USDT": RECORDED["market/products/ADA-USDT"],
        "orders/historical/fills": {**RECORDED["orders/historical/fills?product_ids=ADA-USDT"], "cursor": ""},
        "orders/historical/batch": {
            **RECORDED["orders/historical/batch?product_ids=ADA-USDT"],
            "has_next": False,
        },
        f"orders/historical/{RECORDED_ORDER['order_id']}": {"order": RECORDED_ORDER},
    }
    async with answering(answers) as (url, asked), opened(url, symbol="ADA/USDT") as ours:
        markets = await ours.markets()
        (fill,) = await ours.fills_since(datetime(2023, 11, 1, tzinfo=UTC))
        (order,) = await ours.recent_orders(datetime(2023, 11, 1, tzinfo=UTC))
    assert markets == {
        "ADA/USDT": Market("ADA/USDT", "ADA", "USDT", Decimal("0.0001"), Decimal("0.01"), Decimal(1), Decimal("0.01"))
    }
    name = "a0f970a205fa4e1f9517f6702c33cfd1"
    assert order == ExchangeOrder(
        name, RECORDED_ORDER["order_id"], "ADA/USDT", ExchangeStatus.FILLED, Decimal(10), Decimal(10), Decimal("0.392")
    )
    assert fill == Fill(
        trade_id="19fc7eee-f4b4-40a7-8104-033da1db5311",
        client_order_id=name,
        symbol="ADA/USDT",
        side=Side.SELL,
        price=Decimal("0.392"),
        amount=Decimal(10),
        fee=Decimal("0.03136"),
        fee_currency="USDT",
        liquidity=Liquidity.TAKER,
        at=datetime(2023, 11, 26, 10, 19, 47, 504000, UTC),
    )
    (listed,) = [each.query for each in asked if each.path == LIST]
    assert listed == "product_ids=ADA-USDT&start_date=2023-11-01T00%3A00%3A00.000Z&limit=100"
    (read,) = [each.query for each in asked if each.path == FILLS]
    assert read == "product_ids=ADA-USDT&start_sequence_timestamp=2023-10-31T23%3A59%3A00.000Z&limit=100"


RECORDED_ORDER: Final = RECORDED["orders/historical/batch?product_ids=ADA-USDT"]["orders"][0]


async def test_a_recorded_ticker_is_read_exactly() -> None:
    answers = {
        "market/products/BTC-USDC": {**RECORDED["market/products/ADA-USDT"], **product("BTC", "USDC")},
        "products/BTC-USDC/ticker": RECORDED["products/BTC-USDC/ticker"],
    }
    async with answering(answers) as (url, _), opened(url, symbol="BTC/USDC") as ours:
        assert await ours.ticker() == Ticker("BTC/USDC", Decimal("66363.03"), Decimal("66367.58"), Decimal("66367.59"))
