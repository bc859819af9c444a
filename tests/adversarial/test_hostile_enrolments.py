"""The routes beside the sync, `/v1/enroll` and `/v1/keys`: the same hostility, over the library and over real HTTP.

No refusal spends a token or suspends a node: behind each case the good request must be accepted.
"""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

from node_protocol import messages
from node_protocol.encoding import b64url_encode
from node_protocol.handshake import enroll_key_id, parse_token, public_key
from node_protocol.refusals import Refused
from node_protocol.signatures import TAG_ENROLL, TAG_NODE, MacKey
from tests.adversarial.hostile import ENROLMENTS, ROTATIONS, Case, Sender, both, code_of, each
from tests.adversarial.line import Served, see_it_is_as_expected
from tests.protocol.signed import Request
from tests.verifier.nodes import AUTHORITY, FIRST_TICKET, HOME, NOW, Node, nonce
from verifier import NodeKey, SignedRequest, Verifier
from verifier.stores import MemoryStore

TOKENS = (enroll_key_id("t" * 16), enroll_key_id("u" * 16))


def enrolment() -> dict[str, Any]:
    """A good enrolment."""
    return {
        "protocol": 1,
        "name": "attic-pi",
        "public_key": b64url_encode(public_key(secrets.token_bytes(32))),
        "agent": {"version": "0.1.0", "platform": "linux/amd64"},
        "replaces": None,
        "fingerprint": {"salt_id": "s1", "components": dict(HOME)},
    }


def rotation(ticket: str) -> dict[str, Any]:
    """A good rotation."""
    return {"protocol": 1, "ticket": ticket, "public_key": b64url_encode(public_key(secrets.token_bytes(32)))}


def enrolling() -> Sender:
    """Who has a token, for the library."""
    return Sender(b"t" * 32, TOKENS[0], AUTHORITY, NOW, TOKENS[1], "/v1/enroll", TAG_ENROLL)


def rotating() -> Sender:
    """Who has a node's key, for the library."""
    node, other = Node(), Node(node_id="n_" + "b" * 20)
    return Sender(node.secret, node.key_id, AUTHORITY, NOW, other.key_id, "/v1/keys", TAG_NODE)


def judged(case: Case, sender: Sender, message: dict[str, Any], model: type[messages.Message]) -> None:
    """Runs a case over the library: what both routes do before they look into records of their own."""
    keys = {
        sender.key_id: NodeKey("", sender.key_id, MacKey(sender.key)),
        sender.other_key_id: NodeKey("", sender.other_key_id, MacKey(b"o" * 32)),
    }
    verifier = Verifier(keys=keys.get, store=MemoryStore(), authorities=[AUTHORITY], now=lambda: NOW)

    def outcome(request: Request) -> tuple[str, str]:
        try:
            verifier.authenticate(SignedRequest(*request), tag=sender.tag)
            messages.parse(model, request.body)
        except Refused as refused:
            return refused.code, refused.reason
        return "accepted", ""

    good, evil = both(case, sender, message, (nonce(), nonce()))
    if "again" in case:
        assert outcome(good) == ("accepted", "")
    assert outcome(evil) == (code_of(case), case.get("reason", ""))
    spent = "again" in case or code_of(case) == "accepted"
    after = sender.sign(json.dumps(message).encode(), nonce(), {}) if spent else good
    assert outcome(after) == ("accepted", "")


@each(case for case in ENROLMENTS if case.get("only") != "http")
def test_the_library_refuses_the_enrolment_and_knows_why(case: Case) -> None:
    judged(case, enrolling(), enrolment(), messages.EnrollRequest)


@each(case for case in ROTATIONS if case.get("only") != "http")
def test_the_library_refuses_the_rotation_and_knows_why(case: Case) -> None:
    judged(case, rotating(), rotation(FIRST_TICKET), messages.KeysRequest)


@each(ENROLMENTS)
def test_the_server_refuses_the_enrolment_and_takes_the_good_one_after_it(
    served: Served, other_key_id: str, case: Case
) -> None:
    applicant, at = served.enrolment(), served.now or int(time.time())
    signer, message = applicant.signer, applicant.message()
    other_token = enroll_key_id(parse_token(served.token()).token_id)
    sender = Sender(signer.key, signer.key_id, served.authority, at, other_token, "/v1/enroll", TAG_ENROLL)
    good, evil = both(case, sender, message, (nonce(), nonce()), other_node=other_key_id.partition(".")[0])
    if "again" in case:
        assert served.sent(good, signer).status == 201
    see_it_is_as_expected(case, served.sent(evil, signer), accepted=201)
    spent = "again" in case or code_of(case) == "accepted"
    after = sender.sign(json.dumps(message).encode(), nonce(), {}) if spent else good
    node = applicant.node(served.sent(after, signer))
    assert node.signer.key_id.endswith(".1")


@each(ROTATIONS)
def test_the_server_refuses_the_rotation_and_takes_the_good_one_after_it(
    served: Served, other_key_id: str, case: Case
) -> None:
    node, at = served.node(), served.now or int(time.time())
    signer, first_ticket = node.signer, node.ticket
    for changes in case.get("before", ()):
        assert node.sync(created=served.now, **changes).status == 200
    message = rotation(node.ticket)
    sender = Sender(signer.key, signer.key_id, served.authority, at, other_key_id, "/v1/keys", TAG_NODE)
    good, evil = both(case, sender, message, (nonce(), nonce()), first_ticket=first_ticket)
    if "again" in case:
        assert served.sent(good, signer).status == 200
    see_it_is_as_expected(case, served.sent(evil, signer))
    spent = "again" in case or code_of(case) == "accepted"
    after = sender.sign(json.dumps(message).encode(), nonce(), {}) if spent else good
    assert served.sent(after, signer).status == 200
    assert node.sync(created=served.now).status == 200, "a rotation, refused or not, suspends nobody"
