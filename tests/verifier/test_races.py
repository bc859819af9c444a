"""Two verifiers in two processes on one store: of thousands of copies of one request exactly one is accepted."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import environment
from tests.verifier.nodes import Node
from tests.verifier.racer import opened, packed
from verifier.stores import RedisStore, SqlStore, Store

COPIES, THREADS, ROUNDS = 1000, 8, 3


@pytest.fixture(params=["sqlite", "postgresql", "redis", "valkey", "redis and postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store is that processes share, empty."""
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path / 'shared.sqlite3'}"
        with opened(address) as store:
            assert isinstance(store, SqlStore)
            store.create_tables()
        return address
    if request.param == "postgresql":
        request.getfixturevalue("postgres_engine")
        return str(request.getfixturevalue("postgres").url)
    kind, _, states = request.param.partition(" and ")
    address = f"{request.getfixturevalue(kind).url}#{secrets.token_hex(4)}"
    with opened(address) as store:
        assert isinstance(store, RedisStore)
        store.start_new()
    if states:
        request.getfixturevalue("postgres_engine")
        return f"{address}|{request.getfixturevalue('postgres').url}"
    return address


@pytest.fixture
def racers(url: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes that are ready."""
    command = [sys.executable, "-m", "tests.verifier.racer", url, str(COPIES), str(THREADS)]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment())
            )
            for _ in range(2)
        ]
        for process in processes:
            stack.callback(process.kill)
            assert said(process) == "ready"
        yield processes


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_of_thousands_of_racing_copies_of_one_request_exactly_one_is_accepted(
    url: str, racers: list[subprocess.Popen[str]]
) -> None:
    with opened(url) as store:
        race(store, racers)


def race(store: Store, racers: list[subprocess.Popen[str]]) -> None:
    node = Node()
    node.enrol(store)
    for _ in range(ROUNDS):
        line = packed(node.signed()) + "\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write(line)
            racer.stdin.flush()
        outcomes = Counter[str]()
        for racer in racers:
            outcomes.update(json.loads(said(racer)))
        assert outcomes == {"accepted": 1, "replayed": 2 * COPIES - 1}
        state = store.load(node.node_id)
        assert state is not None
        node.ticket = state.issued
