"""What a server's answer brings is on the disk before it has consequences, without syncing twice for one order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal as D
from pathlib import Path

import pytest

from node_agent.core.effects import Append
from node_agent.core.market import ExchangeStatus
from node_agent.journal import JOURNAL_FILE, Journal, JournalError
from node_protocol.messages import Command, Event
from tests.node.values import START, place, ready


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / JOURNAL_FILE) as opened:
        yield opened


def answered(journal: Journal, *commands: Command) -> None:
    journal.record_answer(ticket="t", acked_through=0, commands=commands, at=START)


@contextmanager
def commits(journal: Journal) -> Iterator[list[str]]:
    """How each transaction is synced: SQLite's word for it when the commit begins."""
    told: list[str] = []
    mode = ["FULL"]

    def heard(statement: str) -> None:
        if statement.startswith("PRAGMA synchronous = "):
            mode[0] = statement.rpartition(" ")[2]
        if statement == "COMMIT":
            told.append(mode[0])

    journal._connection.set_trace_callback(heard)
    yield told
    journal._connection.set_trace_callback(None)


def test_an_answer_without_commands_is_synced_at_once(journal: Journal) -> None:
    with commits(journal) as synced:
        answered(journal)
        journal.settle()
    assert synced == ["FULL"]


def on_disk(path: Path) -> tuple[str, list[str]]:
    """What a process that begins now would find: the ticket, and the commands."""
    with Journal.open_read_only(path) as reader:
        return reader.ticket(), [command.id for command in reader.commands_not_done()]


def test_one_with_commands_is_one_transaction_with_the_append_behind_it(journal: Journal, tmp_path: Path) -> None:
    command = place("a")
    with commits(journal) as synced:
        answered(journal, command)
        assert journal.ticket() == "t"
        assert on_disk(tmp_path / JOURNAL_FILE) == ("", [])
        journal.put_fact("seen", True)
        journal.append(Append(at=START, facts={"decided": True}))
        assert on_disk(tmp_path / JOURNAL_FILE) == ("t", [command.id])
        journal.settle()
    assert synced == ["FULL"]


def test_and_is_written_before_the_server_is_asked_again_when_nothing_was_appended(
    journal: Journal, tmp_path: Path
) -> None:
    with commits(journal) as synced:
        answered(journal, place("a"))
        journal.settle()
        journal.settle()
    assert synced == ["FULL"]
    assert on_disk(tmp_path / JOURNAL_FILE)[0] == "t"


def test_and_when_the_journal_is_closed(tmp_path: Path) -> None:
    with Journal.open(tmp_path / JOURNAL_FILE) as journal:
        answered(journal, place("a"))
    assert on_disk(tmp_path / JOURNAL_FILE)[0] == "t"


def test_an_append_that_cannot_be_written_takes_the_answer_with_it(journal: Journal, tmp_path: Path) -> None:
    """Nothing of it was acted on, and the server gives it again to the process that comes next."""
    answered(journal, place("a"))
    gap = Event(seq=7, id="ev_e", type="node.note", at=START, data={"text": "a number too far"})
    with pytest.raises(JournalError, match="gap"):
        journal.append(Append(at=START, events=(gap,)))
    journal.settle()
    assert on_disk(tmp_path / JOURNAL_FILE) == ("", [])


def test_facts_alone_are_not_synced(journal: Journal) -> None:
    with commits(journal) as synced:
        journal.put_fact("seen", True)
        journal.append(Append(at=START, facts={"decided": True}))
    assert synced == ["NORMAL", "FULL"]


def test_all_that_counts_into_the_last_minute_is_restored_however_many_orders_it_was(journal: Journal) -> None:
    node = ready(orders_per_minute=10_000, max_total_notional=D(10**9))
    for number in range(700):
        (request,) = node.order(place(f"o{number}", amount="0.0003"))
        node.tell(request, ExchangeStatus.EXPIRED)
    for append in node.appends:
        journal.append(append)
    assert len(node.state.placed) == 700
    assert journal.restore().placed == node.state.placed
