"""What can go wrong at enrolment: each ends in one line that says what to do, with the right exit code."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.control_plane.support import ServerProcess, json_of
from tests.support import NodeDir, environment, node_agent, told
from tests.system.conftest import register

GOOD_FORM = "nt_" + "a" * 16 + "_" + "A" * 43


def enrol(node: NodeDir, server: str, token: str, *more: str, code: int) -> str:
    arguments: tuple[str | Path, ...] = (
        "register",
        "--data-dir",
        node.path,
        "--server",
        server,
        "--token",
        token,
        *more,
    )
    return told(node_agent(*arguments), code)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> NodeDir:
    """A node that nobody enrols."""
    return NodeDir.made(tmp_path_factory.mktemp("fresh"))


def test_a_machine_that_has_a_node_already_says_so_and_the_token_stays_good(
    server: ServerProcess, node: NodeDir, tmp_path: Path
) -> None:
    second, token = NodeDir.made(tmp_path / "second"), server.token()
    words = ("register", "--data-dir", second.path, "--server", f"http://127.0.0.1:{server.port}")
    done = node_agent(*words, "--insecure-loopback", "--token", token)
    assert "fingerprint_duplicate (no more nodes of this server may be on this machine" in told(done, 3)
    [hint] = [line for line in done.stderr.splitlines() if line.startswith("hint: ")]
    assert "token create --replaces" in hint
    assert "serve --max-nodes-per-machine" in hint

    server.end()
    roomy = ServerProcess(server.data_dir, ("--max-nodes-per-machine", "2"), server.port).start()
    try:
        register(second, roomy, token)
    finally:
        roomy.end()
    assert second.status()["node_id"] != node.status()["node_id"]


def test_a_node_that_stands_in_for_another_on_its_machine_enrols(
    server: ServerProcess, node: NodeDir, tmp_path: Path
) -> None:
    second = NodeDir.made(tmp_path / "second")
    register(second, server, server.token("--replaces", node.status()["node_id"]))
    states = {each["node_id"]: each["state"] for each in json_of("nodes", "list", "--data-dir", server.data_dir)}
    assert states == {node.status()["node_id"]: "revoked", second.status()["node_id"]: "active"}


def test_a_token_that_was_used_says_so(server: ServerProcess, tmp_path: Path) -> None:
    other = NodeDir.made(tmp_path / "other")
    token = server.token()
    register(other, server, token)
    third = NodeDir.made(tmp_path / "third")
    url = f"http://127.0.0.1:{server.port}"
    assert "revoked" in enrol(third, url, token, "--insecure-loopback", code=3)


def test_an_expired_token_says_so(server: ServerProcess, fresh: NodeDir) -> None:
    token = json_of("token", "create", "--data-dir", server.data_dir, "--expires", "1s")["token"]
    url = f"http://127.0.0.1:{server.port}"
    import time

    time.sleep(1.1)  # the token's own time has to pass: it is what is tested
    assert "expired" in enrol(fresh, url, token, "--insecure-loopback", code=3)


def test_an_unknown_token_says_so(server: ServerProcess, fresh: NodeDir) -> None:
    url = f"http://127.0.0.1:{server.port}"
    assert "does not know this token" in enrol(fresh, url, GOOD_FORM, "--insecure-loopback", code=3)


def test_a_url_that_the_server_does_not_go_by_is_told_as_the_other_likely_cause(
    server: ServerProcess, fresh: NodeDir
) -> None:
    words = ("register", "--data-dir", fresh.path, "--server", f"http://localhost:{server.port}", "--insecure-loopback")
    done = node_agent(*words, "--token", server.token())
    assert "is not reached by this name" in told(done, 3)
    assert "hint: is the URL the one that the server goes by?" in done.stderr


def test_of_two_tokens_none_is_tried(fresh: NodeDir, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(GOOD_FORM)
    more = ("--insecure-loopback", "--token-file", str(tmp_path / "token"))
    assert "there are two tokens" in enrol(fresh, "http://127.0.0.1:1", GOOD_FORM, *more, code=2)


def test_a_server_that_is_away_says_so_and_loses_nothing(server: ServerProcess, tmp_path: Path) -> None:
    node, token = NodeDir.made(tmp_path), server.token()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    said = enrol(node, f"http://127.0.0.1:{port}", token, "--insecure-loopback", code=4)
    assert "cannot reach the server" in said
    register(node, server, token)
    assert node.status()["node_id"].startswith("n_")


@pytest.mark.parametrize(
    ("url", "token", "more", "said"),
    [
        ("http://127.0.0.1:1", GOOD_FORM, (), "plain http is refused"),
        ("http://bots.example", GOOD_FORM, ("--insecure-loopback",), "plain http to bots.example is refused"),
        ("ftp://bots.example", GOOD_FORM, (), "a server's URL is https://"),
        ("https://bots.example/path", GOOD_FORM, (), "ends behind host and port"),
        ("https://user@bots.example", GOOD_FORM, (), "a server's URL is https://"),
        ("https://bots.example:x", GOOD_FORM, (), "not a server's URL"),
        ("http://127.0.0.1:1", "nt_short", ("--insecure-loopback",), "not an enrolment token"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_sent(
    fresh: NodeDir, url: str, token: str, more: tuple[str, ...], said: str
) -> None:
    message = enrol(fresh, url, token, *more, code=2)
    assert said in message
    assert "A" * 20 not in message


def test_a_node_that_is_registered_is_not_registered_again(server: ServerProcess, node: NodeDir) -> None:
    url = f"http://127.0.0.1:{server.port}"
    assert "registered already" in enrol(node, url, server.token(), "--insecure-loopback", code=1)


def test_a_directory_without_a_node_says_how_to_make_one(tmp_path: Path) -> None:
    nothing = NodeDir(tmp_path / "nothing", tmp_path / "key")
    assert "there is no" in enrol(nothing, "https://bots.example", GOOD_FORM, code=2)


def test_a_node_that_runs_is_not_enrolled_from_beside_it(server: ServerProcess, node: NodeDir) -> None:
    from tests.support import NodeProcess, until

    with NodeProcess(node):
        until(lambda: True if node.status()["running"] else None, "the node to run")
        url = f"http://127.0.0.1:{server.port}"
        message = enrol(node, url, server.token(), "--insecure-loopback", "--replace", code=1)
        assert "is running" in message


@pytest.mark.parametrize("module", ["node_agent", "control_plane"])
def test_no_command_at_all_shows_the_help_and_is_wrong_usage(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module], capture_output=True, text=True, check=False, timeout=60, env=environment()
    )
    assert done.returncode == 2
    assert "Commands:\n" in done.stdout + done.stderr
    assert "error" not in done.stderr
