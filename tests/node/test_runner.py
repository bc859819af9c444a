"""The one loop: carries effects out in order, survives what an exchange may do, ends in order or with a reason."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from pathlib import Path

import pytest

from node_agent.core import events
from node_agent.core.effects import Append
from node_agent.core.orders import OrderState
from node_agent.exchanges.port import ExchangeUnavailable, OrderRefused, OutcomeUnknown
from node_agent.journal import Journal, JournalError
from node_agent.parts import NodeFailed
from node_protocol.messages import Command
from tests.node.bench import Bench, Line, running
from tests.node.until import becomes

pytestmark = pytest.mark.asyncio


async def test_an_order_is_in_the_journal_before_the_exchange_hears_of_it(tmp_path: Path) -> None:
    seen: list[list[OrderState]] = []
    async with running(tmp_path) as bench:

        async def look(what: str) -> None:
            if what == "before create":
                with Journal.open_read_only(tmp_path / "journal.sqlite3") as reader:
                    seen.append([order.state for order in reader.open_orders()])

        bench.shop.around = look
        bench.order()
        await bench.until("order.filled")
    assert seen == [[OrderState.SUBMITTING]]


async def test_every_step_is_told_and_the_uplink_is_woken(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.order()
        await bench.until("order.filled")
        await becomes(lambda: bench.types.count("account.snapshot") == 2, "a snapshot after the fill")
        assert bench.line.woken > 0
        woken = bench.line.woken
    assert bench.line.closed == [True]
    assert bench.shop.closed
    assert woken >= 3


async def test_the_reports_of_a_short_life(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.order()
        await bench.until("order.filled")
        await becomes(lambda: bench.types.count("account.snapshot") == 2, "a snapshot after the fill")
        bench.runner.stop("enough")
        last = await bench.until("node.stopping")
        assert bench.types == [
            "node.started",
            "account.snapshot",
            "order.submitting",
            "trade",
            "order.filled",
            "account.snapshot",
            "node.stopping",
        ]
        assert last.data["reason"] == "enough"


async def test_an_answer_lost_after_acceptance_makes_no_second_order(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:

        async def lose(what: str) -> None:
            if what == "after create":
                raise OutcomeUnknown("timed out")

        bench.shop.around = lose
        bench.order()
        await bench.until("order.filled")
        assert len(bench.shop.orders()) == len(bench.shop.asked) == 1


async def test_an_order_that_was_surely_not_taken_is_sent_again(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        failures = [ExchangeUnavailable("away")]

        async def fail(what: str) -> None:
            if what == "before create" and failures:
                raise failures.pop()

        bench.shop.around = fail
        bench.order()
        await bench.until("order.filled")
        assert len(bench.shop.orders()) == 1
        assert bench.shop.asked == [bench.shop.orders()[0].client_order_id] * 2


async def test_a_slow_exchange_holds_up_no_command(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        answer = asyncio.Event()

        async def wait(what: str) -> None:
            if what == "after create":
                await answer.wait()

        bench.shop.around = wait
        bench.order(type="limit", price="39000")
        await becomes(lambda: bench.shop.asked, "the order is under way")
        bench.order(amount="99")
        await bench.until("command.refused")
        answer.set()


async def test_an_exchange_that_is_away_at_start_is_waited_for(tmp_path: Path) -> None:
    failures = [ExchangeUnavailable("away")]

    async def fail(what: str) -> None:
        if what == "before markets" and failures:
            raise failures.pop()

    def away(bench: Bench) -> None:
        bench.shop.around = fail

    async with running(tmp_path, away) as bench:
        assert bench.types[0] == "node.started"


async def test_a_node_can_be_stopped_while_the_exchange_is_away(tmp_path: Path) -> None:
    async def fail(what: str) -> None:
        raise ExchangeUnavailable("away")

    bench = Bench(tmp_path)
    bench.shop.around = fail
    task = asyncio.create_task(bench.runner.run())
    await asyncio.sleep(0)
    bench.runner.stop("enough")
    await task
    assert bench.shop.closed
    bench.journal.close()


async def test_a_broken_stream_is_taken_up_again_and_what_was_missed_is_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        kept, bench.shop.told = bench.shop.told, asyncio.Queue()
        bench.order()
        await becomes(bench.shop.fills, "a fill that nobody hears of")
        kept.put_nowait(ExchangeUnavailable("line cut"))
        await bench.until("order.filled")
        assert bench.types.count("trade") == 1


async def test_the_end_of_the_stream_is_not_the_end_of_the_node(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.shop.told.put_nowait(None)
        bench.order(amount="99")
        await bench.until("command.refused")


async def test_a_part_that_dies_ends_the_node_with_its_reason(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.line.dies = RuntimeError("no more")
    bench.line.end.set()
    with pytest.raises(NodeFailed, match=r"the uplink died: RuntimeError: no more"):
        await bench.runner.run()
    assert bench.line.closed == [False]
    assert bench.shop.closed
    bench.journal.close()


async def test_an_uplink_that_ends_by_itself_ends_the_node(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.line.end.set()
    with pytest.raises(NodeFailed, match="the uplink ended by itself"):
        await bench.runner.run()
    bench.journal.close()


async def test_nothing_is_sent_when_it_cannot_be_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    task = asyncio.create_task(bench.runner.run())
    await bench.until("account.snapshot")

    def full(append: Append) -> None:
        raise JournalError("the disk is full")

    monkeypatch.setattr(bench.journal, "append", full)
    bench.order()
    with pytest.raises(JournalError, match="full"):
        await task
    assert bench.shop.asked == []
    bench.journal.close()


async def test_answers_under_way_are_written_down_before_the_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    task = asyncio.create_task(bench.runner.run())
    await bench.until("account.snapshot")
    answer = asyncio.Event()

    async def wait(what: str) -> None:
        if what == "after create":
            await answer.wait()

    bench.shop.around = wait
    bench.order(type="limit", price="39000")
    await becomes(lambda: bench.shop.asked, "the order is under way")
    bench.runner.stop("enough")
    await bench.until("node.stopping")
    answer.set()
    await task
    assert "order.open" in bench.types
    bench.journal.close()


async def test_commands_that_a_crash_left_over_are_carried_out_at_the_next_start(tmp_path: Path) -> None:
    now = datetime.now(UTC)

    def left_over(bench: Bench) -> None:
        command = Command(
            id="cmd_x",
            issued_at=now,
            expires_at=now + timedelta(minutes=5),
            type="trading.pause",
            data={},
        )
        bench.journal.record_answer(ticket="t", acked_through=0, commands=[command], at=now)

    async with running(tmp_path, left_over) as bench:
        await bench.until("node.paused")
        assert bench.journal.done_commands() == ["cmd_x"]
        assert bench.runner.status()["rules"] == ["paused_by_server"]


async def test_a_server_that_suspends_stops_new_risk(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.runner.deliver(events.Suspended("a fork", datetime.now(UTC)))
        bench.order()
        refused = await bench.until("command.refused")
        assert refused.data["rule"] == "suspended"
        assert bench.runner.status()["trading"] == "halted"


async def test_prices_in_the_status_are_text(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        assert bench.runner.status()["prices"] == {"BTC/USD": "40000"}
        assert D(bench.runner.status()["prices"]["BTC/USD"]) == D(40000)


async def test_a_cancel_goes_to_the_exchange_and_its_answer_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        failures = [OutcomeUnknown("timed out"), ExchangeUnavailable("away")]

        async def fail(what: str) -> None:
            if what == "before cancel" and failures:
                raise failures.pop()

        bench.shop.around = fail
        bench.order(type="limit", price="39000")
        await bench.until("order.open")
        bench.order(type_="orders.cancel_all")
        await bench.until("order.cancelled")
        assert not failures


async def test_an_order_that_the_exchange_refuses_is_rejected(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:

        async def fail(what: str) -> None:
            if what == "before create":
                raise OrderRefused("no money")

        bench.shop.around = fail
        bench.order()
        assert (await bench.until("order.rejected")).data["reason"] == "no money"


async def test_balances_that_are_not_told_are_no_snapshot(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        failures = [ExchangeUnavailable("away")]

        async def fail(what: str) -> None:
            if what == "before balances" and failures:
                raise failures.pop()

        bench.shop.around = fail
        bench.order(type_="account.report")
        await becomes(lambda: not failures, "balances were asked for")
        assert bench.types.count("account.snapshot") == 1
        bench.order(type_="account.report")
        await becomes(lambda: bench.types.count("account.snapshot") == 2, "the next report")


async def test_a_key_is_rotated_beside_the_loop(tmp_path: Path) -> None:
    class Rotating(Line):
        async def rotate_key(self) -> str | None:
            return "the server is away"

    def rotates(bench: Bench) -> None:
        bench.runner.attach(Rotating())

    async with running(tmp_path, rotates) as bench:
        bench.order(type_="key.rotate")
        assert "the server is away" in (await bench.until("node.note")).data["text"]


async def test_a_part_that_dies_ends_the_node_even_while_the_exchange_is_away(tmp_path: Path) -> None:
    async def fail(what: str) -> None:
        raise ExchangeUnavailable("away")

    bench = Bench(tmp_path)
    bench.shop.around = fail
    bench.line.dies = RuntimeError("no more")
    bench.line.end.set()
    with pytest.raises(NodeFailed, match="the uplink died"):
        await bench.runner.run()
    bench.journal.close()
