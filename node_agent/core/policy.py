"""The owner's limits, and the one place where an order is held against them.

`check` is asked before an order exists, with every order that may still trade counted in, so that what it allows can
all fill at once and still be inside. The rules, in the order in which they are asked; the first that says no is named:

    exchange, symbol, side, order_type     what may be traded at all
    reduce_only                            an order that says it only reduces must do so in fact
    no_price                               nothing can be weighed before the market has told a price
    price_collar                           no price worse for the owner than the last trade allows
  and, for whatever adds risk:
    the rules of `pauses.py`               new risk is stopped, and why
    signal_age                             who asks for it decided too long ago
    market_data_age                        the last price is too old to weigh it by
    trading_hours
    unknown_order                          an order of this symbol may or may not exist
    orders_per_minute, orders_per_day      of the market's time
    max_order_notional, max_open_notional, max_position_notional, max_total_notional

An order reduces when it trades against the position by no more than is left of it once every open order against it has
filled. Such exits, and cancels, stay allowed whatever happened: pauses, ages, hours and amounts do not hold them back.
A stop that reduces is protection, so its trigger may lie outside the collar. Orders that somebody else placed on the
account count like the node's own, but for what can be closed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from node_agent.core.hours import Window
from node_agent.core.market import OrderRequest, OrderType, Side
from node_protocol.messages import format_decimal

TRADING_COMMANDS: Final = frozenset(
    ("order.place", "order.cancel", "orders.cancel_all", "trading.pause", "trading.resume")
)
"""What a server may be let ask for. Asking for a report, or for a new node key, is not about trading."""


class OnSilence(StrEnum):
    """What is done when the server has been silent for too long."""

    PAUSE = "pause"
    CANCEL_OPEN = "cancel_open"
    FLATTEN = "flatten"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the owner wrote down. Notionals are in the quote currency; no server can change any of it."""

    exchanges: frozenset[str]
    symbols: frozenset[str]
    order_types: frozenset[OrderType]
    max_order_notional: Decimal
    max_open_notional: Decimal
    """Of all open orders."""
    max_position_notional: Decimal
    """Of one symbol, its open orders on the same side included."""
    max_total_notional: Decimal
    """Of all positions and all open orders."""
    orders_per_minute: int
    orders_per_day: int
    daily_loss: Decimal
    """Loss since the start of the market's day (UTC), open positions at the last price, at which new risk stops."""
    drawdown: Decimal
    """Loss since the day's best moment at which new risk stops."""
    price_collar: Decimal
    """Fraction of the last trade's price by which a price may be worse than it."""
    max_signal_age: timedelta | None
    """Of a command, since the server issued it; of a strategy's decision, since its candle closed. None for any age: a
    command has its own time still, and a price its own age."""
    max_data_age: timedelta
    """Of the last price, by the wall clock."""
    server_commands: frozenset[str]
    """Those of TRADING_COMMANDS that are taken from the server."""
    sides: frozenset[Side] = frozenset(Side)
    trading_hours: tuple[Window, ...] = ()
    """None for always."""
    max_clock_drift: timedelta = timedelta(seconds=2)
    """Between our clock and the exchange's; beyond it new risk stops."""
    server_silence: timedelta | None = None
    """How long the server may be silent; None for ever."""
    on_server_silence: OnSilence = OnSilence.PAUSE

    @property
    def digest(self) -> str:
        """Names these limits: equal for equal limits, SHA-256 in hex."""
        limits = {
            "exchanges": sorted(self.exchanges),
            "symbols": sorted(self.symbols),
            "sides": sorted(self.sides),
            "order_types": sorted(self.order_types),
            "max_order_notional": format_decimal(self.max_order_notional),
            "max_open_notional": format_decimal(self.max_open_notional),
            "max_position_notional": format_decimal(self.max_position_notional),
            "max_total_notional": format_decimal(self.max_total_notional),
            "orders_per_minute": self.orders_per_minute,
            "orders_per_day": self.orders_per_day,
            "daily_loss": format_decimal(self.daily_loss),
            "drawdown": format_decimal(self.drawdown),
            "price_collar": format_decimal(self.price_collar),
            "max_signal_age": None if self.max_signal_age is None else self.max_signal_age.total_seconds(),
            "max_data_age": self.max_data_age.total_seconds(),
            "server_commands": sorted(self.server_commands),
            "trading_hours": sorted(str(window) for window in self.trading_hours),
            "max_clock_drift": self.max_clock_drift.total_seconds(),
            "server_silence": None if self.server_silence is None else self.server_silence.total_seconds(),
            "on_server_silence": str(self.on_server_silence),
        }
        return hashlib.sha256(json.dumps(limits, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


NOTHING = Policy(
    exchanges=frozenset(),
    symbols=frozenset(),
    order_types=frozenset(),
    max_order_notional=Decimal(0),
    max_open_notional=Decimal(0),
    max_position_notional=Decimal(0),
    max_total_notional=Decimal(0),
    orders_per_minute=0,
    orders_per_day=0,
    daily_loss=Decimal(10) ** 30,
    drawdown=Decimal(10) ** 30,
    price_collar=Decimal(0),
    max_signal_age=timedelta(0),
    max_data_age=timedelta(0),
    server_commands=frozenset(),
)
"""Allows nothing: what holds until the owner's limits have been read. By it no loss is too large, for that would last a
day."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """What is at risk already, as one order's symbol sees it."""

    last: Decimal | None
    """The last trade's price."""
    position: Decimal = Decimal(0)
    """In the base currency, negative when short."""
    open_buys: Decimal = Decimal(0)
    """Notional that open buys of this symbol may still add."""
    open_sells: Decimal = Decimal(0)
    closable: Decimal = Decimal(0)
    """How much of the position no open order closes yet, in the base currency."""
    total: Decimal = Decimal(0)
    """Notional of all positions and of all open orders that add risk."""
    open_notional: Decimal = Decimal(0)
    """Notional of all open orders of all symbols."""
    recent_orders: int = 0
    """Orders placed within the last minute of the market's time."""
    orders_today: int = 0
    """Orders placed on this day of the market."""
    data_age: timedelta | None = None
    """Of the last price; None where there is none."""
    in_hours: bool = True
    stopped_by: tuple[str, ...] = ()
    """Rules that hold back new risk now."""
    unknown_order: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Yes, or the rule that says no."""

    rule: str | None
    detail: str = ""
    reduces: bool = False
    """The order is an exit."""
    notional: Decimal = Decimal(0)

    @property
    def allowed(self) -> bool:
        """Whether the order may be placed."""
        return self.rule is None


def notional(order: OrderRequest, last: Decimal) -> Decimal:
    """The most that the order can come to in the quote currency, fees aside, as seen at the last price.

    A sell below the market trades at the market; a stop that the market has passed does so too.
    """
    price = order.price if order.price is not None else order.stop_price
    if price is None:
        return order.amount * last
    if order.side is Side.SELL or order.type is OrderType.STOP:
        price = max(price, last)
    return order.amount * price


def reduces(order: OrderRequest, exposure: Exposure) -> bool:
    """Whether the order can only make the position smaller."""
    return order.amount <= _closable(order, exposure)


def _closable(order: OrderRequest, exposure: Exposure) -> Decimal:
    """How much of the position an order to this side could close."""
    against = exposure.position > 0 if order.side is Side.SELL else exposure.position < 0
    return exposure.closable if against else Decimal(0)


def check(
    policy: Policy, exposure: Exposure, exchange: str, order: OrderRequest, *, signal_age: timedelta = timedelta(0)
) -> Verdict:
    """Hold one order against the limits. It is already rounded to the market's steps.

    `signal_age` is how long ago it was decided.
    """
    refusal = _scope(policy, exchange, order)
    if refusal is not None:
        return refusal
    exit_only = reduces(order, exposure)
    if order.reduce_only and not exit_only:
        return Verdict("reduce_only", f"no more than {format_decimal(_closable(order, exposure))} can be closed by it")
    last = exposure.last
    if last is None:
        return Verdict(None, reduces=True) if exit_only else Verdict("no_price", "the market has told no price yet")
    refusal = _collar(policy, order, last, exit_only)
    if refusal is not None:
        return refusal
    worth = notional(order, last)
    if exit_only:
        return Verdict(None, reduces=True, notional=worth)
    return (
        _stopped(exposure)
        or _ages(policy, exposure, signal_age)
        or _rate(policy, exposure)
        or _amounts(policy, exposure, order, worth, last)
    )


def _scope(policy: Policy, exchange: str, order: OrderRequest) -> Verdict | None:
    if exchange not in policy.exchanges:
        return Verdict("exchange", f"{exchange} is not among the owner's exchanges")
    if order.symbol not in policy.symbols:
        return Verdict("symbol", f"{order.symbol} is not among the owner's symbols")
    if order.side not in policy.sides:
        return Verdict("side", f"the owner does not {order.side}")
    if order.type not in policy.order_types:
        return Verdict("order_type", f"the owner places no {order.type} orders")
    return None


def _collar(policy: Policy, order: OrderRequest, last: Decimal, exit_only: bool) -> Verdict | None:
    if order.type is OrderType.STOP and exit_only:
        return None
    price = order.price if order.price is not None else order.stop_price
    if price is None:
        return None
    if order.side is Side.BUY:
        bound = last * (1 + policy.price_collar)
        worse = price > bound
    else:
        bound = last * (1 - policy.price_collar)
        worse = price < bound
    if not worse:
        return None
    return Verdict("price_collar", f"{format_decimal(price)} is worse than {format_decimal(bound)}")


def _stopped(exposure: Exposure) -> Verdict | None:
    if exposure.stopped_by:
        return Verdict(exposure.stopped_by[0], "new risk is stopped")
    if exposure.unknown_order:
        return Verdict("unknown_order", "an order of this symbol may or may not exist, and is being looked for")
    return None


def _ages(policy: Policy, exposure: Exposure, signal_age: timedelta) -> Verdict | None:
    if policy.max_signal_age is not None and signal_age > policy.max_signal_age:
        return Verdict(
            "signal_age", f"decided {_seconds(signal_age)} ago, the most is {_seconds(policy.max_signal_age)}"
        )
    if exposure.data_age is None or exposure.data_age > policy.max_data_age:
        age = "unknown" if exposure.data_age is None else _seconds(exposure.data_age)
        return Verdict("market_data_age", f"the last price is {age} old, the most is {_seconds(policy.max_data_age)}")
    if not exposure.in_hours:
        hours = ", ".join(str(window) for window in policy.trading_hours)
        return Verdict("trading_hours", f"the owner trades {hours} UTC")
    return None


def _rate(policy: Policy, exposure: Exposure) -> Verdict | None:
    if exposure.recent_orders >= policy.orders_per_minute:
        return Verdict("orders_per_minute", f"{exposure.recent_orders} within the last minute")
    if exposure.orders_today >= policy.orders_per_day:
        return Verdict("orders_per_day", f"{exposure.orders_today} today")
    return None


def _amounts(policy: Policy, exposure: Exposure, order: OrderRequest, worth: Decimal, last: Decimal) -> Verdict:
    if worth > policy.max_order_notional:
        return Verdict("max_order_notional", _above(worth, policy.max_order_notional))
    waiting = exposure.open_notional + worth
    if waiting > policy.max_open_notional:
        return Verdict("max_open_notional", _above(waiting, policy.max_open_notional))
    held = exposure.position * last
    position = worth + (held + exposure.open_buys if order.side is Side.BUY else exposure.open_sells - held)
    if position > policy.max_position_notional:
        return Verdict("max_position_notional", _above(position, policy.max_position_notional))
    total = exposure.total + worth
    if total > policy.max_total_notional:
        return Verdict("max_total_notional", _above(total, policy.max_total_notional))
    return Verdict(None, notional=worth)


def _above(value: Decimal, limit: Decimal) -> str:
    return f"{format_decimal(value)} is above {format_decimal(limit)}"


def _seconds(age: timedelta) -> str:
    return f"{age.total_seconds():g} s"
