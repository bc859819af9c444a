"""What happens to a node, as values: everything that `engine.step` is told, and all that it knows of the world.

`at` is the wall clock in UTC, already corrected by the offset that was learnt from the server; the market's own clock
is the time of its candles, and comes in them. The core reads no other clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from node_agent.core.market import Candle, ExchangeOrder, Fill, Market
from node_agent.core.policy import Policy
from node_agent.strategies.interface import Strategy
from node_protocol.messages import Command


class Failure(StrEnum):
    """How a request to an exchange failed, split by what may be done next."""

    REFUSED = "refused"
    """It said no; the same again will not help."""
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
    """The owner lifts the owner's pause."""

    at: datetime


@dataclass(frozen=True, slots=True)
class PolicyRead:
    """The owner's limits were read again."""

    at: datetime
    policy: Policy


CoreEvent = (
    Started
    | Stopping
    | CandleClosed
    | OrderTold
    | FillTold
    | SubmitFailed
    | CancelFailed
    | LookedFor
    | Due
    | BalancesTold
    | CommandsArrived
    | Suspended
    | ServerSeen
    | KeyRotationEnded
    | OwnerPaused
    | OwnerResumed
    | PolicyRead
)
"""Whatever `step` takes."""
