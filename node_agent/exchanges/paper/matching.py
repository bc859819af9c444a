"""Price-time matching on candles. Pure: books and a request in, books and what happened out.

    market   fills at once, whole, at the last price
    limit    what the last price allows fills at once, whole, at the last price; else it rests, and fills in candles
             that touch its price: at that price, or at the candle's open where that is better
    stop     sleeps until a candle touches its stop price, then takes what there is: at the stop price, or at the
             candle's open where that is worse; what one candle has not filled goes on at the next one's open
    ioc      a limit that cannot fill at once expires

All resting orders together get at most a share of a candle's volume, the better price first and of equal prices the
older order; so an order may fill in parts. Who takes pays the taker's fee, who rests the maker's, in the quote
currency. An account has what it has: nothing is bought on credit, nothing is sold short.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_UP, Decimal
from typing import Final

from node_agent.core.market import (
    Candle,
    ExchangeOrder,
    ExchangeStatus,
    Fill,
    Liquidity,
    Market,
    OrderRequest,
    OrderType,
    Side,
    TimeInForce,
)

_SMALLEST: Final = Decimal("0.00000001")
"""Of money on these books."""
ZERO: Final = Decimal(0)


class Rejected(Exception):
    """The exchange does not take the order; the text says why."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How this exchange works."""

    market: Market
    maker_fee: Decimal
    """A fraction of the notional."""
    taker_fee: Decimal
    volume_share: Decimal
    """The part of a candle's volume that resting orders may get."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An order on the books."""

    number: int
    """Its place in time."""
    request: OrderRequest
    status: ExchangeStatus = ExchangeStatus.OPEN
    filled: Decimal = ZERO
    cost: Decimal = ZERO
    """Sum of price times amount of its fills."""
    triggered: bool = False
    """Whether a stop has been touched."""
    reason: str | None = None

    @property
    def remaining(self) -> Decimal:
        """What may still fill."""
        return self.request.amount - self.filled

    def told(self) -> ExchangeOrder:
        """The order as the exchange tells it."""
        average = (self.cost / self.filled).quantize(_SMALLEST, ROUND_HALF_EVEN) if self.filled else None
        return ExchangeOrder(
            client_order_id=self.request.client_order_id,
            exchange_order_id=f"paper-{self.number}",
            symbol=self.request.symbol,
            status=self.status,
            amount=self.request.amount,
            filled=self.filled,
            average_price=average,
            reason=self.reason,
        )


@dataclass(frozen=True, slots=True)
class Books:
    """The account, its orders and the market, between two events."""

    base: Decimal
    quote: Decimal
    last: Decimal | None = None
    """The last price; None before the first candle."""
    at: datetime | None = None
    """The market's time: the last candle's."""
    orders: Mapping[str, Placed] = field(default_factory=dict)
    """By client order id, ended ones too: an id is taken for ever."""
    trades: int = 0

    @property
    def open(self) -> list[Placed]:
        """Orders that may still fill, the oldest first."""
        return [each for each in self.orders.values() if each.status is ExchangeStatus.OPEN]


Updates = tuple[ExchangeOrder | Fill, ...]


def place(books: Books, rules: Rules, request: OrderRequest) -> tuple[Books, Updates]:
    """The books with one order more, and what came of it. An id that is taken changes nothing. Raises Rejected."""
    known = books.orders.get(request.client_order_id)
    if known is not None:
        return books, (known.told(),)
    last = books.last
    if last is None:
        raise Rejected("the market has no price yet")
    _check_form(rules.market, request)
    price = _worst_price(request, last)
    if request.amount * price < rules.market.minimum_notional:
        raise Rejected(f"the notional is below the minimum of {rules.market.minimum_notional}")
    _check_funds(books, rules, request, price)
    order = Placed(number=len(books.orders) + 1, request=request)
    books = _with(books, order)
    if _takes_at_once(request, last):
        return _trade(books, rules, order, last, order.remaining, Liquidity.TAKER)
    if request.time_in_force is TimeInForce.IOC:
        return _end(books, order, ExchangeStatus.EXPIRED, "nothing to fill it with at once")
    return books, (order.told(),)


def cancel(books: Books, client_order_id: str) -> tuple[Books, Updates]:
    """The books without what is left of an order; an ended one stays as it is. Raises Rejected for an unknown id."""
    order = books.orders.get(client_order_id)
    if order is None:
        raise Rejected("there is no such order")
    if order.status is not ExchangeStatus.OPEN:
        return books, (order.told(),)
    return _end(books, order, ExchangeStatus.CANCELLED, None)


def on_candle(books: Books, rules: Rules, candle: Candle) -> tuple[Books, Updates]:
    """The books after a candle, and what it filled."""
    books = replace(books, at=candle.at)
    budget = _whole(candle.volume * rules.volume_share, rules.market.step_size)
    updates: list[ExchangeOrder | Fill] = []
    for order in _by_priority(books.open):
        books, told = _in_candle(books, rules, order, candle, budget)
        budget -= sum((each.amount for each in told if isinstance(each, Fill)), ZERO)
        updates.extend(told)
    return replace(books, last=candle.close), tuple(updates)


def _in_candle(books: Books, rules: Rules, order: Placed, candle: Candle, budget: Decimal) -> tuple[Books, Updates]:
    """What one candle does to one order, when `budget` of its volume is left."""
    price = _price_in(candle, order)
    if price is None:
        return books, ()
    if order.request.type is OrderType.STOP and not order.triggered:
        order = replace(order, triggered=True)
        books = _with(books, order)
    affordable = _affordable(books, rules, order, price)
    amount = min(order.remaining, budget, affordable)
    told: Updates = ()
    if amount > 0:
        liquidity = Liquidity.MAKER if order.request.type is OrderType.LIMIT else Liquidity.TAKER
        books, told = _trade(books, rules, order, price, amount, liquidity)
    if affordable < order.remaining and affordable <= amount:
        left = books.orders[order.request.client_order_id]
        books, end = _end(books, left, ExchangeStatus.CANCELLED, "not enough money for what is left")
        told = (*told, *end)
    return books, told


def _check_form(market: Market, request: OrderRequest) -> None:
    if request.symbol != market.symbol:
        raise Rejected(f"{request.symbol} is not traded here")
    if request.amount <= 0 or request.amount % market.step_size:
        raise Rejected(f"the amount is not a whole multiple of {market.step_size}")
    wanted = {OrderType.MARKET: None, OrderType.LIMIT: request.price, OrderType.STOP: request.stop_price}[request.type]
    if request.type is not OrderType.MARKET and (wanted is None or wanted <= 0 or wanted % market.tick_size):
        raise Rejected(f"the price is not a whole multiple of {market.tick_size}")


def _check_funds(books: Books, rules: Rules, request: OrderRequest, price: Decimal) -> None:
    if request.side is Side.SELL:
        held = sum((each.remaining for each in books.open if each.request.side is Side.SELL), ZERO)
        if request.amount > books.base - held:
            raise Rejected(f"not enough {rules.market.base}")
        return
    if request.reduce_only:
        raise Rejected("there is nothing that this order could reduce")
    held = sum((_hold(each, rules) for each in books.open if each.request.side is Side.BUY), ZERO)
    if request.amount * price * (1 + rules.taker_fee) > books.quote - held:
        raise Rejected(f"not enough {rules.market.quote}")


def _hold(order: Placed, rules: Rules) -> Decimal:
    """What an open buy keeps back of the quote currency."""
    price = order.request.price or order.request.stop_price or ZERO
    return order.remaining * price * (1 + rules.taker_fee)


def _worst_price(request: OrderRequest, last: Decimal) -> Decimal:
    """What the order may cost: its limit, its stop, or the last price, which a stop that is touched already takes."""
    if request.type is OrderType.STOP and _takes_at_once(request, last):
        return last
    return request.price or request.stop_price or last


def _takes_at_once(request: OrderRequest, last: Decimal) -> bool:
    buys = request.side is Side.BUY
    if request.type is OrderType.LIMIT and request.price is not None:
        return last <= request.price if buys else last >= request.price
    if request.type is OrderType.STOP and request.stop_price is not None:
        return last >= request.stop_price if buys else last <= request.stop_price
    return True


def _by_priority(orders: Iterable[Placed]) -> list[Placed]:
    """Limits by price, the better first, and then by time; stops after them, by time."""

    def rank(order: Placed) -> tuple[int, Decimal, int]:
        if order.request.type is OrderType.LIMIT and order.request.price is not None:
            price = order.request.price
            return 0, -price if order.request.side is Side.BUY else price, order.number
        return 1, ZERO, order.number

    return sorted(orders, key=rank)


def _price_in(candle: Candle, order: Placed) -> Decimal | None:
    """The price at which an order trades in a candle; None when it does not."""
    buys = order.request.side is Side.BUY
    if order.triggered:
        return candle.open
    if order.request.type is OrderType.LIMIT and order.request.price is not None:
        limit = order.request.price
        if candle.low > limit if buys else candle.high < limit:
            return None
        return min(limit, candle.open) if buys else max(limit, candle.open)
    stop = order.request.stop_price
    if stop is None or (candle.high < stop if buys else candle.low > stop):
        return None
    return max(stop, candle.open) if buys else min(stop, candle.open)


def _affordable(books: Books, rules: Rules, order: Placed, price: Decimal) -> Decimal:
    """How much of an order the account can pay for, whatever its holds were reckoned at."""
    if order.request.side is Side.SELL:
        return min(order.remaining, books.base)
    worst_fee = max(rules.maker_fee, rules.taker_fee)
    return _whole(books.quote / (price * (1 + worst_fee)), rules.market.step_size)


def _trade(
    books: Books, rules: Rules, order: Placed, price: Decimal, amount: Decimal, liquidity: Liquidity
) -> tuple[Books, Updates]:
    rate = rules.maker_fee if liquidity is Liquidity.MAKER else rules.taker_fee
    fee = (price * amount * rate).quantize(_SMALLEST, ROUND_UP)
    request = order.request
    sign = 1 if request.side is Side.BUY else -1
    filled = order.filled + amount
    status = ExchangeStatus.FILLED if filled == request.amount else ExchangeStatus.OPEN
    order = replace(order, filled=filled, cost=order.cost + price * amount, status=status)
    books = replace(
        _with(books, order),
        base=books.base + sign * amount,
        quote=books.quote - sign * price * amount - fee,
        trades=books.trades + 1,
    )
    if books.at is None:
        raise Rejected("the market has no time yet")
    fill = Fill(
        trade_id=f"paper-{books.trades}",
        client_order_id=request.client_order_id,
        symbol=request.symbol,
        side=request.side,
        price=price,
        amount=amount,
        fee=fee,
        fee_currency=rules.market.quote,
        liquidity=liquidity,
        at=books.at,
    )
    return books, (fill, order.told())


def _end(books: Books, order: Placed, status: ExchangeStatus, reason: str | None) -> tuple[Books, Updates]:
    order = replace(order, status=status, reason=reason)
    return _with(books, order), (order.told(),)


def _with(books: Books, order: Placed) -> Books:
    return replace(books, orders={**books.orders, order.request.client_order_id: order})


def _whole(amount: Decimal, step: Decimal) -> Decimal:
    """The largest whole multiple of `step` that is not above `amount`."""
    return max(ZERO, (amount / step).to_integral_value(ROUND_DOWN) * step)
