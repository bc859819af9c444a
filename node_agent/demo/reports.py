"""The node as the server has it: what its events, let through by the verifier, add up to."""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import IO, Any, Final

from node_agent.demo.chart import Point
from node_protocol.encoding import parse_time

_LATEST: Final = 12


@dataclass
class Reports:
    """Events in the order of their numbers, and what is drawn from them. One thread adds, others read."""

    count: int = 0
    fills: int = 0
    latest: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_LATEST))
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The newest event of each order, by client order id."""
    curve: list[Point] = field(default_factory=list)
    account: dict[str, Any] = field(default_factory=dict)
    refused: list[dict[str, Any]] = field(default_factory=list)

    def add(self, event: dict[str, Any]) -> None:
        """Take one event in."""
        self.count += 1
        self.latest.append(event)
        kind, data = event["type"], event["data"]
        if kind.startswith("order."):
            self.orders[data["client_order_id"]] = event
        elif kind == "trade":
            self.fills += 1
        elif kind == "intent.refused":
            self.refused.append(event)
        elif kind == "account.snapshot":
            self.account = data
            self.curve.append((_market_time(event), Decimal(data["equity"])))

    def read(self, lines: IO[bytes]) -> threading.Thread:
        """Take in each line of `events tail --follow --json` as it comes, in a thread of its own."""

        def pump() -> None:
            for line in lines:
                self.add(json.loads(line))

        thread = threading.Thread(target=pump, name="demo-reports", daemon=True)
        thread.start()
        return thread


def money(text: str) -> str:
    """An amount of money in whole cents, for reading."""
    return f"{Decimal(text):,.2f}"


def gist(event: dict[str, Any]) -> str:
    """An event in a few words."""
    data = event["data"]
    kind = event["type"]
    if kind.startswith("order.") or kind == "intent.refused":
        price = data.get("average_price") or data.get("price") or data.get("stop_price") or "market"
        rule = f" ({data['rule']})" if "rule" in data else ""
        return f"{data['side']} {data['amount']} {data['symbol']} at {price}{rule}"
    if kind == "trade":
        return f"{data['amount']} at {data['price']}, fee {money(data['fee'])} {data['fee_currency']}"
    if kind == "account.snapshot":
        return f"equity {money(data['equity'])} {data['currency']}"
    return str(data.get("text") or data.get("reason") or data.get("rule") or data.get("version") or "")


def _market_time(event: dict[str, Any]) -> datetime:
    return parse_time(event["data"].get("market_at") or event["at"])
