"""What WSGI servers tell of a request, and what is made of the least of it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Response

from node_protocol import MAX_BODY
from node_protocol.refusals import Misuse
from tests.verifier.nodes import AUTHORITY, NOW, Node
from verifier import AsyncVerifier, Authenticated, SignedRequest, Verifier
from verifier.integrations import flask as flask_integration
from verifier.integrations import wsgi_io
from verifier.integrations.wsgi import NotSigned, SignedPaths
from verifier.stores import MemoryStore

NODE = Node()


def verifier() -> Verifier:
    """A verifier that knows one node."""
    return Verifier(keys={NODE.key_id: NODE.key}.get, store=MemoryStore(), authorities=[AUTHORITY], now=lambda: NOW)


def environ_of(request: SignedRequest, **changes: Any) -> dict[str, Any]:
    """The environ in which a server hands a request over; None takes a member away."""
    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers}
    environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path,
        "QUERY_STRING": "",
        "RAW_URI": request.path,
        "CONTENT_LENGTH": str(len(request.body)),
        "CONTENT_TYPE": headers.pop("HTTP_CONTENT_TYPE"),
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.url_scheme": "https",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "443",
        **headers,
        **changes,
    }
    return {name: value for name, value in environ.items() if value is not None}


def bare(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answers what every node takes."""
    start_response("200 OK", [("Content-Type", "application/json")])
    return [b"{}"]


def flask_app() -> Flask:
    """The same as a view in Flask."""
    app = Flask(__name__)

    @app.post("/signals")
    @flask_integration.authenticated(verifier())
    def signals(_sender: Authenticated) -> dict[str, str]:
        return {}

    return app


@pytest.fixture(params=["bare", "flask"])
def app(request: pytest.FixtureRequest) -> Any:
    """Both ways of being behind WSGI."""
    return SignedPaths(bare, verifier(), authenticate=["/signals"]) if request.param == "bare" else flask_app()


def asked(app: Any, environ: dict[str, Any]) -> tuple[int, bytes]:
    """The status and the body of an answer."""
    heads: list[str] = []

    def start(status: str, _headers: object, _error: object = None) -> None:
        heads.append(status)

    body = b"".join(app(environ, start))
    return int(heads[-1][:3]), body


def is_refused(app: Any, environ: dict[str, Any], code: str) -> bool:
    """Whether the answer is a refusal with this code."""
    _, body = asked(app, environ)
    return f'"code":"{code}"'.encode() in body


def test_either_name_of_the_raw_target_does(app: Any) -> None:
    for changes in ({}, {"RAW_URI": None, "REQUEST_URI": "/signals"}):
        assert asked(app, environ_of(NODE.signed(b"{}", path="/signals"), **changes))[0] == 200


def test_without_the_raw_target_nothing_is_accepted_and_the_log_says_why(
    app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    environ = environ_of(NODE.signed(b"{}", path="/signals"), RAW_URI=None)
    assert is_refused(app, environ, "unavailable")
    assert "does not tell the raw target" in caplog.text


def test_what_counts_is_the_raw_target_and_not_the_path_made_of_it(app: Any) -> None:
    for target in ("/signals?", "/signals?a=1", "/%73ignals", f"https://{AUTHORITY}/signals"):
        assert is_refused(app, environ_of(NODE.signed(b"{}", path="/signals"), RAW_URI=target), "unauthenticated")


def test_a_path_below_a_script_is_the_whole_of_it() -> None:
    app = SignedPaths(bare, verifier(), authenticate=["/api/signals"])
    split = {"SCRIPT_NAME": "/api", "PATH_INFO": "/signals"}
    assert asked(app, environ_of(NODE.signed(b"{}", path="/api/signals"), **split))[0] == 200
    unsigned = environ_of(NODE.signed(b"{}", path="/api/signals"), HTTP_SIGNATURE=None, **split)
    assert is_refused(app, unsigned, "unauthenticated")


@pytest.mark.parametrize(
    "name", ["HTTP_HOST", "CONTENT_TYPE", "HTTP_CONTENT_DIGEST", "HTTP_SIGNATURE", "HTTP_SIGNATURE_INPUT"]
)
@pytest.mark.parametrize("joint", [",", ", "])
def test_a_repeated_line_that_the_server_has_joined_is_refused(app: Any, name: str, joint: str) -> None:
    request = NODE.signed(b"{}", path="/signals")
    value = environ_of(request)[name]
    assert is_refused(app, environ_of(request, **{name: joint.join((value, value))}), "unauthenticated")
    assert asked(app, environ_of(request))[0] == 200, "the same with one line"


def test_a_second_content_type_under_another_name_is_refused(app: Any) -> None:
    environ = environ_of(NODE.signed(b"{}", path="/signals"), HTTP_CONTENT_TYPE="application/json")
    assert is_refused(app, environ, "unauthenticated")


class Endless(io.RawIOBase):
    """A stream that goes on for as long as it is read."""

    taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.taken += len(buffer)
        return len(buffer)


def test_no_more_is_read_than_one_byte_over_the_limit(app: Any) -> None:
    stream = Endless()
    environ = environ_of(NODE.signed(b"{}", path="/signals"), CONTENT_LENGTH=None)
    assert is_refused(app, {**environ, "wsgi.input": stream, "wsgi.input_terminated": True}, "too_large")
    assert MAX_BODY < stream.taken <= MAX_BODY + 1


@pytest.mark.parametrize("size", [str(MAX_BODY + 1), "9" * 30, "-1", "+2", "²", "1e3"])
def test_a_declared_size_over_the_limit_costs_no_reading(app: Any, size: str) -> None:
    stream = Endless()
    environ = environ_of(NODE.signed(b"{}", path="/signals"), CONTENT_LENGTH=size)
    assert is_refused(app, {**environ, "wsgi.input": stream}, "too_large")
    assert stream.taken == 0


def test_a_stream_of_which_nobody_knows_the_end_is_not_read(app: Any) -> None:
    stream = Endless()
    environ = environ_of(NODE.signed(b"{}", path="/signals"), CONTENT_LENGTH=None)
    assert is_refused(app, {**environ, "wsgi.input": stream}, "unauthenticated")
    assert stream.taken == 0


def test_a_body_that_ends_before_its_length_is_refused(app: Any) -> None:
    for terminated in (None, True):
        request = NODE.signed(b"{}", path="/signals")
        environ = environ_of(request, CONTENT_LENGTH="3", **{"wsgi.input_terminated": terminated})
        assert is_refused(app, environ, "unauthenticated")


def test_what_is_said_of_the_peer_comes_from_the_server() -> None:
    request = NODE.signed(b"{}", path="/signals")
    for address, peer in (("192.0.2.1", "192.0.2.1"), ("", None), (None, None)):
        assert wsgi_io.read(environ_of(request, REMOTE_ADDR=address)).peer == peer


def test_a_part_that_is_closed_is_closed_once_the_answer_is_made() -> None:
    closed: list[bool] = []

    class Parts(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    def app(_environ: dict[str, Any], start_response: Any) -> Parts:
        write = start_response("200 OK", [("Content-Type", "application/json")])
        write(b"[1")
        return Parts([b",2]"])

    signed = SignedPaths(app, verifier(), authenticate=["/signals"])
    assert asked(signed, environ_of(NODE.signed(b"{}", path="/signals"))) == (200, b"[1,2]")
    assert closed == [True]


def _page() -> Iterator[bytes]:
    yield b"data: 1"
    raise AssertionError("a stream that is no answer is not read on")


def test_a_stream_that_no_node_would_take_is_not_waited_for() -> None:
    def app(_environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return _page()

    in_flask = Flask(__name__)
    in_flask.testing = True

    @in_flask.post("/signals")
    @flask_integration.authenticated(verifier())
    def signals(_sender: Authenticated) -> Response:
        return Response(_page(), mimetype="text/event-stream")

    for each in (SignedPaths(app, verifier(), authenticate=["/signals"]), in_flask):
        with pytest.raises(NotSigned):
            asked(each, environ_of(NODE.signed(b"{}", path="/signals")))


def test_what_cannot_check_anything_is_told_at_once() -> None:
    async def find(_key_id: str) -> None:
        await asyncio.sleep(0)

    on_a_loop: Any = AsyncVerifier(keys=find, store=MemoryStore(), authorities=[AUTHORITY])
    with pytest.raises(Misuse, match="Verifier"):
        SignedPaths(bare, on_a_loop, authenticate=["/signals"])
    with pytest.raises(Misuse, match="Verifier"):
        flask_integration.authenticated(on_a_loop)
    with pytest.raises(Misuse, match="Verifier"):
        flask_integration.verified(on_a_loop)
