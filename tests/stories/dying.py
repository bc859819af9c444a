"""A node's process that dies by SIGKILL the moment the exchange has a stop of it.

    python -m tests.stories.dying DIRECTORY written|unwritten

`written`: that it is open is in the journal. `unwritten`: the exchange's answer has not come.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from node_agent.core.effects import Append
from node_agent.core.market import OrderType
from node_agent.core.orders import OrderState
from node_agent.journal import JOURNAL_FILE, Journal
from node_agent.runner import Runner
from tests.node.shop import Shop
from tests.node.values import LIMITS
from tests.stories.lives import PRICE, SHOP_FILE


def die() -> None:
    """At once, and without a word."""
    os.kill(os.getpid(), signal.SIGKILL)


class Dying(Journal):
    """A journal whose process dies when an open stop is in it."""

    def append(self, append: Append) -> None:
        super().append(append)
        if any((order.type, order.state) == (OrderType.STOP, OrderState.OPEN) for order in append.orders):
            die()


async def live(data_dir: Path, moment: str) -> None:
    """Trade what the journal holds, to the end that was asked for."""
    shop = Shop(data_dir / SHOP_FILE, [PRICE])

    async def around(what: str) -> None:
        if moment == "unwritten" and what == "after create" and len(shop.orders()) == 2:
            die()

    shop.around = around
    with Dying.open(data_dir / JOURNAL_FILE) as journal:
        runner = Runner(
            journal=journal,
            exchange=shop,
            policy=LIMITS,
            strategies=(),
            version="0.1.0",
            mode="paper",
            clock=lambda: datetime.now(UTC),
        )
        async with asyncio.timeout(30):
            await runner.run()


if __name__ == "__main__":
    asyncio.run(live(Path(sys.argv[1]), sys.argv[2]))
