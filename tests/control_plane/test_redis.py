"""Two processes of one server, on one PostgreSQL and one Redis; and what they do when Redis goes and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
import structlog

from control_plane import bell as bell_module
from control_plane import commands
from control_plane.bell import Bell
from control_plane.clock import utc_now
from control_plane.database import open_database
from control_plane.location import at_url, in_folder
from node_protocol.messages import Nothing
from tests.control_plane.support import (
    DEADLINE,
    FrozenServer,
    ServerProcess,
    control_plane,
    enrolled,
    event,
    exchange,
    frozen_server,
    json_of,
    read_reply,
    request_bytes,
)
from tests.services import PostgresServer, RedisServer, free_port
from tests.support import until

LOOKS_ONCE = "from control_plane import cli, commands; commands._SAFETY_SECONDS = 3600; cli.main()"


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis that a test may kill."""
    server = RedisServer()
    yield server
    server.remove()


@pytest.fixture
def two(own_redis: RedisServer, postgres: PostgresServer, tmp_path: Path) -> Iterator[list[ServerProcess]]:
    """Two processes of one server; each looks at the database once an hour, but for what it is told."""
    where = at_url(postgres.new_database(), {})
    first = free_port()
    options = ("--redis-url", own_redis.url, "--authority", f"127.0.0.1:{first}")
    with contextlib.ExitStack() as stack:
        servers = [
            ServerProcess(tmp_path / name, options, port, where, ("-c", LOOKS_ONCE))
            for name, port in (("a", first), ("b", 0))
        ]
        for server in servers:
            server.start()
            stack.callback(server.end)
        yield servers


@pytest.fixture
def frozen(own_redis: RedisServer, tmp_path: Path) -> Iterator[FrozenServer]:
    """A server with a Redis, whose clock stands still."""
    with frozen_server(in_folder(tmp_path / "server"), own_redis.url) as served:
        yield served


def test_a_command_from_the_command_line_reaches_a_poll_wherever_it_is_held(
    two: list[ServerProcess], own_redis: RedisServer
) -> None:
    here = two[0]
    nodes = [enrolled(here.address, here.token()) for _ in two]
    for server, node in zip(two, nodes, strict=True):
        body = json.dumps(node.message(wait=25)).encode()
        headers = node.signer.sign("/v1/sync", body)
        with socket.create_connection(server.address, timeout=DEADLINE) as line:
            line.sendall(request_bytes("/v1/sync", headers, body))
            heard(own_redis)
            told = json_of("nodes", "pause", *server.database, "--redis-url", own_redis.url, node.node_id)
            reply = node.signer.judged(read_reply(line), headers)
        came = utc_now()
        found = reply.json["commands"][0]
        assert found["id"] == told["command_id"]
        assert came - datetime.fromisoformat(found["issued_at"]) < timedelta(seconds=1)


def test_of_copies_of_one_request_at_both_processes_at_once_one_is_accepted(two: list[ServerProcess]) -> None:
    node = enrolled(two[0].address, two[0].token())
    for number in range(1, 6):
        body = json.dumps(node.message(events=[event(number)])).encode()
        message = request_bytes("/v1/sync", node.signer.sign("/v1/sync", body), body)
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda n, message=message: exchange(two[n % 2].address, message), range(16)))
        assert sorted(reply.status for reply in replies) == [200] + [409] * 15
        assert {reply.json["code"] for reply in replies if reply.status == 409} == {"replayed"}
        node.ticket = next(reply.json["ticket"] for reply in replies if reply.status == 200)


def test_without_its_redis_nothing_is_accepted_and_with_it_what_was_signed_once_it_knows_of_all(
    frozen: FrozenServer, own_redis: RedisServer
) -> None:
    node = frozen.node()
    assert node.sync(created=frozen.clock.seconds).status == 200
    own_redis.kill()
    assert node.sync(created=frozen.clock.seconds).refusal == (503, "unavailable", True)
    assert ready(frozen) == 503
    own_redis.start()
    assert ready(frozen) == 200
    for passed in (0, 130):
        frozen.clock.now += timedelta(seconds=passed)
        assert node.sync(created=frozen.clock.seconds).refusal == (503, "unavailable", True)
    frozen.clock.now += timedelta(seconds=1)
    assert node.sync(created=frozen.clock.seconds).status == 200


def ready(server: FrozenServer) -> int:
    return exchange(server.address, request_bytes("/readyz", [("host", "x")], b"", method="GET")).status


def test_a_command_is_found_though_redis_is_away(frozen: FrozenServer, own_redis: RedisServer) -> None:
    node = frozen.node()
    line, headers = node.hold(25, created=frozen.clock.seconds)
    with line:
        heard(own_redis)
        line.settimeout(10)
        own_redis.kill()
        issued = pause(frozen, node.node_id)
        reply = node.signer.judged(read_reply(line), headers)
    assert [each["id"] for each in reply.json["commands"]] == [issued]


def pause(server: FrozenServer, node_id: str) -> str:
    """A command that nobody is told of."""
    with contextlib.closing(open_database(server.where)) as database:
        command = commands.issue(
            database, server.clock(), node_id=node_id, command_type="trading.pause", data=Nothing()
        )
    return command.id


def heard(redis: RedisServer) -> None:
    """Waits until somebody listens."""
    until(lambda: redis.client.pubsub_numsub("trading-node:look")[0][1] or None, "a listener")


def test_a_node_that_was_found_out_at_one_process_is_told_at_the_other(
    two: list[ServerProcess], own_redis: RedisServer
) -> None:
    """A copy with a ticket of nobody's comes to the one; the true node's poll at the other ends: it is suspended."""
    node = enrolled(two[0].address, two[0].token())
    copy = node.copy()
    body = json.dumps(node.message(wait=25)).encode()
    headers = node.signer.sign("/v1/sync", body)
    with socket.create_connection(two[1].address, timeout=10) as line:
        line.sendall(request_bytes("/v1/sync", headers, body))
        heard(own_redis)
        copy.ticket = "7." + "A" * 22
        assert copy.sync().refusal[1] == "ticket_conflict"
        assert node.signer.judged(read_reply(line), headers).refusal == (403, "suspended", True)


def test_a_deployment_that_is_new_need_not_wait_and_one_that_got_another_redis_must(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    where = in_folder(tmp_path / "server")
    made = control_plane("token", "create", *where.option.split(), "--redis-url", own_redis.url)
    assert made.returncode == 0
    with frozen_server(where, own_redis.url) as server:
        node = server.node()
        assert node.sync(created=server.clock.seconds).status == 200
    own_redis.kill()
    own_redis.start()
    with frozen_server(where, own_redis.url) as server:
        node.signer = replace(node.signer, address=server.address)
        assert node.sync(created=server.clock.seconds).refusal == (503, "unavailable", True)


def test_a_server_starts_without_its_redis_and_says_that_it_is_not_ready(tmp_path: Path) -> None:
    with frozen_server(in_folder(tmp_path / "server"), f"redis://127.0.0.1:{free_port()}") as server:
        assert ready(server) == 503


def test_a_bell_is_heard_again_once_redis_is_back(own_redis: RedisServer) -> None:
    bell = Bell(own_redis.url)
    seen: list[str | None] = []

    async def go() -> None:
        listening = asyncio.create_task(bell.listen(seen.append))
        for number in (1, 2):
            await asyncio.to_thread(until, lambda number=number: seen.count(None) == number or None, "the bell")
            await asyncio.to_thread(bell.ring, f"n_{number}")
            await asyncio.to_thread(until, lambda number=number: f"n_{number}" in seen or None, "a word")
            if number == 1:
                own_redis.kill()
                await asyncio.to_thread(bell.ring, "n_lost")
                own_redis.start()
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening

    asyncio.run(go())
    assert seen == [None, "n_1", None, "n_2"]


def test_a_line_to_redis_that_died_without_a_word_is_given_up(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bell_module, "_SILENCE_SECONDS", 0.1)
    seen: list[str | None] = []

    async def go() -> None:
        listening = asyncio.create_task(Bell(own_redis.url).listen(seen.append))
        await asyncio.to_thread(until, lambda: seen or None, "the bell")
        own_redis.signal(signal.SIGSTOP)
        await asyncio.to_thread(until, lambda: (own_redis.process is not None and len(lost) > 0) or None, "the end")
        own_redis.signal(signal.SIGCONT)
        await asyncio.to_thread(until, lambda: len(seen) > 1 or None, "the bell again")
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening

    lost: list[str] = []
    monkeypatch.setattr(
        bell_module, "_log", structlog.wrap_logger(None, processors=[lambda _l, _n, facts: told(facts)])
    )

    def told(facts: MutableMapping[str, Any]) -> NoReturn:
        lost.append(str(facts["event"]))
        raise structlog.DropEvent

    asyncio.run(go())
    assert seen == [None, None]
