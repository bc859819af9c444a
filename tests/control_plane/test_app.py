"""The application by itself: what it says when something of ours is wrong, and which names it serves."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from pathlib import Path

import httpx
import pytest
from starlette.types import Message, Receive

from control_plane import deployment, http_io, schema
from control_plane.app import SignedRoute, create_app
from control_plane.channel import Channel
from control_plane.clock import utc_now
from control_plane.database import open_database
from control_plane.location import Location
from tests.control_plane.support import (
    DEADLINE,
    Enrolment,
    FrozenServer,
    ServerProcess,
    exchange,
    read_reply,
    request_bytes,
    sealer,
)
from verifier import Answer, SignedRequest


class BrokenChannel(Channel):
    """A channel with a fault."""

    async def sync(self, request: SignedRequest, receive: Receive) -> Answer:
        raise RuntimeError("the password is swordfish")


def ask(where: Location, kind: type[Channel], path: str, *, raw_target: bool, method: str = "POST") -> httpx.Response:
    """One request to an application on a database of its own."""
    database = open_database(where, create=True)
    schema.upgrade(database)
    salt = deployment.ensure(database, sealer(), utc_now())
    channel = kind(database, sealer(), salt, authorities=["test"], scheme="http", clock=utc_now)
    app = create_app(channel, salt)

    async def with_target(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        await app({**scope, "extensions": {http_io.RAW_TARGET: path} if raw_target else {}}, receive, send)

    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(with_target, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path)

    try:
        return asyncio.run(go())
    finally:
        database.close()


def test_a_fault_of_ours_is_told_without_what_it_was(where: Location) -> None:
    response = ask(where, BrokenChannel, "/v1/sync", raw_target=True)
    assert (response.status_code, response.headers["content-type"]) == (500, "application/problem+json")
    assert response.json() == {"type": "about:blank", "title": "Internal Server Error", "status": 500}


def test_without_the_raw_target_nothing_is_accepted(where: Location) -> None:
    response = ask(where, Channel, "/v1/sync", raw_target=False)
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")


def test_a_database_of_another_form_is_not_ready(where: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(where, Channel, "/readyz", raw_target=True, method="GET").status_code == 200
    monkeypatch.setattr(schema, "HEAD", "9999")
    monkeypatch.setattr(schema, "upgrade", lambda _: None)  # it runs already, and somebody has changed the database
    response = ask(where, Channel, "/readyz", raw_target=True, method="GET")
    assert (response.status_code, response.headers["content-type"]) == (503, "application/problem+json")


def test_a_database_that_stands_still_is_not_ready(where: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    class Still(Channel):
        def is_ready(self) -> bool:
            return asked.wait(30)

    monkeypatch.setattr("control_plane.app._READY_SECONDS", 0.05)
    threading.Timer(1, asked.set).start()  # the thread that waits has to end with the test
    response = ask(where, Still, "/readyz", raw_target=True, method="GET")
    assert (response.status_code, response.headers["content-type"]) == (503, "application/problem+json")


def test_a_body_that_does_not_come_is_not_waited_for_without_end(
    frozen: FrozenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_io, "BODY_SECONDS", 0.1)
    head = request_bytes("/v1/sync", [("host", "x")], b"").replace(b"content-length: 0", b"content-length: 9")
    assert exchange(frozen.address, head).refusal == (401, "unauthenticated", False)


def test_a_client_that_leaves_in_the_middle_of_its_body_does_no_harm(frozen: FrozenServer) -> None:
    head = request_bytes("/v1/sync", [("host", "x")], b"").replace(b"content-length: 0", b"content-length: 9")
    with socket.create_connection(frozen.address, timeout=DEADLINE) as line:
        line.sendall(head + b"1234")
    assert frozen.node().sync(created=frozen.clock.seconds).status == 200


@pytest.mark.parametrize("host", ["nodes.example.com", "NODES.example.com:443", "other.example.com:8443"])
def test_a_named_authority_is_served_over_https_in_each_of_its_spellings(tmp_path: Path, host: str) -> None:
    named = ["--authority", "nodes.example.com", "--authority", "Other.example.com:8443"]
    server = ServerProcess(tmp_path / "server", named).start()
    try:
        bare = host.lower().removesuffix(":443")
        enrolment = Enrolment(server.address, server.token())
        body = json.dumps(enrolment.message()).encode()
        for authority, line, status in (
            (bare, host, 201),
            (f"127.0.0.1:{server.port}", f"127.0.0.1:{server.port}", 401),
        ):
            headers = enrolment.signer.sign("/v1/enroll", body, authority=authority)
            reply = exchange(server.address, request_bytes("/v1/enroll", [("host", line), *headers[1:]], body))
            assert reply.status == status
    finally:
        server.end()


def test_a_held_sync_says_unavailable_when_the_database_goes_and_the_server_stays(frozen: FrozenServer) -> None:
    node = frozen.node()
    line, headers = node.hold(25, created=frozen.clock.seconds)
    with line:
        database = open_database(frozen.where)
        with database.writing() as connection:
            connection.exec_driver_sql("ALTER TABLE commands RENAME TO elsewhere")
        reply = node.signer.judged(read_reply(line), headers)
        with database.writing() as connection:
            connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO commands")
        database.close()
    assert reply.refusal == (503, "unavailable", True)
    assert node.sync(created=frozen.clock.seconds).status == 200


def test_a_held_sync_ends_when_its_client_goes_away(frozen: FrozenServer) -> None:
    node = frozen.node()
    body = json.dumps(node.message(wait=25)).encode()
    headers = node.signer.sign("/v1/sync", body, created=frozen.clock.seconds)
    database = open_database(frozen.where)
    salt = deployment.ensure(database, sealer(), utc_now())
    authority = f"{frozen.address[0]}:{frozen.address[1]}"
    channel = Channel(database, sealer(), salt, authorities=[authority], scheme="http", clock=frozen.clock)
    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "extensions": {http_io.RAW_TARGET: "/v1/sync"},
    }
    coming: list[Message] = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return coming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    async def go() -> None:
        await asyncio.wait_for(SignedRoute(channel, channel.sync)(scope, receive, send), 10)

    try:
        asyncio.run(go())
    finally:
        database.close()
    assert coming == []
    assert sent == []
    assert node.sync(created=frozen.clock.seconds).status == 200
