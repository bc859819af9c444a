"""What goes to Polymarket and comes back by the one line to ccxt: its second key, its clock, its pages.

ccxt stamps requests by our clock, takes answers for lost that are no objects, and would have a second key made for a
wallet that has none, which the guard does not let go. So its client is fitted here, and the key is asked for by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from node_agent.exchanges.failures import ClockOff
from node_agent.exchanges.line import Line
from node_agent.exchanges.port import ExchangeError, KeyRefused
from node_agent.redaction import hide

_CLOCK_OFF: Final = 5.0
"""Seconds by which our clock was wrong: a reason to be taken for somebody else."""
_LAST: Final = "LTE="
"""Where a list ends."""

T = TypeVar("T")


class KeyedLine:
    """Asks what is asked with the key."""

    def __init__(self, line: Line) -> None:
        self.client = _fitted(line)
        """ccxt's, for what it works out without asking anybody."""
        self._line = line
        self._has_key = False
        self._key_asked = asyncio.Lock()

    async def be_ready(self) -> None:
        """Have the second key. It may have been another before; the exchange derives it from the first."""
        async with self._key_asked:
            if not self._has_key:
                await self.ask(_a_key, "derive_api_key")
                self._has_key = True

    async def ask(self, read: Callable[[Any], T], method: str, *arguments: Any, acts: bool = False) -> T:
        """As the line does. Of a clock that was wrong the exchange says that the key is: that is told apart here."""
        try:
            return await self._line.ask(read, method, *arguments, acts=acts)
        except KeyRefused:
            self._has_key = False
            before = now = self._line.offset
            with contextlib.suppress(ExchangeError):
                now = await self._line.measure(least_age=1.0)
            if before is not None and now is not None and abs(now - before) > _CLOCK_OFF:
                raise ClockOff(f"our clock was {abs(now - before):.0f} s off") from None
            raise

    async def pages(self, method: str, query: Mapping[str, str]) -> list[Any]:
        """All rows of a list."""
        rows: list[Any] = []
        cursors: list[str] = []
        while True:
            page, cursor = await self.ask(_page, method, {**query, **_next(cursors)})
            rows += page
            if not page or cursor in ("", _LAST, *cursors):
                return rows
            cursors.append(cursor)


def _fitted(line: Line) -> Any:
    """ccxt's client, made to take what this exchange writes beside objects, and to go by the exchange's clock."""
    client = line.client
    heard = client.on_rest_response

    def hear(status: int, reason: str, url: str, method: str, *rest: Any) -> str:
        text: str = heard(status, reason, url, method, *rest)
        path = urlsplit(url).path
        if path == "/balance-allowance/update" and not text:
            return "{}"
        if path == "/time" and text.isdecimal():
            return json.dumps({"time": text})
        if method == "GET" and path.startswith("/data/order/") and text == "null":
            return json.dumps({"error": "order not found"})
        return text

    async def told_time() -> int:
        told = await client.clobPublicGetTime()
        return int(told["time"]) * 1000

    client.on_rest_response = hear
    client.on_json_response = partial(json.loads, parse_float=str)  # money never is a float
    client.fetch_time = told_time
    client.seconds = lambda: int(time.time() - (line.offset or 0.0))
    return client


def _a_key(raw: Any) -> None:
    if not all(isinstance(raw[part], str) and raw[part] for part in ("apiKey", "secret", "passphrase")):
        raise ValueError("a key that is none")
    for part in ("secret", "passphrase"):
        hide(raw[part])


def _page(raw: Any) -> tuple[list[Any], str]:
    return list(raw["data"]), str(raw.get("next_cursor") or "")


def _next(cursors: Sequence[str]) -> dict[str, str]:
    return {"next_cursor": cursors[-1]} if cursors else {}
