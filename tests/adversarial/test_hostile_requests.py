"""Every spelling of a sync but the one legal one is refused: by the library each for its own reason, by the server
with one answer for all that no good signature is on. The cases are data, so that another language could run them.

Each is judged by the whole of `Verifier.verify`, and over real HTTP by a real server. The good request behind it must
be accepted: what was refused has moved nothing, but where the list says that it suspends its node.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from node_protocol.encoding import b64url_encode
from node_protocol.handshake import public_key
from node_protocol.refusals import Refused
from tests.adversarial.hostile import ANSWERS, CASES, ENROLMENTS, ROTATIONS, Case, Sender, both, code_of, each
from tests.adversarial.line import Served, named, see_it_is_as_expected
from tests.control_plane.support import Node, Reply, Signer, derived
from tests.protocol.signed import Request
from tests.verifier import nodes
from tests.verifier.nodes import AUTHORITY, NOW, nonce
from verifier import NodeKey, SignedRequest, Verifier
from verifier.stores import MemoryStore

FORM: Final = ("malformed", "foreign", "repeated", "content_encoding", "wrong_tag")


class Library:
    """A verifier that knows two nodes, and the one of them whose requests are bent."""

    def __init__(self, *, retired: bool = False) -> None:
        self.node, other = nodes.Node(), nodes.Node(node_id="n_" + "b" * 20, secret=b"o" * 32)
        self.sender = Sender(self.node.secret, self.node.key_id, AUTHORITY, NOW, other.key_id)
        self.newest = replace(self.sender, key=b"n" * 32, key_id=f"{self.node.node_id}.2") if retired else self.sender
        store = MemoryStore()
        self.node.enrol(store)
        keys = {each.key_id: each.key for each in (self.node, other)}
        if retired:
            keys[self.node.key_id] = replace(self.node.key, revoked=True)
            keys[self.newest.key_id] = NodeKey.of(self.newest.key_id, self.newest.key)
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
        return self.outcome(self.newest.sign(json.dumps(self.node.message(**changes)).encode(), nonce(), {}))


def is_spent(case: Case) -> bool:
    """Whether the good request cannot be the one behind the case."""
    return "again" in case or "retired" in case or code_of(case) == "accepted"


def judged(case: Case, *, as_sent: bool = False) -> None:
    """Runs a case over the library."""
    library = Library(retired="retired" in case)
    first_ticket = library.node.ticket
    for changes in case.get("before", ()):
        assert library.sync(**changes)[0] == "accepted"
    message = library.node.message()
    good, evil = both(case, library.sender, message, (nonce(), nonce()), first_ticket=first_ticket)
    if as_sent:
        evil = library.sender.signed_as_sent(evil)
    if "again" in case:
        assert library.outcome(good)[0] == "accepted"
    assert library.outcome(evil) == (code_of(case), case.get("reason", ""))
    after = library.sync() if is_spent(case) else library.outcome(good)
    assert after[0] == ("suspended" if "suspends" in case else "accepted")


def test_each_case_has_a_name_of_its_own() -> None:
    for cases in ((*CASES, *ANSWERS), ENROLMENTS, ROTATIONS):
        names = [case["name"] for case in cases]
        assert len(set(names)) == len(names) > 20


@each(case for case in CASES if case.get("only") != "http")
def test_the_library_refuses_it_and_knows_why_and_nothing_has_moved(case: Case) -> None:
    judged(case)


@each(
    case
    for case in CASES
    if case.get("only") != "http" and case.get("reason", "").startswith(FORM) and case.get("header") != "signature"
)
def test_a_bad_form_is_no_better_for_a_mac_that_is_good_over_it(case: Case) -> None:
    judged(case, as_sent=True)


class OverHttp:
    """A node of the case's own, at a server that is there for all of them."""

    def __init__(self, served: Served, other_key_id: str, *, retired: bool) -> None:
        self.served, self.node = served, served.node()
        self.signer = self.node.signer
        at = int(time.time()) if served.now is None else served.now
        self.sender = Sender(self.signer.key, self.signer.key_id, served.authority, at, other_key_id)
        if retired:
            self.node.signer = next_version(self.node, served)
            assert self.sync().status == 200, "the first use of a version retires those before it"

    def sync(self, **changes: Any) -> Reply:
        """The next good sync."""
        return self.node.sync(created=self.served.now, **changes)

    def send(self, request: Request) -> Reply:
        """The answer to exactly these bytes; a node takes its ticket."""
        reply = self.served.sent(request, self.signer)
        if reply.status == 200:
            self.node.ticket = reply.json["ticket"]
        return reply


def next_version(node: Node, served: Served) -> Signer:
    """The signer that a rotation gives."""
    private = secrets.token_bytes(32)
    message = {"protocol": 1, "ticket": node.ticket, "public_key": b64url_encode(public_key(private))}
    reply = node.signer.post("/v1/keys", message, created=served.now)
    assert (reply.status, reply.signed) == (200, True), reply.body
    newer = Signer(node.signer.address, reply.json["key_id"], derived(private, reply.json, salt=node.signer.key))
    return named(newer) if served.authority == AUTHORITY else newer


@each(case for case in CASES if "no_http" not in case)
def test_the_server_refuses_it_and_takes_the_good_one_after_it(served: Served, other_key_id: str, case: Case) -> None:
    line = OverHttp(served, other_key_id, retired="retired" in case)
    first_ticket = line.node.ticket
    for changes in case.get("before", ()):
        assert line.sync(**changes).status == 200
    message: Mapping[str, Any] = {**line.node.message(), "status": {}}
    good, evil = both(case, line.sender, message, (nonce(), nonce()), first_ticket=first_ticket)
    if "again" in case:
        assert line.send(good).status == 200
    see_it_is_as_expected(case, line.send(evil))
    after = line.sync() if is_spent(case) else line.send(good)
    assert after.status == (403 if "suspends" in case else 200), after.body
