"""Kraken's recorded answers: orders, prices and rules are read as they are, and its symbols by its names."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from node_agent.core.market import ExchangeStatus
from node_agent.exchanges.failures import NoSuchOrder
from node_agent.exchanges.kraken import Kraken, kraken_traits
from node_agent.exchanges.port import ExchangeError
from tests.kraken import wire
from tests.kraken.case import CASE
from tests.kraken.ours import SYMBOL, answering, opened, recorded
from tests.venue.fixtures import as_new, ours_on, process_of
from tests.venue.process import VenueProcess

pytestmark = pytest.mark.asyncio

running = process_of(CASE, name="running")
process = as_new(CASE, "process", of="running")
exchange = ours_on("process", opened)


async def test_recorded_orders_are_read_as_they_are() -> None:
    async with opened("http://127.0.0.1:9", "LTC/USDT") as exchange:
        answering(exchange, recorded("QueryOrders, closed"))
        filled = await exchange.order("OGMZCL-KC6MC-ZRBGM6")
        assert (filled.symbol, filled.client_order_id) == ("LTC/USDT", "")
        assert (filled.status, filled.amount, filled.filled) == (ExchangeStatus.FILLED, Decimal("0.1"), Decimal("0.1"))
        assert filled.average_price == Decimal("71.05741")
        answering(exchange, recorded("QueryOrders, open"))
        resting = await exchange.order("OR6EGN-KQSEG-AMI6CL")
        assert (resting.status, resting.filled) == (ExchangeStatus.OPEN, Decimal(0))
        assert resting.average_price is None
        with pytest.raises(NoSuchOrder):
            await exchange.order("OAAAAA-AAAAA-AAAAAA")


async def test_a_recorded_order_that_was_cancelled_is_found_by_its_name() -> None:
    async with opened("http://127.0.0.1:9", "LTC/USDT") as exchange:
        none = {"error": [], "result": {"open": {}}}
        asked = answering(exchange, recorded("ClosedOrders, cl_ord_id", OpenOrders=none))
        found = await exchange._listed("123")
    assert found is not None
    assert (found.exchange_order_id, found.status) == ("O2F2HY-QIPHF-4UCMSW", ExchangeStatus.CANCELLED)
    assert asked[-2:] == ["OpenOrders", "ClosedOrders"]


@pytest.mark.parametrize(
    ("answer", "symbol", "price"),
    [
        ("OpenOrders, take-profit", "LTC/USDT", Decimal(120)),
        ("OpenOrders, stop-loss-limit", "LTC/USDT", Decimal(54)),
        ("OpenOrders, cl_ord_id", "LTC/USDT", Decimal(50)),
    ],
)
async def test_recorded_open_orders_tell_their_price(answer: str, symbol: str, price: Decimal) -> None:
    async with opened("http://127.0.0.1:9", symbol) as exchange:
        answering(exchange, recorded(answer))
        (listed,) = await exchange.open_orders()
        assert listed.price == price
        assert listed.order.symbol == symbol


async def test_an_open_order_on_another_symbol_is_not_ours_to_see(exchange: Kraken) -> None:
    answering(exchange, recorded("OpenOrders, trailing-stop"))
    assert await exchange.open_orders() == []


async def test_recorded_candles_have_a_gap_where_nothing_was_traded(exchange: Kraken) -> None:
    answer = {"error": [], "result": {"XXBTZUSD": wire.RECORDED["OHLC"]["result"]["XBTUSDT"], "last": 1706796000}}
    answering(exchange, recorded("OHLC", OHLC=answer))
    candles = await exchange.candles(datetime.fromtimestamp(1706630400, UTC))
    assert [int(each.at.timestamp()) for each in candles] == [
        *(1706630400, 1706634000, 1706637600, 1706641200, 1706799600),
    ]
    first = candles[0]
    assert (first.open, first.high, first.low, first.close) == tuple(
        map(Decimal, ("43366.3", "43529.2", "43234.2", "43485.0"))
    )
    assert first.volume == Decimal("12.51327406")


async def test_a_recorded_ticker_is_read_as_it_is(exchange: Kraken) -> None:
    answer = {"error": [], "result": {"XXBTZUSD": wire.RECORDED["Ticker"]["result"]["XBTUSDT"]}}
    answering(exchange, recorded("Ticker", Ticker=answer))
    ticker = await exchange.ticker()
    assert (ticker.last, ticker.bid, ticker.ask) == (Decimal("73380.6"), Decimal("73380.6"), Decimal("73380.7"))


async def test_the_tick_is_what_prices_are_multiples_of_and_not_their_decimals(exchange: Kraken) -> None:
    pairs = json.loads(json.dumps(wire.RECORDED["AssetPairs"]))
    pairs["result"]["XXBTZUSD"]["tick_size"] = "0.5"
    answering(exchange, {"AssetPairs": pairs})
    market = (await exchange.markets())[SYMBOL]
    assert (market.tick_size, market.step_size) == (Decimal("0.5"), Decimal("1e-8"))
    assert (market.base, market.quote, market.minimum_notional) == ("BTC", "USD", Decimal("0.5"))


async def test_what_earns_by_itself_counts_as_what_it_is(exchange: Kraken) -> None:
    """As orders take from it. What is staked is another thing."""
    names = ("ZUSD", "USD.F", "XXBT", "XBT.F", "XBT.M", "XETH", "ETH2.S")
    answer = {"error": [], "result": {name: {"balance": "1.5", "hold_trade": "0"} for name in names}}
    answering(exchange, recorded("CancelOrder", BalanceEx=answer))
    one, both = Decimal("1.5"), Decimal(3)
    assert await exchange.balances() == {"USD": both, "BTC": both, "BTC.M": one, "ETH": one, "ETH2.S": one}


@pytest.mark.parametrize(
    ("symbol", "pair"), [("BTC/USD", "XBTUSD"), ("DOGE/BTC", "XDGXBT"), ("ETH/EUR", "ETHEUR"), ("LUNC/USD", "LUNAUSD")]
)
async def test_a_symbol_is_asked_for_by_krakens_names(symbol: str, pair: str) -> None:
    assert kraken_traits(5.0).markets_of(symbol) == {"pair": pair}


async def test_an_unknown_symbol_is_no_market(process: VenueProcess) -> None:
    async with opened(process.url, "BTC/NONE") as ours:
        with pytest.raises(ExchangeError, match="EQuery:Unknown asset pair"):
            await ours.markets()
