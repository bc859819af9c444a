"""Names that come out the same however often they are asked for: the same decision has the same id after any crash."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Final

from node_agent.core.market import IdForm, Side

_UUID_PARTS: Final = ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))
_UUID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def order_of_command(command_id: str) -> str:
    """The client order id of the order that a command asks for: 32 lower-case hex characters."""
    return _digest("command", command_id)[:32]


def order_of_strategy(strategy: str, symbol: str, candle_at: datetime, side: Side) -> str:
    """The client order id of what a strategy decided on one candle: 32 lower-case hex characters."""
    return _digest("strategy", strategy, symbol, candle_at.isoformat(), side)[:32]


def order_of_owner(origin: str, number: str) -> str:
    """The client order id of what the owner asked this node for: 32 lower-case hex characters."""
    return _digest("owner", origin, number)[:32]


def order_of_exit(origin: str, begun_at: datetime, symbol: str, attempt: int) -> str:
    """The client order id of one attempt to close a position for good: 32 lower-case hex characters."""
    return _digest("exit", origin, begun_at.isoformat(), symbol, str(attempt))[:32]


def written(client_order_id: str, form: IdForm) -> str:
    """The id as an exchange takes it."""
    if form is IdForm.HEX:
        return client_order_id
    return "-".join(client_order_id[start:end] for start, end in _UUID_PARTS)


def read(text: str, form: IdForm) -> str:
    """What `written` was given; any other text, somebody else's id, as it is."""
    if form is IdForm.UUID and re.fullmatch(_UUID, text, re.ASCII):
        return text.replace("-", "")
    return text


def event_id(origin: str, seq: int) -> str:
    """The id of an event: `origin` names the journal, `seq` the event in it, and neither is ever used again."""
    return "ev_" + _digest("event", origin, str(seq))[:32]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
