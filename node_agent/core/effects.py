"""What the core wants done, as values. The runner carries them out in the order in which they came.

That order is the promise: an `Append` is durable before the effect behind it begins, so nothing reaches an exchange
that is not written down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from node_agent.core.market import Fill, OrderRequest
from node_agent.core.orders import Order
from node_protocol.messages import Event


@dataclass(frozen=True, slots=True)
class Append:
    """Write all of this down in one transaction, durably, before anything else is done."""

    at: datetime
    orders: tuple[Order, ...] = ()
    """Each order as it is now."""
    fills: tuple[Fill, ...] = ()
    commands_done: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """JSON values by name, each in place of what it was."""
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Remember:
    """Write these facts down; losing the latest of them in a power cut does no harm."""

    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Submit:
    """Place the order. Answered by OrderTold or SubmitFailed."""

    request: OrderRequest


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel what is left of the order. Answered by OrderTold or CancelFailed."""

    client_order_id: str
    symbol: str


@dataclass(frozen=True, slots=True)
class LookFor:
    """Ask the exchange for the order. Answered by LookedFor."""

    client_order_id: str
    symbol: str


@dataclass(frozen=True, slots=True)
class ReadFills:
    """Ask the exchange for fills at or after its time `since`. Answered by a FillTold for each."""

    since: datetime | None


@dataclass(frozen=True, slots=True)
class ReadBalances:
    """Ask the exchange for the account's balances. Answered by BalancesTold."""

    after: float = 0.0
    """Seconds to wait first."""


@dataclass(frozen=True, slots=True)
class RotateKey:
    """Begin section 2.2 of the protocol. Answered by KeyRotationEnded."""

    command_id: str


@dataclass(frozen=True, slots=True)
class After:
    """Answer with Due when so many seconds have passed."""

    seconds: float
    client_order_id: str


@dataclass(frozen=True, slots=True)
class End:
    """End the process, in order."""

    reason: str


Effect = Append | Remember | Submit | Cancel | LookFor | ReadFills | ReadBalances | RotateKey | After | End
"""Whatever `step` asks for."""
