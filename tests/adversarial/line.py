"""A node's line to a server that has a name, and nodes of it that enrol in no time."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from control_plane import tokens
from control_plane.database import open_database
from node_protocol.handshake import format_token
from node_protocol.refusals import STATUS, Code
from tests.adversarial.hostile import UNSIGNED, Case, code_of
from tests.control_plane import support
from tests.control_plane.support import Enrolment, FrozenServer, Node, Reply, ServerProcess, Signer, request_bytes
from tests.protocol.signed import Request
from tests.verifier.nodes import AUTHORITY


@dataclass(frozen=True)
class NamedSigner(Signer):
    """Signs for the server's name, wherever it listens."""

    def sign(
        self,
        path: str,
        body: bytes,
        *,
        created: int | None = None,
        nonce: str | None = None,
        authority: str | None = None,
    ) -> list[tuple[str, str]]:
        """The headers of a signed POST."""
        return super().sign(path, body, created=created, nonce=nonce, authority=authority or AUTHORITY)


def named(signer: Signer) -> NamedSigner:
    """The same signer, for a server that has a name."""
    return NamedSigner(signer.address, signer.key_id, signer.key, signer.tag)


@dataclass(frozen=True)
class Served:
    """The server of a case, and its clock where that stands still."""

    process: ServerProcess | FrozenServer
    authority: str
    now: int | None = None

    def token(self) -> str:
        """A new token, without the second that the command takes."""
        if isinstance(self.process, FrozenServer):
            return self.process.token()
        with contextlib.closing(open_database(self.process.location)) as database:
            return format_token(tokens.create(database, support.sealer(), datetime.now(UTC))[0])

    def enrolment(self) -> Enrolment:
        """A node that has a token and has sent nothing yet."""
        enrolment = Enrolment(self.process.address, self.token())
        enrolment.signer = self._signer(enrolment.signer)
        return enrolment

    def node(self) -> Node:
        """A node that has just enrolled."""
        enrolment = self.enrolment()
        node = enrolment.node(enrolment.post(created=self.now))
        return replace(node, signer=self._signer(node.signer))

    def sent(self, request: Request, signer: Signer) -> Reply:
        """The answer to exactly these bytes; a signature on it must be good, and for this request."""
        message = request_bytes(request.path, request.headers, request.body, method=request.method)
        reply = support.exchange(self.process.address, message)
        if any(name.lower() == "signature" for name, _ in reply.headers):
            reply = signer.judged(reply, request.headers)
            assert reply.signed, "a signature that is not good, or not for this request"
        return reply

    def _signer(self, signer: Signer) -> Signer:
        return named(signer) if self.authority == AUTHORITY else signer


def see_it_is_as_expected(case: Case, reply: Reply, accepted: int = 200) -> None:
    """Whether an answer is the one that a case says."""
    code = code_of(case)
    if code == "accepted":
        assert (reply.status, reply.signed) == (accepted, True), reply.body
        return
    assert reply.refusal == (STATUS[Code(code)], code, code not in UNSIGNED), reply.body
    if code == "unauthenticated":
        assert sorted(reply.json) == ["code", "status", "title", "type"], "one answer for all of them"
