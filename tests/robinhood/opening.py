"""Openings, a line, orders and rows for the tests of Robinhood; all but the address is made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from node_agent.exchanges import robinhood_reading as reading
from node_agent.exchanges.profile import Opening
from node_agent.exchanges.robinhood import LIMITS, PACE, Robinhood
from node_agent.exchanges.robinhood_line import RobinhoodLine
from node_agent.exchanges.spot import legible
from tests.robinhood.app import PAIRS
from tests.robinhood.case import CASE

SYMBOL: Final = CASE.symbol
NATIVE: Final = CASE.native
ORDER_ID: Final = "6a8738ba-836d-4afd-abd8-483d7e4d01c9"
OUR_ID: Final = "9c8ecd0f68425d7ca156fb5db925cc6d"
MINUTE: Final = timedelta(minutes=1)

an_order = CASE.order


def an_opening(url: str | None, **changes: Any) -> Opening:
    """With what an account is opened."""
    return replace(CASE.opening(url or ""), **{"url": url} | changes)


def a_line(url: str | None, timeout: float = 8.0, **changes: Any) -> RobinhoodLine:
    """A line with nothing around it."""
    return RobinhoodLine(an_opening(url, **changes), limits=LIMITS, pace=replace(PACE, timeout=timeout))


def refused(detail: str, field: str | None = None, kind: str = "validation_error") -> str:
    """A refusal in the form that Robinhood documents."""
    return json.dumps({"type": kind, "errors": [{"detail": detail, "attr": field}]})


def an_order_row(**changes: Any) -> dict[str, Any]:
    """An order in the shape that was seen of Robinhood, with amounts that are ours."""
    return {
        "symbol": "BTC-USD",
        "client_order_id": "9c8ecd0f-6842-5d7c-a156-fb5db925cc6d",
        "side": "buy",
        "type": "limit",
        "id": ORDER_ID,
        "account_number": "AB1234567890",
        "state": "open",
        "filled_asset_quantity": "0.000000000000000000",
        "executions": [],
        "average_price": None,
        "created_at": "2026-08-20T13:26:18.409035-04:00",
        "updated_at": "2026-08-20T13:26:18.858613-04:00",
        "limit_order_config": {
            "asset_quantity": "0.000100000000000000",
            "limit_price": "36352.780000000000000000",
        },
        **changes,
    }


def an_execution(**changes: str) -> dict[str, str]:
    """A fill, as an order tells of it."""
    return {
        "effective_price": "65420.750000000000000000",
        "quantity": "0.020000000000000000",
        "timestamp": "2026-08-20T11:55:01.000001-04:00",
        **changes,
    }


def a_pair(**changes: Any) -> dict[str, Any]:
    """A symbol."""
    return {
        "symbol": "BTC-USD",
        "asset_code": "BTC",
        "quote_code": "USD",
        "asset_increment": "0.000000010000000000",
        "quote_increment": "0.01",
        "max_order_size": "20.0000000000000000",
        "min_order_size": "0.000001",
        "status": "tradable",
        **changes,
    }


class Scripted:
    """A line that gives prepared answers, each to the first question that fits, the last one again and again."""

    offset = 0.0

    def __init__(self, *answers: tuple[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    def exchange_time(self) -> datetime:
        """Ours."""
        return datetime.now(UTC)

    async def get(self, read: Callable[[Any], Any], path: str, query: Mapping[str, str] | None = None) -> Any:
        """The next prepared answer, or an empty list."""
        self.asked.append((path, dict(query or {})))
        if path == PAIRS:
            return read({"results": [a_pair()], "next": None})
        fitting = [each for each in self.answers if each[0] == path]
        if len(fitting) > 1:
            self.answers.remove(fitting[0])
        answer = fitting[0][1] if fitting else {"results": [], "next": None}
        if isinstance(answer, Exception):
            raise answer
        with legible():
            return read(reading.loads(json.dumps(answer).encode()))


def on(line: Scripted, interval: timedelta = MINUTE) -> Robinhood:
    """An account of ours on such a line."""
    return Robinhood(cast(RobinhoodLine, line), SYMBOL, interval)
