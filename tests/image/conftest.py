"""Our images, built once a run on a real engine, and a node's volume with what its owner puts beside it."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.image.engine import CANDLES, Container, build, docker, required, tried, volume

NODE_USER: Final = 10001
KEY_FILE: Final = "/run/secrets/vault_key"
HARDENED: Final = (
    "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp", "--memory", "256m",
    "--pids-limit", "64", "--init",
)  # fmt: skip


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker engine."""
    required()


@pytest.fixture(scope="session")
def node_image(engine: None) -> str:
    """The id of the node's image."""
    return build("node", "trading-node/node:test")


@pytest.fixture(scope="session")
def control_plane_image(engine: None) -> str:
    """The id of the control plane's image."""
    return build("control-plane", "trading-node/control-plane:test")


@dataclass
class Home:
    """What a trader has: a volume for the node, and the file with the vault's key."""

    image: str
    volume: str
    key_file: Path

    @property
    def options(self) -> tuple[str, ...]:
        """The flags of docs/running.md."""
        mounts = (
            f"{self.volume}:/data",
            "/etc/machine-id:/etc/machine-id:ro",
            f"{self.key_file}:{KEY_FILE}:ro",
        )
        return (*HARDENED, *(word for mount in mounts for word in ("--volume", mount)))

    def run(self, *command: str, options: tuple[str, ...] = (), image: str | None = None) -> str:
        """A command of the node to its end; it has to go well."""
        return docker("run", "--rm", *self.options, *options, image or self.image, *command)

    def container(self, *command: str, options: tuple[str, ...] = (), image: str | None = None) -> Container:
        """The node itself, made and not yet started."""
        return Container(image or self.image, command, (*self.options, *options))

    def made(self, *options: str) -> Home:
        """With a paper node in it."""
        self.run("init", "--paper", "--candles", CANDLES, "--vault-key-file", KEY_FILE, "--non-interactive", *options)
        return self


@pytest.fixture
def home(node_image: str, tmp_path: Path) -> Iterator[Home]:
    """A home without a node yet."""
    key_file = tmp_path / "vault.key"
    key_file.write_bytes(base64.urlsafe_b64encode(secrets.token_bytes(32)))
    # as docs/running.md has it done: the file is the node's user's, and nobody else's
    key_file.chmod(0o400)
    os.chown(key_file, NODE_USER, NODE_USER)
    tmp_path.chmod(0o755)
    with volume() as name:
        yield Home(node_image, name, key_file)


def refused(done_by: tuple[str, ...]) -> str:
    """What a `docker run` says that ends with 2."""
    done = tried("run", "--rm", *done_by)
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr
