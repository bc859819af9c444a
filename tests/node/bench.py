"""A runner with everything around it of the tests' own: a shop, a line to no server, a clock that can be set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from node_agent.core import events
from node_agent.core.events import CoreEvent
from node_agent.core.market import Candle
from node_agent.core.policy import Policy
from node_agent.journal import Journal
from node_agent.runner import Runner
from node_protocol.messages import Command, Event
from tests.node.shop import Shop
from tests.node.until import becomes
from tests.node.values import LIMITS, candle


class Line:
    """An uplink that does nothing until it is told to end or die."""

    def __init__(self) -> None:
        self.dies: Exception | None = None
        self.end = asyncio.Event()
        self.woken = 0
        self.closed: list[bool] = []

    async def run(self) -> None:
        await self.end.wait()
        if self.dies is not None:
            raise self.dies

    def wake(self) -> None:
        self.woken += 1

    async def close(self, final_sync: bool) -> None:
        self.closed.append(final_sync)


class Bench:
    """A runner on a shop of the tests' own."""

    def __init__(
        self,
        path: Path,
        candles: Sequence[Candle] = (candle(0, 40000),),
        policy: Policy = LIMITS,
        news: Callable[[datetime], Iterable[CoreEvent]] = lambda at: (),
    ) -> None:
        self.path = path
        self.ahead = timedelta(0)
        """Of the true time: what the node takes for now."""
        self.shop = Shop(":memory:", candles)
        self.journal = Journal.open(path / "journal.sqlite3")
        self.line = Line()
        self.names = 0
        self.runner = Runner(
            journal=self.journal,
            exchange=self.shop,
            policy=policy,
            strategies=(),
            version="0.1.0",
            mode="paper",
            clock=self.clock,
            news=news,
        )
        self.runner.attach(self.line)

    def clock(self) -> datetime:
        """What the node takes for now."""
        return datetime.now(UTC) + self.ahead

    def order(self, type_: str = "order.place", **data: Any) -> str:
        """A command arrives; returns its id."""
        self.names += 1
        order = {"exchange": "paper", "symbol": "BTC/USD", "side": "buy", "type": "market", "amount": "0.01"}
        fields = order if type_ == "order.place" else {}
        now = self.clock()
        command = Command(
            id=f"cmd_{self.names}",
            issued_at=now,
            expires_at=now + timedelta(minutes=5),
            type=type_,
            data=fields | data,
        )
        new = self.journal.record_answer(ticket="t", acked_through=0, commands=[command], at=now)
        self.runner.deliver(events.CommandsArrived(tuple(new), now))
        return command.id

    @property
    def events(self) -> list[Event]:
        return self.journal.pending_events(limit=-1)

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]

    async def until(self, type_: str) -> Event:
        """The first event of a type."""
        return (await becomes(lambda: [event for event in self.events if event.type == type_], type_))[0]


@asynccontextmanager
async def running(path: Path, prepare: Callable[[Bench], None] = lambda _: None) -> AsyncIterator[Bench]:
    """A bench whose runner runs, is stopped in order at the end, and must end well."""
    bench = Bench(path)
    prepare(bench)
    task = asyncio.create_task(bench.runner.run())
    try:
        await becomes(lambda: "account.snapshot" in bench.types or task.done(), "the first candle")
        yield bench
        bench.runner.stop("the test is over")
        await task
    finally:
        task.cancel()
        await asyncio.wait([task])
        bench.journal.close()
