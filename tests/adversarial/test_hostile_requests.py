"""Every spelling of a request but the one legal one is refused: by the library each for its own reason, by the server
with one answer for all that no good signature is on. The cases are data, so that another language could run them.

Each is judged by the whole of `Verifier.verify`, and over real HTTP by a real server. The good request behind it must
be accepted: what was refused has moved nothing, but where the list says that it suspends its node.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from control_plane import tokens
from control_plane.database import open_database
from node_protocol.handshake import format_token
from node_protocol.refusals import STATUS, Code, Refused
from node_protocol.signatures import verify_response
from tests.adversarial.hostile import ANSWERS, CASES, Sender, answered, bent, body_of
from tests.control_plane import support
from tests.control_plane.support import FrozenServer, Reply, ServerProcess, enrolled, frozen_server, request_bytes
from tests.protocol.signed import Request
from tests.verifier import nodes
from tests.verifier.nodes import AUTHORITY, NOW, nonce
from verifier import SignedRequest, Verifier
from verifier.stores import MemoryStore

Case = dict[str, Any]
UNSIGNED: Final = (Code.UNAUTHENTICATED, Code.TOO_LARGE)
FORM: Final = ("malformed", "foreign", "repeated", "content_encoding", "wrong_tag")


def each(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case["name"])


def both(case: Case, sender: Sender, message: dict[str, Any], first_ticket: str) -> tuple[Request, Request]:
    """The good request, and what the case makes of it."""
    message = {**message, "status": {}}
    good = sender.sign(json.dumps(message).encode(), nonce(), {})
    evil = good
    if "body" in case or "signed" in case:
        values = {"{first-ticket}": first_ticket}
        again = signature_nonce(good) if "again" in case else nonce()
        evil = sender.sign(body_of(case.get("body", {}), message, values), again, case.get("signed", {}))
    evil = bent(evil, case, sender.values)
    return good, sender.signed_as_sent(evil) if "as_sent" in case else evil


def signature_nonce(request: Request) -> str:
    """The nonce that a request was signed with."""
    return request.header("signature-input").split('nonce="')[1][:22]


def code_of(case: Case) -> str:
    """What is to come of a case: a code, or `accepted`."""
    return str(case.get("code", Code.UNAUTHENTICATED))


class Library:
    """A verifier that knows two nodes, and the one of them whose requests are bent."""

    def __init__(self) -> None:
        self.node, other = nodes.Node(), nodes.Node(node_id="n_" + "b" * 20, secret=b"o" * 32)
        self.sender = Sender(self.node.secret, self.node.key_id, AUTHORITY, NOW, other.key_id)
        store = MemoryStore()
        self.node.enrol(store)
        keys = {each.key_id: each.key for each in (self.node, other)}
        self.verifier = Verifier(keys=keys.get, store=store, authorities=[AUTHORITY], now=lambda: NOW)

    def outcome(self, request: Request) -> tuple[str, str]:
        """Code and reason; a node takes the ticket of what was accepted."""
        try:
            verified = self.verifier.verify(SignedRequest(*request))
        except Refused as refused:
            return refused.code, refused.reason
        self.node.ticket = verified.ticket
        return "accepted", ""

    def sync(self, **changes: Any) -> tuple[str, str]:
        """The next good sync."""
        return self.outcome(self.sender.sign(json.dumps(self.node.message(**changes)).encode(), nonce(), {}))


def judged(case: Case, *, as_sent: bool = False) -> None:
    """Runs a case over the library."""
    library = Library()
    first_ticket = library.node.ticket
    for changes in case.get("before", ()):
        assert library.sync(**changes)[0] == "accepted"
    good, evil = both(case, library.sender, library.node.message(), first_ticket)
    if as_sent:
        evil = library.sender.signed_as_sent(evil)
    if "again" in case:
        assert library.outcome(good)[0] == "accepted"
    assert library.outcome(evil) == (code_of(case), case.get("reason", ""))
    spent = "again" in case or code_of(case) == "accepted"
    after = library.sync() if spent else library.outcome(good)
    assert after[0] == ("suspended" if "suspends" in case else "accepted")


def test_each_case_has_a_name_of_its_own() -> None:
    names = [case["name"] for case in (*CASES, *ANSWERS)]
    assert len(set(names)) == len(names) > 300


@each([case for case in CASES if case.get("only") != "http"])
def test_the_library_refuses_it_and_knows_why_and_nothing_has_moved(case: Case) -> None:
    judged(case)


@each(
    [
        case
        for case in CASES
        if case.get("only") != "http" and case.get("reason", "").startswith(FORM) and case.get("header") != "signature"
    ]
)
def test_a_bad_form_is_no_better_for_a_mac_that_is_good_over_it(case: Case) -> None:
    judged(case, as_sent=True)


@each(ANSWERS)
def test_a_node_takes_no_such_answer(case: Case) -> None:
    asked = Library().sender.sign(b"{}", nonce(), {})
    key, key_id = nodes.Node().secret, nodes.Node().key_id
    answer = answered(case, key, key_id, asked, NOW)

    def look() -> None:
        verify_response(
            key,
            key_id=key_id,
            status=answer.status,
            headers=answer.headers,
            body=answer.body,
            request_signature=asked.mac,
        )

    if code_of(case) == "accepted":
        look()
        return
    with pytest.raises(Refused) as refused:
        look()
    assert (refused.value.code, refused.value.reason) == (Code.UNAUTHENTICATED, case["reason"])


class OverHttp:
    """A node of the case's own, at a server that is there for all of them."""

    def __init__(self, node: support.Node, other_key_id: str, now: int | None = None) -> None:
        self.node = node
        self.now = now
        host, port = node.signer.address
        at = int(time.time()) if now is None else now
        self.sender = Sender(node.signer.key, node.signer.key_id, f"{host}:{port}", at, other_key_id)

    def sync(self, **changes: Any) -> Reply:
        """The next good sync."""
        return self.node.sync(created=self.now, **changes)

    def send(self, request: Request) -> Reply:
        """The answer to exactly these bytes, with its signature looked at where it has one."""
        message = request_bytes(request.path, request.headers, request.body, method=request.method)
        reply = support.exchange(self.node.signer.address, message)
        if any(name.lower() == "signature" for name, _ in reply.headers):
            reply = self.node.signer.judged(reply, request.headers)
            assert reply.signed, "a signature that is not good, or not for this request"
        if reply.status == 200:
            self.node.ticket = reply.json["ticket"]
        return reply


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that is there for all cases: none of them may harm it."""
    server = ServerProcess(tmp_path_factory.mktemp("hostile") / "server").start()
    yield server
    assert server.end() == 0


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrozenServer]:
    """The same server at a time that stands still, for what is right at the edge of the window."""
    with frozen_server(tmp_path_factory.mktemp("hostile") / "frozen") as served:
        yield served


@pytest.fixture(scope="module")
def other_key_id(process: ServerProcess) -> str:
    """Another node of the server."""
    return enrolled(process.address, token_of(process)).signer.key_id


def token_of(server: ServerProcess) -> str:
    """A new token, without the second that the command takes."""
    with contextlib.closing(open_database(Path(server.data_dir))) as database:
        return format_token(tokens.create(database, support.sealer(), datetime.now(UTC))[0])


@each([case for case in CASES if "no_http" not in case and case.get("only") != "library"])
def test_the_server_refuses_it_and_takes_the_good_one_after_it(
    request: pytest.FixtureRequest, process: ServerProcess, other_key_id: str, case: Case
) -> None:
    if "seconds" in case.get("signed", {}):
        served: FrozenServer = request.getfixturevalue("frozen")
        line = OverHttp(served.node(), other_key_id, served.clock.seconds)
    else:
        line = OverHttp(enrolled(process.address, token_of(process)), other_key_id)
    first_ticket = line.node.ticket
    for changes in case.get("before", ()):
        assert line.sync(**changes).status == 200
    good, evil = both(case, line.sender, line.node.message(), first_ticket)
    if "again" in case:
        assert line.send(good).status == 200
    reply = line.send(evil)
    expected = code_of(case)
    if expected == "accepted":
        assert (reply.status, reply.signed) == (200, True), reply.body
    else:
        assert reply.refusal == (STATUS[Code(expected)], expected, expected not in UNSIGNED), reply.body
    if expected == Code.UNAUTHENTICATED:
        assert sorted(reply.json) == ["code", "status", "title", "type"], "one answer for all of them"
    spent = "again" in case or expected == "accepted"
    after = line.sync() if spent else line.send(good)
    assert after.status == (403 if "suspends" in case else 200), after.body
