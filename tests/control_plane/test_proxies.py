"""Where a request comes from: as the socket has it, unless a proxy that the operator trusts says otherwise."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from control_plane.proxies import BehindProxies, resolved
from tests.control_plane.support import Node, ServerProcess, control_plane, enrolled, exchange, json_of, request_bytes
from verifier.integrations.asgi_io import Message, Receive, Scope, Send

HEADER = b"x-forwarded-for"


def peer(client: str | None, *lines: bytes, trusted: tuple[str, ...] = ("10.0.0.0/8", "fd00::/8")) -> str | None:
    """The peer that the application sees of a request from this client, with these lines."""
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["client"])

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError

    headers = [(b"host", b"x"), *((HEADER, line) for line in lines)]
    scope = {"type": "http", "client": client and (client, 9), "headers": headers}
    asyncio.run(BehindProxies(app, resolved(trusted))(scope, receive, send))
    return seen[0] and str(seen[0][0])


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((b"192.0.2.7",), "192.0.2.7"),
        ((b"203.0.113.9, 192.0.2.7",), "192.0.2.7"),
        ((b"203.0.113.9", b"198.51.100.1 ,\t192.0.2.7 "), "192.0.2.7"),
        ((b"2001:DB8::7",), "2001:db8::7"),
        ((b"::ffff:192.0.2.7",), "192.0.2.7"),
    ],
)
def test_of_what_a_trusted_proxy_says_the_last_address_counts(lines: tuple[bytes, ...], said: str) -> None:
    for proxy in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1"):
        assert peer(proxy, *lines) == said
    for stranger in ("192.0.2.1", "::ffff:192.0.2.1", "fe80::1%eth0"):
        assert peer(stranger, *lines) == stranger
    assert peer(None, *lines) is None


@pytest.mark.parametrize("line", [b"", b"unknown", b"192.0.2.7,", b"192.0.2.7:80", b"[::1]", b"\xff", b"1.2.3.4\x00"])
def test_of_what_is_no_address_nothing_is_taken(line: bytes) -> None:
    assert peer("10.1.2.3", line) == "10.1.2.3"
    assert peer("10.1.2.3", b"203.0.113.9", line) == "10.1.2.3"
    assert peer("10.1.2.3") == "10.1.2.3"


def address_told(server: ServerProcess, node: Node) -> str:
    """Where the newest alert about a node says that it came from, after it came with a void ticket and a claim."""
    body = json.dumps(node.copy(ticket="7." + "A" * 22).message()).encode()
    headers = [*node.signer.sign("/v1/sync", body), ("X-Forwarded-For", "203.0.113.9, 192.0.2.7")]
    assert exchange(server.address, request_bytes("/v1/sync", headers, body)).status == 409
    alerts = json_of("nodes", "show", *server.database, node.node_id)["alerts"]
    address: str = alerts[0]["evidence"]["address"]
    return address


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "127.0.0.1"),
        (("--trusted-proxy", "192.0.2.0/24"), "127.0.0.1"),
        (("--trusted-proxy", "192.0.2.0/24", "--trusted-proxy", "127.0.0.1"), "192.0.2.7"),
        (("--trusted-proxy", "localhost"), "192.0.2.7"),
    ],
)
def test_the_operator_is_told_the_address_that_a_trusted_proxy_tells(
    tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    server = ServerProcess(tmp_path, options).start()
    try:
        assert address_told(server, enrolled(server.address, server.token())) == said
    finally:
        server.end()


@pytest.mark.parametrize("name", ["no-such-host.invalid", "10.0.0.1/8"])
def test_a_proxy_that_is_not_there_is_told_at_the_start(tmp_path: Path, name: str) -> None:
    done = control_plane("serve", "--data-dir", tmp_path, "--port", 0, "--trusted-proxy", name)
    assert done.returncode == 2
    assert done.stderr.startswith("control-plane: error: no such proxy: ")
