"""Names that come out the same however often they are asked for: the same decision has the same id after any crash."""

from __future__ import annotations

import hashlib
from datetime import datetime

from node_agent.core.market import Side


def order_of_command(command_id: str) -> str:
    """The client order id of the order that a command asks for: 32 lower-case hex characters."""
    return _digest("command", command_id)[:32]


def order_of_strategy(strategy: str, symbol: str, candle_at: datetime, side: Side) -> str:
    """The client order id of what a strategy decided on one candle: 32 lower-case hex characters."""
    return _digest("strategy", strategy, symbol, candle_at.isoformat(), side)[:32]


def event_id(origin: str, seq: int) -> str:
    """The id of an event: `origin` names the journal, `seq` the event in it, and neither is ever used again."""
    return "ev_" + _digest("event", origin, str(seq))[:32]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
