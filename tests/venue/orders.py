"""What the books hold: what is asked for, orders, trades. Amounts are Decimal, times are milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

ZERO: Final = Decimal(0)
STOPS: Final = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT"})
AT_MARKET: Final = frozenset({"MARKET", "STOP_LOSS"})
OPEN: Final = frozenset({"NEW", "PARTIALLY_FILLED"})


@dataclass(frozen=True, slots=True)
class Ask:
    """An order as it is asked for; syntax was checked, nothing else."""

    symbol: str
    side: str
    type: str
    client_id: str
    quantity: Decimal | None = None
    quote_quantity: Decimal | None = None
    price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: str = "GTC"
    foreign: bool = False
    """Placed by the owner's hand."""


@dataclass(frozen=True, slots=True)
class Trade:
    """One fill of one order."""

    symbol: str
    id: int
    order_id: int
    client_id: str
    side: str
    price: Decimal
    quantity: Decimal
    commission: Decimal
    commission_asset: str
    at: int
    maker: bool

    @property
    def quote(self) -> Decimal:
        """What was paid or got, before commission."""
        return self.price * self.quantity


@dataclass(slots=True)
class Order:
    """An order that was accepted, whatever became of it."""

    symbol: str
    id: int
    client_id: str
    side: str
    type: str
    time_in_force: str
    quantity: Decimal
    quote_quantity: Decimal
    price: Decimal
    stop_price: Decimal
    at: int
    updated: int
    working_at: int
    hold_price: Decimal
    """What a buy holds back for one unit."""
    foreign: bool = False
    status: str = "NEW"
    executed: Decimal = ZERO
    executed_quote: Decimal = ZERO
    held: Decimal = ZERO
    fills: list[Trade] = field(default_factory=list)

    @property
    def working(self) -> bool:
        """Whether it is on the book; a stop sleeps until its price was passed."""
        return self.working_at >= 0

    @property
    def open(self) -> bool:
        """Whether it may still trade."""
        return self.status in OPEN

    @property
    def remaining(self) -> Decimal:
        """What has not traded."""
        return self.quantity - self.executed
