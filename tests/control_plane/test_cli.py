"""The operator's commands: what they print, how they fail, and the codes they exit with."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import MetaData

from control_plane import cli, database
from control_plane.cli.errors import CliError
from control_plane.cli.migrate import migrate
from control_plane.location import Location, in_folder
from control_plane.master_key import generate
from tests.control_plane.support import (
    DEADLINE,
    ENVIRONMENT,
    ServerProcess,
    control_plane,
    enrolled,
    event,
    json_of,
)

UNKNOWN = "n_" + "a" * 20
WITHOUT_KEY = {name: value for name, value in ENVIRONMENT.items() if name != "CONTROL_PLANE_MASTER_KEY"}


def fails(code: int, *arguments: object, environ: dict[str, str] = ENVIRONMENT, redirected: str = "") -> str:
    """The error line of a run that fails with this code, in the one form that errors have."""
    done = control_plane(*arguments, environ=environ, redirected=redirected)
    assert done.returncode == code, done
    first, *hints = done.stderr.splitlines()
    assert re.fullmatch(r"control-plane: error: [^A-Z].*[^.]", first), first
    assert all(hint.startswith("hint: ") for hint in hints)
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("key", [None, "", "change-me", "A" * 43, "0123456789abcdef" * 4])
def test_without_a_good_master_key_nothing_starts_and_no_port_is_opened(tmp_path: Path, key: str | None) -> None:
    environ = WITHOUT_KEY | ({} if key is None else {"CONTROL_PLANE_MASTER_KEY": key})
    for arguments in (["serve", "--port", "0"], ["token", "create"]):
        told = fails(2, *arguments, "--data-dir", tmp_path / "server", environ=environ)
        assert "control-plane keys generate" in told
        assert not key or key not in told
    assert not (tmp_path / "server").exists()


def test_a_master_key_s_hints_are_about_where_it_comes_from(tmp_path: Path) -> None:
    missing, empty, weak = (tmp_path / name for name in ("missing", "empty", "weak"))
    empty.touch()
    weak.write_text("change-me")
    create = ("token", "create", "--data-dir", tmp_path / "server")
    for path in (missing, empty, weak):
        told = fails(2, *create, environ=WITHOUT_KEY | {"CONTROL_PLANE_MASTER_KEY_FILE": str(path)})
        assert "name its file in CONTROL_PLANE_MASTER_KEY_FILE" in told
        assert "export" not in told
        assert (str(path) in told) == (path is not weak)
    told = fails(2, *create, environ=ENVIRONMENT | {"CONTROL_PLANE_MASTER_KEY_FILE": str(missing)})
    assert told.splitlines()[1:] == ["hint: unset CONTROL_PLANE_MASTER_KEY or CONTROL_PLANE_MASTER_KEY_FILE"]


def test_another_master_key_is_told_from_the_right_one(server: ServerProcess) -> None:
    environ = ENVIRONMENT | {"CONTROL_PLANE_MASTER_KEY": generate()}
    for arguments in (["serve", "--port", "0"], ["token", "create"]):
        assert "the master key is not the one of" in fails(2, *arguments, *server.database, environ=environ)


def test_a_generated_key_serves(tmp_path: Path) -> None:
    made = control_plane("keys", "generate", environ=WITHOUT_KEY)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\n", made.stdout)


def test_a_taken_port_is_told_in_one_line(server: ServerProcess, tmp_path: Path) -> None:
    told = fails(1, "serve", "--data-dir", tmp_path / "other", "--port", server.port)
    assert f"cannot listen on 127.0.0.1:{server.port}" in told


def test_a_bad_authority_is_wrong_usage(tmp_path: Path) -> None:
    fails(2, "serve", "--data-dir", tmp_path, "--port", 0, "--authority", "https://example.com/")


def test_a_token_is_shown_with_its_end(server: ServerProcess) -> None:
    told = json_of("token", "create", *server.database, "--expires", "90s")
    assert re.fullmatch(r"nt_[a-z2-7]{16}_[A-Za-z0-9_-]{43}", told["token"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told["expires_at"])
    assert "no node" in fails(1, "token", "create", *server.database, "--replaces", UNKNOWN)


def test_wrong_usage_is_told_in_our_form(tmp_path: Path) -> None:
    fails(2, "nodes", "show", "--data-dir", tmp_path, "n_short")
    fails(2, "nodes", "list")
    fails(2, "orders", "fly")
    fails(2, "token", "create", "--data-dir", tmp_path, "--expires", "soon")


def test_a_data_directory_without_a_database_is_told_with_what_makes_one(tmp_path: Path) -> None:
    for arguments in (["nodes", "list"], ["nodes", "show", UNKNOWN], ["events", "tail", "--node", UNKNOWN]):
        assert "control-plane serve" in fails(2, *arguments, "--data-dir", tmp_path)


def test_an_event_s_number_ends_where_those_of_the_wire_do(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    tail = ("events", "tail", *server.database, "--node", node.node_id, "--from-seq")
    assert control_plane(*tail, 10**15 - 1).returncode == 0
    for beyond in (10**15, 10**23 - 1, 0):
        assert "--from-seq" in fails(2, *tail, beyond)


def test_output_that_cannot_be_written_is_told_in_one_line(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    node.sync(events=[event(1)])
    # As at a terminal, Python keeps what it could not write, and tries again at its end.
    environ = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONUNBUFFERED"}
    where = server.database
    for arguments in (
        ["nodes", "list", *where, "--json"],
        ["orders", "list", *where, "--node", node.node_id, "--json"],
        ["events", "tail", *where, "--node", node.node_id],
        ["token", "create", *where],
        ["keys", "generate"],
        ["serve", *server.database, "--port", 0],
        ["--help"],
    ):
        told = fails(1, *arguments, environ=environ, redirected=">/dev/full")
        assert told == "control-plane: error: cannot write the output: no space left on device\n"


def test_what_is_shown_once_is_not_made_when_nobody_would_see_it(server: ServerProcess, tmp_path: Path) -> None:
    for arguments in (
        ["token", "create", *server.database, "--json"],
        ["token", "create", "--data-dir", tmp_path / "other"],
        ["keys", "generate"],
    ):
        told = fails(1, *arguments, redirected=">&-")
        assert told == "control-plane: error: cannot write the output: stdout is closed\n"
    assert not (tmp_path / "other").exists()
    assert server.execute("SELECT count(*) FROM tokens") == 0


def test_a_node_that_takes_no_commands_is_told_with_what_helps(server: ServerProcess) -> None:
    suspended, revoked = (enrolled(server.address, server.token()) for _ in range(2))
    assert suspended.copy(ticket="7." + "A" * 22).sync().status == 409
    # No command revokes without a replacement as yet.
    revoke = "UPDATE nodes SET revoked_at = '2026-11-24T09:00:00.000000Z' WHERE node_id = :node_id"
    server.execute(revoke, node_id=revoked.node_id)
    pause = ("nodes", "pause", *server.database)
    for node, state in ((suspended, "suspended"), (revoked, "revoked")):
        told = fails(1, *pause, node.node_id)
        assert f"{node.node_id} is {state}" in told
        hinted = re.search("hint: `control-plane (.+)` lets it enrol anew", told)
        assert hinted is not None
        token = control_plane(*shlex.split(hinted[1])).stdout.strip()
        new = enrolled(server.address, token)
        told = fails(1, *pause, node.node_id)
        assert told.splitlines()[1:] == [f"hint: {new.node_id} has taken its place: name that one"]
        json_of(*pause, new.node_id)


def test_a_token_can_be_made_before_the_server_first_serves(tmp_path: Path) -> None:
    data_dir = tmp_path / "server"
    made = control_plane("token", "create", "--data-dir", data_dir, "--json")
    assert made.returncode == 0
    assert made.stderr == f"there was no server in {data_dir}: made its database\n"
    server = ServerProcess(data_dir).start()
    try:
        assert enrolled(server.address, json.loads(made.stdout)["token"]).node_id.startswith("n_")
    finally:
        server.end()


def test_a_node_is_named_by_an_argument_or_by_the_option_that_other_commands_have(server: ServerProcess) -> None:
    node_id = enrolled(server.address, server.token()).node_id
    shown = [json_of("nodes", "show", *server.database, *name) for name in ([node_id], ["--node", node_id])]
    assert shown[0] == shown[1]
    for name in ([], [node_id, "--node", node_id]):
        assert "name one node" in fails(2, "nodes", "show", *server.database, *name)


def test_a_database_that_is_none_and_one_that_cannot_be_made_are_told(tmp_path: Path) -> None:
    (tmp_path / "control_plane.sqlite3").write_bytes(b"this is no database" * 100)
    told = fails(1, "nodes", "list", "--data-dir", tmp_path)
    assert "does not answer: file is not a database" in told
    assert "hint: restore it from its backup" in told
    (tmp_path / "file").touch()
    assert f": {tmp_path / 'file' / 'below'}" in fails(2, "migrate", "--data-dir", tmp_path / "file" / "below")


def test_a_database_that_another_program_holds_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(in_folder(tmp_path))
    monkeypatch.setattr(database, "_BUSY_MILLISECONDS", 1)
    with contextlib.closing(sqlite3.connect(tmp_path / "control_plane.sqlite3")) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(CliError, match="database is locked") as told:
            migrate(in_folder(tmp_path))
    assert told.value.hints == ("another program holds it: try again when that one is done",)


def test_a_database_that_fails_otherwise_is_told_with_what_to_look_at(tmp_path: Path) -> None:
    (tmp_path / "control_plane.sqlite3").mkdir()
    assert "hint: look at the disk's space" in fails(1, "migrate", "--data-dir", tmp_path)


def test_a_database_of_an_older_form_is_told_with_what_brings_it_up_to_date(tmp_path: Path) -> None:
    (tmp_path / "control_plane.sqlite3").touch()
    assert "control-plane migrate" in fails(2, "nodes", "list", "--data-dir", tmp_path)
    assert control_plane("migrate", "--data-dir", tmp_path, environ=WITHOUT_KEY).returncode == 0
    assert json_of("nodes", "list", "--data-dir", tmp_path) == []


def test_an_unknown_node_is_told_by_every_command_that_names_one(server: ServerProcess) -> None:
    where = server.database
    place = ("--symbol", "BTC/USD", "--side", "buy", "--type", "market", "--amount", "1")
    for arguments in (
        ["nodes", "show", UNKNOWN],
        ["events", "tail", "--node", UNKNOWN],
        ["orders", "list", "--node", UNKNOWN],
        ["orders", "place", "--node", UNKNOWN, *place],
        ["orders", "cancel", "--node", UNKNOWN, "--client-order-id", "x"],
    ):
        assert "has enrolled here" in fails(1, *arguments, *where)


def test_an_order_that_makes_no_sense_is_wrong_usage(server: ServerProcess) -> None:
    order = (
        "orders",
        "place",
        *server.database,
        "--node",
        UNKNOWN,
        "--symbol",
        "BTC/USD",
        "--side",
        "buy",
    )
    for rest in (
        ["--type", "limit", "--amount", "1"],
        ["--type", "market", "--amount", "1", "--price", "2"],
        ["--type", "market", "--amount", "0"],
        ["--type", "market", "--amount", "-1"],
        ["--type", "market", "--amount", "1e3"],
        ["--type", "market", "--amount", "lots"],
        ["--type", "stop", "--amount", "1", "--price", "2"],
    ):
        fails(2, *order, *rest)


def test_every_option_of_an_order_reaches_the_node(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    order = ("orders", "place", *server.database, "--node", node.node_id, "--symbol", "BTC/USD")
    stop = ("--side", "sell", "--type", "stop", "--amount", "1", "--stop-price", "9", "--reduce-only")
    told = json_of(*order, *stop, "--time-in-force", "ioc", "--exchange", "elsewhere")
    cancel = ("orders", "cancel", *server.database, "--node", node.node_id, "--client-order-id", "o1")
    json_of(*cancel)

    first, second = node.sync().json["commands"]
    assert first["id"] == told["command_id"]
    assert first["expires_at"] == told["expires_at"]
    assert first["data"] == {
        "exchange": "elsewhere",
        "symbol": "BTC/USD",
        "side": "sell",
        "type": "stop",
        "amount": "1",
        "stop_price": "9",
        "time_in_force": "ioc",
        "reduce_only": True,
    }
    assert (second["type"], second["data"]) == ("order.cancel", {"client_order_id": "o1"})


def test_what_people_read_has_no_control_characters_of_a_node_s_making(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    node.sync(events=[event(1, text="\x1b[2J\u202e")], status={"mode": "\x1b]0;title\x07"})
    where = server.database
    for arguments in (["nodes", "list"], ["nodes", "show", node.node_id], ["events", "tail", "--node", node.node_id]):
        done = control_plane(*arguments, *where)
        assert done.returncode == 0
        assert not set(done.stdout) & set("\x1b\x07\u202e")
        assert done.stdout


def kept_in(where: Location) -> bytes:
    """All that a database holds."""
    if where.file is not None:
        return b"".join(path.read_bytes() for path in where.file.parent.iterdir())
    with contextlib.closing(database.open_database(where)) as opened, opened.reading() as connection:
        tables = MetaData()
        tables.reflect(connection)
        return repr([connection.execute(table.select()).all() for table in tables.sorted_tables]).encode()


def test_no_secret_stands_in_the_database_as_it_is(server: ServerProcess) -> None:
    token = server.token()
    node = enrolled(server.address, token)
    node.sync()
    server.end()
    kept = kept_in(server.location)
    assert node.node_id.encode() in kept
    secret = token.rpartition("_")[2]
    for canary in (secret.encode(), node.signer.key, node.signer.key.hex().encode()):
        assert canary not in kept


def test_a_key_that_was_moved_to_another_node_s_row_does_not_open(server: ServerProcess) -> None:
    one, other = (enrolled(server.address, server.token()) for _ in range(2))
    moved = "UPDATE node_keys SET sealed = (SELECT sealed FROM node_keys WHERE key_id = :one) WHERE key_id = :other"
    server.execute(moved, one=one.signer.key_id, other=other.signer.key_id)
    assert other.sync().refusal == (503, "unavailable", False)
    assert one.sync().status == 200


def test_the_log_says_why_and_holds_no_secret(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "control_plane", "serve", "--data-dir", str(tmp_path), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rsplit(":", 1)[1])
        token = json_of("token", "create", "--data-dir", tmp_path)["token"]
        node = enrolled(("127.0.0.1", port), token)
        node.sync(surprise=1)
        with socket.create_connection(("127.0.0.1", port)):
            process.terminate()
            _, log = process.communicate(timeout=30)
    lines = [json.loads(line) for line in log.splitlines()]
    assert ("enrolled", node.node_id) in {(line["event"], line["node_id"]) for line in lines}
    assert ("refused", "not_a_SyncRequest") in {(line["event"], line.get("reason")) for line in lines}
    for canary in (token, ENVIRONMENT["CONTROL_PLANE_MASTER_KEY"], node.ticket):
        assert canary not in log


@pytest.mark.parametrize("group", [(), ("events",), ("keys",), ("nodes",), ("orders",), ("token",)])
def test_help_is_shown_on_request_and_for_a_group_alone(group: tuple[str, ...]) -> None:
    asked = control_plane(*group, "--help", environ=WITHOUT_KEY)
    alone = control_plane(*group, environ=WITHOUT_KEY)
    assert (asked.returncode, alone.returncode) == (0, 2)
    assert asked.stdout.startswith("Usage: control-plane")
    assert alone.stderr.startswith("Usage: control-plane")


def test_without_json_people_are_told_the_same(server: ServerProcess) -> None:
    where = server.database
    token = control_plane("token", "create", *where)
    node = enrolled(server.address, token.stdout.strip())
    assert token.stderr.startswith("good for one node until ")
    order = ("--symbol", "BTC/USD", "--side", "buy", "--type", "market", "--amount", "1")
    placed = control_plane("orders", "place", *where, "--node", node.node_id, *order)
    command_id = placed.stdout.split()[0]
    node.sync(events=[event(1) | {"type": "order.open", "data": {"client_order_id": "o1", "amount": "1"}}])
    listed = control_plane("orders", "list", *where, "--node", node.node_id).stdout
    assert re.search(r"^o1  open  ", listed, re.MULTILINE)
    assert re.search(rf"^{command_id}  sent  order.place  ", listed, re.MULTILINE)


def test_a_tail_that_follows_shows_what_comes_until_it_is_interrupted(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    command = ["events", "tail", *server.database, "--node", node.node_id, "--json", "--follow"]
    with subprocess.Popen(
        [sys.executable, "-m", "control_plane", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdout is not None
        for seq in (1, 2):
            node.sync(events=[event(seq)])
            ready, _, _ = select.select([process.stdout], [], [], DEADLINE)
            assert ready
            assert json.loads(process.stdout.readline())["seq"] == seq
        process.send_signal(signal.SIGINT)
        _, trouble = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert "Traceback" not in trouble


def test_a_tail_of_many_events_is_whole(server: ServerProcess) -> None:
    node = enrolled(server.address, server.token())
    for first in range(1, 2501, 500):
        node.sync(events=[event(seq) for seq in range(first, first + 500)])
    done = control_plane("events", "tail", *server.database, "--node", node.node_id, "--json")
    assert [json.loads(line)["seq"] for line in done.stdout.splitlines()] == list(range(1, 2501))

    command = [sys.executable, "-m", "control_plane", "events", "tail", *server.database]
    with subprocess.Popen(
        [*command, "--node", node.node_id], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == "", "who reads no further is no error"


def test_an_address_that_no_node_can_name_is_warned_of(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "control_plane", "serve", "--data-dir", str(tmp_path), "--port", "0"]
    with subprocess.Popen(
        [*command, "--host", "0.0.0.0"],  # noqa: S104
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("control-plane: listening on http://0.0.0.0:")
        process.terminate()
        _, log = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert "--authority" in log


def test_a_host_s_name_is_listened_on_at_its_address(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, ("--host", "localhost"))
    server.start()
    try:
        url = f"http://localhost:{server.port}/readyz"
        assert control_plane("health", "--url", url).returncode == 0
    finally:
        server.end()
    told = fails(1, "serve", "--data-dir", tmp_path, "--host", "no-such-host.invalid")
    assert "cannot listen on no-such-host.invalid:8099: " in told


def test_in_an_image_that_says_so_nothing_runs_as_root(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(said: str, uid: int) -> tuple[object, str]:
        monkeypatch.setenv("TRADING_NODE_ROOT", said)
        monkeypatch.setattr(os, "geteuid", lambda: uid)
        monkeypatch.setattr(sys, "argv", ["control-plane", "--version"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, capsys.readouterr().err

    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(os, "umask", lambda mask: 0)
    code, told = run("refuse", 0)
    assert (code, told.splitlines()[0]) == (2, "control-plane: error: it does not run as root here")
    assert "TRADING_NODE_ROOT=allow" in told
    for said, uid in (("allow", 0), ("", 0), ("refuse", 10001)):
        assert run(said, uid) == (0, "")
