"""What the node knows, as one value: what `step` takes and gives back, and what the journal rebuilds after a crash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from node_agent.core.kept import Orders, Seen
from node_agent.core.market import CONDUCT, Conduct, Market, OpenOrder
from node_agent.core.orders import Order
from node_agent.core.policy import NOTHING, Policy
from node_agent.strategies.interface import Strategy
from node_protocol.messages import Command

PAUSED_BY_OWNER: Final = "paused_by_owner"
PAUSED_BY_SERVER: Final = "paused_by_server"
STOPPED_BY_OWNER: Final = "stopped_by_owner"
STOP_FILE: Final = "stop_file"
SUSPENDED: Final = "suspended"
DAILY_LOSS: Final = "daily_loss"
DRAWDOWN: Final = "drawdown"
CLOCK_DRIFT: Final = "clock_drift"
SERVER_SILENCE: Final = "server_silence"
KEY_REFUSED: Final = "key_refused"
TRADING_REFUSED: Final = "trading_refused"
KEY_REJECTED: Final = "key_rejected"
POLICY_UNREADABLE: Final = "policy_unreadable"
RISK_CHECK_FAILED: Final = "risk_check_failed"

HALTING: Final = frozenset(
    (
        STOPPED_BY_OWNER,
        STOP_FILE,
        SUSPENDED,
        DAILY_LOSS,
        DRAWDOWN,
        KEY_REFUSED,
        TRADING_REFUSED,
        KEY_REJECTED,
        RISK_CHECK_FAILED,
    )
)
"""Rules under which open orders that would still add risk are cancelled too."""


class Trading(StrEnum):
    """What the node may do. Cancels and exits it may do always."""

    ACTIVE = "active"
    REDUCING = "reducing"
    """No new risk; open orders stay."""
    HALTED = "halted"
    """No new risk, and open orders that would add to it are cancelled."""


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
    high: Decimal
    """The most that the books have come to since."""
    orders: int = 0
    """Placed since it began."""


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
class Windup:
    """Open orders are being cancelled, positions perhaps closed, until nothing is left: how far that is."""

    begun_at: datetime
    flatten: bool
    """Positions too."""
    then_end: bool
    """The process is to end when nothing is left."""
    wanted_by: frozenset[str] = frozenset()
    """The rules under which it is wanted."""
    attempts: Mapping[str, int] = field(default_factory=dict)
    """Exits sent, by symbol."""
    next_try_at: Mapping[str, datetime] = field(default_factory=dict)
    """Not before this is the next exit of a symbol sent."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A command that waits, and since when."""

    command: Command
    since: datetime


@dataclass(frozen=True)
class State:
    """The node between two events."""

    origin: str
    """Names the journal, so that event ids are unique."""
    next_seq: int = 1
    version: str = ""
    mode: str = ""
    exchange: str = ""
    conduct: Conduct = CONDUCT
    reports_to_server: bool = False
    policy: Policy = NOTHING
    policy_digest: str | None = None
    """Of the limits last reported; None before there were any."""
    markets: Mapping[str, Market] = field(default_factory=dict)
    strategies: tuple[Strategy, ...] = ()
    strategy_books: Mapping[str, StrategyBook] = field(default_factory=dict)
    """By strategy name."""
    orders: Orders = field(default_factory=Orders)
    """By client order id: all that have not ended, and the latest that have."""
    holdings: Mapping[str, Holding] = field(default_factory=dict)
    """By symbol."""
    commands: Seen = field(default_factory=Seen)
    """Ids of commands that were dealt with, or begun, since the process began; earlier ones the journal keeps back."""
    waiting: tuple[Waiting, ...] = ()
    """Commands that orders under way hold up, in their order; after a crash the journal gives them again."""
    pauses: Mapping[str, Pause] = field(default_factory=dict)
    """By rule."""
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    """The last trade's price, by symbol."""
    priced_at: Mapping[str, datetime] = field(default_factory=dict)
    """The wall clock when that price was true, by symbol: when its candle closed, or a recording told it."""
    market_at: datetime | None = None
    """The market's time: the latest candle's."""
    candles_at: Mapping[str, datetime] = field(default_factory=dict)
    """The latest candle's time, by symbol; older ones change nothing."""
    day: Day | None = None
    placed: tuple[datetime, ...] = ()
    """When orders were placed, by the time that limits go by: all of the last minute."""
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
    foreign: Mapping[str, OpenOrder] = field(default_factory=dict)
    """By the exchange's order id: open orders on the account that this node did not place."""
    undead: Mapping[str, int] = field(default_factory=dict)
    """By client order id: ours that had ended here and were open there when that was last asked; how often so far."""
    server_ahead: timedelta = timedelta(0)
    """How far the server's clock is ahead of ours. What the owner's limits go by is never corrected by it."""
    started_at: datetime | None = None
    """The wall clock when this process began to trade."""
    server_seen_at: datetime | None = None
    """The wall clock when the server last accepted a sync, or this process began to wait for it."""
    stale: frozenset[str] = frozenset()
    """Symbols whose last price has been said to be too old."""
    windup: Windup | None = None
    can_rotate_key: bool = False
    stopping: bool = False

    @property
    def trading(self) -> Trading:
        """What the node may do now."""
        if self.windup is not None or HALTING & self.pauses.keys():
            return Trading.HALTED
        return Trading.REDUCING if self.pauses else Trading.ACTIVE

    @property
    def live(self) -> list[Order]:
        """Orders of ours that may still trade."""
        return self.orders.live
