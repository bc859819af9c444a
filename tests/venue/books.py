"""One account on the exchange: balances, orders and their matching against the price. No I/O; the clock is handed in.

Time passes when somebody looks: `advance` carries out what the price did to resting orders since the last look, at the
times at which it did. So the books need no task of their own, and a run is the same at any speed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import ROUND_DOWN, Decimal
from random import Random
from typing import Final

from tests.venue import filters
from tests.venue.market import Market, whole
from tests.venue.orders import AT_MARKET, STOPS, ZERO, Ask, Order, Trade
from tests.venue.refusals import (
    Refused,
    filter_failed,
    invalid_symbol,
    no_such_order,
    rejected,
    unknown_to_cancel,
)

COMMISSION: Final = Decimal("0.001")
SMALLEST: Final = Decimal("1e-8")
FIRST_ORDER: Final = 1_000_001
FIRST_TRADE: Final = 5_000_001


class Books:
    """The account. `now` gives the exchange's time in milliseconds."""

    def __init__(
        self,
        now: Callable[[], int],
        markets: Mapping[str, Market],
        deposited: Mapping[str, Decimal],
        seed: int = 0,
    ) -> None:
        self.now = now
        self.markets = dict(markets)
        self.deposited = dict(deposited)
        self.free = dict(deposited)
        self.locked = dict.fromkeys(deposited, ZERO)
        for market in self.markets.values():
            for asset in (market.rules.base, market.rules.quote):
                self.free.setdefault(asset, ZERO)
                self.locked.setdefault(asset, ZERO)
        self.orders: list[Order] = []
        self.trades: list[Trade] = []
        self.updated = now()
        self._open: dict[tuple[str, int], Order] = {}
        self._by_id: dict[tuple[str, int], Order] = {}
        self._by_client_id: dict[tuple[str, str], Order] = {}
        # numbers are a symbol's own, as on the real exchange
        self._next_order = dict.fromkeys(self.markets, FIRST_ORDER)
        self._next_trade = dict.fromkeys(self.markets, FIRST_TRADE)
        self._chance = Random(seed)
        self._seen_until = now()

    def market(self, symbol: str) -> Market:
        """The symbol, or Refused."""
        if symbol not in self.markets:
            raise invalid_symbol()
        return self.markets[symbol]

    def open(self, symbol: str | None = None) -> list[Order]:
        """Orders that may still trade, oldest first."""
        return [order for order in self._open.values() if symbol in (None, order.symbol)]

    def find(self, symbol: str, order_id: int | None, client_id: str | None) -> Order:
        """The order; the last one when a client id was used again."""
        if order_id is not None:
            order = self._by_id.get((symbol, order_id))
            if order is not None and client_id not in (None, order.client_id):
                order = None
        else:
            order = self._by_client_id.get((symbol, client_id or ""))
        if order is None:
            raise no_such_order()
        return order

    def quantity(self, ask: Ask, now: int) -> Decimal:
        """The amount in the base currency, checked against all rules of the symbol; raises Refused."""
        market = self.market(ask.symbol)
        last = market.price(now)
        if ask.quantity is not None:
            quantity = ask.quantity
        else:
            quantity = whole((ask.quote_quantity or ZERO) / last, market.rules.step)
        filters.check(ask, quantity, market.rules, last)
        mine = self.open(ask.symbol)
        if len(mine) >= market.rules.orders:
            raise filter_failed("MAX_NUM_ORDERS")
        if ask.type in STOPS and sum(order.type in STOPS for order in mine) >= market.rules.algo_orders:
            raise filter_failed("MAX_NUM_ALGO_ORDERS")
        return quantity

    def place(self, ask: Ask) -> Order:
        """Accepts the order and fills what the price allows, or raises Refused."""
        now = self.advance()
        market = self.market(ask.symbol)
        quantity = self.quantity(ask, now)
        last = market.price(now)
        if any(order.client_id == ask.client_id for order in self._open.values()):
            raise rejected("Duplicate order sent.")
        if ask.type == "LIMIT_MAKER" and _allows(ask.side, ask.price or ZERO, last):
            raise rejected("Order would immediately match and take.")
        if ask.type in STOPS and _triggered(ask.side, ask.stop_price or ZERO, last):
            raise rejected("Stop price would trigger immediately.")
        hold_price = ask.price or ask.stop_price or last
        held = quantity * hold_price if ask.side == "BUY" else quantity
        asset = self._pays(ask.symbol, ask.side)
        if held > self.free[asset]:
            raise rejected("Account has insufficient balance for requested action.")
        order = Order(
            symbol=ask.symbol,
            id=self._next_order[ask.symbol],
            client_id=ask.client_id,
            side=ask.side,
            type=ask.type,
            time_in_force=ask.time_in_force,
            quantity=quantity,
            quote_quantity=ask.quote_quantity or ZERO,
            price=ask.price or ZERO,
            stop_price=ask.stop_price or ZERO,
            at=now,
            updated=now,
            working_at=-1 if ask.type in STOPS else now,
            hold_price=hold_price,
            foreign=ask.foreign,
            held=held,
        )
        self._next_order[ask.symbol] += 1
        self.free[asset] -= held
        self.locked[asset] += held
        self.updated = now
        self.orders.append(order)
        self._by_id[order.symbol, order.id] = order
        self._by_client_id[order.symbol, order.client_id] = order
        self._open[order.symbol, order.id] = order
        if order.working:
            self._take(order, last, now)
        return order

    def cancel(self, symbol: str, order_id: int | None, client_id: str | None) -> Order:
        """Ends an open order; raises Refused when there is none."""
        now = self.advance()
        self.market(symbol)
        try:
            order = self.find(symbol, order_id, client_id)
        except Refused:
            raise unknown_to_cancel() from None
        if not order.open:
            raise unknown_to_cancel()
        self._end(order, "CANCELED", now)
        return order

    def pin(self, symbol: str, price: Decimal | None, depth: Decimal | None = None) -> None:
        """Sets the price by hand, or lets it walk again; resting orders see it at once, as if an interval began."""
        now = self.advance()
        market = self.market(symbol)
        market.pin(price, now)
        market.depth = depth
        self._look(symbol, now)

    def advance(self) -> int:
        """Lets the price act on resting orders up to now; gives the time."""
        now = self.now()
        if self._open:
            moments = {at for market in self.markets.values() for at in market.steps(self._seen_until, now)}
            for at in sorted(moments):
                if not self._open:
                    break
                for symbol in self.markets:
                    self._look(symbol, at)
        self._seen_until = now
        return now

    def shift(self, change: Callable[[], None]) -> None:
        """Changes the clock by `change`; the time that is skipped or seen twice does nothing to orders."""
        self.advance()
        change()
        self._seen_until = self.now()
        for market in self.markets.values():
            if (pinned := market.pinned) is not None:
                market.pin(pinned, self._seen_until)

    def _look(self, symbol: str, at: int) -> None:
        price = self.markets[symbol].price(at)
        for order in self.open(symbol):
            if not order.working:
                if _triggered(order.side, order.stop_price, price):
                    order.working_at = order.updated = at
                    self._take(order, price, at)
            elif _allows(order.side, order.price, price):
                half = whole(order.quantity / 2, self.markets[symbol].rules.step)
                self._fill(order, order.price, order.remaining if order.executed or not half else half, at, maker=True)

    def _take(self, order: Order, price: Decimal, at: int) -> None:
        """What an order does when it comes on the book: it takes what there is, then rests or ends."""
        market = self.markets[order.symbol]
        at_market = order.type in AT_MARKET
        quantity = ZERO
        if at_market or _allows(order.side, order.price, price):
            quantity = order.remaining if market.depth is None else min(order.remaining, market.depth)
        if at_market and order.side == "BUY":
            # a stop that was jumped over costs more than was held for it
            short = (price - order.hold_price) * quantity > self.free[self._pays(order.symbol, order.side)]
            quantity = ZERO if short else quantity
        if order.time_in_force == "FOK" and quantity < order.remaining:
            quantity = ZERO
        for part in self._parts(quantity, market.rules.step):
            self._fill(order, price, part, at, maker=False)
        if order.open and (at_market or order.time_in_force in {"IOC", "FOK"}):
            self._end(order, "EXPIRED", at)

    def _parts(self, quantity: Decimal, step: Decimal) -> list[Decimal]:
        parts = []
        for left in range(self._chance.randint(1, 3), 1, -1):
            part = whole(quantity / left, step)
            if part:
                parts.append(part)
                quantity -= part
        return [*parts, quantity] if quantity else parts

    def commission(
        self, market: Market, side: str, price: Decimal, quantity: Decimal, *, maker: bool
    ) -> tuple[Decimal, str]:
        """What one fill costs, and in which asset: here in what is got."""
        rules = market.rules
        got, asset = (quantity, rules.base) if side == "BUY" else (price * quantity, rules.quote)
        return (got * COMMISSION).quantize(SMALLEST, ROUND_DOWN), asset

    def _fill(self, order: Order, price: Decimal, quantity: Decimal, at: int, *, maker: bool) -> None:
        market = self.markets[order.symbol]
        cost = price * quantity
        buys = order.side == "BUY"
        pays, gets = self._pays(order.symbol, order.side), market.rules.base if buys else market.rules.quote
        paid, got = (cost, quantity) if buys else (quantity, cost)
        release = order.hold_price * quantity if buys else quantity
        commission, taken_in = self.commission(market, order.side, price, quantity, maker=maker)
        order.held -= release
        self.locked[pays] -= release
        self.free[pays] += release - paid
        self.free[gets] += got
        self.free[taken_in] -= commission
        number = self._next_trade[order.symbol]
        self._next_trade[order.symbol] += 1
        trade = Trade(
            order.symbol,
            number,
            order.id,
            order.client_id,
            order.side,
            price,
            quantity,
            commission,
            taken_in,
            at,
            maker,
        )
        self.trades.append(trade)
        order.fills.append(trade)
        order.executed += quantity
        order.executed_quote += cost
        order.status = "PARTIALLY_FILLED"
        order.updated = self.updated = at
        if not order.remaining:
            self._end(order, "FILLED", at)

    def _end(self, order: Order, status: str, at: int) -> None:
        asset = self._pays(order.symbol, order.side)
        self.locked[asset] -= order.held
        self.free[asset] += order.held
        order.held = ZERO
        order.status = status
        order.updated = self.updated = at
        del self._open[order.symbol, order.id]

    def _pays(self, symbol: str, side: str) -> str:
        terms = self.markets[symbol].rules
        return terms.quote if side == "BUY" else terms.base


class QuoteFeeBooks(Books):
    """Books whose commission is in the quote currency, whichever side an order is on."""

    def commission(
        self, market: Market, side: str, price: Decimal, quantity: Decimal, *, maker: bool
    ) -> tuple[Decimal, str]:
        """What one fill costs."""
        return (price * quantity * COMMISSION).quantize(SMALLEST, ROUND_DOWN), market.rules.quote


class FreeBooks(Books):
    """Books without a commission."""

    def commission(
        self, market: Market, side: str, price: Decimal, quantity: Decimal, *, maker: bool
    ) -> tuple[Decimal, str]:
        """Nothing."""
        return ZERO, market.rules.quote


def _allows(side: str, limit: Decimal, price: Decimal) -> bool:
    return limit >= price if side == "BUY" else limit <= price


def _triggered(side: str, stop: Decimal, price: Decimal) -> bool:
    return price >= stop if side == "BUY" else price <= stop
