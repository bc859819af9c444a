"""Orders as the server sees them: what a node's events say, one after the other, of each `client_order_id`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

EVENT_PREFIX: Final = "order."
"""What the types of an order's events begin with; the rest is the order's state."""


def project(events: Iterable[tuple[int, str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The latest state of each order, in the order of their first events.

    `events` are number, type and data, ascending. An order's members are those of its last event; `seq` is that event's
    number and `state` its type without the prefix. What has no `client_order_id` is no order.
    """
    found: dict[str, dict[str, Any]] = {}
    for seq, event_type, data in events:
        order_id = data.get("client_order_id")
        if event_type.startswith(EVENT_PREFIX) and isinstance(order_id, str):
            found[order_id] = {**data, "state": event_type.removeprefix(EVENT_PREFIX), "seq": seq}
    return list(found.values())
