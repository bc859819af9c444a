"""Questions that go together: who asks while another is under way shares the next one, and never that one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from node_agent.exchanges.failures import NoSuchOrder
from node_agent.exchanges.kraken import open_exchange
from node_agent.exchanges.port import ExchangeUnavailable
from node_agent.exchanges.together import Together
from tests.kraken.case import CASE
from tests.node.until import becomes

pytestmark = pytest.mark.asyncio


class Answering:
    """What is asked waits until it is let go on; names with an x are of nothing."""

    def __init__(self, *, most: int = 3) -> None:
        self.asked: list[list[str]] = []
        self.goes_on = asyncio.Event()
        self.error: ExchangeUnavailable | None = None
        self.together = Together(self._ask, most=most)

    async def _ask(self, names: Sequence[str]) -> Mapping[str, str]:
        self.asked.append(list(names))
        await self.goes_on.wait()
        if self.error is not None:
            raise self.error
        return {name: name.upper() for name in names if "x" not in name}

    def asks(self, name: str) -> asyncio.Task[str | None]:
        return asyncio.create_task(self.together.one(name))


async def test_those_that_come_while_one_is_asked_go_together_and_at_most_so_many() -> None:
    answering = Answering()
    first = answering.asks("a")
    await becomes(lambda: answering.asked)
    rest = [answering.asks(name) for name in ("b", "c", "b", "x", "e")]
    await asyncio.sleep(0)
    answering.goes_on.set()
    assert await asyncio.gather(first, *rest) == ["A", "B", "C", "B", None, "E"]
    assert answering.asked == [["a"], ["b", "c"], ["x", "e"]]


async def test_the_same_name_is_asked_again_by_whoever_comes_later() -> None:
    """What is under way may tell how it was before the cancel that is asked about."""
    answering = Answering()
    first = answering.asks("a")
    await becomes(lambda: answering.asked)
    second = answering.asks("a")
    await asyncio.sleep(0)
    answering.goes_on.set()
    await asyncio.gather(first, second)
    assert answering.asked == [["a"], ["a"]]


async def test_a_failure_is_that_of_all_who_asked_and_of_nobody_later() -> None:
    answering = Answering()
    answering.error = ExchangeUnavailable("away")
    tasks = [answering.asks(name) for name in ("a", "b", "c")]
    await becomes(lambda: answering.asked)
    answering.goes_on.set()
    assert [str(each) for each in await asyncio.gather(*tasks, return_exceptions=True)] == ["away"] * 3
    assert answering.asked == [["a"], ["b", "c"]]
    answering.error = None
    assert await answering.together.one("a") == "A"


async def test_an_asker_who_is_called_off_leaves_the_others_their_answer() -> None:
    answering = Answering()
    first, second, third = (answering.asks(name) for name in ("a", "b", "c"))
    await becomes(lambda: answering.asked)
    first.cancel()
    await becomes(lambda: len(answering.asked) == 2)
    second.cancel()  # it asked for the third, too
    answering.goes_on.set()
    assert await third == "C"
    assert answering.asked == [["a"], ["b", "c"], ["b", "c"]]


async def test_kraken_is_asked_for_many_orders_at_once_and_one_that_is_not_there_spoils_none() -> None:
    with CASE.start() as process:
        process.price(CASE.price)
        exchange = open_exchange(CASE.opening(process.url))
        orders = [await exchange.create_order(CASE.order()) for _ in range(20)]
        found = await asyncio.gather(*(exchange.order(each.exchange_order_id) for each in orders))
        assert [each.client_order_id for each in found] == [each.client_order_id for each in orders]
        assert process.books()["requests"]["POST /0/private/QueryOrders"] == 2
        followed = await exchange.orders([each.exchange_order_id for each in orders[:19]])
        assert [each.client_order_id for each in followed.values()] == [each.client_order_id for each in orders[:19]]
        nothing = "OAAAAA-AAAAA-AAAAAA"
        some = await asyncio.gather(
            *(exchange.order(each) for each in (orders[0].exchange_order_id, nothing, orders[1].exchange_order_id)),
            return_exceptions=True,
        )
        assert [type(each) is NoSuchOrder for each in some] == [False, True, False]
        assert process.books()["requests"]["POST /0/private/QueryOrders"] == 2 + 1 + 4
        await exchange.close()
