"""Endpoints that anybody may ask: time, rules, prices. Each reads all parameters first, and refuses what is left."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from tests.binance import wire
from tests.binance.desk import Desk
from tests.binance.params import SYMBOL, Params
from tests.venue.market import Market
from tests.venue.refusals import Refused, bad_combination

DAY: Final = 86_400_000
KLINES: Final = {"1s": 1000, "1m": 60_000, "3m": 180_000, "5m": 300_000, "15m": 900_000}


def nothing(desk: Desk, params: Params) -> Any:
    """GET ping."""
    params.finish()
    return {}


def time(desk: Desk, params: Params) -> Any:
    """GET time."""
    params.finish()
    return {"serverTime": desk.books.now()}


def exchange_info(desk: Desk, params: Params) -> Any:
    """GET exchangeInfo."""
    params.optional("permissions")
    markets, _ = _markets(desk, params)
    return wire.exchange_info(markets, desk.limits, desk.books.now())


def klines(desk: Desk, params: Params) -> Any:
    """GET klines: the last ones, or those from startTime on; the one that is not over is among them."""
    market = desk.books.market(params.text("symbol", SYMBOL))
    interval = params.text("interval")
    start, end = params.whole("startTime"), params.whole("endTime")
    limit = min(params.whole("limit") or 500, 1000)
    params.finish()
    if interval not in KLINES:
        raise Refused(-1120, "Invalid interval.")
    length = KLINES[interval]
    now = desk.books.now()
    last = min(now, now if end is None else end) // length
    first = last - limit + 1 if start is None else -(-start // length)
    rows = range(first, min(last, first + limit - 1) + 1)
    return [wire.kline(market.candle(row * length, length, now), length) for row in rows]


def ticker_price(desk: Desk, params: Params) -> Any:
    """GET ticker/price."""
    return _each(desk, params, lambda market, price: {"symbol": market.rules.symbol, "price": wire.money(price)})


def book_ticker(desk: Desk, params: Params) -> Any:
    """GET ticker/bookTicker."""

    def row(market: Market, price: Decimal) -> wire.Json:
        return {
            "symbol": market.rules.symbol,
            "bidPrice": wire.money(price - market.rules.tick),
            "bidQty": wire.money(Decimal(1)),
            "askPrice": wire.money(price + market.rules.tick),
            "askQty": wire.money(Decimal(1)),
        }

    return _each(desk, params, row)


def ticker_day(desk: Desk, params: Params) -> Any:
    """GET ticker/24hr, of the last minutes only: a day of steps would take long to look through."""
    now = desk.books.now()

    def row(market: Market, price: Decimal) -> wire.Json:
        seen = market.candle(now - KLINES["15m"], KLINES["15m"] + 1, now)
        change = price - seen.open
        tick = market.rules.tick
        return {
            "symbol": market.rules.symbol,
            "priceChange": wire.money(change),
            "priceChangePercent": f"{change / seen.open * 100:.3f}",
            "weightedAvgPrice": wire.money((seen.high + seen.low) / 2),
            "prevClosePrice": wire.money(seen.open),
            "lastPrice": wire.money(price),
            "lastQty": wire.money(Decimal(1)),
            "bidPrice": wire.money(price - tick),
            "bidQty": wire.money(Decimal(1)),
            "askPrice": wire.money(price + tick),
            "askQty": wire.money(Decimal(1)),
            "openPrice": wire.money(seen.open),
            "highPrice": wire.money(seen.high),
            "lowPrice": wire.money(seen.low),
            "volume": wire.money(seen.volume),
            "quoteVolume": wire.money(seen.volume * price),
            "openTime": now - DAY,
            "closeTime": now,
            "firstId": 1,
            "lastId": 2,
            "count": 2,
        }

    return _each(desk, params, row)


def depth(desk: Desk, params: Params) -> Any:
    """GET depth: as many levels as were asked for, a tick apart."""
    market = desk.books.market(params.text("symbol", SYMBOL))
    levels = range(1, min(params.whole("limit") or 100, 5000) + 1)
    params.finish()
    now = desk.books.now()
    price, tick = market.price(now), market.rules.tick
    one = wire.money(Decimal(1))
    return {
        "lastUpdateId": now,
        "bids": [[wire.money(price - tick * level), one] for level in levels],
        "asks": [[wire.money(price + tick * level), one] for level in levels],
    }


def _markets(desk: Desk, params: Params) -> tuple[list[Market], bool]:
    """The markets that are asked for, and whether it was one by its name."""
    symbol, several = params.optional("symbol", SYMBOL), params.optional("symbols")
    params.finish()
    if symbol is not None and several is not None:
        raise bad_combination()
    if symbol is not None:
        return [desk.books.market(symbol)], True
    if several is None:
        return list(desk.books.markets.values()), False
    try:
        names = json.loads(several)
    except ValueError:
        raise Refused(-1135, "JSON sent for parameter 'symbols' is not valid") from None
    return [desk.books.market(str(name)) for name in names], False


def _each(desk: Desk, params: Params, row: Callable[[Market, Decimal], wire.Json]) -> Any:
    markets, single = _markets(desk, params)
    now = desk.books.now()
    rows = [row(market, market.price(now)) for market in markets]
    return rows[0] if single else rows
