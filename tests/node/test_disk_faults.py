"""A journal that the disk has spoilt: no trading, one clear line with a way out, the file untouched, and back whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
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
    connection = sqlite3.connect(f"file:{path}?immutable=1", uri=True)  # which leaves the log alone
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


def cut_within_a_page(path: Path) -> None:
    """The file ends somewhere."""
    path.write_bytes(path.read_bytes()[: 5 * PAGE + 777])


def emptied(path: Path) -> None:
    """The file is there, and nothing is in it."""
    path.write_bytes(b"")


def index_entry_turned(path: Path) -> None:
    """One byte in the entries of an index is another: every page still looks like one."""
    page = page_of(path, "sqlite_autoindex_orders_1")
    content = bytearray(path.read_bytes())
    content[page * PAGE + PAGE - 20] ^= 0x01
    path.write_bytes(content)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(page_overwritten("orders"), id="a page of a table"),
        pytest.param(page_overwritten("orders_by_time"), id="a page of an index"),
        pytest.param(index_entry_turned, id="one bit in an index"),
        pytest.param(cut, id="half of the file"),
        pytest.param(cut_within_a_page, id="the end of the file"),
        pytest.param(emptied, id="all of the file"),
    ],
)
@pytest.mark.parametrize("killed", [False, True], ids=["at rest", "killed"])
def test_a_spoilt_journal_is_refused_untouched_and_goes_on_when_it_is_put_back(
    node: NodeDir, spoil: Callable[[Path], None], killed: bool
) -> None:
    if killed:
        is_killed(node)
    whole = files(node)
    spoil(node.path / JOURNAL_FILE)
    spoilt = files(node)
    assert spoilt != whole
    done = node_agent("run", "--data-dir", node.path)
    said = told(done, 1)
    assert "damaged" in said or "is empty" in said
    assert "hint: " in done.stderr
    assert files(node) == spoilt
    put_back(node, whole)
    goes_on(node)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("UPDATE orders SET record = replace(record, 'expired', 'exp1red')", id="an order's word"),
        pytest.param("UPDATE orders SET record = substr(record, 1, 50)", id="half an order"),
        pytest.param("UPDATE facts SET value = substr(value, 1, 5) WHERE name = 'market'", id="half a fact"),
        pytest.param("UPDATE facts SET value = '{\"at\":5}' WHERE name = 'market'", id="another kind of fact"),
    ],
)
def test_a_record_that_is_not_as_it_was_written_is_refused_in_one_line(node: NodeDir, change: str) -> None:
    """SQLite finds each of these pages whole: it keeps no sums of what they say."""
    path = node.path / JOURNAL_FILE
    whole = path.read_bytes()
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(change).rowcount > 0
    done = node_agent("run", "--data-dir", node.path)
    assert "damaged: a record cannot be read" in told(done, 1)
    assert "do not trade on it" in done.stderr
    path.write_bytes(whole)
    goes_on(node)


def test_a_journal_whose_log_was_taken_away_is_not_traded_on(node: NodeDir) -> None:
    """What a killed node wrote last is in the log alone: without it the node would not know its latest orders."""
    is_killed(node)
    log = node.path / f"{JOURNAL_FILE}-wal"
    whole = files(node)
    log.unlink()
    without = files(node)
    for _ in range(2):  # looking does not make it good
        done = node_agent("run", "--data-dir", node.path)
        assert "is not whole" in told(done, 1)
        assert f"put {log.name} back" in done.stderr
        assert files(node) == without
    put_back(node, whole)
    goes_on(node)


def test_a_whole_copy_may_be_put_in_the_place_of_a_journal_that_lost_its_log(node: NodeDir, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite3"
    assert node_agent("journal", "export", "--data-dir", node.path, copy).returncode == 0
    is_killed(node)
    (node.path / f"{JOURNAL_FILE}-wal").unlink()
    (node.path / JOURNAL_FILE).write_bytes(copy.read_bytes())
    done = node_agent("run", "--data-dir", node.path)
    assert f"remove {JOURNAL_FILE}-open" in done.stderr
    (node.path / f"{JOURNAL_FILE}-open").unlink()
    goes_on(node)


def test_a_log_that_was_cut_leaves_all_that_is_whole_before_the_cut(node: NodeDir) -> None:
    """Like a power cut within a write, and not to be told from one."""
    before = node.status()["events"]["last_seq"]
    is_killed(node)
    log = node.path / f"{JOURNAL_FILE}-wal"
    log.write_bytes(log.read_bytes()[: 32 + 24 + PAGE // 2])
    assert node.status()["events"]["last_seq"] == before
    goes_on(node)


def test_a_log_that_is_lost_with_the_power_leaves_what_was_synced_into_the_file(node: NodeDir) -> None:
    (node.path / f"{JOURNAL_FILE}-wal").write_bytes(b"\0" * 100)
    goes_on(node)


def files(node: NodeDir) -> dict[str, bytes]:
    """The journal's file, its log, and the mark beside them."""
    names = (JOURNAL_FILE, f"{JOURNAL_FILE}-wal", f"{JOURNAL_FILE}-open")
    return {name: (node.path / name).read_bytes() for name in names if (node.path / name).exists()}


def put_back(node: NodeDir, whole: dict[str, bytes]) -> None:
    """The fault is mended."""
    for name, content in whole.items():
        (node.path / name).write_bytes(content)


def is_killed(node: NodeDir) -> None:
    """It starts, writes, and is killed: its last words are in the log beside the file."""
    before = node.status()["events"]["last_seq"]
    with NodeProcess(node) as process:
        until(lambda: node.status()["events"]["last_seq"] > before or None, "the start to be written")
        process.process.kill()
        process.process.wait()
    assert len(files(node)) == 3


def goes_on(node: NodeDir) -> None:
    """It starts, knows all that it knew, and counts on from there."""
    before = node.status()["events"]["last_seq"]
    assert before > 300
    with NodeProcess(node) as process:
        until(lambda: node.status()["events"]["last_seq"] > before or None, "the start to be written")
        assert process.stop()[0] == 0, process.log
    with Journal.open_read_only(node.path / JOURNAL_FILE) as journal:
        assert len(journal.restore().orders) >= 300
