"""The core driven by hand, as in `values.Node`, with a journal on disk: it can be killed and started again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from node_agent.core import effects, events
from node_agent.core.events import Lookup
from node_agent.core.market import ExchangeStatus, Fill, OrderRequest
from node_agent.core.policy import Policy
from node_agent.journal import JOURNAL_FILE, Journal
from tests.node.values import LIMITS, MARKETS, START, Node, place

S = ExchangeStatus


class Kept(Node):
    """A node whose journal is a file; `restart` forgets all that is not in it."""

    def __init__(self, data_dir: Path, policy: Policy = LIMITS, strategies: tuple[Any, ...] = (), **started: Any):
        self.path = data_dir / JOURNAL_FILE
        self.journal = Journal.open(self.path)
        self.state = self.journal.restore()
        self.now = START
        self.appends: list[effects.Append] = []
        self.done: list[effects.Effect] = []
        usual = {"mode": "paper", "exchange": "paper", "markets": MARKETS, "strategies": strategies}
        self.started = events.Started(START, "0.1.0", policy=policy, **usual | started)
        self.take(self.started)

    def take(self, event: events.CoreEvent) -> tuple[effects.Effect, ...]:
        """Take one event and write down what is to be written; returns its effects."""
        wanted = super().take(event)
        for effect in wanted:
            if isinstance(effect, effects.Append):
                self.journal.append(effect)
            elif isinstance(effect, effects.Remember):
                self.journal.put_facts(effect.facts)
        return wanted

    def kill(self) -> None:
        """End without a word, and forget everything."""
        self.journal.close()
        self.journal = Journal.open(self.path)
        self.state = self.journal.restore()

    def restart(
        self, *, lookups: Mapping[str, Lookup] | None = None, fills: tuple[Fill, ...] = (), **started: Any
    ) -> tuple[effects.Effect, ...]:
        """Killed, and started again at `now`; of every order the exchange says what `lookups` say, else nothing."""
        self.kill()
        away = {order.client_order_id: Lookup(None, unsure="away") for order in self.state.live}
        event = replace(self.started, at=self.now, lookups={**away, **(lookups or {})}, fills=fills, **started)
        return self.take(event)

    def after(self, seconds: float) -> datetime:
        """Let so many seconds pass."""
        self.now += timedelta(seconds=seconds)
        return self.now


def kept(data_dir: Path, price: int = 40000, policy: Policy = LIMITS, **started: Any) -> Kept:
    """A node with a journal that has started and knows a price."""
    node = Kept(data_dir, policy, **started)
    node.tick(0, price)
    return node


def resting(node: Node, name: str, side: str = "buy", amount: str = "0.01", **data: Any) -> OrderRequest:
    """A limit buy, or whatever `data` says, that is open at the exchange."""
    (request,) = node.order(place(name, side, amount, **({"type": "limit", "price": "39000"} | data)))
    node.tell(request, S.OPEN)
    return request


def protecting(node: Node, name: str = "stop", amount: str = "0.01") -> OrderRequest:
    """A stop under a position, open at the exchange."""
    return resting(node, name, "sell", amount, type="stop", price=None, stop_price="35000", reduce_only=True)


def sent(wanted: tuple[effects.Effect, ...]) -> list[OrderRequest]:
    """What of these effects goes to the exchange as an order."""
    return [each.request for each in wanted if isinstance(each, effects.Submit)]


def cancelled(wanted: tuple[effects.Effect, ...]) -> list[str]:
    """Client order ids of what of these effects is cancelled at the exchange."""
    return [each.client_order_id for each in wanted if isinstance(each, effects.Cancel)]


def stops(node: Node, *, flatten: bool = False, then_end: bool = True) -> tuple[effects.Effect, ...]:
    """`node-agent stop --cancel-open`, or `--flatten`."""
    return node.take(events.OwnerStops(node.now, flatten, then_end, "enough"))


def ticked(node: Kept, seconds: float = 1) -> tuple[effects.Effect, ...]:
    """A second passes, or more."""
    return node.take(events.Tick(node.after(seconds)))


def stop_file(node: Node, *, there: bool = True, flatten: bool = False) -> tuple[effects.Effect, ...]:
    """A file STOP came or went."""
    return node.take(events.StopFile(node.now, there, flatten))


def ends(wanted: tuple[effects.Effect, ...]) -> bool:
    """Whether the process is to end now."""
    return any(isinstance(each, effects.End) for each in wanted)
