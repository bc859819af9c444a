"""The migrations make exactly the tables that the code writes to, and the database is durable the way it says."""

from __future__ import annotations

import compileall
import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, insert, inspect, text

import control_plane
from control_plane import schema
from control_plane.clock import utc_now
from control_plane.database import Database, NoDatabase, deployment, metadata, open_database
from control_plane.location import Location, in_folder
from tests.control_plane.support import ENVIRONMENT
from verifier.stores import SqlStore
from verifier.stores.sql import metadata as verifier_metadata


@pytest.fixture
def database(where: Location) -> Iterator[Database]:
    opened = open_database(where, create=True)
    yield opened
    opened.close()


def test_the_migrations_make_what_the_code_and_the_verifier_expect(database: Database) -> None:
    schema.upgrade(database)
    both = MetaData(naming_convention=metadata.naming_convention)
    for each in (metadata, verifier_metadata):
        for table in each.tables.values():
            table.to_metadata(both)
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, both) == []


def test_the_head_that_is_looked_for_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", "control_plane:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == schema.HEAD


def test_two_that_migrate_at_once_and_one_that_comes_later_agree(database: Database) -> None:
    assert not schema.is_current(database)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: schema.upgrade(database), range(2)))
    schema.upgrade(database)
    assert schema.is_current(database)


def test_a_database_of_the_first_form_keeps_its_nodes_and_finds_them_by_their_machine(database: Database) -> None:
    at_home, moved, bare, revoked = (f"n_{letter * 20}" for letter in "abcr")
    states = {
        at_home: _first_form({"machine_id": "m", "boot": "b", "cpu": "c"}),
        moved: _first_form({"machine_id": "m", "boot": "b"}, seen={"machine_id": "other"}),
        bare: _first_form({"cpu": "c"}),
        revoked: _first_form({"machine_id": "m", "boot": "b"}),
    }
    with database.writing() as connection:
        _upgrade_to(connection, "0001")
        for node_id, state in states.items():
            values = {"id": node_id, "revoked": "2026-11-24T09:00:00.000000Z" if node_id == revoked else None}
            connection.execute(text(_FIRST_NODE), values)
            connection.execute(text("INSERT INTO verifier_nodes VALUES (:id, :state)"), {"id": node_id, "state": state})

    schema.upgrade(database)

    with database.reading() as connection:
        rows = connection.execute(text("SELECT node_id, machine_id, boot, state FROM verifier_nodes")).all()
        kept = connection.execute(text("SELECT count(*) FROM nodes")).scalar_one()
    assert sorted((row[0], row[1], row[2]) for row in rows) == [
        (at_home, "m", "b"),
        (moved, "other", None),
        (bare, None, None),
    ]
    assert {row[0]: row[3] for row in rows} == {name: states[name] for name in (at_home, moved, bare)}
    assert kept == 4
    store = SqlStore(database.writer)
    assert sorted(store.on_machine({"machine_id": "m"})) == [at_home]
    loaded = store.load(moved)
    assert loaded is not None
    assert (loaded.issued, loaded.machine.components) == ("3.t", {"machine_id": "other"})


_FIRST_NODE = """
    INSERT INTO nodes (node_id, name, agent_version, platform, enrolled_at, revoked_at)
    VALUES (:id, 'attic-pi', '0.1.0', 'linux/amd64', '2026-11-24T09:00:00.000000Z', :revoked)
"""


def _first_form(components: dict[str, str], *, seen: dict[str, str] | None = None) -> str:
    """A node's state as the first form had it."""
    last = {"session": "s", "request": 3, "ticket": "2.t", "digest": "d", "peer": "127.0.0.1", "at": 1_795_000_000}
    return json.dumps(
        {
            "issued": "3.t",
            "baseline": {"digest": "d", "components": components},
            "shown": "2.t",
            "last": last,
            "seen": None if seen is None else {"digest": "e", "components": seen},
            "drifting": 0,
            "superseded_at": [],
            "suspended_at": None,
        }
    )


real = command.upgrade


def _upgrade_to(connection: Connection, revision: str) -> None:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "control_plane:migrations")
    real(config, revision)


def test_a_tree_without_sources_brings_the_database_to_its_form(where: Location, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(Path(control_plane.__file__).parent, tree / "control_plane", ignore=shutil.ignore_patterns("*.pyc"))
    compileall.compile_dir(tree, quiet=1, legacy=True)
    for source in tree.rglob("*.py"):
        source.unlink()
    environ = ENVIRONMENT | {"PYTHONPATH": f"{tree}:{Path(control_plane.__file__).parents[1]}"}
    command = [sys.executable, "-m", "control_plane", "migrate", *where.option.split()]
    done = subprocess.run(command, env=environ, cwd=tree, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, f"the database {where.name} has form {schema.HEAD}\n"), done.stderr
    with contextlib.closing(open_database(where)) as database:
        assert schema.is_current(database)


def test_steps_that_are_missing_are_no_success(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScriptDirectory, "walk_revisions", lambda self: iter(()))
    with pytest.raises(schema.StepsMissing, match="is not installed"):
        schema.upgrade(database)


def test_a_form_that_is_not_reached_is_no_success_and_leaves_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "upgrade", lambda config, _: _upgrade_to(config.attributes["connection"], "0001"))
    with pytest.raises(schema.StepsMissing, match="has form 0001, and not"):
        schema.upgrade(database)
    with database.reading() as connection:
        assert inspect(connection).get_table_names() == []


def test_a_newer_database_is_left_alone(database: Database) -> None:
    schema.upgrade(database)
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(schema.NewerSchema):
        schema.upgrade(database)
    assert not schema.is_current(database)


def test_every_connection_of_sqlite_writes_ahead_and_waits_for_the_disk(tmp_path: Path) -> None:
    opened = open_database(in_folder(tmp_path), create=True)
    with contextlib.closing(opened) as database, database.reading() as connection:
        found = [connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in _PRAGMAS]
    assert dict(zip(_PRAGMAS, found, strict=True)) == _PRAGMAS


_PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 10_000, "foreign_keys": 1}


def test_a_write_that_fails_leaves_nothing(database: Database) -> None:
    schema.upgrade(database)
    row = {"id": 1, "salt_id": "s", "salt": "s", "master_key_check": "c", "created_at": utc_now()}

    def fail() -> None:
        with database.writing() as connection:
            connection.execute(insert(deployment).values(row))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with database.reading() as connection:
        assert connection.execute(deployment.select()).all() == []


def test_a_directory_without_a_database_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(NoDatabase):
        open_database(in_folder(tmp_path))
    assert list(tmp_path.iterdir()) == []
