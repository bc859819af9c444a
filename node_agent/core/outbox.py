"""What the node reports to the server: events numbered from 1 without a gap, in the words of protocol section 6."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from node_agent.core.ids import event_id
from node_protocol.messages import Event


class Report(NamedTuple):
    """One thing to tell the server, before it has a number."""

    type: str
    data: Mapping[str, Any]


def numbered(reports: Iterable[Report], *, origin: str, next_seq: int, at: datetime) -> tuple[Event, ...]:
    """The reports as events, the first under `next_seq`. `origin` names the journal that they go into."""
    return tuple(
        Event(seq=seq, id=event_id(origin, seq), at=at, type=report.type, data=dict(report.data))
        for seq, report in enumerate(reports, start=next_seq)
    )
