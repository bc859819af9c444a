"""Values that the node's tests are made of: a market, an owner's limits, candles, commands, a policy."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

from node_agent.core import effects, events
from node_agent.core.engine import step
from node_agent.core.market import (
    Candle,
    ExchangeOrder,
    ExchangeStatus,
    Fill,
    Liquidity,
    Market,
    OrderRequest,
    OrderType,
)
from node_agent.core.orders import OrderState
from node_agent.core.policy import TRADING_COMMANDS, Policy
from node_agent.core.state import State
from node_protocol.messages import Command, Event

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
BTC = Market("BTC/USD", "BTC", "USD", tick_size=D("0.5"), step_size=D("0.0001"), minimum_notional=D(10))
ETH = Market("ETH/USD", "ETH", "USD", D("0.05"), D("0.001"), minimum_notional=D(10), minimum_amount=D("0.006"))
MARKETS = {market.symbol: market for market in (BTC, ETH)}
LIMITS = Policy(
    exchanges=frozenset({"paper"}),
    symbols=frozenset({"BTC/USD", "ETH/USD"}),
    order_types=frozenset(OrderType),
    max_order_notional=D(1000),
    max_open_notional=D(100_000),
    max_position_notional=D(2000),
    max_total_notional=D(3000),
    orders_per_minute=5,
    orders_per_day=1000,
    daily_loss=D(500),
    drawdown=D(100_000),
    price_collar=D("0.20"),
    max_signal_age=timedelta(hours=1),
    max_data_age=timedelta(hours=1),
    server_commands=TRADING_COMMANDS,
)


def candle(minute: int, price: D | int | str, symbol: str = "BTC/USD") -> Candle:
    """A candle that opens `minute` minutes after START and stays at one price."""
    at = D(price)
    return Candle(symbol, START + timedelta(minutes=minute), at, at, at, at, D(1000))


def command(name: str, type_: str = "order.place", *, lives: float = 300, **data: Any) -> Command:
    """A command issued at START that lives so many seconds."""
    return Command(
        id=f"cmd_{name}", issued_at=START, expires_at=START + timedelta(seconds=lives), type=type_, data=data
    )


def place(name: str, side: str = "buy", amount: str = "0.01", *, lives: float = 300, **data: Any) -> Command:
    """A market order for BTC/USD on `paper`, unless `data` says otherwise."""
    fields = {"exchange": "paper", "symbol": "BTC/USD", "side": side, "type": "market", "amount": amount}
    return command(name, lives=lives, **(fields | data))


def told(request: OrderRequest, status: ExchangeStatus, filled: D | None = None) -> ExchangeOrder:
    """How the exchange says that an order stands; filled in whole when `status` is."""
    whole = request.amount if status is ExchangeStatus.FILLED else D(0)
    return ExchangeOrder(
        request.client_order_id,
        f"x-{request.client_order_id[:6]}",
        request.symbol,
        status,
        request.amount,
        whole if filled is None else filled,
    )


def fill(request: OrderRequest, trade_id: str, price: D | int, amount: D | None = None, fee: D | int = 0) -> Fill:
    """One trade of an order, all of it unless `amount` says less, the fee in the quote currency."""
    size = request.amount if amount is None else amount
    quote = request.symbol.split("/")[1]
    return Fill(
        trade_id,
        request.client_order_id,
        request.symbol,
        request.side,
        D(price),
        size,
        D(fee),
        quote,
        Liquidity.TAKER,
        START,
    )


class Node:
    """The core driven by hand: keeps the state, and all that was written down and asked for."""

    def __init__(self, policy: Policy = LIMITS, strategies: tuple[Any, ...] = (), **started: Any) -> None:
        self.state = State(origin="test")
        self.now = START
        self.appends: list[effects.Append] = []
        self.done: list[effects.Effect] = []
        self.started = events.Started(
            START, "0.1.0", "paper", "paper", policy, MARKETS, strategies=strategies, **started
        )
        self.take(self.started)

    def take(self, event: events.CoreEvent) -> tuple[effects.Effect, ...]:
        """Take one event; returns its effects."""
        self.state, wanted = step(self.state, event)
        self.appends += [effect for effect in wanted if isinstance(effect, effects.Append)]
        self.done += wanted
        return wanted

    def tick(self, minute: int, price: D | int | str, symbol: str = "BTC/USD") -> tuple[effects.Effect, ...]:
        """A candle closes."""
        return self.take(events.CandleClosed(self.now, candle(minute, price, symbol)))

    def order(self, *commands: Command, after: float = 0) -> list[OrderRequest]:
        """Commands arrive so many seconds after START; returns what is sent to the exchange."""
        wanted = self.take(events.CommandsArrived(commands, START + timedelta(seconds=after)))
        return [effect.request for effect in wanted if isinstance(effect, effects.Submit)]

    def tell(self, request: OrderRequest, status: ExchangeStatus, filled: D | None = None) -> None:
        """The exchange tells how an order stands."""
        self.take(events.OrderTold(self.now, told(request, status, filled)))

    def fill(self, request: OrderRequest, trade_id: str, price: D | int, amount: D | None = None) -> None:
        """The exchange tells a fill."""
        self.take(events.FillTold(self.now, fill(request, trade_id, price, amount)))

    def bought(self, name: str, amount: str, price: D | int, symbol: str = "BTC/USD") -> OrderRequest:
        """A market order of the server that fills at once."""
        (request,) = self.order(place(name, amount=amount, symbol=symbol))
        self.fill(request, f"t-{name}", price)
        return request

    @property
    def reports(self) -> list[Event]:
        """Every event for the server so far."""
        return [event for append in self.appends for event in append.events]

    @property
    def told_types(self) -> list[str]:
        """Their types."""
        return [event.type for event in self.reports]

    def last(self, type_: str) -> dict[str, Any]:
        """The data of the last event of a type."""
        return next(event.data for event in reversed(self.reports) if event.type == type_)

    def refused_by(self, *commands: Command, after: float = 0) -> str:
        """The rule that refuses the last of these orders; nothing of it may reach the exchange."""
        sent = self.order(*commands, after=after)
        if any(request.client_order_id == self.last_refused_id for request in sent):
            raise AssertionError("a refused order was sent")
        return str(self.last("command.refused")["rule"])

    @property
    def last_refused_id(self) -> str | None:
        """The client order id of the last refused order."""
        found = [event.data["client_order_id"] for event in self.reports if event.type == "intent.refused"]
        return found[-1] if found else None


def limits(**changes: Any) -> Policy:
    """LIMITS with changes."""
    return replace(LIMITS, **changes)


def ready(price: int = 40000, **changes: object) -> Node:
    """A node that has started and knows a price; `changes` are of its limits."""
    node = Node(limits(**changes))
    node.tick(0, price)
    return node


def state_of(node: Node, request: OrderRequest) -> OrderState:
    """Where an order stands in the node's books."""
    return node.state.orders[request.client_order_id].state
