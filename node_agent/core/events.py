"""What happens to a node, as values: everything that `engine.step` is told, and all that it knows of the world.

`at` is this machine's wall clock in UTC, corrected by nobody: were it the server's, a server could make a new day, and
with it a new loss limit. How far the server is ahead of it is told apart, for what the server's own times are about.
The market's clock is the time of its candles, and comes in them. The core reads no other clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from node_agent.core.market import CONDUCT, Candle, Conduct, ExchangeOrder, Fill, Market, OpenOrder, OrderRequest
from node_agent.core.policy import Policy
from node_agent.strategies.interface import Strategy
from node_protocol.messages import Command


class Failure(StrEnum):
    """How a request to an exchange failed, split by what may be done next."""

    REFUSED = "refused"
    """It said no; the same again will not help."""
    TOO_SMALL = "too_small"
    """It said no to so small an order."""
    UNAVAILABLE = "unavailable"
    """It surely did nothing; the same may be asked again."""
    UNKNOWN = "unknown"
    """It may have done it; look first."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """What an exchange answered when it was asked for an order by its client order id."""

    order: ExchangeOrder | None
    """None: it surely has none, unless `unsure`."""
    unsure: str | None = None
    """Why there is no answer, when there is none."""
    asked_at: datetime | None = None
    """When it was asked: the answer may be as old as that. None for just now."""


@dataclass(frozen=True, slots=True)
class Started:
    """The process is up: the limits were read, and the exchange was asked about every order that may not have ended."""

    at: datetime
    version: str
    mode: str
    """`paper` or `live`."""
    exchange: str
    policy: Policy
    markets: Mapping[str, Market]
    lookups: Mapping[str, Lookup] = field(default_factory=dict)
    """By client order id."""
    fills: tuple[Fill, ...] = ()
    """Fills since the last one that the journal holds, oldest first."""
    strategies: tuple[Strategy, ...] = ()
    can_rotate_key: bool = False
    conduct: Conduct = CONDUCT
    reports_to_server: bool = False
    server_ahead: timedelta = timedelta(0)
    """How far the server's clock is ahead of ours, as last learnt."""
    unreadable: str | None = None
    """Why the owner's limits, which were read, cannot be any more; None when they can."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """The process is to end: no new orders from here on."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class CandleClosed:
    """An interval of trading has closed."""

    at: datetime
    candle: Candle


@dataclass(frozen=True, slots=True)
class OrderTold:
    """The exchange told how an order stands: on its stream, or in answer to a request."""

    at: datetime
    order: ExchangeOrder


@dataclass(frozen=True, slots=True)
class FillTold:
    """The exchange told a fill, perhaps not for the first time."""

    at: datetime
    fill: Fill


@dataclass(frozen=True, slots=True)
class SubmitFailed:
    """Placing an order raised."""

    at: datetime
    client_order_id: str
    failure: Failure
    reason: str


@dataclass(frozen=True, slots=True)
class CancelFailed:
    """Cancelling an order raised."""

    at: datetime
    client_order_id: str
    failure: Failure
    reason: str


@dataclass(frozen=True, slots=True)
class LookedFor:
    """The exchange was asked for an order."""

    at: datetime
    client_order_id: str
    lookup: Lookup


@dataclass(frozen=True, slots=True)
class Due:
    """The time that an `After` effect asked for has passed."""

    at: datetime
    client_order_id: str


@dataclass(frozen=True, slots=True)
class BalancesTold:
    """The exchange told the account's balances, or could not (None)."""

    at: datetime
    balances: Mapping[str, Decimal] | None


@dataclass(frozen=True, slots=True)
class CommandsArrived:
    """Commands of a verified answer, in its order, never seen before. `at` decides whether they have expired."""

    commands: tuple[Command, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class Suspended:
    """The server said, signed, that this node is suspended or revoked: no new risk from here on."""

    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ServerSeen:
    """The server accepted a sync, in a verified answer."""

    at: datetime
    server_ahead: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class KeyRotationEnded:
    """The rotation that `RotateKey` asked for is over. `failed` says why it came to nothing; None when it did not."""

    at: datetime
    command_id: str
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class OwnerPaused:
    """The owner stops new risk."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class OwnerResumed:
    """The owner lets trading go on: lifts what the owner or the server stopped, and what only the owner can lift."""

    at: datetime


@dataclass(frozen=True, slots=True)
class OwnerStops:
    """The owner's kill switch: no new risk, all open orders cancelled, with `flatten` all positions closed too.

    With `then_end` the process ends when nothing is left to do.
    """

    at: datetime
    flatten: bool
    then_end: bool
    reason: str


@dataclass(frozen=True, slots=True)
class StopFile:
    """A file STOP came into the data directory, or is gone."""

    at: datetime
    there: bool
    flatten: bool = False


@dataclass(frozen=True, slots=True)
class OwnerWants:
    """The owner asks for an order, by hand."""

    at: datetime
    exchange: str
    request: OrderRequest
    asked_at: datetime | None = None
    """When, if it had to wait for the exchange at a start; None for just now."""


@dataclass(frozen=True, slots=True)
class OwnerCancels:
    """The owner wants an order of this node cancelled."""

    at: datetime
    client_order_id: str


@dataclass(frozen=True, slots=True)
class OwnerGivesUp:
    """The owner says of an order that is not found that the exchange does not have it."""

    at: datetime
    client_order_id: str


@dataclass(frozen=True, slots=True)
class PolicyRead:
    """The owner's limits were read again."""

    at: datetime
    policy: Policy


@dataclass(frozen=True, slots=True)
class PolicyUnreadable:
    """The owner's limits were changed into something that cannot be read: no new risk until they can."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class OpenOrdersTold:
    """The exchange told all open orders of the account."""

    at: datetime
    orders: tuple[OpenOrder, ...]


@dataclass(frozen=True, slots=True)
class ClockCompared:
    """Our clock was held against the exchange's, and is so many seconds ahead of it."""

    at: datetime
    ahead: float


@dataclass(frozen=True, slots=True)
class KeyRefused:
    """The exchange does not take our key."""

    at: datetime
    reason: str
    acting: bool = False
    """For an order or a cancel, that is: it may still take it for reading."""


@dataclass(frozen=True, slots=True)
class KeyJudged:
    """The exchange was asked what our key may do."""

    at: datetime
    flaw: str | None
    """Why a node does not take such a key; None where it does."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A second has passed."""

    at: datetime


OrderEvent = OrderTold | FillTold | SubmitFailed | CancelFailed | LookedFor | Due
"""What is about one order."""

OwnerEvent = OwnerPaused | OwnerResumed | OwnerStops | StopFile | OwnerWants | OwnerCancels | OwnerGivesUp
"""What the owner says."""

NodeEvent = (
    Started
    | Stopping
    | CandleClosed
    | BalancesTold
    | OpenOrdersTold
    | CommandsArrived
    | Suspended
    | ServerSeen
    | KeyRotationEnded
    | PolicyRead
    | PolicyUnreadable
    | ClockCompared
    | KeyRefused
    | KeyJudged
    | Tick
)
"""Everything else."""

CoreEvent = OrderEvent | OwnerEvent | NodeEvent
"""Whatever `step` takes."""
