"""What becomes of a handler's answer, whatever the framework: JSON goes out signed, and nothing else as if it were."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.control_plane.support import Reply, exchange, request_bytes
from tests.integrations.support import MISBEHAVING, Node, Server, running

PROBLEM = "application/problem+json"


@pytest.fixture(scope="module", params=MISBEHAVING)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Each of the servers, for all tests."""
    with running(request.param, MISBEHAVING[request.param], tmp_path_factory.mktemp(request.param)) as started:
        yield started


@pytest.fixture
def node(server: Server) -> Node:
    """A node that has not spoken yet."""
    return server.nodes.pop()


def told_to(server: Server, node: Node, do: str, path: str | None = None) -> Reply:
    """The answer of a handler that is told what to do."""
    path = path or ("/do-later" if server.name == "django-uvicorn" else "/do")
    return node.signer.post(path, {"do": do})


@pytest.mark.parametrize(
    ("do", "status", "content_type", "body"),
    [
        ("json", 201, "application/json", {"a": 1}),
        ("problem", 409, PROBLEM, {"code": "taken"}),
        ("json error", 404, PROBLEM, {"detail": "no such signal"}),
        ("json failure", 502, PROBLEM, {"detail": "the exchange is away"}),
        ("missing page", 404, PROBLEM, {"type": "about:blank", "title": "Not Found", "status": 404}),
        ("odd page", 499, PROBLEM, {"type": "about:blank", "title": "Unknown", "status": 499}),
    ],
)
def test_json_and_what_a_status_says_go_out_signed(
    server: Server, node: Node, do: str, status: int, content_type: str, body: object
) -> None:
    reply = told_to(server, node, do)
    assert (reply.status, reply.signed, reply.header("content-type"), reply.json) == (status, True, content_type, body)
    names = [name.lower() for name, _ in reply.headers]
    for name in ("content-type", "content-digest", "cache-control", "signature", "signature-input"):
        assert names.count(name) == 1
    kept = "retry-after" if "page" in do else "x-kept"
    assert do == "problem" or kept in names
    assert "etag" not in names


@pytest.mark.parametrize(
    "do", ["raise", "page", "redirect", "nothing", "coded", "long json", "endless json", "endless page"]
)
def test_a_fault_of_the_handlers_own_ends_unsigned(server: Server, node: Node, do: str) -> None:
    reply = told_to(server, node, do)
    assert (reply.status, reply.signed) == (500, False), reply.body
    assert b"swordfish" not in reply.body
    assert told_to(server, node, "json").signed, "the server goes on"


def test_a_failure_page_goes_out_unsigned_and_without_what_it_said(server: Server, node: Node) -> None:
    reply = told_to(server, node, "failure page")
    assert (reply.status, reply.signed, reply.header("retry-after")) == (503, False, "7")
    assert reply.json == {"type": "about:blank", "title": "Service Unavailable", "status": 503}


def test_a_handler_refuses_and_that_is_signed(server: Server, node: Node) -> None:
    reply = told_to(server, node, "refuse")
    assert reply.refusal == (429, "rate_limited", True)
    assert reply.header("content-type") == PROBLEM


def test_a_handler_that_asks_for_a_sender_nobody_has_checked_is_not_reached(server: Server, node: Node) -> None:
    # In Flask who asks is who checks, so there is no such handler.
    status = 404 if server.name == "flask-gunicorn" else 500
    for path in ("/unlisted", "/unlisted-sync"):
        reply = told_to(server, node, "json", path)
        assert (reply.status, reply.signed) == (status, False)
    assert [anybody(server, path).status >= 400 for path in ("/do", "/unlisted", "/unlisted-sync")] == [True] * 3


def anybody(server: Server, path: str) -> Reply:
    """The answer to a request that nobody has signed."""
    headers = [("host", f"127.0.0.1:{server.address[1]}"), ("content-type", "application/json")]
    return exchange(server.address, request_bytes(path, headers, json.dumps({"do": "json"}).encode()))
