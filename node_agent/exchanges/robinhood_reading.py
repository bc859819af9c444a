"""Robinhood's answers as values of ours, orders as it takes them, and candles of the prices that were seen. Pure.

Raises ValueError, LookupError or TypeError for what cannot be read. Robinhood writes some amounts as strings and some
as numbers, at times in one object: both come here as they were written, without ever having been a float.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NoReturn
from urllib.parse import parse_qs, urlsplit

from node_agent.core import ids
from node_agent.core.market import (
    Candle,
    ExchangeOrder,
    ExchangeStatus,
    Fill,
    IdForm,
    Liquidity,
    Market,
    OpenOrder,
    OrderRequest,
    OrderType,
    Side,
    Ticker,
    TimeInForce,
)
from node_agent.exchanges.polling import Trade
from node_agent.exchanges.port import OrderRefused
from node_agent.exchanges.spot import exact

SHORTEST: Final = timedelta(seconds=5)
"""Of candles: prices are asked for a few times in each, and Robinhood allows so many requests and no more."""
_KEPT: Final = 500
_LONGEST_GAP: Final = timedelta(minutes=5)
_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_TRADED: Final = ("tradable", "sellonly")
_OPEN: Final = ("open", "partially_filled", "pending")
_STATUSES: Final = {
    **dict.fromkeys(_OPEN, ExchangeStatus.OPEN),
    "filled": ExchangeStatus.FILLED,
    "canceled": ExchangeStatus.CANCELLED,
    "failed": ExchangeStatus.REJECTED,
}


def loads(body: bytes) -> Any:
    """The JSON in an answer, its numbers as they were written. Raises ValueError."""
    try:
        return json.loads(body, parse_float=Decimal, parse_int=Decimal, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("an answer without end") from None


def symbol_of(native: str) -> str:
    """BTC/USD of BTC-USD."""
    base, _, quote = native.partition("-")
    if not base or not quote:
        raise ValueError("a symbol that is none")
    return f"{base}/{quote}"


def native_of(symbol: str) -> str:
    """BTC-USD of BTC/USD."""
    return symbol.replace("/", "-")


def cursor_of(page: Mapping[str, Any]) -> str | None:
    """Where the next page begins; None when this was the last. Of the address in the answer nothing else is taken."""
    following = page.get("next")
    if following is None:
        return None
    (cursor,) = parse_qs(urlsplit(_text(following)).query, strict_parsing=True)["cursor"]
    return str(cursor)


def market_of(raw: Mapping[str, Any]) -> Market | None:
    """The rules of one symbol; None for one that is not traded. What is least in the quote is not told for each."""
    if raw["status"] not in _TRADED:
        return None
    least = raw.get("min_order_amount")
    return Market(
        symbol=symbol_of(raw["symbol"]),
        base=raw["asset_code"],
        quote=raw["quote_code"],
        tick_size=_money(raw["quote_increment"]),
        step_size=_money(raw["asset_increment"]),
        minimum_notional=Decimal(0) if least is None else _money(least),
        minimum_amount=_money(raw["min_order_size"]),
    )


def ticker_of(raw: Mapping[str, Any]) -> Ticker:
    """Bid and ask, the spread of Robinhood's market makers included. What was traded last it does not tell."""
    bid, ask = _money(raw["bid_inclusive_of_sell_spread"]), _money(raw["ask_inclusive_of_buy_spread"])
    if bid <= 0 or ask <= 0:
        raise ValueError("a price that is none")
    return Ticker(symbol_of(raw["symbol"]), None, bid, ask)


def middle_of(ticker: Ticker) -> Decimal:
    """Half-way between bid and ask, which now and then stand the wrong way round. Raises ValueError without them."""
    if ticker.bid is None or ticker.ask is None:
        raise ValueError("a price that is not known")
    return (ticker.bid + ticker.ask) / 2


def cash_of(raw: Mapping[str, Any]) -> tuple[str, Decimal]:
    """The account's currency, and how much of it could be spent now."""
    return str(raw["buying_power_currency"]), _money(raw["buying_power"])


def holding_of(raw: Mapping[str, Any]) -> tuple[str, Decimal]:
    """A coin, and how much of it there is, what open orders hold included."""
    return str(raw["asset_code"]), _money(raw["total_quantity"])


def order_of(raw: Mapping[str, Any]) -> ExchangeOrder:
    """An order."""
    status = _STATUSES.get(raw["state"])
    if status is None:
        raise ValueError(f"an order of state {raw['state']!r}")
    filled = _money(raw["filled_asset_quantity"])
    if status is ExchangeStatus.REJECTED and filled:
        status = ExchangeStatus.CANCELLED
    return ExchangeOrder(
        client_order_id=ids.read((raw.get("client_order_id") or "").lower(), IdForm.UUID),
        exchange_order_id=_text(raw["id"]),
        symbol=symbol_of(raw["symbol"]),
        status=status,
        amount=_amount(raw, filled),
        filled=filled,
        average_price=_money(raw["average_price"]) if filled else None,
    )


def open_order_of(raw: Mapping[str, Any]) -> OpenOrder:
    """An order among the open ones, whoever placed it."""
    return OpenOrder(order_of(raw), Side(raw["side"]), _price(_terms(raw)))


def held_by(raw: Mapping[str, Any]) -> tuple[str, Decimal | None] | None:
    """Of an open buy: the currency that it holds, and how much; None of one at the market, for it does not tell."""
    open_order = open_order_of(raw)
    if open_order.side is not Side.BUY:
        return None
    _, _, quote = open_order.order.symbol.partition("/")
    left = open_order.order.amount - open_order.order.filled
    return quote, None if open_order.price is None else left * open_order.price


def trades_of(raw: Mapping[str, Any]) -> list[Trade]:
    """Fills of an order, as far as it has any.

    They have no ids there, so one is made of what does not change: the order, the moment, price and amount, and a
    number for those that have even these in common. Neither their place in the list nor how Robinhood writes its times
    in summer is part of it. No fee is charged by this version of the API: what it costs is in the spread. Who gave
    liquidity is not told; its market makers give it.
    """
    order = order_of(raw)
    _, _, quote = order.symbol.partition("/")
    trades: list[Trade] = []
    seen: Counter[str] = Counter()
    for each in raw["executions"]:
        price, amount, at = _money(each["effective_price"]), _money(each["quantity"]), time_of(each["timestamp"])
        microseconds = (at - _EPOCH) // timedelta(microseconds=1)
        name = f"{order.exchange_order_id}-{microseconds}-{_plain(price)}-{_plain(amount)}"
        seen[name] += 1
        fill = Fill(
            trade_id=name if seen[name] == 1 else f"{name}-{seen[name]}",
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=Side(raw["side"]),
            price=price,
            amount=amount,
            fee=Decimal(0),
            fee_currency=quote,
            liquidity=Liquidity.TAKER,
            at=at,
        )
        trades.append(Trade(order.exchange_order_id, fill))
    return trades


def time_of(text: str) -> datetime:
    """A moment as Robinhood writes it, of which it may tell billionths of a second."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without its zone")
    return at.astimezone(UTC)


def written_time(at: datetime) -> str:
    """A moment as Robinhood's own examples write it: whole seconds, rounded down."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def body_of(request: OrderRequest) -> dict[str, Any]:
    """An order as Robinhood takes it. Raises OrderRefused for one that it has no words for."""
    terms = {"asset_quantity": exact(request.amount)}
    match request.type:
        case OrderType.MARKET:
            kind = "market"
        case OrderType.LIMIT:
            if request.time_in_force is not TimeInForce.GTC:
                raise OrderRefused(f"not sent: robinhood has no limit orders that are {request.time_in_force}")
            kind = "limit"
            terms["limit_price"] = exact(request.price)
        case OrderType.STOP:
            kind = "stop_loss"
            terms |= {"stop_price": exact(request.stop_price), "time_in_force": "gtc"}
    return {
        "client_order_id": ids.written(request.client_order_id, IdForm.UUID),
        "symbol": native_of(request.symbol),
        "side": request.side.value,
        "type": kind,
        f"{kind}_order_config": terms,
    }


@dataclass(slots=True)
class _Bar:
    opened: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    last_at: datetime
    widest: timedelta
    """The longest time without a price in it, from its beginning on."""


class Watched:
    """Candles of the prices that were seen, for Robinhood has none. Their volume is 0: it is not known.

    What was not watched is not told: a candle with a long gap in it, or of which the beginning was missed, is none.
    Raises ValueError for an interval that does not divide a day, or is too short for the requests that it would take.
    """

    def __init__(self, symbol: str, interval: timedelta) -> None:
        if interval < SHORTEST or _DAY % interval:
            raise ValueError(f"there are no candles of {interval}; the shortest are of {SHORTEST}")
        self._symbol = symbol
        self._interval = interval
        self._gap = min(interval / 2, _LONGEST_GAP)
        self._bars: deque[_Bar] = deque(maxlen=_KEPT)

    def see(self, at: datetime, price: Decimal) -> None:
        """A price, and the exchange's time. One that comes before the last is left out."""
        opened = at - (at - _EPOCH) % self._interval
        last = self._bars[-1] if self._bars else None
        if last is None or opened > last.opened:
            self._bars.append(_Bar(opened, price, price, price, price, at, at - opened))
        elif at >= last.last_at:
            last.high, last.low, last.close = max(last.high, price), min(last.low, price), price
            last.widest = max(last.widest, at - last.last_at)
            last.last_at = at

    def candles(self, since: datetime | None, now: datetime) -> Sequence[Candle]:
        """Candles that opened at or after a time, the open one among them; the last three when None."""
        wanted = [bar for bar in self._bars if self._whole(bar, now) and (since is None or bar.opened >= since)]
        return [
            Candle(self._symbol, bar.opened, bar.open, bar.high, bar.low, bar.close, Decimal(0), self._interval)
            for bar in (wanted[-3:] if since is None else wanted)
        ]

    def _whole(self, bar: _Bar, now: datetime) -> bool:
        closes = bar.opened + self._interval
        return now < closes or max(bar.widest, closes - bar.last_at) <= self._gap


def _terms(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """What stands in the one part of an order that is named for its type."""
    terms: Mapping[str, Any] = raw[f"{raw['type']}_order_config"]
    return terms


def _price(terms: Mapping[str, Any]) -> Decimal | None:
    """A limit, else a trigger; None of an order that has neither."""
    told = terms.get("limit_price") or terms.get("stop_price")
    return None if told is None else _money(told)


def _amount(raw: Mapping[str, Any], filled: Decimal) -> Decimal:
    """How much was ordered. One that the owner placed in dollars is as much as they buy at its price."""
    terms = _terms(raw)
    if terms.get("asset_quantity") is not None:
        return _money(terms["asset_quantity"])
    price = _price(terms)
    return filled if price is None else max(filled, _money(terms["quote_amount"]) / price)


def _plain(amount: Decimal) -> str:
    return format(amount.normalize(), "f")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("an id that is none")
    return value


def _money(value: Any) -> Decimal:
    if not isinstance(value, str | Decimal):
        raise ValueError(f"{type(value).__name__} where an amount should be")
    try:
        amount = Decimal(value)
    except ArithmeticError:
        raise ValueError("an amount that is none") from None
    if not amount.is_finite():
        raise ValueError("an amount that is none")
    return amount


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
