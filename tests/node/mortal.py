"""A node's process that kills itself (SIGKILL) at a named moment; without one it trades until all is quiet, and ends.

    python -m tests.node.mortal DIRECTORY [MOMENT NUMBER]

MOMENT is `before append`, `after append`, or a name that the shop's `around` is given; NUMBER counts from 1.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import UTC, datetime
from decimal import Decimal as D
from pathlib import Path

from node_agent.core.effects import Append
from node_agent.journal import Journal
from node_agent.runner import Runner
from node_agent.strategies import MaTrend
from node_protocol.encoding import format_time
from tests.node.shop import Shop
from tests.node.until import becomes
from tests.node.values import candle, limits

CANDLES = [
    candle(minute, price) for minute, price in enumerate([40000, 39900, 39800, 39900, 40100, 40200, 39000, 38900])
]


class Death:
    """Counts moments, and comes at its own."""

    def __init__(self, moment: str, number: int) -> None:
        self.moment = moment
        self.left = number

    def at(self, moment: str) -> None:
        if moment == self.moment:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class MortalJournal(Journal):
    """A journal whose process may die around an append."""

    death: Death

    def append(self, append: Append) -> None:
        self.death.at("before append")
        super().append(append)
        self.death.at("after append")


async def live(directory: Path, death: Death) -> None:
    shop = Shop(directory / "shop.sqlite3", CANDLES)

    async def around(what: str) -> None:
        death.at(what)

    shop.around = around
    with MortalJournal.open(directory / "journal.sqlite3") as journal:
        journal.death = death
        runner = Runner(
            journal=journal,
            exchange=shop,
            policy=limits(max_position_notional=D(10000), max_total_notional=D(10000)),
            strategies=(MaTrend("BTC/USD", 1, 2, D(250)),),
            version="0.1.0",
            mode="paper",
            clock=lambda: datetime.now(UTC),
        )
        quiet = asyncio.create_task(_stop_when_quiet(runner, journal))
        await runner.run()
        quiet.cancel()


async def _stop_when_quiet(runner: Runner, journal: Journal) -> None:
    last = format_time(CANDLES[-1].at)

    def quiet() -> bool:
        seen = (journal.fact("market") or {}).get("at") == last
        return seen and not journal.open_orders() and not journal.commands_not_done()

    await becomes(quiet, "quiet")
    runner.stop("all is quiet")


if __name__ == "__main__":
    moment, number = (sys.argv[2], int(sys.argv[3])) if len(sys.argv) > 2 else ("never", 1)
    asyncio.run(live(Path(sys.argv[1]), Death(moment, number)))
