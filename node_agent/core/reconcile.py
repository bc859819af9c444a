"""What to make of an exchange's answer about one of our orders, after a crash, a time-out or an unknown outcome.

Never sent again blindly: only what the exchange surely does not have, never had, and is still wanted.

    it has it                                       adopt what it says
    it cannot say                                   keep looking
    surely not there, never known to have been      send once more under the same id if wanted, else give up
    surely not there, and once was                  lost: unknown, and keep looking
"""

from __future__ import annotations

from enum import StrEnum

from node_agent.core.events import Lookup
from node_agent.core.orders import Order, OrderState


class Finding(StrEnum):
    """What follows from an answer."""

    ADOPT = "adopt"
    KEEP_LOOKING = "keep_looking"
    SEND = "send"
    ABANDON = "abandon"


def decide(order: Order, lookup: Lookup, *, wanted: bool) -> Finding:
    """What follows for `order`, which has not ended. `wanted`: it may still be sent."""
    if lookup.order is not None:
        return Finding.ADOPT
    if lookup.unsure is not None:
        return Finding.KEEP_LOOKING
    never_there = order.exchange_order_id is None and not order.filled
    if order.state in (OrderState.SUBMITTING, OrderState.UNKNOWN) and never_there:
        return Finding.SEND if wanted else Finding.ABANDON
    return Finding.KEEP_LOOKING
