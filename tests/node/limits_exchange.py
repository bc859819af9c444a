"""An exchange that does as it likes with requests on their way, as far as its conduct lets it, for a test to drive.

A request that was sent arrives, or is lost, or arrives late; a client order id whose order has ended may be taken
again. Whatever the node does, one id must never make two orders: `arrives` fails the test when it does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal as D

from node_agent.core.market import Conduct, ExchangeOrder, ExchangeStatus, Fill, OpenOrder, OrderRequest, Side
from tests.node.values import fill, told


@dataclass
class Placed:
    """An order on the exchange's books."""

    request: OrderRequest
    filled: D = D(0)
    status: ExchangeStatus = ExchangeStatus.OPEN


@dataclass(frozen=True)
class OnItsWay:
    """A request that has been sent and has not arrived."""

    request: OrderRequest
    sent_at: datetime


@dataclass
class LateExchange:
    """The exchange's own books, and what is on its way there."""

    conduct: Conduct
    orders: dict[str, Placed] = field(default_factory=dict)
    wire: list[OnItsWay] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    strangers: dict[str, OpenOrder] = field(default_factory=dict)

    def send(self, request: OrderRequest, now: datetime) -> None:
        self.wire.append(OnItsWay(request, now))

    def settle(self, now: datetime) -> None:
        """What is older than a request may become will never arrive."""
        if self.conduct.settles_within:
            self.wire = [each for each in self.wire if now < each.sent_at + self.conduct.settles_within]

    def on_its_way(self, name: str) -> list[OnItsWay]:
        return [each for each in self.wire if each.request.client_order_id == name]

    def arrives(self, name: str) -> bool:
        """The oldest request under this id takes effect; False when there is none."""
        waiting = self.on_its_way(name)
        if not waiting:
            return False
        self.wire.remove(waiting[0])
        before = self.orders.get(name)
        taken = before is not None and (self.conduct.ids_unique_for_ever or before.status is ExchangeStatus.OPEN)
        if not taken:
            assert before is None, "one client order id made two orders"
            self.orders[name] = Placed(waiting[0].request)
        return True

    def is_lost(self, name: str) -> None:
        """The oldest request under this id never arrives; where requests may be late it may still."""
        if not self.conduct.settles_within and (waiting := self.on_its_way(name)):
            self.wire.remove(waiting[0])

    def trades(self, name: str, amount: D, price: D) -> Fill | None:
        """So much of an open order trades."""
        placed = self.orders[name]
        amount = min(amount, placed.request.amount - placed.filled)
        if placed.status is not ExchangeStatus.OPEN or amount <= 0:
            return None
        placed.filled += amount
        if placed.filled == placed.request.amount:
            placed.status = ExchangeStatus.FILLED
        made = fill(placed.request, f"t{len(self.fills)}", price, amount)
        self.fills.append(made)
        return made

    def ends(self, name: str, status: ExchangeStatus = ExchangeStatus.CANCELLED) -> None:
        """What is left of the order ends, if it has not."""
        if self.orders[name].status is ExchangeStatus.OPEN:
            self.orders[name].status = status

    def told(self, name: str) -> ExchangeOrder | None:
        """How the order stands; None when there is none under this id."""
        placed = self.orders.get(name)
        return None if placed is None else told(placed.request, placed.status, placed.filled)

    @property
    def open(self) -> list[str]:
        """Ids of the node's orders that may trade."""
        return [name for name, placed in self.orders.items() if placed.status is ExchangeStatus.OPEN]

    def listed(self) -> tuple[OpenOrder, ...]:
        """All that is open on the account."""
        ours = (
            OpenOrder(told(each.request, each.status, each.filled), each.request.side, each.request.price)
            for each in self.orders.values()
            if each.status is ExchangeStatus.OPEN
        )
        return (*ours, *self.strangers.values())

    def stranger(self, symbol: str, side: Side, amount: D, price: D | None) -> None:
        """Somebody else places an order on the account."""
        number = len(self.strangers)
        order = ExchangeOrder("", f"s{number}", symbol, ExchangeStatus.OPEN, amount, D(0))
        self.strangers[order.exchange_order_id] = OpenOrder(order, side, price)
