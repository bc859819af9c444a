"""ccxt itself as the caller: it understands every answer, as it would the real exchange's."""

from __future__ import annotations

import time
from typing import Any

import ccxt.async_support as ccxt  # type: ignore[import-untyped, unused-ignore]
import pytest

from tests.binance.caller import ORDER
from tests.binance.process import BinanceProcess

SYMBOL = "BTC/USDT"
POST = {"method": "POST", "path": ORDER}


async def market(client: Any, name: str) -> Any:
    """A hundredth at once."""
    return await client.create_order(SYMBOL, "market", "buy", 0.01, None, {"newClientOrderId": name})


async def limit(client: Any, name: str) -> Any:
    """A hundredth, far below the price."""
    return await client.create_order(SYMBOL, "limit", "buy", 0.01, 30_000, {"newClientOrderId": name})


@pytest.mark.asyncio
async def test_it_loads_the_markets(client: Any) -> None:
    markets = await client.load_markets()
    assert list(markets) == [SYMBOL, "ETH/USDT"]
    bitcoin = markets[SYMBOL]
    assert (bitcoin["active"], bitcoin["spot"]) == (True, True)
    assert (bitcoin["precision"]["amount"], bitcoin["precision"]["price"]) == (0.00001, 0.01)
    assert bitcoin["limits"]["cost"]["min"] == 5


@pytest.mark.asyncio
async def test_it_places_a_market_order_and_reads_its_fills(client: Any) -> None:
    order = await market(client, "m1")
    assert (order["status"], order["filled"], order["average"]) == ("closed", 0.01, 40_000)
    assert sum(trade["fee"]["cost"] for trade in order["trades"]) == pytest.approx(0.00001)
    trades = await client.fetch_my_trades(SYMBOL)
    assert [trade["id"] for trade in trades] == [trade["id"] for trade in order["trades"]]
    assert {trade["order"] for trade in trades} == {order["id"]}
    since = await client.fetch_my_trades(SYMBOL, since=order["timestamp"])
    assert len(since) == len(trades)


@pytest.mark.asyncio
async def test_it_finds_and_cancels_by_client_id(client: Any) -> None:
    placed = await limit(client, "l1")
    assert placed["status"] == "open"
    named = {"origClientOrderId": "l1"}
    found = await client.fetch_order(None, SYMBOL, named)
    assert (found["id"], found["clientOrderId"], found["status"]) == (placed["id"], "l1", "open")
    assert [order["clientOrderId"] for order in await client.fetch_open_orders(SYMBOL)] == ["l1"]
    cancelled = await client.cancel_order(None, SYMBOL, named)
    assert (cancelled["status"], cancelled["info"]["origClientOrderId"]) == ("canceled", "l1")
    assert (await client.fetch_order(placed["id"], SYMBOL))["status"] == "canceled"
    assert [order["status"] for order in await client.fetch_orders(SYMBOL)] == ["canceled"]
    assert await client.fetch_open_orders(SYMBOL) == []


@pytest.mark.asyncio
async def test_it_cancels_all(client: Any) -> None:
    for name in ("a", "b"):
        await limit(client, name)
    assert len(await client.cancel_all_orders(SYMBOL)) == 2


@pytest.mark.asyncio
async def test_it_places_stops(client: Any, exchange: BinanceProcess) -> None:
    params = {"stopPrice": 39_000, "newClientOrderId": "s1"}
    order = await client.create_order(SYMBOL, "market", "sell", 0.01, None, params)
    assert (order["status"], order["stopPrice"], order["type"]) == ("open", 39_000, "market")
    exchange.price("38000")
    filled = await client.fetch_order(None, SYMBOL, {"origClientOrderId": "s1"})
    assert (filled["status"], filled["average"]) == ("closed", 38_000)


@pytest.mark.asyncio
async def test_it_reads_balances_candles_prices_and_the_time(client: Any) -> None:
    await limit(client, "l1")
    balance = await client.fetch_balance()
    assert (balance["total"]["USDT"], balance["used"]["USDT"], balance["free"]["BTC"]) == (100_000, 300, 5)
    candles = await client.fetch_ohlcv(SYMBOL, "1m", limit=3)
    assert len(candles) == 3
    assert (await client.fetch_ohlcv(SYMBOL, "1s", since=candles[0][0], limit=2))[0][0] == candles[0][0]
    assert (await client.fetch_ticker(SYMBOL))["last"] == 40_000
    assert abs(await client.fetch_time() - time.time() * 1000) < 5000
    assert (await client.sapiGetAccountApiRestrictions())["enableWithdrawals"] is False


@pytest.mark.asyncio
async def test_it_raises_what_the_codes_mean(client: Any, exchange: BinanceProcess) -> None:
    with pytest.raises(ccxt.OrderNotFound):
        await client.fetch_order(None, SYMBOL, {"origClientOrderId": "nobody"})
    with pytest.raises(ccxt.OrderNotFound):
        await client.cancel_order(None, SYMBOL, {"origClientOrderId": "nobody"})
    with pytest.raises(ccxt.InsufficientFunds):
        await client.create_order(SYMBOL, "market", "buy", 50)
    await limit(client, "mine")
    with pytest.raises(ccxt.InvalidOrder, match="Duplicate order sent"):
        await limit(client, "mine")
    exchange.clock(20)
    with pytest.raises(ccxt.InvalidNonce):
        await client.fetch_balance()
    exchange.clock(0)
    exchange.limits(ban=5)
    with pytest.raises(ccxt.DDoSProtection):
        await client.fetch_balance()


@pytest.mark.asyncio
async def test_it_takes_a_key_that_expires_for_a_ban_once_it_has_worked(client: Any, exchange: BinanceProcess) -> None:
    exchange.expire_key()
    with pytest.raises(ccxt.AuthenticationError):
        await client.fetch_balance()
    exchange.expire_key(False)
    await client.fetch_balance()
    exchange.expire_key()
    with pytest.raises(ccxt.DDoSProtection, match="-2015"):
        await client.fetch_balance()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("what", "raised", "done"),
    [
        ("drop_before", ccxt.NetworkError, 0),
        ("drop_after", ccxt.NetworkError, 1),
        ("hang_after", ccxt.NetworkError, 1),
        ("5xx_before", ccxt.OperationFailed, 0),
        ("5xx_after", ccxt.RequestTimeout, 1),
        ("-1021", ccxt.InvalidNonce, 0),
        ("429", ccxt.DDoSProtection, 0),
        ("418", ccxt.DDoSProtection, 0),
    ],
)
async def test_it_raises_at_each_fault(
    client: Any, exchange: BinanceProcess, what: str, raised: type[Exception], done: int
) -> None:
    await client.load_markets()
    exchange.faults({**POST, "what": what, "seconds": 0.2})
    with pytest.raises(raised):
        await market(client, "m1")
    assert len(exchange.books()["orders"]) == done
    assert (await market(client, "m2"))["status"] == "closed"


@pytest.mark.asyncio
async def test_it_makes_an_order_of_nothing_from_garbage(client: Any, exchange: BinanceProcess) -> None:
    await client.load_markets()
    exchange.faults({**POST, "what": "garbage", "times": 10})
    orders = [await market(client, f"m{number}") for number in range(10)]
    assert {(order["id"], order["status"], order["filled"]) for order in orders} == {(None, None, 0)}
    assert len(exchange.books()["orders"]) == 10


@pytest.mark.asyncio
async def test_a_request_of_a_caller_that_gave_up_is_done_later(client: Any, exchange: BinanceProcess) -> None:
    await client.load_markets()
    exchange.faults({**POST, "what": "hang_before", "seconds": 0.3})
    client.timeout = 100
    with pytest.raises(ccxt.RequestTimeout):
        await market(client, "late")
    client.timeout = 5000
    while not exchange.books()["orders"]:
        await client.fetch_time()
    assert (await client.fetch_order(None, SYMBOL, {"origClientOrderId": "late"}))["status"] == "closed"
