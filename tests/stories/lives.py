"""One life of a node after another on one directory: the real loop, a journal on disk, an exchange that keeps books."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from node_agent.core import events
from node_agent.core.market import Candle
from node_agent.core.policy import Policy
from node_agent.journal import JOURNAL_FILE, Journal
from node_agent.runner import Runner
from node_protocol.messages import Command, Event
from tests.node.shop import Shop
from tests.node.until import becomes
from tests.node.values import LIMITS, candle

SHOP_FILE = "shop.sqlite3"
PRICE = candle(0, 40000)


class Life:
    """A node from its start to its end. Another one on the same directory finds what this one left."""

    def __init__(self, data_dir: Path, shop: Shop | None = None, policy: Policy = LIMITS) -> None:
        self.data_dir = data_dir
        self.shop = shop or Shop(data_dir / SHOP_FILE, [PRICE])
        self.journal = Journal.open(data_dir / JOURNAL_FILE)
        self.runner = Runner(
            journal=self.journal,
            exchange=self.shop,
            policy=policy,
            strategies=(),
            version="0.1.0",
            mode="paper",
            clock=lambda: datetime.now(UTC),
        )
        self.task = asyncio.create_task(self.runner.run())

    def order(self, name: str, side: str = "buy", **data: Any) -> None:
        """The server wants an order."""
        self.command(name, "order.place", **({"amount": "0.01"} | order_data(side, **data)))

    def command(self, name: str, type_: str, **data: Any) -> None:
        """A command of the server arrives."""
        now = datetime.now(UTC)
        command = command_of(name, type_, now, **data)
        new = self.journal.record_answer(ticket="t", acked_through=0, commands=[command], at=now)
        self.runner.deliver(events.CommandsArrived(tuple(new), now))

    @property
    def events(self) -> list[Event]:
        """All that the server is to be told, of this life and those before."""
        return self.journal.pending_events(limit=-1)

    def told(self, type_: str) -> list[dict[str, Any]]:
        """The data of each event of a type."""
        return [event.data for event in self.events if event.type == type_]

    async def until(self, type_: str, number: int = 1) -> dict[str, Any]:
        """The data of the first event of a type, or of another."""

        def found() -> list[dict[str, Any]]:
            if self.task.done():
                self.task.result()
            return self.told(type_)[number - 1 : number]

        return (await becomes(found, type_))[0]

    async def begun(self, lives: int = 1) -> None:
        """Wait until it trades."""
        await self.until("node.started", lives)
        await becomes(lambda: self.runner.state.prices, "a price")

    async def end(self) -> None:
        """End in order."""
        self.runner.stop("the test is over")
        await self.task


@asynccontextmanager
async def life(
    data_dir: Path, shop: Shop | None = None, policy: Policy = LIMITS, *, number: int = 1
) -> AsyncIterator[Life]:
    """A life that has begun, and whose end must be good."""
    one = Life(data_dir, shop, policy)
    try:
        await one.begun(number)
        yield one
        await one.end()
    finally:
        one.task.cancel()
        await asyncio.wait([one.task])
        one.journal.close()


def command_of(name: str, type_: str, at: datetime, **data: Any) -> Command:
    """A command that lives five minutes."""
    return Command(id=f"cmd_{name}", issued_at=at, expires_at=at + timedelta(minutes=5), type=type_, data=data)


def order_data(side: str = "buy", **data: Any) -> dict[str, Any]:
    """The data of a market order of 0.01, or of whatever else `data` says."""
    return {"exchange": "paper", "symbol": "BTC/USD", "side": side, "type": "market", "amount": "0.01"} | data


def recorded(data_dir: Path, commands: Sequence[Command]) -> None:
    """Commands that a server gave, and that the next life finds."""
    with Journal.open(data_dir / JOURNAL_FILE) as journal:
        journal.record_answer(ticket="t", acked_through=0, commands=commands, at=datetime.now(UTC))


def candles(*prices: int) -> list[Candle]:
    """A minute each, from START."""
    return [candle(minute, price) for minute, price in enumerate(prices)]
