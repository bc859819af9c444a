"""Stories of books that were wrong: a fill never written down, dead orders that filled, stops that vanished."""

from __future__ import annotations

import asyncio
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal as D
from pathlib import Path

import pytest

from node_agent.core import events
from node_agent.core.market import ExchangeStatus, OpenOrder, OrderType
from node_agent.core.orders import OrderState
from node_agent.journal import JOURNAL_FILE, Journal, JournalError
from tests.node.kept import cancelled, kept, resting
from tests.node.shop import Shop
from tests.node.until import becomes
from tests.node.values import START, limits, place, state_of, told
from tests.stories.lives import SHOP_FILE, Life, command_of, life, order_data, recorded

S = ExchangeStatus
ROOT = Path(__file__).parents[2]


# 2. A bought position was lost to a locked database.


@contextmanager
def held(data_dir: Path, node: Life) -> Iterator[None]:
    """Another program holds the journal."""
    with closing(sqlite3.connect(data_dir / JOURNAL_FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def full(data_dir: Path, node: Life) -> Iterator[None]:
    """No file of this process may grow beyond what the journal takes now, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (data_dir / f"{JOURNAL_FILE}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only(data_dir: Path, node: Life) -> Iterator[None]:
    """The disk has become read-only."""
    node.journal._connection.execute("PRAGMA query_only = ON")
    yield


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("trouble", "said"), [(held, "is held by another program"), (full, "cannot be written"), (read_only, "written")]
)
async def test_a_fill_that_cannot_be_written_down_ends_the_node_and_is_there_once_after_a_restart(
    tmp_path: Path,
    trouble: Callable[[Path, Life], AbstractContextManager[None]],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """freqtrade/freqtrade#7184: buys filled on the exchange, the database was locked, and the bot knew nothing of them.

    Its owner sold the coins by hand, having seen them on the exchange.
    """
    monkeypatch.setattr("node_agent.journal_schema._BUSY_SECONDS", 0.05)
    node = Life(tmp_path)
    await node.begun()
    bought, go_on = asyncio.Event(), asyncio.Event()

    async def wait(what: str) -> None:
        if what == "after create":
            bought.set()
            await go_on.wait()

    node.shop.around = wait
    node.order("a")
    await bought.wait()
    with trouble(tmp_path, node):
        go_on.set()
        with pytest.raises(JournalError, match=said):
            await node.task
    assert node.told("trade") == []
    node.journal.close()

    async with life(tmp_path, number=2) as again:
        await again.until("order.filled")
        (fill,) = again.shop.fills()
        assert [each["trade_id"] for each in again.told("trade")] == [fill.trade_id]
        assert again.runner.state.holdings["BTC/USD"].amount == fill.amount
        assert again.shop.asked == []
    async with life(tmp_path, number=3) as once_more:
        assert len(once_more.told("trade")) == 1


# 5. Six orders believed dead filled.


def test_fills_of_orders_that_had_ended_in_our_books_are_counted_and_reported(tmp_path: Path) -> None:
    """hummingbot/hummingbot#3374: orders lost to network errors stayed on the exchange; six dead buys filled quickly.

    hummingbot/hummingbot#8457: six accepted orders were dropped from tracking, and left a short position that no book
    of the bot's had.
    """
    node = kept(tmp_path, policy=limits(orders_per_minute=100))
    dead = [resting(node, f"n{number}", amount="0.001") for number in range(6)]
    for each in dead:
        node.tell(each, S.CANCELLED)
    assert node.state.live == []
    for number, each in enumerate(dead):
        node.fill(each, f"t{number}", 39000)
        node.fill(each, f"t{number}", 39000)
    assert node.state.holdings["BTC/USD"].amount == D("0.006")
    assert node.told_types.count("trade") == 6
    assert all(state_of(node, each) is OrderState.CANCELLED for each in dead)
    assert "was told: filled_wholly" in node.last("node.note")["text"]
    node.restart()
    assert node.state.holdings["BTC/USD"].amount == D("0.006")


def test_what_dead_orders_bought_counts_into_the_limits_at_once(tmp_path: Path) -> None:
    """hummingbot/hummingbot#3374: it ended with far more of the coin than was meant."""
    node = kept(tmp_path, policy=limits(max_position_notional=D(500)))
    entry = resting(node, "entry")
    node.tell(entry, S.CANCELLED)
    node.fill(entry, "t1", 39000)
    assert node.refused_by(place("b", amount="0.003")) == "max_position_notional"


def test_orders_that_ended_in_our_books_and_are_open_there_are_cancelled_there(tmp_path: Path) -> None:
    """hummingbot/hummingbot#3374: nobody cancelled them, for nobody knew of them."""
    node = kept(tmp_path, policy=limits(orders_per_minute=100))
    dead = [resting(node, f"n{number}", amount="0.001") for number in range(6)]
    for each in dead:
        node.tell(each, S.EXPIRED)
    listed = tuple(OpenOrder(told(each, S.OPEN), each.side, each.price) for each in dead)
    assert cancelled(node.take(events.OpenOrdersTold(START, listed))) == []
    wanted = node.take(events.OpenOrdersTold(START, listed))
    assert cancelled(wanted) == [each.client_order_id for each in dead]
    notes = [each.data["text"] for each in node.reports if each.type == "node.note"]
    assert len([text for text in notes if "is open at the exchange" in text]) == 6


@pytest.mark.asyncio
async def test_an_order_that_the_exchange_raised_from_the_dead_is_cancelled_at_the_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hummingbot/hummingbot#3374, by the real loop: the exchange said cancelled, and has it open all the same."""
    monkeypatch.setattr("tests.node.shop.Shop.survey_every", 0.02)
    async with life(tmp_path) as node:
        node.order("a", type="limit", price="39000")
        await node.until("order.open")
        (order,) = node.shop.orders()
        node.command("c", "orders.cancel_all")
        await node.until("order.cancelled")
        node.shop._keep(order)
        await becomes(lambda: node.shop.orders()[0].status is S.CANCELLED, "the cancel at the exchange")


# 11. Stop-losses vanished on restart.


def killed(data_dir: Path, moment: str) -> None:
    """A process buys, puts a stop under it, and dies by SIGKILL."""
    now = datetime.now(UTC)
    buy = command_of("buy", "order.place", now, **order_data())
    stop = order_data("sell", type="stop", stop_price="35000", reduce_only=True)
    recorded(data_dir, [buy, command_of("stop", "order.place", now, **stop)])
    done = subprocess.run(
        [sys.executable, "-m", "tests.stories.dying", str(data_dir), moment],
        check=False,
        capture_output=True,
        timeout=60,
        cwd=ROOT,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]


@pytest.mark.asyncio
@pytest.mark.parametrize("moment", ["written", "unwritten"])
async def test_a_resting_stop_is_still_in_the_books_after_a_kill_and_a_restart(tmp_path: Path, moment: str) -> None:
    """Drakkar-Software/OctoBot#3190: after a restart stops and take-profits were gone, the buys stood unprotected."""
    killed(tmp_path, moment)
    with Journal.open_read_only(tmp_path / JOURNAL_FILE) as journal:
        (stop,) = journal.open_orders()
    assert stop.state is (OrderState.OPEN if moment == "written" else OrderState.SUBMITTING)
    async with life(tmp_path, number=2) as node:
        (after,) = node.runner.state.live
        assert (after.client_order_id, after.state) == (stop.client_order_id, OrderState.OPEN)
        assert node.runner.state.holdings["BTC/USD"].amount == D("0.01")
        assert node.shop.asked == []
        assert len(node.shop.orders()) == 2
        assert [each["type"] for each in node.told("order.open")] == ["stop"]


@pytest.mark.asyncio
async def test_a_stop_that_the_exchange_lost_meanwhile_is_told_as_unknown_and_does_not_vanish(tmp_path: Path) -> None:
    """Drakkar-Software/OctoBot#3190: nobody told the owner that the protection was not there any more."""
    killed(tmp_path, "written")
    with closing(sqlite3.connect(tmp_path / SHOP_FILE)) as books, books:
        books.execute("DELETE FROM orders WHERE record LIKE '%\"open\"%'")
    async with life(tmp_path, number=2) as node:
        unknown = await node.until("order.unknown")
        assert (unknown["type"], unknown["reason"]) == ("stop", "the exchange does not find it")
        status = node.runner.status()
        assert (status["unknown_orders"], status["health"]) == (1, "uncertain")
        node.order("more")
        assert (await node.until("command.refused"))["rule"] == "unknown_order"


@pytest.mark.asyncio
async def test_a_stop_that_was_triggered_while_no_node_ran_is_counted_at_the_next_start(tmp_path: Path) -> None:
    """Drakkar-Software/OctoBot#3190, the other way round: gone because it did what it was for."""
    killed(tmp_path, "written")
    shop = Shop(tmp_path / SHOP_FILE, [])
    with Journal.open_read_only(tmp_path / JOURNAL_FILE) as journal:
        (stop,) = journal.open_orders()
    shop._trade(replace(stop.request(), type=OrderType.MARKET, stop_price=None))
    shop.db.close()
    async with life(tmp_path, number=2) as node:
        await node.until("order.filled", 2)
        assert node.runner.state.holdings["BTC/USD"].amount == 0
        assert node.runner.state.live == []
