"""What the node knows, as one value: what `step` takes and gives back, and what the journal rebuilds after a crash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from node_agent.core.market import Market
from node_agent.core.orders import Order
from node_agent.core.policy import NOTHING, Policy
from node_agent.strategies.interface import Strategy
from node_protocol.messages import Command

PAUSED_BY_OWNER: Final = "paused_by_owner"
PAUSED_BY_SERVER: Final = "paused_by_server"
SUSPENDED: Final = "suspended"
DAILY_LOSS: Final = "daily_loss"


@dataclass(frozen=True, slots=True)
class Holding:
    """What the node's own fills of one symbol come to."""

    amount: Decimal = Decimal(0)
    """In the base currency, negative when short."""
    cash: Decimal = Decimal(0)
    """In the quote currency: received less paid, fees included."""


@dataclass(frozen=True, slots=True)
class StrategyBook:
    """What a strategy remembers, and what its own fills come to."""

    memory: Any
    position: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Day:
    """The market's day (UTC), and what the books came to when it began."""

    date: date
    baseline: Decimal


@dataclass(frozen=True, slots=True)
class Pause:
    """One reason why new risk is stopped; trading goes on when none is left."""

    rule: str
    """One of the names above; the policy's verdicts carry it."""
    by: str
    """`owner`, `server` or `rule`, as in `node.paused`."""
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """A command that waits, and since when."""

    command: Command
    since: datetime


@dataclass(frozen=True, slots=True)
class State:
    """The node between two events."""

    origin: str
    """Names the journal, so that event ids are unique."""
    next_seq: int = 1
    version: str = ""
    mode: str = ""
    exchange: str = ""
    policy: Policy = NOTHING
    policy_digest: str | None = None
    """Of the limits last reported; None before there were any."""
    markets: Mapping[str, Market] = field(default_factory=dict)
    strategies: tuple[Strategy, ...] = ()
    strategy_books: Mapping[str, StrategyBook] = field(default_factory=dict)
    """By strategy name."""
    orders: Mapping[str, Order] = field(default_factory=dict)
    """By client order id: all that have not ended, and the latest that have."""
    holdings: Mapping[str, Holding] = field(default_factory=dict)
    """By symbol."""
    commands: frozenset[str] = frozenset()
    """Ids of commands that were dealt with, or begun, since the process began; earlier ones the journal keeps back."""
    waiting: tuple[Waiting, ...] = ()
    """Commands that orders under way hold up, in their order; after a crash the journal gives them again."""
    pauses: Mapping[str, Pause] = field(default_factory=dict)
    """By rule."""
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    """The last trade's price, by symbol."""
    market_at: datetime | None = None
    """The market's time: the latest candle's."""
    candles_at: Mapping[str, datetime] = field(default_factory=dict)
    """The latest candle's time, by symbol; older ones change nothing."""
    day: Day | None = None
    placed: tuple[datetime, ...] = ()
    """Market times of the orders placed within the market's last minute."""
    snapshot_at: datetime | None = None
    """The market's time when a snapshot was last asked for at its interval."""
    balances_at: datetime | None = None
    """The wall clock when the exchange last told the account's balances to this process."""
    reading_balances: bool = False
    read_again: bool = False
    """Something happened while balances were being read."""
    untraded: Mapping[str, Decimal] = field(default_factory=dict)
    """By base currency: what the account held at the last snapshot beyond what this node has traded."""
    rereadings: int = 0
    """How often balances were read again for not going with the trades that we know of."""
    can_rotate_key: bool = False
    stopping: bool = False
