"""A node that does not run, as its journal has it: read as a whole, and told the owner's word all the same."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from node_agent.core import events
from node_agent.core.effects import Append
from node_agent.core.engine import step
from node_agent.core.market import Market
from node_agent.core.state import State
from node_agent.journal import Journal


def restored(journal: Journal) -> State:
    """The node's state, with the markets that it last knew the rules of."""
    node = journal.fact("node") or {}
    return replace(
        journal.restore(),
        exchange=node.get("exchange") or "",
        markets={symbol: _market(symbol, rules) for symbol, rules in (journal.fact("markets") or {}).items()},
    )


def settle(journal: Journal, event: events.OwnerEvent) -> State:
    """Write down what the owner's word changes. What is to be done for it, the next start does.

    The caller holds the data directory's lock.
    """
    state, effects = step(restored(journal), event)
    for effect in effects:
        if isinstance(effect, Append):
            journal.append(effect)
    return state


def _market(symbol: str, rules: dict[str, str]) -> Market:
    return Market(
        symbol,
        rules["base"],
        rules["quote"],
        Decimal(rules["tick_size"]),
        Decimal(rules["step_size"]),
        Decimal(rules["minimum_notional"]),
        Decimal(rules.get("minimum_amount", 0)),
    )
