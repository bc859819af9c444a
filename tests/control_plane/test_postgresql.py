"""The server on PostgreSQL: what it must not lose or mix up there, and what it does when that goes and comes back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

import verifier
from control_plane import database as database_module
from control_plane import schema
from control_plane.clock import utc_now
from control_plane.database import Database, deployment, nodes, open_database
from control_plane.location import Location, at_url
from tests.control_plane.support import (
    ENVIRONMENT,
    Enrolment,
    Node,
    ServerProcess,
    control_plane,
    enrolled,
    event,
    json_of,
)
from tests.services import PostgresServer
from tests.support import until
from verifier.stores import SqlStore


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that a test may crash."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[Database]:
    with contextlib.closing(open_database(at_url(postgres.new_database(), {}))) as opened:
        schema.upgrade(opened)
        yield opened


def test_a_database_that_was_made_without_an_encoding_serves_as_well(postgres: PostgresServer) -> None:
    where = postgres.new_database("ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    with contextlib.closing(open_database(at_url(where, {}))) as opened:
        schema.upgrade(opened)
        row = {"node_id": "n_a", "name": "Käthe", "agent_version": "1", "platform": "x", "enrolled_at": utc_now()}
        with opened.writing() as connection:
            connection.execute(insert(nodes).values(row))
        with opened.reading() as connection:
            assert connection.execute(select(nodes.c.name)).scalar_one() == "Käthe"


def test_reading_sees_one_state_whatever_is_written_beside_it_and_changes_nothing(database: Database) -> None:
    row = {"id": 1, "salt_id": "s", "salt": "s", "master_key_check": "c", "created_at": utc_now()}
    with database.reading() as reading:
        assert reading.execute(select(deployment)).all() == []
        with database.writing() as writing:
            writing.execute(insert(deployment).values(row))
        assert reading.execute(select(deployment)).all() == []
        with pytest.raises(DBAPIError, match="read-only transaction"):
            reading.execute(insert(deployment).values(row | {"id": 2}))
    with database.reading() as reading:
        assert len(reading.execute(select(deployment)).all()) == 1


def test_of_two_that_write_at_once_one_waits(database: Database) -> None:
    order: list[str] = []

    def second() -> None:
        with database.writing():
            order.append("second")

    thread = threading.Thread(target=second)
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    with database.writing() as connection:
        thread.start()
        until(lambda: connection.execute(waiting).scalar_one() or None, "the second writer")
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]


def test_who_waits_too_long_for_the_one_that_writes_is_told_so_and_the_next_is_good(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(database_module._POSTGRESQL, "options", "-c statement_timeout=100")
    with contextlib.closing(open_database(at_url(postgres.new_database(), {}))) as opened:
        with opened.writing(), pytest.raises(OperationalError, match="statement timeout"), opened.writing():
            pytest.fail("two write at once")
        with opened.writing() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_a_ticket_moves_while_a_transaction_writes(database: Database) -> None:
    store = SqlStore(database.writer)
    with database.writing():
        store.save("n_" + "a" * 20, verifier.enrolled("0." + "t" * 22, {}))
        assert store.load("n_" + "a" * 20) is not None


def test_times_are_compared_by_their_bytes(database: Database) -> None:
    columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' AND collation_name = 'C'"
    with database.reading() as connection:
        found = connection.execute(text(columns)).scalar_one()
    times = [each for table in nodes.metadata.tables.values() for each in table.c if "UtcTime" in repr(each.type)]
    assert found == len(times) > 10


def test_what_strangers_write_is_kept_to_the_letter(server: ServerProcess) -> None:
    """A NUL is legal in JSON, and PostgreSQL has none in its texts."""
    name, data = "attic\0pi \\0 \\\\ \\", {"note": "\0 \\0 \\u0000", "\0": "\U0001f4a5"}
    enrolment = Enrolment(server.address, server.token())
    agent = {"version": "0\0", "platform": "\0/\\"}
    node = enrolment.node(enrolment.post(name=name, agent=agent))
    assert node.sync(events=[event(1, **data)]).json["acked_through"] == 1
    again = node.sync(events=[event(1, **data), event(2)], status={"mode": "\0"})
    assert again.json["acked_through"] == 2, "the same event is the same again"

    with contextlib.closing(open_database(server.location)) as opened, opened.reading() as connection:
        row = connection.execute(select(nodes)).one()
    assert (row.name, row.agent_version, row.platform) == (name, agent["version"], agent["platform"])
    told = control_plane("events", "tail", *server.database, "--node", node.node_id, "--json").stdout.splitlines()
    assert len(told) == 2
    shown = json_of("nodes", "show", *server.database, node.node_id)
    assert (shown["name"], shown["status"]) == (name.replace("\0", "?"), {"mode": "\0"})


def test_the_wire_s_highest_numbers_have_room(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    last = 10**15 - 1
    server.execute("UPDATE nodes SET last_seq = 999999999999998")
    assert node.sync(events=[event(last)]).json["acked_through"] == last


def test_a_postgresql_that_crashes_under_load_is_gone_on_with_and_each_event_is_there_once(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    server = ServerProcess(tmp_path, where=at_url(own_postgres.new_database(), {})).start()
    try:
        play_a_crash(server, own_postgres)
    finally:
        server.end()


def play_a_crash(server: ServerProcess, own_postgres: PostgresServer) -> None:
    first = [enrolled(server.address, server.token()) for _ in range(3)]
    warm, done, refused = threading.Semaphore(0), threading.Event(), threading.Event()
    reached = {node.node_id: 0 for node in first}

    def load(node: Node) -> None:
        while not (done.is_set() and reached[node.node_id] >= 30):
            seq = reached[node.node_id] + 1
            reply = node.sync(events=[event(seq), event(seq + 1)])
            if reply.status == 200:
                reached[node.node_id] = reply.json["acked_through"]
                warm.release()
            else:
                assert reply.json["code"] == "unavailable", reply.body
                refused.set()

    threads = [threading.Thread(target=load, args=(node,)) for node in first]
    for thread in threads:
        thread.start()
    for _ in range(20):
        assert warm.acquire(timeout=60)
    own_postgres.crash()
    assert refused.wait(60)
    assert control_plane("nodes", "list", *server.database).stderr.startswith("control-plane: error: the database at ")
    own_postgres.start()
    done.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    with contextlib.closing(open_database(server.location)) as opened, opened.reading() as connection:
        for node_id, last in reached.items():
            found = connection.execute(text("SELECT seq FROM events WHERE node_id = :id ORDER BY seq"), {"id": node_id})
            assert list(found.scalars()) == list(range(1, last + 1))


def test_two_servers_that_make_one_database_at_once_agree(postgres: PostgresServer, tmp_path: Path) -> None:
    where = at_url(postgres.new_database(), {})
    servers = [ServerProcess(tmp_path / name, where=where) for name in "ab"]
    threads = [threading.Thread(target=server.start) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    try:
        node = enrolled(servers[0].address, servers[1].token())
        assert node.sync().status == 200
    finally:
        for server in servers:
            server.end()
    assert server.execute("SELECT count(*) FROM deployment") == 1


def test_a_token_made_first_makes_the_tables(postgres: PostgresServer) -> None:
    where = at_url(postgres.new_database(), {})
    made = control_plane("token", "create", *where.option.split())
    assert made.stderr.splitlines()[0] == f"there was no server {where.name}: made its database"
    again = control_plane("token", "create", environ=ENVIRONMENT | {"DATABASE_URL": where.name.removeprefix("at ")})
    assert (again.returncode, len(again.stderr.splitlines())) == (0, 1)


def test_tables_that_are_not_there_are_told_with_what_makes_them(postgres: PostgresServer) -> None:
    where: Location = at_url(postgres.new_database(), {})
    told = control_plane("nodes", "list", *where.option.split())
    assert told.returncode == 2
    assert f"hint: `control-plane migrate{where.option}` brings" in told.stderr
