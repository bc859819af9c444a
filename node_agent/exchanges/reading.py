"""ccxt's orders, trades and candles as values of ours. Pure. Raises ValueError for what cannot be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from node_agent.core.market import (
    Book,
    Candle,
    ExchangeOrder,
    ExchangeStatus,
    Fill,
    Level,
    Liquidity,
    Market,
    OpenOrder,
    Side,
    Ticker,
)

_STATUSES: Final = {
    "open": ExchangeStatus.OPEN,
    "canceling": ExchangeStatus.OPEN,
    "closed": ExchangeStatus.FILLED,
    "canceled": ExchangeStatus.CANCELLED,
    "expired": ExchangeStatus.EXPIRED,
    "rejected": ExchangeStatus.REJECTED,
}


def market_of(raw: Mapping[str, Any]) -> Market:
    """The rules of one symbol."""
    precision, limits = raw["precision"], raw["limits"]
    return Market(
        symbol=raw["symbol"],
        base=raw["base"],
        quote=raw["quote"],
        tick_size=_money(precision["price"]),
        step_size=_money(precision["amount"]),
        minimum_notional=_least(limits["cost"]),
        minimum_amount=_least(limits["amount"]),
    )


def _least(limit: Mapping[str, Any]) -> Decimal:
    return Decimal(0) if limit["min"] is None else _money(limit["min"])


def order_of(
    raw: Mapping[str, Any], statuses: Mapping[str, ExchangeStatus], client_order_id: str | None = None
) -> ExchangeOrder:
    """An order. `client_order_id` where the answer names another than the order's own, as one to a cancel may."""
    told = raw["status"]
    status = _STATUSES.get(told) or statuses.get(told)
    if status is None:
        raise ValueError(f"an order of status {told!r}")
    filled = _money(raw["filled"])
    return ExchangeOrder(
        client_order_id=client_order_id or raw["clientOrderId"] or "",
        exchange_order_id=str(raw["id"]),
        symbol=raw["symbol"],
        status=status,
        amount=_money(raw["amount"]),
        filled=filled,
        average_price=_money(raw["average"]) if filled else None,
    )


def open_order_of(raw: Mapping[str, Any], statuses: Mapping[str, ExchangeStatus]) -> OpenOrder:
    """An order among the open ones, whoever placed it."""
    price = raw["price"] or raw["triggerPrice"]
    return OpenOrder(order_of(raw, statuses), Side(raw["side"]), None if price is None else _money(price))


def fill_of(raw: Mapping[str, Any], client_order_id: str) -> Fill:
    """A trade of an order."""
    cost, currency = raw["fee"]["cost"], raw["fee"]["currency"]
    if cost is None or currency is None:
        raise ValueError("a trade without its fee")
    return Fill(
        trade_id=str(raw["id"]),
        client_order_id=client_order_id,
        symbol=raw["symbol"],
        side=Side(raw["side"]),
        price=_money(raw["price"]),
        amount=_money(raw["amount"]),
        fee=_money(cost),
        fee_currency=currency,
        liquidity=Liquidity(raw["takerOrMaker"]),
        at=time_of(raw["timestamp"]),
    )


def balances_of(raw: Mapping[str, Any]) -> dict[str, Decimal]:
    """Total of each currency; those of which there is nothing are left out."""
    totals = {currency: _money(total) for currency, total in raw["total"].items()}
    return {currency: total for currency, total in totals.items() if total}


def candle_of(raw: Sequence[Any], symbol: str, interval: timedelta) -> Candle:
    """One candle, whether it has closed or not."""
    opened, *prices, volume = raw
    first, high, low, last = (_money(price) for price in prices)
    return Candle(symbol, time_of(opened), first, high, low, last, _money(volume), interval)


def ticker_of(raw: Mapping[str, Any]) -> Ticker:
    """The prices of a symbol."""
    last, bid, ask = (None if raw[name] is None else _money(raw[name]) for name in ("last", "bid", "ask"))
    return Ticker(raw["symbol"], last, bid, ask)


def book_of(raw: Mapping[str, Any], symbol: str) -> Book:
    """The book of a symbol."""
    bids, asks = (tuple(Level(_shown(each[0]), _shown(each[1])) for each in raw[side]) for side in ("bids", "asks"))
    return Book(symbol, bids, asks)


def time_of(milliseconds: int) -> datetime:
    """Milliseconds since 1970 as a time."""
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)


def milliseconds_of(at: datetime) -> int:
    """A time as whole milliseconds since 1970."""
    return (at - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


def _shown(value: Any) -> Decimal:
    """A number of a book: ccxt hands those on as floats, which write out what they were read from up to 15 digits."""
    return _money(repr(value) if isinstance(value, float) else value)


def _money(value: Any) -> Decimal:
    # Never from a float: what came as one has lost its digits.
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} where an amount should be")
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise ValueError("an amount that is none") from None
    if not amount.is_finite():
        raise ValueError("an amount that is none")
    return amount
