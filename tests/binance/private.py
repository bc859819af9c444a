"""Endpoints of the account: orders, trades, balances. Each reads all parameters first, and refuses what is left."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from tests.binance import wire
from tests.binance.asking import asked
from tests.binance.desk import Desk
from tests.binance.params import CLIENT_ID, SYMBOL, Params
from tests.venue.refusals import bad_combination, invalid, lookup_too_long, neither, unknown_to_cancel

T = TypeVar("T")

DAY: Final = 86_400_000


def new_order(desk: Desk, params: Params) -> Any:
    """POST order."""
    ask, kind = asked(desk, params)
    desk.limits.check_orders(desk.books.now())
    order = desk.books.place(ask)
    desk.limits.count_order(desk.books.now())
    return wire.placed(order, kind)


def test_order(desk: Desk, params: Params) -> Any:
    """POST order/test: all checks of syntax and filters, and no order."""
    ask, _ = asked(desk, params)
    desk.books.quantity(ask, desk.books.advance())
    return {}


def one_order(desk: Desk, params: Params) -> Any:
    """GET order."""
    symbol, order_id, client_id = _named(desk, params)
    params.finish()
    desk.books.advance()
    return wire.shown(desk.books.find(symbol, order_id, client_id))


def cancel_order(desk: Desk, params: Params) -> Any:
    """DELETE order."""
    symbol, order_id, client_id = _named(desk, params)
    cancel_id = params.optional("newClientOrderId", CLIENT_ID) or desk.made_up()
    params.finish()
    return wire.cancelled(desk.books.cancel(symbol, order_id, client_id), cancel_id)


def open_orders(desk: Desk, params: Params) -> Any:
    """GET openOrders."""
    symbol = params.optional("symbol", SYMBOL)
    params.finish()
    if symbol is not None:
        desk.books.market(symbol)
    desk.books.advance()
    return [wire.shown(order) for order in desk.books.open(symbol)]


def cancel_all(desk: Desk, params: Params) -> Any:
    """DELETE openOrders."""
    symbol = params.text("symbol", SYMBOL)
    params.finish()
    desk.books.market(symbol)
    desk.books.advance()
    orders = desk.books.open(symbol)
    if not orders:
        raise unknown_to_cancel()
    cancel_id = desk.made_up()
    return [wire.cancelled(desk.books.cancel(symbol, order.id, None), cancel_id) for order in orders]


def all_orders(desk: Desk, params: Params) -> Any:
    """GET allOrders: from an order or a time on, else the last ones."""
    symbol = params.text("symbol", SYMBOL)
    order_id, start, end = params.whole("orderId"), params.whole("startTime"), params.whole("endTime")
    limit = params.limit(500, 1000)
    params.finish()
    desk.books.market(symbol)
    if start is not None and end is not None and end - start > DAY:
        raise lookup_too_long(24)
    desk.books.advance()
    orders = [order for order in desk.books.orders if order.symbol == symbol and _within(order.at, start, end)]
    if order_id is not None:
        orders = [order for order in orders if order.id >= order_id]
    return [wire.shown(order) for order in _page(orders, limit, forward=order_id is not None or start is not None)]


def my_trades(desk: Desk, params: Params) -> Any:
    """GET myTrades: only the combinations of parameters that Binance documents."""
    symbol = params.text("symbol", SYMBOL)
    order_id, from_id = params.whole("orderId"), params.whole("fromId")
    start, end = params.whole("startTime"), params.whole("endTime")
    limit = params.limit(500, 1000)
    params.finish()
    desk.books.market(symbol)
    timed = start is not None or end is not None
    if timed and (order_id is not None or from_id is not None):
        raise bad_combination()
    if start is not None and end is not None and end - start > DAY:
        raise lookup_too_long(24)
    desk.books.advance()
    trades = [trade for trade in desk.books.trades if trade.symbol == symbol and _within(trade.at, start, end)]
    if order_id is not None:
        trades = [trade for trade in trades if trade.order_id == order_id]
    if from_id is not None:
        trades = [trade for trade in trades if trade.id >= from_id]
    return [wire.traded(trade) for trade in _page(trades, limit, forward=from_id is not None or start is not None)]


def account(desk: Desk, params: Params) -> Any:
    """GET account."""
    hide_zero = params.choice("omitZeroBalances", ("true", "false"), invalid("omitZeroBalances")) == "true"
    params.finish()
    books = desk.books
    books.advance()
    return {
        "makerCommission": 10,
        "takerCommission": 10,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {
            "maker": "0.00100000",
            "taker": "0.00100000",
            "buyer": "0.00000000",
            "seller": "0.00000000",
        },
        "canTrade": True,
        "canWithdraw": True,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": books.updated,
        "accountType": "SPOT",
        "balances": [
            {"asset": asset, "free": wire.money(free), "locked": wire.money(books.locked[asset])}
            for asset, free in books.free.items()
            if free or books.locked[asset] or not hide_zero
        ],
        "permissions": ["SPOT"],
        "uid": 354937868,
    }


def api_restrictions(desk: Desk, params: Params) -> Any:
    """GET account/apiRestrictions: what the key may do."""
    params.finish()
    return desk.restrictions


def _named(desk: Desk, params: Params) -> tuple[str, int | None, str | None]:
    symbol = params.text("symbol", SYMBOL)
    order_id, client_id = params.whole("orderId"), params.optional("origClientOrderId", CLIENT_ID)
    desk.books.market(symbol)
    if order_id is None and client_id is None:
        raise neither("origClientOrderId", "orderId")
    return symbol, order_id, client_id


def _within(at: int, start: int | None, end: int | None) -> bool:
    return (start is None or at >= start) and (end is None or at <= end)


def _page(rows: list[T], limit: int, *, forward: bool) -> list[T]:
    return rows[:limit] if forward else rows[-limit:]
