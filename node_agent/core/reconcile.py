"""What to make of an exchange's answer about one of our orders, after a crash, a time-out or an unknown outcome.

Never sent again blindly: only what the exchange surely does not have, never had, and is still wanted.

    it has it                                          adopt what it says
    it cannot say                                      keep looking
    not there, never known to have been:
      and what was sent may still arrive               keep looking
      and what was sent cannot arrive any more         send once more under the same id if wanted, else give up
    not there, and once was                            keep looking: an exchange that does not find an order has not
                                                       said that it was cancelled

When what was sent cannot arrive any more is the exchange's `Conduct`. As long as it is not known, the order is
`unknown`, and no new risk is taken on its symbol.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from node_agent.core.events import Lookup
from node_agent.core.market import Conduct, OpenOrder
from node_agent.core.orders import Order, OrderState

_SHOULD_BE_OPEN: Final = frozenset((OrderState.OPEN, OrderState.PARTLY_FILLED, OrderState.CANCELLING))


class Finding(StrEnum):
    """What follows from an answer."""

    ADOPT = "adopt"
    KEEP_LOOKING = "keep_looking"
    SEND = "send"
    ABANDON = "abandon"


def decide(order: Order, lookup: Lookup, *, wanted: bool, lost_for: timedelta, conduct: Conduct) -> Finding:
    """What follows for `order`, which has not ended.

    `wanted`: it may still be sent. `lost_for`: how long ago the last byte of it can have been sent.
    """
    if lookup.order is not None:
        return Finding.ADOPT
    in_doubt = order.state in (OrderState.SUBMITTING, OrderState.UNKNOWN)
    if lookup.unsure is not None or not in_doubt or not order.never_there or lost_for < conduct.settles_within:
        return Finding.KEEP_LOOKING
    return Finding.SEND if wanted else Finding.ABANDON


@dataclass(frozen=True, slots=True)
class Survey:
    """What the account's open orders tell."""

    foreign: Mapping[str, OpenOrder]
    """By the exchange's order id: those that we did not place."""
    missing: tuple[Order, ...]
    """Ours that should be open there, and are not: to be looked for."""
    undead: tuple[OpenOrder, ...]
    """Ours that ended in our books, or are to end, and are open there: to be cancelled."""


def survey(orders: Mapping[str, Order], open_orders: Iterable[OpenOrder]) -> Survey:
    """Hold the account's open orders against our books."""
    foreign: dict[str, OpenOrder] = {}
    undead = []
    seen = set()
    for each in open_orders:
        ours = orders.get(each.order.client_order_id)
        if ours is None:
            foreign[each.order.exchange_order_id] = each
            continue
        seen.add(ours.client_order_id)
        if ours.ended or ours.state is OrderState.CANCELLING:
            undead.append(each)
    missing = [order for name, order in orders.items() if order.state in _SHOULD_BE_OPEN and name not in seen]
    return Survey(foreign, tuple(missing), tuple(undead))
