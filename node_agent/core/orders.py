"""The life of an order: one transition table, and the theory of it.

An order begins as an `intent`. The owner's limits turn it into `refused`, which is the end, or into `accepted`: it may
be sent, and the exchange surely does not have it; should it tell of it all the same, the order is `unknown` until that
is clear. `submitting` is written down before a byte goes to the exchange: from
then on the exchange may have it, whatever we hear. `unknown` means that we do not know whether it has it; only the
exchange's own word leads out. `open` and `partly_filled` can trade. `cancelling` can trade too, until the exchange says
how it ended.

    intent ──> refused
      └─> accepted ──> cancelled (not wanted any more)
            │  ▲
            ▼  │ surely not there
        submitting ──> open ──> partly_filled ──> filled
            │  ▲         │            │
            ▼  │         └────┬───────┘
          unknown ───>        ▼
                         cancelling ──> cancelled, expired, filled

What fills count is what fills say: an end that the exchange tells (`filled`, `cancelled`, …) together with more filled
than our fills come to is kept as `told`, and takes effect when the missing fills are here. So no order ends in our
books before its trades are in them.

An ended order does not move. A fill of it still counts, for a trade is a fact, and the contradiction is an
`ImpossibleTransition`, which is journaled and shown, never guessed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from node_agent.core.changed import changed
from node_agent.core.market import ExchangeOrder, OrderRequest, OrderType, Side, TimeInForce
from node_protocol.messages import format_decimal

_AVERAGE_PLACES: Final = Decimal("1e-8")


class OrderState(StrEnum):
    """Where an order stands in our own books."""

    INTENT = "intent"
    ACCEPTED = "accepted"
    SUBMITTING = "submitting"
    OPEN = "open"
    PARTLY_FILLED = "partly_filled"
    FILLED = "filled"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    REFUSED = "refused"


class Move(StrEnum):
    """What can happen to an order."""

    REFUSE = "refuse"
    """The owner's limits said no."""
    ACCEPT = "accept"
    """The owner's limits said yes."""
    SUBMIT = "submit"
    """It is to go to the exchange, for the first time or, surely not being there, again."""
    RETURN = "return"
    """It came back: the exchange surely does not have it."""
    OPENED = "opened"
    FILLED_PARTLY = "filled_partly"
    FILLED_WHOLLY = "filled_wholly"
    CANCEL = "cancel"
    """It is to be cancelled."""
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    LOSE = "lose"
    """Whether the exchange has it is not known."""
    ABANDON = "abandon"
    """The exchange surely does not have it, and it is not wanted any more."""


_S = OrderState
_ENDS: Final = {
    Move.FILLED_WHOLLY: _S.FILLED,
    Move.CANCELLED: _S.CANCELLED,
    Move.EXPIRED: _S.EXPIRED,
    Move.REJECTED: _S.REJECTED,
}

TRANSITIONS: Final[Mapping[OrderState, Mapping[Move, OrderState]]] = MappingProxyType(
    {
        _S.INTENT: {Move.REFUSE: _S.REFUSED, Move.ACCEPT: _S.ACCEPTED},
        _S.ACCEPTED: {Move.SUBMIT: _S.SUBMITTING, Move.LOSE: _S.UNKNOWN, Move.ABANDON: _S.CANCELLED},
        _S.SUBMITTING: {
            Move.SUBMIT: _S.SUBMITTING,
            Move.RETURN: _S.ACCEPTED,
            Move.OPENED: _S.OPEN,
            Move.FILLED_PARTLY: _S.PARTLY_FILLED,
            Move.LOSE: _S.UNKNOWN,
            Move.ABANDON: _S.CANCELLED,
            **_ENDS,
        },
        _S.UNKNOWN: {
            Move.SUBMIT: _S.SUBMITTING,
            Move.OPENED: _S.OPEN,
            Move.FILLED_PARTLY: _S.PARTLY_FILLED,
            Move.LOSE: _S.UNKNOWN,
            Move.ABANDON: _S.CANCELLED,
            **_ENDS,
        },
        _S.OPEN: {
            Move.OPENED: _S.OPEN,
            Move.FILLED_PARTLY: _S.PARTLY_FILLED,
            Move.CANCEL: _S.CANCELLING,
            Move.LOSE: _S.UNKNOWN,
            **_ENDS,
        },
        _S.PARTLY_FILLED: {
            Move.OPENED: _S.PARTLY_FILLED,
            Move.FILLED_PARTLY: _S.PARTLY_FILLED,
            Move.CANCEL: _S.CANCELLING,
            Move.LOSE: _S.UNKNOWN,
            **_ENDS,
        },
        _S.CANCELLING: {
            Move.OPENED: _S.CANCELLING,
            Move.FILLED_PARTLY: _S.CANCELLING,
            Move.CANCEL: _S.CANCELLING,
            Move.LOSE: _S.UNKNOWN,
            **_ENDS,
        },
        _S.FILLED: {},
        _S.CANCELLED: {},
        _S.EXPIRED: {},
        _S.REJECTED: {},
        _S.REFUSED: {},
    }
)
"""Where each move leads. What is not here is impossible."""

ENDED: Final = frozenset(state for state, moves in TRANSITIONS.items() if not moves)
"""States that nothing leads out of."""

REPORTED: Final = frozenset(OrderState) - {_S.INTENT, _S.ACCEPTED, _S.CANCELLING, _S.REFUSED}
"""States that the protocol has an `order.…` event for."""


class ImpossibleTransition(Exception):
    """Something was told of an order that cannot happen to it. It changes nothing and is journaled."""

    def __init__(self, order: Order, move: Move) -> None:
        super().__init__(f"order {order.client_order_id} is {order.state}, and was told: {move}")
        self.order = order
        self.move = move


@dataclass(frozen=True)
class Order:
    """One order in our books, from intent to end."""

    client_order_id: str
    exchange: str
    symbol: str
    side: Side
    type: OrderType
    amount: Decimal
    price: Decimal | None
    stop_price: Decimal | None
    time_in_force: TimeInForce
    reduce_only: bool
    decided_at: datetime
    """The wall clock when whoever wants it decided so: `max_signal_age` counts from it."""
    placed_at: datetime
    """The time that days and limits go by (`risk.trading_time`) when it was placed."""
    wanted_until: datetime
    """When it has not reached the exchange by then, it is given up."""
    market_at: datetime | None = None
    """The market's time when it was placed: its fills are later."""
    command_id: str | None = None
    strategy: str | None = None
    state: OrderState = OrderState.INTENT
    filled: Decimal = Decimal(0)
    filled_quote: Decimal = Decimal(0)
    """Sum of price times amount of its fills."""
    trade_ids: tuple[str, ...] = ()
    exchange_order_id: str | None = None
    reason: str | None = None
    told: ExchangeOrder | None = None
    """An end that the exchange told, waiting for fills that are not here yet."""
    cancel_wanted: bool = False
    """Cancel it as soon as the exchange has it."""
    lost_at: datetime | None = None
    """Since when it is not known whether the exchange has it; nothing of it was sent later than that."""
    given_up: bool = False
    """Its owner said that the exchange does not have it. Should it turn up all the same, it must be known for ours."""
    tries: int = 0
    """How often the exchange was asked for the same thing since it last answered."""

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come."""
        return self.state in ENDED

    @property
    def on_its_way(self) -> bool:
        """Whether what it does to the position is still to be told: the exchange's answer, or the fills behind it.

        A resting order has been answered for; one that fills at once or not at all is on its way until it has ended.
        """
        if self.ended or self.state is OrderState.ACCEPTED:
            return False
        at_once = self.type is OrderType.MARKET or self.time_in_force is TimeInForce.IOC
        return at_once or self.exchange_order_id is None or self.told is not None or self.state is OrderState.UNKNOWN

    @property
    def remaining(self) -> Decimal:
        """What may still trade; nothing once it has ended."""
        return Decimal(0) if self.ended else max(self.amount - self.filled, Decimal(0))

    @property
    def average_price(self) -> Decimal | None:
        """Of its fills, to eight places."""
        if not self.filled:
            return None
        return (self.filled_quote / self.filled).quantize(_AVERAGE_PLACES, rounding=ROUND_HALF_EVEN)

    @property
    def tries_to_trade(self) -> bool:
        """Whether the owner's limits let it go to the exchange."""
        return self.state not in (OrderState.INTENT, OrderState.REFUSED)

    @property
    def never_there(self) -> bool:
        """Whether the exchange was never known to have it."""
        return self.exchange_order_id is None and not self.filled

    def wanting_cancel(self) -> Order:
        """The same, to be cancelled as soon as the exchange is known to have it."""
        return replace(self, cancel_wanted=True)

    def request(self) -> OrderRequest:
        """What the exchange is asked for."""
        return OrderRequest(
            client_order_id=self.client_order_id,
            symbol=self.symbol,
            side=self.side,
            type=self.type,
            amount=self.amount,
            price=self.price,
            stop_price=self.stop_price,
            time_in_force=self.time_in_force,
            reduce_only=self.reduce_only,
        )


def moved(order: Order, move: Move, *, reason: str | None = None) -> Order:
    """The order after `move`. Raises ImpossibleTransition."""
    state = TRANSITIONS[order.state].get(move)
    if state is None:
        raise ImpossibleTransition(order, move)
    if state is OrderState.OPEN and order.filled:
        state = OrderState.PARTLY_FILLED
    return changed(order, state=state, reason=reason)


def fields(order: Order) -> dict[str, Any]:
    """The fields of an order that its events carry (protocol, section 6)."""
    data: dict[str, Any] = {
        "client_order_id": order.client_order_id,
        "exchange": order.exchange,
        "symbol": order.symbol,
        "side": str(order.side),
        "type": str(order.type),
        "amount": format_decimal(order.amount),
        "filled": format_decimal(order.filled),
    }
    optional = {
        "price": order.price,
        "stop_price": order.stop_price,
        "average_price": order.average_price,
    }
    data |= {name: format_decimal(value) for name, value in optional.items() if value is not None}
    named = {
        "command_id": order.command_id,
        "strategy": order.strategy,
        "exchange_order_id": order.exchange_order_id,
        "reason": order.reason,
    }
    return data | {name: value for name, value in named.items() if value is not None}
