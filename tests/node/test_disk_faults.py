"""A journal that the disk has spoilt: no trading, one clear line with a way out, the file untouched, and back whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from node_agent.core.market import ExchangeStatus
from node_agent.journal import JOURNAL_FILE, Journal
from tests.node.values import Node, limits, place
from tests.support import NodeDir, NodeProcess, node_agent, told, until

PAGE = 4096


@pytest.fixture
def node(tmp_path: Path) -> NodeDir:
    """A node with some hundred orders and events behind it, at rest."""
    made = NodeDir.made(tmp_path, "--strategy", "none")
    mind = Node(limits(orders_per_minute=10_000))
    mind.tick(0, 40000)
    for number in range(300):
        (request,) = mind.order(place(f"o{number}", amount="0.001"))
        mind.tell(request, ExchangeStatus.EXPIRED)
    with Journal.open(made.path / JOURNAL_FILE) as journal:
        for append in mind.appends:
            journal.append(append)
    return made


def page_of(path: Path, name: str) -> int:
    """The first page of a table or an index, from 0."""
    connection = sqlite3.connect(path)
    try:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    finally:
        connection.close()
    return int(root) - 1


def page_overwritten(name: str) -> Callable[[Path], None]:
    """A page of a table or an index is something else."""

    def spoil(path: Path) -> None:
        page = page_of(path, name)
        content = bytearray(path.read_bytes())
        content[page * PAGE : page * PAGE + 64] = b"\xa5" * 64
        path.write_bytes(content)

    return spoil


def cut(path: Path) -> None:
    """The second half of the file is gone."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 // PAGE * PAGE])


def index_entry_turned(path: Path) -> None:
    """One byte in the entries of an index is another: every page still looks like one."""
    page = page_of(path, "sqlite_autoindex_orders_1")
    content = bytearray(path.read_bytes())
    content[page * PAGE + PAGE - 20] ^= 0x01
    path.write_bytes(content)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(page_overwritten("events"), id="a page of a table"),
        pytest.param(page_overwritten("orders_by_market_time"), id="a page of an index"),
        pytest.param(index_entry_turned, id="one bit in an index"),
        pytest.param(cut, id="half of the file"),
    ],
)
def test_a_spoilt_journal_is_refused_untouched_and_goes_on_when_it_is_put_back(
    node: NodeDir, spoil: Callable[[Path], None]
) -> None:
    path = node.path / JOURNAL_FILE
    whole = path.read_bytes()
    spoil(path)
    spoilt = path.read_bytes()
    assert spoilt != whole
    done = node_agent("run", "--data-dir", node.path)
    assert "damaged" in told(done, 1)
    assert "do not trade on it" in done.stderr
    assert path.read_bytes() == spoilt
    path.write_bytes(whole)
    goes_on(node)


def test_a_log_that_is_lost_with_the_power_leaves_what_was_synced_into_the_file(node: NodeDir) -> None:
    (node.path / f"{JOURNAL_FILE}-wal").write_bytes(b"\0" * 100)
    goes_on(node)


def goes_on(node: NodeDir) -> None:
    """It starts, knows all that it knew, and counts on from there."""
    before = node.status()["events"]["last_seq"]
    assert before > 300
    with NodeProcess(node) as process:
        until(lambda: node.status()["events"]["last_seq"] > before or None, "the start to be written")
        assert process.stop()[0] == 0, process.log
    with Journal.open_read_only(node.path / JOURNAL_FILE) as journal:
        assert len(journal.restore().orders) >= 300
