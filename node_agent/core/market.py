"""Values of a market that the whole node speaks in: symbols' rules, candles, orders as an exchange sees them, fills.

All amounts and prices are `Decimal`; all times are aware UTC. Nothing here changes once made.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final


class Side(StrEnum):
    """Which way an order trades the base currency."""

    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    """How an order takes its price: at once, at a limit, or at once after a stop price was touched."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"


class TimeInForce(StrEnum):
    """How long an order stays: until cancelled, or what fills at once and nothing after."""

    GTC = "gtc"
    IOC = "ioc"


class Liquidity(StrEnum):
    """Whether a fill gave liquidity (maker) or took it (taker)."""

    MAKER = "maker"
    TAKER = "taker"


class ExchangeStatus(StrEnum):
    """Where an order stands on the exchange's own books."""

    OPEN = "open"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Market:
    """The rules of one symbol on one exchange."""

    symbol: str
    base: str
    quote: str
    tick_size: Decimal
    """Prices are whole multiples of this."""
    step_size: Decimal
    """Amounts are whole multiples of this, in the base currency."""
    minimum_notional: Decimal
    """The least price times amount of an order, in the quote currency."""
    minimum_amount: Decimal = Decimal(0)
    """The least amount of an order, in the base currency."""


@dataclass(frozen=True, slots=True)
class Candle:
    """One interval of trading that has closed."""

    symbol: str
    at: datetime
    """When the interval opened."""
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    """In the base currency."""
    interval: timedelta = timedelta(minutes=1)

    @property
    def closed_at(self) -> datetime:
        """When the interval closed."""
        return self.at + self.interval


@dataclass(frozen=True, slots=True)
class Ticker:
    """A symbol's prices at one moment. What is None is not known: nothing was traded, or that side is empty."""

    symbol: str
    last: Decimal | None
    bid: Decimal | None
    ask: Decimal | None


@dataclass(frozen=True, slots=True)
class Level:
    """What is bid or asked for at one price."""

    price: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Book:
    """Resting orders of a symbol, the best of each side first."""

    symbol: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What is asked of an exchange. `client_order_id` names it for ever: asking twice makes one order."""

    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    amount: Decimal
    price: Decimal | None = None
    """The limit, for `limit` orders alone."""
    stop_price: Decimal | None = None
    """The trigger, for `stop` orders alone; touched, the order becomes a market order."""
    time_in_force: TimeInForce = TimeInForce.GTC
    reduce_only: bool = False


@dataclass(frozen=True, slots=True)
class ExchangeOrder:
    """An order as it stands on the exchange's books."""

    client_order_id: str
    exchange_order_id: str
    symbol: str
    status: ExchangeStatus
    amount: Decimal
    filled: Decimal
    average_price: Decimal | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order on the account that may still trade, whoever placed it."""

    order: ExchangeOrder
    """Its client order id is whatever its placer gave it, perhaps nothing."""
    side: Side
    price: Decimal | None
    """Its limit, else its trigger; None when it has neither."""


class IdForm(StrEnum):
    """How a client order id is written for an exchange."""

    HEX = "hex"
    """32 lower-case hex characters, as everywhere in the node."""
    UUID = "uuid"
    """The same digits with the hyphens of RFC 9562."""


@dataclass(frozen=True, slots=True)
class Conduct:
    """What an exchange takes, and how it treats client order ids: what may be concluded from its answers."""

    id_form: IdForm = IdForm.HEX
    settles_within: timedelta = timedelta(0)
    """How long after it was sent a request may still take effect: an order that is not found sooner may yet appear."""
    ids_unique_for_ever: bool = True
    """Whether an id stays taken when its order has ended. Nothing is sent again any sooner for that: the second may be
    refused for want of the money that the first holds, while no list tells of the first yet."""
    order_types: frozenset[OrderType] = frozenset(OrderType)
    """Those that it takes."""
    times_in_force: frozenset[TimeInForce] = frozenset(TimeInForce)
    """Those that it takes, of limit orders."""

    def lacks(self, request: OrderRequest) -> str | None:
        """What of an order it does not know; None when it takes such orders."""
        if request.type not in self.order_types:
            return f"{request.type} orders"
        if request.type is OrderType.LIMIT and request.time_in_force not in self.times_in_force:
            return f"limit orders that are {request.time_in_force}"
        return None


CONDUCT: Final = Conduct()
"""Of an exchange whose answers are complete and at once."""


@dataclass(frozen=True, slots=True)
class Fill:
    """One trade of one order. `trade_id` is the exchange's, unique on it; a fill seen twice counts once."""

    trade_id: str
    client_order_id: str
    symbol: str
    side: Side
    price: Decimal
    amount: Decimal
    fee: Decimal
    fee_currency: str
    liquidity: Liquidity
    at: datetime
    """The exchange's time of the trade."""
