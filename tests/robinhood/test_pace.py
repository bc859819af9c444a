"""How often Robinhood is asked by a node that has nothing to do: little enough that orders and searches find room."""

from __future__ import annotations

import asyncio
import selectors
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final, cast

import pytest

from node_agent.assembly import INTERVALS
from node_agent.core.market import Candle
from node_agent.exchanges.robinhood_reading import SHORTEST
from tests.robinhood.app import PRICES
from tests.robinhood.opening import Scripted, on
from tests.robinhood.tokens import A_MINUTE

LATE: Final = 0.2
"""Seconds to an answer."""


class Ticking(Scripted):
    """An account without orders, on a market whose price is told; by the loop's time, and each answer a little late."""

    def __init__(self, times: list[float]) -> None:
        price = {"symbol": "BTC-USD", "bid_inclusive_of_sell_spread": "99", "ask_inclusive_of_buy_spread": "101"}
        super().__init__((PRICES, {"results": [price]}))
        self.times = times

    def exchange_time(self) -> datetime:
        return datetime.fromtimestamp(1_700_000_000 + asyncio.get_running_loop().time(), UTC)

    async def get(self, *asked: Any) -> Any:
        self.times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(LATE)
        return await super().get(*asked)


class Hurrying(asyncio.SelectorEventLoop):
    """A loop that waits for nothing: its time goes on at once to when something is due."""

    def __init__(self) -> None:
        super().__init__(selector := Skipping())
        self._skipped = selector

    def time(self) -> float:
        return self._skipped.seconds


class Skipping(selectors.SelectSelector):
    """Sees what is there, and lets the time pass that it was to wait."""

    seconds = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.seconds += max(timeout or 0.0, 0.0)
        return super().select(0)


@pytest.mark.parametrize("interval", [each for each in INTERVALS.values() if each >= SHORTEST], ids=str)
def test_a_calm_node_uses_less_than_two_thirds_of_what_robinhood_allows(interval: timedelta) -> None:
    times: list[float] = []

    async def node() -> None:
        loop = asyncio.get_running_loop()
        ours = on(Ticking(times), interval)

        async def follow() -> None:
            async for _ in ours.updates():
                pass

        async def survey() -> None:
            while True:
                await ours.open_orders()
                await ours.clock_offset()
                await asyncio.sleep(ours.survey_every)

        tasks = [loop.create_task(each) for each in (follow(), survey())]
        await asyncio.sleep(1800)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    with asyncio.Runner(loop_factory=Hurrying) as runner:
        runner.run(node())
    most = max(sum(at <= each < at + 60 for each in times) for at in times)
    assert most < A_MINUTE * 2 / 3


def test_candles_are_whole_with_as_few_prices_as_are_asked_for() -> None:
    candles: list[Candle] = []

    async def node() -> None:
        async with aclosing(cast(Any, on(Ticking([]), SHORTEST).updates())) as updates:
            async for each in updates:
                candles.append(each)
                if len(candles) == 100:
                    return

    with asyncio.Runner(loop_factory=Hurrying) as runner:
        runner.run(node())
    assert {each.at - before.at for before, each in pairwise(candles)} == {SHORTEST}
