"""The paper exchange behind its port: what it has told is on its books after a crash, and it plays on where it was."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal as D
from pathlib import Path
from typing import TypeVar

import pytest

from node_agent.config import ConfigError, load
from node_agent.core.market import Candle, ExchangeOrder, ExchangeStatus, Fill, OrderRequest, OrderType, Side
from node_agent.exchanges.paper import PaperExchange, candles, open_paper
from node_agent.exchanges.port import OrderRefused, Update
from tests.support import NodeDir

T = TypeVar("T")
HEADER = "timestamp,open,high,low,close,volume\n"
ROWS = "".join(
    f"2026-01-01 00:{minute:02}:00.000000,{100 + minute}.0,{102 + minute}.0,{99 + minute}.0,{101 + minute}.0,1000\n"
    for minute in range(10)
)


@pytest.fixture
def node(tmp_path: Path) -> NodeDir:
    recording = tmp_path / "prices.csv"
    recording.write_text(HEADER + ROWS)
    return NodeDir.made(tmp_path, candles=recording)


def with_exchange(node: NodeDir, work: Callable[[PaperExchange], Awaitable[T]], speed: float = 60_000) -> T:
    """Open the exchange, do something, let go of it: nothing is written at the end that was not there before."""

    async def opened() -> T:
        exchange = open_paper(load(node.path, {}), node.path, speed)
        try:
            return await work(exchange)
        finally:
            await exchange.close()

    return asyncio.run(asyncio.wait_for(opened(), 30))


async def updates(exchange: PaperExchange, count: int) -> list[Update]:
    told: list[Update] = []
    async for update in exchange.updates():
        told.append(update)
        if len(told) == count:
            return told
    raise AssertionError("the stream has ended")


def buy(name: str, price: D | None = None) -> OrderRequest:
    kind = OrderType.MARKET if price is None else OrderType.LIMIT
    return OrderRequest(name, "BTC/USD", Side.BUY, kind, D(1), price)


def test_the_first_candle_comes_at_once_and_the_next_at_their_pace_also_after_a_restart(node: NodeDir) -> None:
    first, second = with_exchange(node, lambda exchange: updates(exchange, 2))
    assert isinstance(first, Candle)
    assert isinstance(second, Candle)
    assert (first.at, second.at) == tuple(datetime(2026, 1, 1, 0, minute, tzinfo=UTC) for minute in (0, 1))
    began = time.monotonic()
    [third] = with_exchange(node, lambda exchange: updates(exchange, 1), speed=60)
    assert time.monotonic() - began >= 1
    assert isinstance(third, Candle)
    assert third.at == datetime(2026, 1, 1, 0, 2, tzinfo=UTC)


def test_a_fill_is_told_before_the_order_change_that_it_causes(node: NodeDir) -> None:
    async def work(exchange: PaperExchange) -> list[Update]:
        await updates(exchange, 1)
        answer = await exchange.create_order(buy("a"))
        assert answer.status is ExchangeStatus.FILLED
        return await updates(exchange, 2)

    fill, order = with_exchange(node, work)
    assert isinstance(fill, Fill)
    assert isinstance(order, ExchangeOrder)
    assert fill.price == order.average_price == D(101)


def test_what_was_acknowledged_is_on_the_books_after_a_crash(node: NodeDir) -> None:
    async def before(exchange: PaperExchange) -> None:
        await updates(exchange, 1)
        await exchange.create_order(buy("filled"))
        await exchange.create_order(buy("resting", price=D(90)))

    async def after(exchange: PaperExchange) -> None:
        resting, filled = await exchange.find_order("resting", ""), await exchange.find_order("filled", "")
        assert resting is not None
        assert filled is not None
        assert (resting.status, filled.status) == (ExchangeStatus.OPEN, ExchangeStatus.FILLED)
        assert [each.order.client_order_id for each in await exchange.open_orders()] == ["resting"]
        assert [fill.client_order_id for fill in await exchange.fills_since(None)] == ["filled"]
        assert (await exchange.balances())["BTC"] == D(1)
        assert await exchange.find_order("never", "") is None
        again = await exchange.create_order(buy("filled"))
        assert again == filled
        assert (await exchange.balances())["BTC"] == D(1)
        await exchange.cancel_order("resting", "")
        with pytest.raises(OrderRefused):
            await exchange.cancel_order("never", "")

    with_exchange(node, before)
    with_exchange(node, after)


def test_behind_the_end_of_the_recording_the_last_price_stands(node: NodeDir) -> None:
    async def work(exchange: PaperExchange) -> ExchangeOrder:
        await updates(exchange, 10)
        return await exchange.create_order(buy("late"))

    assert with_exchange(node, work).average_price == D(110)

    async def restarted(exchange: PaperExchange) -> ExchangeOrder:
        return await exchange.create_order(buy("later"))

    assert with_exchange(node, restarted).average_price == D(110)


@pytest.mark.parametrize(
    ("stamp", "zipped"),
    [
        ("2026-01-01 00:00:00.000000", False),
        ("2026-01-01T00:00:00Z", True),
        ("1767225600000", True),
        ("1767225600", False),
        ("1767225600.0", False),
        ("1767225600000000", False),
        ("1767225600000000000", True),
    ],
)
def test_recordings_are_read_in_each_of_their_forms(tmp_path: Path, stamp: str, zipped: bool) -> None:
    path = tmp_path / ("prices.csv.gz" if zipped else "prices.csv")
    text = f"{HEADER}{stamp},100,102,99,101,202\n"
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    [candle] = candles.read(path, "BTC/USD", volume_in_quote=True)
    assert candle.at == datetime(2026, 1, 1, tzinfo=UTC)
    assert (candle.close, candle.volume) == (D(101), D(2))


def test_a_recording_may_have_a_mark_of_byte_order_and_empty_lines_and_be_packed_under_any_name(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + f"\n{HEADER}{ROWS}\n\n".encode()))
    assert len(list(candles.read(path, "BTC/USD", volume_in_quote=False))) == len(ROWS.splitlines())


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "2026-01-01,1,2,1,1,-1\n",
        HEADER + "2026-01-01,NaN,2,1,1,1\n",
        HEADER + "2026-01-01,1,2,1,1\n",
        HEADER + "2026-01-01,3,2,1,1,1\n",
        HEADER + "yesterday,1,2,1,1,1\n",
        HEADER + "2026-01-01,1,2,1,1,1\n2026-01-01,1,2,1,1,1\n",
        "\0",
    ],
)
def test_what_is_no_recording_names_its_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices.csv"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        list(candles.read(path, "BTC/USD", volume_in_quote=False))
    assert str(path) in error.value.message


def test_a_packed_file_that_is_damaged_is_told(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv.gz"
    packed = bytearray(gzip.compress((HEADER + ROWS).encode()))
    packed[10] ^= 0xFF
    path.write_bytes(packed)
    with pytest.raises(ConfigError, match="cannot read the candles"):
        list(candles.read(path, "BTC/USD", volume_in_quote=False))


def test_a_file_that_only_says_that_it_is_gzipped_is_told(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv.gz"
    path.write_text(HEADER + ROWS)
    with pytest.raises(ConfigError, match="cannot read the candles"):
        list(candles.read(path, "BTC/USD", volume_in_quote=False))
