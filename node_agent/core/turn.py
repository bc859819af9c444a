"""One step under way: gathers what is to be written down and what is to be done, so that a step is one append.

The append comes first and whole, then the other effects in the order in which they were asked for. Local to one call
of `step`; nothing outside sees it change.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from node_agent.core.changed import changed
from node_agent.core.effects import Append, Effect, Remember
from node_agent.core.market import Fill
from node_agent.core.orders import REPORTED, ImpossibleTransition, Move, Order, fields, moved
from node_agent.core.outbox import Report, numbered
from node_agent.core.state import State

_ENDED_KEPT: Final = 500
"""Ended orders that stay at hand, for what may still be told of them."""
_ENDED_SLACK: Final = 100


def shifted(at: datetime, by: timedelta) -> datetime:
    """The time so much later, or the end of time: what a server says of its clock must not stop the node."""
    try:
        return at + by
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if by > timedelta(0) else datetime.min.replace(tzinfo=UTC)


class Turn:
    """The state as it becomes, and the effects so far."""

    def __init__(self, state: State, at: datetime) -> None:
        self.state = state
        self.at = at
        self._orders: dict[str, Order] = {}
        self._fills: list[Fill] = []
        self._done: list[str] = []
        self._facts: dict[str, Any] = {}
        self._light_facts: dict[str, Any] = {}
        self._reports: list[Report] = []
        self._effects: list[Effect] = []

    @property
    def server_at(self) -> datetime:
        """Now, by the server's clock."""
        return shifted(self.at, self.state.server_ahead)

    def change(self, **changes: Any) -> None:
        """Replace fields of the state."""
        self.state = changed(self.state, **changes)

    def put(self, order: Order) -> Order:
        """Write the order down as it is now."""
        self._orders[order.client_order_id] = order
        self.change(orders=self.state.orders.put(order))
        return order

    def move(self, order: Order, move: Move, *, reason: str | None = None) -> Order:
        """Move the order and report it. What is impossible is noted, and the order stays as it is."""
        try:
            after = moved(order, move, reason=reason)
        except ImpossibleTransition as contradiction:
            self.note(f"{contradiction}" + (f": {reason}" if reason else ""))
            return self.put(order)
        self.put(after)
        if move is Move.FILLED_PARTLY:
            self.report("order.partly_filled", **fields(after))
        elif after.state is not order.state and after.state in REPORTED:
            self.report(f"order.{after.state}", **fields(after))
        return after

    def fill(self, fill: Fill) -> None:
        """Write a fill down."""
        self._fills.append(fill)

    def done(self, command_id: str) -> None:
        """Write down that a command has been dealt with."""
        self._done.append(command_id)
        self.change(commands=self.state.commands.and_(command_id))

    def begun(self, command_id: str) -> None:
        """Take a command as seen, though it is not done yet: after a crash it is begun again."""
        self.change(commands=self.state.commands.and_(command_id))

    def report(self, type_: str, /, **data: Any) -> None:
        """Tell the server."""
        self._reports.append(Report(type_, data))

    def note(self, text: str) -> None:
        """Tell the server, and whoever reads along, something that no other event tells."""
        self.report("node.note", text=text)

    def fact(self, name: str, value: Any) -> None:
        """Write a fact down, durably."""
        self._facts[name] = value

    def remember(self, name: str, value: Any) -> None:
        """Write a fact down with the append, should there be one; else without waiting for the disk."""
        self._light_facts[name] = value

    def do(self, effect: Effect) -> None:
        """Have something done, once all is written down."""
        self._effects.append(effect)

    def finish(self) -> tuple[State, tuple[Effect, ...]]:
        """The state after the step, and its effects in order."""
        if self._orders:
            self.change(orders=self.state.orders.latest(_ENDED_KEPT, _ENDED_SLACK))
        if not (self._orders or self._fills or self._done or self._facts or self._reports):
            light = (Remember(self._light_facts),) if self._light_facts else ()
            return self.state, (*light, *self._effects)
        events = numbered(self._reports, origin=self.state.origin, next_seq=self.state.next_seq, at=self.server_at)
        self.change(next_seq=self.state.next_seq + len(events))
        append = Append(
            at=self.at,
            orders=tuple(self._orders.values()),
            fills=tuple(self._fills),
            commands_done=tuple(self._done),
            facts=self._light_facts | self._facts,
            events=events,
        )
        return self.state, (append, *self._effects)
