"""Orders and commands as a node's events tell them, one after the other. Pure.

What a node says is data of a stranger: any member may be missing, or of any form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

EVENT_PREFIX: Final = "order."
"""What the types of an order's events begin with; the rest is the order's state."""

NOT_CARRIED_OUT: Final[Mapping[str, str]] = MappingProxyType(
    {"intent.refused": "refused", "command.refused": "refused", "command.expired": "expired"}
)
"""The types of events that say so of a command, and its state then."""


class Ending(NamedTuple):
    """Why a command was not carried out, as far as its node has said."""

    state: str
    rule: str | None
    detail: str | None


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


def endings(events: Iterable[tuple[int, str, Mapping[str, Any]]]) -> dict[str, Ending]:
    """By its id, how each command ended that the node did not carry out; the last event on it decides.

    `events` as `project` has them. The detail may stand in an earlier event of the same rule: an order's refusal by the
    owner's limits has it, and that of its command follows.
    """
    found: dict[str, Ending] = {}
    for _, event_type, data in events:
        command_id, state = data.get("command_id"), NOT_CARRIED_OUT.get(event_type)
        if state is None or not isinstance(command_id, str):
            continue
        rule, detail = _text(data.get("rule")), _text(data.get("detail"))
        before = found.get(command_id)
        if detail is None and before is not None and before.rule == rule:
            detail = before.detail
        found[command_id] = Ending(state, rule, detail)
    return found


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
