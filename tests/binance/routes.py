"""Which endpoint answers at which path, whether it is signed, and what it weighs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.binance import private, public
from tests.binance.desk import Endpoint
from tests.binance.params import Params

DEPTH_WEIGHTS: Final = ((100, 5), (500, 25), (1000, 50), (5000, 250))


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path."""

    endpoint: Endpoint
    signed: bool
    weight: Callable[[Params], int]


def _always(weight: int) -> Callable[[Params], int]:
    return lambda params: weight


def _with(name: str, weight: int, without: int) -> Callable[[Params], int]:
    return lambda params: weight if params.has(name) else without


def _depth(params: Params) -> int:
    asked = params.whole("limit") or 100
    return next((weight for levels, weight in DEPTH_WEIGHTS if asked <= levels), 250)


ROUTES: Final = {
    ("GET", "/api/v3/ping"): Route(public.nothing, False, _always(1)),
    ("GET", "/api/v3/time"): Route(public.time, False, _always(1)),
    ("GET", "/api/v3/exchangeInfo"): Route(public.exchange_info, False, _always(20)),
    ("GET", "/api/v3/klines"): Route(public.klines, False, _always(2)),
    ("GET", "/api/v3/ticker/price"): Route(public.ticker_price, False, _with("symbol", 2, 4)),
    ("GET", "/api/v3/ticker/bookTicker"): Route(public.book_ticker, False, _with("symbol", 2, 4)),
    ("GET", "/api/v3/ticker/24hr"): Route(public.ticker_day, False, _with("symbol", 2, 80)),
    ("GET", "/api/v3/depth"): Route(public.depth, False, _depth),
    ("POST", "/api/v3/order"): Route(private.new_order, True, _always(1)),
    ("POST", "/api/v3/order/test"): Route(private.test_order, True, _always(1)),
    ("GET", "/api/v3/order"): Route(private.one_order, True, _always(4)),
    ("DELETE", "/api/v3/order"): Route(private.cancel_order, True, _always(1)),
    ("GET", "/api/v3/openOrders"): Route(private.open_orders, True, _with("symbol", 6, 80)),
    ("DELETE", "/api/v3/openOrders"): Route(private.cancel_all, True, _always(1)),
    ("GET", "/api/v3/allOrders"): Route(private.all_orders, True, _always(20)),
    ("GET", "/api/v3/myTrades"): Route(private.my_trades, True, _with("orderId", 5, 20)),
    ("GET", "/api/v3/account"): Route(private.account, True, _always(20)),
    ("GET", "/sapi/v1/account/apiRestrictions"): Route(private.api_restrictions, True, _always(1)),
}
