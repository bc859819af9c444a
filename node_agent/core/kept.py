"""Collections of the state: values like the rest of it, and cheap to make anew, for every step makes them anew.

What changes all the time, orders that are open and ids of the last commands, is held apart from what hardly does: a
change copies the small part alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Final

from node_agent.core.orders import Order, OrderState

_FEW: Final = 64


class Orders(Mapping[str, Order]):
    """Orders by client order id: first those that have ended, the oldest first, and then those that have not."""

    __slots__ = ("_ended", "_live")

    def __init__(self, live: Mapping[str, Order] | None = None, ended: Mapping[str, Order] | None = None) -> None:
        self._live = live or {}
        self._ended = ended or {}

    @classmethod
    def of(cls, orders: Iterable[Order]) -> Orders:
        """These orders, which come oldest first."""
        known = {order.client_order_id: order for order in orders}
        live = {name: order for name, order in known.items() if not order.ended}
        return cls(live, {name: order for name, order in known.items() if order.ended})

    @property
    def live(self) -> list[Order]:
        """Those that have not ended."""
        return list(self._live.values())

    def put(self, order: Order) -> Orders:
        """With this order, in place of what it was."""
        name = order.client_order_id
        if not order.ended:
            return Orders({**self._live, name: order}, self._ended)
        live = {each: known for each, known in self._live.items() if each != name}
        return Orders(live, {**self._ended, name: order})

    def without(self, client_order_id: str) -> Orders:
        """Without an order that has not ended."""
        return Orders({name: order for name, order in self._live.items() if name != client_order_id}, self._ended)

    def latest(self, most: int, slack: int) -> Orders:
        """With the latest `most` that have ended, once there are `slack` more than that.

        Those that were given up stay; those that were refused, and never were at the exchange, go first.
        """
        if len(self._ended) < most + slack:
            return self
        names = [name for name, order in self._ended.items() if order.state is not OrderState.REFUSED]
        stay = {name for name in names[:-most] if self._ended[name].given_up}.union(names[-most:])
        return Orders(self._live, {name: order for name, order in self._ended.items() if name in stay})

    def __getitem__(self, client_order_id: str) -> Order:
        live = self._live.get(client_order_id)
        return self._ended[client_order_id] if live is None else live

    def __iter__(self) -> Iterator[str]:
        return chain(self._ended, self._live)

    def __len__(self) -> int:
        return len(self._ended) + len(self._live)


class Seen:
    """Ids that were seen."""

    __slots__ = ("_last", "_others")

    def __init__(self, others: frozenset[str] = frozenset(), last: frozenset[str] = frozenset()) -> None:
        self._others = others
        self._last = last

    def and_(self, name: str) -> Seen:
        """This one too."""
        last = self._last | {name}
        return Seen(self._others, last) if len(last) < _FEW else Seen(self._others | last)

    def __contains__(self, name: str) -> bool:
        return name in self._last or name in self._others
