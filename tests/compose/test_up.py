"""`make up` and `make down`: what they make, what they keep, and what they say when they cannot."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compose.site import Site, stand_in

pytestmark = pytest.mark.timeout(1800)


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that it says when it cannot; behind it stand hints alone."""
    assert done.returncode == 1
    line, *hints = done.stderr[done.stderr.index("up: error: ") :].splitlines()
    assert hints
    assert all(hint.startswith("hint: ") for hint in hints), done.stderr
    return line.removeprefix("up: error: ")


def test_a_site_stops_and_starts_with_its_data_and_its_secrets(new_site: Callable[..., Site]) -> None:
    site = new_site()
    with socket.create_server(("127.0.0.1", site.https_port)):
        assert refusal(site.up()) == "a port of the site is taken or not free to have"
    secrets = {path.name: path.read_bytes() for path in site.secrets.iterdir()}
    assert len(secrets) == 5
    assert {len(value) for value in secrets.values()} == {43}

    done = site.up()
    assert done.returncode == 0, done.stderr
    assert f"The site is up:     {site.url}\n" in done.stdout
    assert f"curl --cacert {site.secrets}/ca.crt {site.url}/healthz" in done.stdout
    assert "up: warning: these were made by the tests" in done.stderr
    assert site.environ["CONTROL_PLANE_IMAGE"] in done.stderr
    with site.client() as client:
        assert client.get("/healthz").status_code == 200
    site.execute("postgres", "psql", "--username", "postgres", "--command", "CREATE TABLE kept ()", "control_plane")
    authority = (site.secrets / "ca.crt").read_bytes()

    done = site.up("down")
    assert done.returncode == 0, done.stderr
    assert site.containers() == {}
    done = site.up()
    assert done.returncode == 0, done.stderr
    site.execute("postgres", "psql", "--username", "postgres", "--command", "TABLE kept", "control_plane")
    assert (site.secrets / "ca.crt").read_bytes() == authority
    assert {name: (site.secrets / name).read_bytes() for name in secrets} == secrets

    # a new password would open nothing, and a new master key less
    (site.secrets / "master_key").unlink()
    assert "master_key is gone, and the volume" in refusal(site.up())
    assert not (site.secrets / "master_key").exists()


def test_without_docker_it_says_what_to_install(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "env", "dirname"):
        (tools / tool).symlink_to(next(p for f in os.get_exec_path() if (p := Path(f) / tool).exists()))
    assert refusal(Site(tmp_path, PATH=str(tools)).up()) == "there is no docker here"


def test_without_an_engine_it_says_how_to_have_one(images: None, tmp_path: Path) -> None:
    said = refusal(Site(tmp_path, DOCKER_HOST=f"unix://{tmp_path}/nobody").up())
    assert said.startswith("no Docker engine answers: ")


def test_a_part_that_does_not_come_up_is_told_of(new_site: Callable[..., Site]) -> None:
    assert refusal(new_site(CONTROL_PLANE_IMAGE=stand_in("node")).up()) == "not all of the site became healthy"
