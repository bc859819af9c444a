"""The journal: all or nothing, in order, kept until the server has it, and clear about what is wrong with it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from node_agent.core import events
from node_agent.core.effects import Append
from node_agent.core.market import ExchangeStatus
from node_agent.core.outbox import Report, numbered
from node_agent.journal import Journal, JournalError, JournalMissing, Registration
from node_agent.journal_schema import _MIGRATIONS, VERSION
from node_protocol.messages import Command
from tests.node.values import START, Node, candle, command, fill, place, told

REGISTRATION = Registration(
    server="http://127.0.0.1:1",
    authority="127.0.0.1:1",
    insecure_loopback=True,
    node_id="n_" + "a" * 20,
    key_id="n_" + "a" * 20 + ".1",
    salt_id="s1",
    salt="A" * 22,
    ticket="0." + "A" * 22,
    registered_at=START,
)

V1_ORDER: dict[str, object] = {
    "client_order_id": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "exchange": "paper",
    "symbol": "BTC/USD",
    "side": "buy",
    "type": "limit",
    "amount": "0.01",
    "price": "39000",
    "stop_price": None,
    "time_in_force": "gtc",
    "reduce_only": False,
    "created_at": "2026-01-05T09:00:07Z",
    "wanted_until": "2026-01-05T09:01:07Z",
    "market_at": "2026-01-05T09:00:00Z",
    "command_id": None,
    "strategy": None,
    "state": "open",
    "filled": "0",
    "filled_quote": "0",
    "trade_ids": [],
    "exchange_order_id": None,
    "reason": None,
    "told": None,
    "cancel_wanted": False,
    "lost_at": None,
    "tries": 0,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal.open(path) as opened:
        yield opened


def notes(journal: Journal, count: int, first: int = 1) -> Append:
    reports = [Report("node.note", {"text": f"note {first + n}"}) for n in range(count)]
    return Append(START, events=numbered(reports, origin=str(journal.fact("origin")), next_seq=first, at=START))


def answer(journal: Journal, acked_through: int = 0, *commands: Command, days: int = 0) -> list[Command]:
    return journal.record_answer(
        ticket="1." + "B" * 22, acked_through=acked_through, commands=commands, at=START + timedelta(days=days)
    )


def test_a_new_journal_is_for_its_owners_eyes_alone(journal: Journal, path: Path) -> None:
    journal.append(notes(journal, 1))
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}


def test_an_intent_is_synced_before_it_is_sent(journal: Journal) -> None:
    setting = journal._connection.execute("PRAGMA synchronous").fetchone()[0]
    mode = journal._connection.execute("PRAGMA journal_mode").fetchone()[0]
    assert (setting, mode) == (2, "wal")
    journal.put_fact("x", 1)
    assert journal._connection.execute("PRAGMA synchronous").fetchone()[0] == setting


def test_what_was_written_is_there_after_it_was_opened_again(path: Path) -> None:
    node = Node()
    with Journal.open(path) as journal:
        node.tick(0, 40000)
        limit, market = node.order(place("a", type="limit", price="39000"), place("b"))
        node.tell(limit, ExchangeStatus.OPEN)
        node.fill(market, "t1", 40000)
        node.take(events.OwnerPaused(START, "holidays"))
        for append in node.appends:
            journal.append(append)
    with Journal.open(path) as journal:
        state = journal.restore()
        assert journal.has_fill(fill(market, "t1", 40000))
        assert not journal.has_fill(fill(market, "t2", 40000))
        # An exchange that names no client order id tells ours, after a restart, as anybody's.
        assert journal.has_fill(replace(fill(market, "t1", 40000), client_order_id=""))
        assert not journal.has_fill(replace(fill(market, "t2", 40000), client_order_id=""))
        assert journal.last_fill_at() == START
        assert [order.client_order_id for order in journal.open_orders()] == [limit.client_order_id]
        assert [event.seq for event in journal.pending_events()] == list(range(1, state.next_seq))
    assert dict(state.orders) == dict(node.state.orders)
    assert state.holdings == node.state.holdings
    assert state.pauses == node.state.pauses
    assert state.next_seq == node.state.next_seq


def test_an_append_is_written_whole_or_not_at_all(journal: Journal) -> None:
    broken = replace(notes(journal, 1, first=7), facts={"holdings": {"BTC/USD": {"amount": "1", "cash": "1"}}})
    with pytest.raises(JournalError, match="gap"):
        journal.append(broken)
    assert journal.fact("holdings") is None
    assert journal.last_seq() == 0


def test_an_order_waiting_for_its_fills_survives(journal: Journal) -> None:
    node = Node()
    node.tick(0, 40000)
    (request,) = node.order(place("a"))
    node.tell(request, ExchangeStatus.FILLED)
    for append in node.appends:
        journal.append(append)
    (order,) = journal.restore().orders.values()
    assert order.told == told(request, ExchangeStatus.FILLED)


def test_the_markets_clock_is_kept_without_an_append(journal: Journal) -> None:
    node = Node()
    for effect in node.take(events.CandleClosed(START, candle(3, 41000))):
        if isinstance(effect, Append):
            journal.append(effect)
        elif hasattr(effect, "facts"):
            journal.put_facts(effect.facts)
    state = journal.restore()
    assert (state.market_at, state.prices, state.day) == (node.state.market_at, node.state.prices, node.state.day)


# Reports.


def test_events_are_pending_until_they_are_acknowledged(journal: Journal) -> None:
    journal.append(notes(journal, 5))
    answer(journal, 3)
    assert [event.seq for event in journal.pending_events()] == [4, 5]
    assert [event.seq for event in journal.pending_events(limit=1)] == [4]
    assert journal.event_counts() == {"last_seq": 5, "acknowledged": 3, "pending": 2}


def test_acknowledged_events_are_kept_for_thirty_days(journal: Journal) -> None:
    journal.append(notes(journal, 3))
    answer(journal, 3)
    answer(journal, 3, days=30)
    journal.rewind_acknowledged(1)
    assert [event.seq for event in journal.pending_events()] == [2, 3]
    answer(journal, 3)
    answer(journal, 3, days=31)
    journal.rewind_acknowledged(0)
    assert [event.seq for event in journal.pending_events()] == [3]
    assert journal.last_seq() == 3


def test_another_identity_counts_its_events_from_one(journal: Journal) -> None:
    journal.save_registration(REGISTRATION)
    journal.append(notes(journal, 5))
    answer(journal, 3)
    owed = [event.id for event in journal.pending_events()]
    journal.save_registration(replace(REGISTRATION, key_id="n_" + "a" * 20 + ".2"))
    assert [event.seq for event in journal.pending_events()] == [4, 5]
    other = "n_" + "b" * 20
    journal.save_registration(replace(REGISTRATION, node_id=other, key_id=other + ".1"))
    assert [event.seq for event in journal.pending_events()] == [1, 2]
    assert [event.id for event in journal.pending_events()] == owed
    journal.append(notes(journal, 3, first=3))
    ids = [event.id for event in journal.pending_events()]
    assert len(set(ids)) == len(ids) == 5
    assert journal.restore().next_seq == 6


# Commands.


def test_a_command_is_new_once(journal: Journal) -> None:
    first, second = command("a"), command("b")
    assert answer(journal, 0, first) == [first]
    assert answer(journal, 0, first, second) == [second]
    assert journal.commands_not_done() == [first, second]


def test_a_done_command_is_told_until_the_server_forgets_it(journal: Journal) -> None:
    answer(journal, 0, command("a"))
    assert journal.done_commands() == []
    journal.append(Append(START, commands_done=("cmd_a",)))
    assert journal.commands_not_done() == []
    assert journal.done_commands() == ["cmd_a"]
    journal.commands_told(["cmd_a"])
    assert journal.done_commands() == []
    assert answer(journal, 0, command("a")) == []
    assert journal.done_commands() == ["cmd_a"]
    assert "cmd_a" in journal.restore().commands


# Registration.


def test_the_newest_ticket_is_the_registrations(journal: Journal) -> None:
    assert journal.registration() is None
    assert journal.ticket() == ""
    journal.save_registration(REGISTRATION)
    assert journal.registration() == REGISTRATION
    answer(journal)
    journal.set_key_id(REGISTRATION.node_id + ".2")
    assert journal.registration() == replace(REGISTRATION, ticket="1." + "B" * 22, key_id=REGISTRATION.node_id + ".2")


def test_a_reader_sees_what_the_writer_wrote(journal: Journal, path: Path) -> None:
    with Journal.open_read_only(path) as reader:
        journal.append(notes(journal, 2))
        assert reader.last_seq() == 2
        with pytest.raises(JournalError, match="cannot be written"):
            reader.put_fact("x", 1)


# What is wrong with a journal is said in one line, with a way out.


def test_a_journal_of_a_newer_version_is_left_alone(path: Path) -> None:
    Journal.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    for opening in (Journal.open, Journal.open_read_only):
        with pytest.raises(JournalError, match=f"version {VERSION + 1}") as raised:
            opening(path)
        assert "newer" in raised.value.hints[0]


def test_a_damaged_journal_is_not_traded_on(path: Path) -> None:
    with Journal.open(path) as journal:
        for first in range(1, 2000, 200):
            journal.append(notes(journal, 200, first=first))
    content = bytearray(path.read_bytes())
    for page in range(3, len(content) // 4096):
        content[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    path.write_bytes(content)
    with pytest.raises(JournalError, match="damaged") as raised:
        Journal.open(path)
    assert raised.value.hints


def test_a_file_that_is_no_journal_is_not_overwritten(path: Path) -> None:
    path.write_bytes(b"my shopping list, and nothing else, for a good while" * 20)
    with pytest.raises(JournalError, match="damaged"):
        Journal.open(path)
    assert path.read_bytes().startswith(b"my shopping list")


def test_an_empty_file_is_no_new_journal(path: Path) -> None:
    """A file that was cut to nothing would else be a node that never ordered anything."""
    path.touch()
    with pytest.raises(JournalError, match="is empty") as raised:
        Journal.open(path)
    assert "backup" in raised.value.hints[0]
    assert path.read_bytes() == b""


def test_a_journal_bears_a_mark_as_long_as_its_log_belongs_to_it(path: Path) -> None:
    mark, log = path.with_name("journal.sqlite3-open"), path.with_name("journal.sqlite3-wal")
    with Journal.open(path):
        assert mark.exists()
        assert log.exists()
    assert not mark.exists()
    assert not log.exists()


def test_no_journal_is_made_by_looking(path: Path) -> None:
    with pytest.raises(JournalMissing) as raised:
        Journal.open_read_only(path)
    assert "init" in raised.value.hints[0]
    assert not path.exists()


def test_a_journal_that_is_only_being_made_is_not_read(path: Path) -> None:
    path.touch()
    with pytest.raises(JournalMissing):
        Journal.open_read_only(path)


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no such file or directory"):
        Journal.open(tmp_path / "nowhere" / "journal.sqlite3")


@pytest.mark.parametrize("how", ["open", "open_read_only"])
def test_a_log_that_was_lost_is_noticed_by_whoever_opens_the_journal(path: Path, tmp_path: Path, how: str) -> None:
    """A reader that made a new one in its place would hide it from the node's next start."""
    journal = Journal.open(path)
    journal.append(notes(journal, 1))
    there = tmp_path / "there"
    there.mkdir()
    for name in (path.name, f"{path.name}-open"):
        (there / name).write_bytes(path.with_name(name).read_bytes())
    journal.close()
    for _ in range(2):
        with pytest.raises(JournalError, match="is not whole"):
            getattr(Journal, how)(there / path.name)


def test_an_order_of_the_first_version_is_read_by_this_one(path: Path) -> None:
    """What it did not know is what it was then: decided and placed at one time."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(_MIGRATIONS[0])
        row = ("a" * 32, "2026-01-05T09:00:00.000Z", json.dumps(V1_ORDER))
        connection.execute("INSERT INTO orders VALUES (?, 0, ?, ?)", row)
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    with Journal.open(path) as journal:
        (order,) = journal.open_orders()
        assert (order.decided_at, order.placed_at) == (START + timedelta(seconds=7), START)
        assert journal.restore().placed == (START,)
