"""The exchanges that the conformance suite runs on: each in its dialect's `case.py`, and what of it the suite needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any
from uuid import uuid4

from pydantic import SecretStr

from node_agent.core.market import OrderRequest, OrderType, Side
from node_agent.exchanges.profile import Opening
from tests.venue.process import VenueProcess


@dataclass(frozen=True)
class Case:
    """One exchange on loopback, and orders that its symbol takes."""

    name: str
    """The exchange's id; its dialect is `tests.NAME`."""
    symbol: str
    """As we call it."""
    native: str
    """As the exchange, and the control of its dialect, calls it."""
    key: Mapping[str, str]
    """The parts of its key, by the names of its profile."""
    wrong: Mapping[str, str]
    """Parts of a key that look right and are not its."""
    price: str = "40000"
    """What the price is pinned to at the start of each test."""
    below: str = "30000"
    """A limit at which a buy rests."""
    dip: str = "29000"
    """A price at which that buy fills."""
    amount: str = "0.01"
    too_much: str = "50"
    """An amount that the account cannot pay for, but the rules of the symbol allow."""
    too_powerful: Mapping[str, Any] | None = None
    """What its answer on permissions is changed to for a key that can take money out; None where it is not asked."""
    stranger: Mapping[str, Any] | None = None
    """The same, with a permission that nobody knows."""
    stops: bool = True
    """Whether it takes stop orders."""
    interval: timedelta = timedelta(minutes=1)
    """Of candles: the shortest that it has."""
    options: tuple[str, ...] = field(default=())
    """For its process."""

    def start(self) -> VenueProcess:
        """Its process, to be entered."""
        return VenueProcess.of(self.name, self.key, *self.options)

    def opening(self, url: str, *, key: Mapping[str, str] | None = None) -> Opening:
        """With what an account on it is opened."""
        parts = {name: SecretStr(part) for name, part in (self.key if key is None else key).items()}
        return Opening(parts, self.symbol, self.interval, url=url)

    def order(self, **changes: Any) -> OrderRequest:
        """A limit buy that rests below the price, under an id of its own."""
        usual: dict[str, Any] = {
            "client_order_id": uuid4().hex,
            "symbol": self.symbol,
            "side": Side.BUY,
            "type": OrderType.LIMIT,
            "amount": self.amount_of(),
            "price": Decimal(self.below),
        }
        return OrderRequest(**usual | changes)

    def at_market(self, **changes: Any) -> OrderRequest:
        """An order that takes what there is at once."""
        return self.order(**{"type": OrderType.MARKET, "price": None} | changes)

    def amount_of(self, text: str | None = None) -> Decimal:
        """An amount of the base."""
        return Decimal(text or self.amount)


def case_of(name: str) -> Case:
    """The case of an exchange."""
    case: Case = import_module(f"tests.{name}.case").CASE
    return case
