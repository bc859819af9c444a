"""A real control plane, a node that is enrolled with it, and an exchange on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.binance.process import BinanceProcess
from tests.control_plane.support import ServerProcess
from tests.support import NodeDir, node_agent


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    started = ServerProcess(tmp_path / "server").start()
    yield started
    started.end()


def register(node: NodeDir, server: ServerProcess, token: str | None = None) -> None:
    """Enrol by the words that outsiders script."""
    done = node_agent(
        "register",
        "--data-dir",
        node.path,
        "--server",
        f"http://127.0.0.1:{server.port}",
        "--token",
        token or server.token(),
        "--insecure-loopback",
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def node(tmp_path: Path, server: ServerProcess) -> NodeDir:
    node = NodeDir.made(tmp_path)
    register(node, server)
    return node


@pytest.fixture
def exchange() -> Iterator[BinanceProcess]:
    with BinanceProcess("--interval", "1s") as process:
        process.price("40000")
        yield process
