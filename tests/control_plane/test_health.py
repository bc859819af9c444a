"""`control-plane health`: quick, one line, and an exit code that a container's health check goes by."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from control_plane.location import at_url
from tests.control_plane.support import ENVIRONMENT, ServerProcess, control_plane
from tests.services import PostgresServer, free_port


def test_a_server_that_is_ready_is_told_by_exit_code_0(server: ServerProcess) -> None:
    url = f"http://127.0.0.1:{server.port}/readyz"
    said = control_plane("health", "--url", url)
    assert (said.returncode, said.stdout, said.stderr) == (0, "ready\n", "")
    told = control_plane("health", "--url", url, "--json")
    assert (told.returncode, json.loads(told.stdout)) == (0, {"ready": True, "problem": None})


def test_a_server_whose_database_is_away_is_not_ready_and_says_why(tmp_path: Path) -> None:
    postgres = PostgresServer()
    server = ServerProcess(tmp_path, where=at_url(postgres.new_database(), {})).start()
    try:
        postgres.crash()
        url = f"http://127.0.0.1:{server.port}/readyz"
        said = control_plane("health", "--url", url, "--json")
    finally:
        server.end()
        postgres.remove()
    problem = "the database cannot be reached or is not of this version's form"
    assert json.loads(said.stdout) == {"ready": False, "problem": problem}
    assert (said.returncode, said.stderr) == (1, f"control-plane: error: the server at {url} is not ready: {problem}\n")


def test_nobody_who_listens_and_nobody_who_answers_in_time_are_told() -> None:
    said = control_plane("health", "--url", f"http://127.0.0.1:{free_port()}/readyz")
    assert (said.returncode, said.stderr.endswith("is not ready: connection refused\n")) == (1, True)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        said = control_plane("health", "--url", f"http://127.0.0.1:{port}/readyz", "--timeout", "0.1")
    assert (said.returncode, said.stderr.endswith("is not ready: timed out\n")) == (1, True)


@pytest.mark.parametrize("page", [b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\n[]", b"HTTP/1.1 500 No\r\n\r\nx", b"?"])
def test_a_stranger_s_answer_is_not_taken_for_a_server_that_is_ready(page: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        command = [sys.executable, "-m", "control_plane", "health", "--url"]
        url = f"http://127.0.0.1:{stranger.getsockname()[1]}/readyz"
        with subprocess.Popen([*command, url], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as asking:
            line, _ = stranger.accept()
            with line:
                assert line.recv(1000).startswith(b"GET /readyz HTTP/1.1\r\n")
                line.sendall(page)
            _, said = asking.communicate(timeout=60)
    assert asking.returncode == 1
    assert said.startswith(f"control-plane: error: the server at {url} is not ready: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("url", ["readyz", "ftp://127.0.0.1/", "http://127.0.0.1:x/"])
def test_what_is_no_url_is_wrong_usage(url: str) -> None:
    assert control_plane("health", "--url", url).returncode == 2


def test_it_starts_quickly_for_it_loads_nothing_that_a_server_needs() -> None:
    probe = (
        "import sys, control_plane.cli.health as _; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    assert not {"sqlalchemy", "fastapi", "uvicorn", "pydantic", "cryptography", "structlog", "redis"} & set(
        found.stdout.split()
    )
