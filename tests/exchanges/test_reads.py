"""Reads of an account: money is exact, ids are ours, what is not ours is shown too."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from node_agent.core.market import ExchangeStatus, IdForm, Liquidity, Market, OrderType, Side
from node_agent.exchanges.port import ExchangeError, ExchangeUnavailable
from node_agent.exchanges.spot import SpotExchange
from node_agent.exchanges.traits import Pace
from tests.binance.process import BinanceProcess
from tests.exchanges.opening import SYMBOL, an_order, at_market, opened

pytestmark = pytest.mark.asyncio


async def test_the_rules_of_its_symbol_are_exact(exchange: SpotExchange, binance: BinanceProcess) -> None:
    assert await exchange.markets() == {
        SYMBOL: Market(SYMBOL, "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"), Decimal(5), Decimal("0.00001"))
    }
    assert set(binance.books()["requests"]) == {"GET /api/v3/exchangeInfo"}


async def test_its_conduct_is_binances(exchange: SpotExchange) -> None:
    conduct = exchange.conduct
    assert exchange.name == "binance"
    assert (conduct.id_form, conduct.ids_unique_for_ever) == (IdForm.HEX, False)
    assert conduct.settles_within == timedelta(seconds=6)


async def test_an_unknown_symbol_is_no_market(binance: BinanceProcess) -> None:
    ours = opened(binance, symbol="BTC/NONE")
    with pytest.raises(ExchangeError, match="-1121"):
        await ours.markets()
    await ours.close()


async def test_balances_count_what_orders_hold_and_leave_zeros_out(exchange: SpotExchange) -> None:
    await exchange.create_order(an_order(amount=Decimal("0.1")))
    assert await exchange.balances() == {"USDT": Decimal(100_000), "BTC": Decimal(5)}
    await exchange.create_order(at_market(side=Side.SELL, amount=Decimal(5)))
    balances = await exchange.balances()
    assert "BTC" not in balances
    assert balances["USDT"] == Decimal("299800")


async def test_open_orders_are_everyones_with_side_and_price(exchange: SpotExchange, binance: BinanceProcess) -> None:
    ours = await exchange.create_order(an_order())
    stop = await exchange.create_order(
        an_order(type=OrderType.STOP, side=Side.SELL, price=None, stop_price=Decimal("39000.01"))
    )
    theirs = binance.foreign(side="SELL", type="LIMIT", quantity="0.02", price="50000")
    told = {each.order.exchange_order_id: each for each in await exchange.open_orders()}
    assert told[ours.exchange_order_id].order == ours
    assert (told[ours.exchange_order_id].side, told[ours.exchange_order_id].price) == (Side.BUY, Decimal(30_000))
    assert told[stop.exchange_order_id].price == Decimal("39000.01")
    other = told[str(theirs["orderId"])]
    assert other.order.client_order_id == theirs["clientOrderId"]
    assert (other.side, other.price, other.order.amount) == (Side.SELL, Decimal(50_000), Decimal("0.02"))


async def test_an_order_is_found_open_and_ended_and_not_at_all(exchange: SpotExchange) -> None:
    request = an_order()
    placed = await exchange.create_order(request)
    assert await exchange.find_order(request.client_order_id, SYMBOL) == placed
    await exchange.cancel_order(request.client_order_id, SYMBOL)
    found = await exchange.find_order(request.client_order_id, SYMBOL)
    assert found is not None
    assert found.status is ExchangeStatus.CANCELLED
    assert await exchange.find_order(an_order().client_order_id, SYMBOL) is None


async def test_an_order_that_its_own_query_does_not_know_yet_is_found_in_the_list(
    exchange: SpotExchange, binance: BinanceProcess
) -> None:
    placed = await exchange.create_order(an_order())
    binance.faults({"what": "not_found_once"})
    assert await exchange.find_order(placed.client_order_id, SYMBOL) == placed
    assert binance.books()["faults"] == {"not_found_once": 1}


async def test_a_search_that_fails_half_way_finds_nothing_out(exchange: SpotExchange, binance: BinanceProcess) -> None:
    binance.faults({"what": "5xx_before", "path": "/api/v3/openOrders"})
    with pytest.raises(ExchangeUnavailable):
        await exchange.find_order(an_order().client_order_id, SYMBOL)


async def test_fills_are_exact_in_order_and_under_our_ids(exchange: SpotExchange, binance: BinanceProcess) -> None:
    buy = await exchange.create_order(at_market(amount=Decimal("0.01234")))
    sell = await exchange.create_order(at_market(side=Side.SELL, amount=Decimal("0.002")))
    fills = await exchange.fills_since(None)
    of_buy = [fill for fill in fills if fill.client_order_id == buy.client_order_id]
    of_sell = [fill for fill in fills if fill.client_order_id == sell.client_order_id]
    assert list(fills) == [*of_buy, *of_sell]
    assert sum(fill.amount for fill in of_buy) == Decimal("0.01234") == buy.filled
    assert {(fill.side, fill.price, fill.liquidity) for fill in of_buy} == {
        (Side.BUY, Decimal(40_000), Liquidity.TAKER)
    }
    assert {fill.fee_currency for fill in of_buy} == {"BTC"}
    assert {fill.fee_currency for fill in of_sell} == {"USDT"}
    assert sum(fill.fee for fill in of_sell) == Decimal("0.08")
    told = {str(trade["id"]): trade for trade in binance.books()["trades"]}
    for fill in fills:
        trade = told[fill.trade_id]
        assert fill.at == datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=trade["time"])
        assert fill.fee == Decimal(trade["commission"])


async def test_fills_of_orders_not_seen_before_carry_their_ids_all_the_same(
    exchange: SpotExchange, binance: BinanceProcess
) -> None:
    placed = [(await exchange.create_order(at_market())).client_order_id for _ in range(8)]
    anew = opened(binance)
    fills = await anew.fills_since(None)
    await anew.close()
    assert list(dict.fromkeys(fill.client_order_id for fill in fills)) == placed
    requests = binance.books()["requests"]
    assert requests.get("GET /api/v3/allOrders") == 1  # many unknown orders cost one request
    assert "GET /api/v3/order" not in requests


async def test_an_unknown_order_is_asked_for_once(exchange: SpotExchange, binance: BinanceProcess) -> None:
    theirs = binance.foreign(side="BUY", type="MARKET", quantity="0.02")
    for _ in range(3):
        fills = await exchange.fills_since(None)
        assert {fill.client_order_id for fill in fills} == {theirs["clientOrderId"]}
    assert binance.books()["requests"]["GET /api/v3/order"] == 1


async def test_all_fills_are_read_page_by_page(exchange: SpotExchange, binance: BinanceProcess) -> None:
    for _ in range(4):
        await exchange.create_order(at_market())
    told = [str(trade["id"]) for trade in binance.books()["trades"]]
    ours = opened(binance, page=2)
    for since in (None, datetime.now(UTC), datetime.now(UTC) - timedelta(days=3)):
        assert [fill.trade_id for fill in await ours.fills_since(since)] == told
    await ours.close()


async def test_fills_since_a_time_come_from_a_minute_before_it(exchange: SpotExchange) -> None:
    await exchange.create_order(at_market())
    all_ = await exchange.fills_since(None)
    assert await exchange.fills_since(all_[-1].at + timedelta(seconds=30)) == all_
    assert await exchange.fills_since(all_[-1].at + timedelta(seconds=90)) == []


@pytest.mark.parametrize("ahead", [-400.0, -0.3, 0.0, 3.0, 7200.0])
async def test_the_offset_of_the_clock_is_measured_and_used(binance: BinanceProcess, ahead: float) -> None:
    binance.clock(ahead)
    ours = opened(binance)
    placed = await ours.create_order(an_order())
    offset = await ours.clock_offset()
    assert placed.status is ExchangeStatus.OPEN
    assert offset is not None
    assert offset == pytest.approx(-ahead, abs=0.2)
    assert binance.books()["refusals"] == {}
    assert binance.books()["requests"]["GET /api/v3/time"] == 1  # not again within a minute
    await ours.close()


async def test_the_limits_are_told(exchange: SpotExchange, binance: BinanceProcess) -> None:
    await exchange.create_order(an_order())
    told = exchange.rate_limits
    assert told["limits"] == {
        "weight_1m": {"used": 22, "limit": 6000},  # rules 20, time 1, order 1
        "orders_10s": {"used": 1, "limit": 100},
        "orders_1d": {"used": 1, "limit": 200_000},
    }
    assert told["banned_until"] is None


async def test_reads_at_the_same_time_learn_rules_and_clock_once(binance: BinanceProcess) -> None:
    ours = opened(binance)
    await asyncio.gather(ours.balances(), ours.open_orders(), ours.fills_since(None))
    requests = binance.books()["requests"]
    assert (requests["GET /api/v3/exchangeInfo"], requests["GET /api/v3/time"]) == (1, 1)
    await ours.close()


async def test_the_first_look_at_candles_has_one_that_has_settled_whenever_it_is(exchange: SpotExchange) -> None:
    """One that closed a moment ago may still change: a node whose looks all came then would never see a price."""
    settles = timedelta(seconds=Pace().candle_settles)
    first, *_, still_open = await exchange.candles(None)
    assert still_open.closed_at - first.closed_at >= timedelta(seconds=1) + settles
