"""The port: all that the node asks of an exchange, on one screen.

Idempotency is promised in words, and every adapter keeps it: `create_order` with a client order id that the exchange
has seen makes no second order and answers with the first one, as far as the exchange's `conduct` reaches;
`cancel_order` of an order that has ended answers with how it ended; a fill may be told more than once and always
carries the same `trade_id`. No adapter sends an order or a cancel twice by itself; reads it may repeat.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from node_agent.core.market import Book, Candle, Conduct, ExchangeOrder, Fill, Market, OpenOrder, OrderRequest, Ticker
from node_agent.redaction import redacted


class ExchangeError(Exception):
    """Anything that an exchange did not do. Its words may come from the exchange: what is secret in them is hidden."""

    def __init__(self, message: str = "") -> None:
        super().__init__(redacted(message))


class OrderRefused(ExchangeError):
    """The exchange said no: there is no such order, and sending the same again will not help."""


class TooSmall(OrderRefused):
    """It is less than the exchange takes of this symbol in one order."""


class ExchangeUnavailable(ExchangeError):
    """Nothing was sent, or the exchange surely did nothing: the same request may be sent again."""


class KeyRefused(ExchangeUnavailable):
    """The exchange does not take our key, or no more: it did nothing, and will do nothing before the owner acts."""


class RateLimited(ExchangeUnavailable):
    """Too many requests, as the exchange or our own limiter says: nothing was done. `until` is when to ask again."""

    def __init__(self, message: str, until: datetime) -> None:
        super().__init__(message)
        self.until = until


class OutcomeUnknown(ExchangeError):
    """The request may or may not have been carried out: look for the client order id before anything else."""


Update = Candle | ExchangeOrder | Fill
"""What a stream tells, in the order in which it happened."""


class Exchange(Protocol):
    """One account on one exchange."""

    @property
    def name(self) -> str:
        """The exchange's id, as `exchange` in events and commands."""

    @property
    def conduct(self) -> Conduct:
        """How it treats client order ids."""

    @property
    def survey_every(self) -> float:
        """Seconds between two looks at all that is open on the account, and at its clock."""

    @property
    def rate_limits(self) -> Mapping[str, object]:
        """How much of each of its limits on requests is used, as JSON values; empty where it has none."""

    async def markets(self) -> Mapping[str, Market]:
        """Rules of every symbol that can be traded, by symbol."""

    async def balances(self) -> Mapping[str, Decimal]:
        """Total of each currency, what open orders hold included."""

    async def create_order(self, request: OrderRequest) -> ExchangeOrder:
        """Place it. Raises OrderRefused, ExchangeUnavailable or OutcomeUnknown."""

    async def cancel_order(self, client_order_id: str, symbol: str) -> ExchangeOrder:
        """Cancel what is left of it. Raises OrderRefused when the exchange never saw it."""

    async def find_order(self, client_order_id: str, symbol: str) -> ExchangeOrder | None:
        """The order under this id, open or ended; None when it is not among open orders, ended orders and fills."""

    async def open_orders(self) -> Sequence[OpenOrder]:
        """All orders of the account, on the symbols that this adapter was made for, that may still trade."""

    async def fills_since(self, at: datetime | None) -> Sequence[Fill]:
        """Fills at or after this exchange time, oldest first; all of them when None."""

    async def clock_offset(self) -> float | None:
        """Seconds that our clock is ahead of the exchange's, as last measured; None where it has none."""

    def know(self, orders: Iterable[tuple[str, str]]) -> None:
        """Client order ids and exchange order ids that belong together, from before; asking for those is quicker."""

    def updates(self) -> AsyncIterator[Update]:
        """Candles, order changes and fills from now on; fills come before the order change that they cause."""

    async def close(self) -> None:
        """Let go of sockets and files. Orders stay."""


class RealExchange(Exchange, Protocol):
    """One that is no play, and what an owner may ask of it beside what the node's loop needs."""

    async def key_permissions(self) -> Mapping[str, bool] | None:
        """What our key may do, by the exchange's own names; None where it has no way to ask."""

    async def ticker(self) -> Ticker:
        """Last price, best bid and best ask of the symbol."""

    async def book(self, depth: int) -> Book:
        """The best levels of each side of the symbol's book: at most so many."""

    async def candles(self, since: datetime | None) -> Sequence[Candle]:
        """Candles that opened at or after a time, the open one among them; the last few when None."""

    async def recent_orders(self, since: datetime) -> Sequence[ExchangeOrder]:
        """Orders of the account on the symbol that were placed since, as far as the exchange still tells of them."""
