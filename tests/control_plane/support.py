"""A control plane as a real process on loopback, and a node's side of the wire written out by hand."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, Self

from sqlalchemy import text

from control_plane import tokens
from control_plane.database import open_database
from control_plane.location import Location, in_folder
from control_plane.master_key import Sealer, parse
from control_plane.service import prepare
from node_protocol import signatures
from node_protocol.encoding import b64url_decode, b64url_encode
from node_protocol.fingerprints import WEIGHTS, digest
from node_protocol.handshake import derive_node_key, enroll_key_id, format_token, parse_token, public_key
from node_protocol.refusals import Refused
from node_protocol.signatures import TAG_ENROLL, TAG_NODE, nonce_from

MASTER_KEY = b64url_encode(bytes.fromhex("5f3a91c07be2d84466aa1f0c93d7e825b10d4f6e7c8892a3e0f1572b6cd93e48"))
DEADLINE = 30.0
_PLACES = ("DATABASE_", "REDIS_")
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(_PLACES)},
    "CONTROL_PLANE_MASTER_KEY": MASTER_KEY,
    "PYTHONUNBUFFERED": "1",
}


def machine() -> dict[str, str]:
    """A machine that is no other test's, nor another node's."""
    return {name: nonce_from(secrets.token_bytes(16)) for name in WEIGHTS}


def changed(components: Mapping[str, str], *names: str) -> dict[str, str]:
    """The machine with other ones in place of these components."""
    return {name: nonce_from(secrets.token_bytes(16)) if name in names else components[name] for name in components}


def control_plane(
    *arguments: object, environ: Mapping[str, str] = ENVIRONMENT, redirected: str = ""
) -> subprocess.CompletedProcess[str]:
    """One run of the command; `redirected` as a shell has it, such as `>&-`."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, "-m", "control_plane", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=dict(environ),
        timeout=DEADLINE,
        check=False,
    )


def json_of(*arguments: object) -> Any:
    """What a run of the command with `--json` prints, when it goes well."""
    done = control_plane(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def eventually(look: Callable[[], bool]) -> None:
    """Waits until `look` says yes."""
    until = time.monotonic() + DEADLINE
    while not look():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.01)


@dataclass
class ServerProcess:
    """`control-plane serve` as a process of its own."""

    data_dir: Path
    arguments: Sequence[str] = ()
    port: int = 0
    where: Location | None = None
    program: Sequence[str] = ("-m", "control_plane")
    process: subprocess.Popen[str] = field(init=False)

    def start(self) -> Self:
        """Starts it, and returns once it listens; at the same port as before, if it ran before."""
        command = ["serve", *self.database, "--port", str(self.port), *self.arguments]
        self.process = subprocess.Popen(
            [sys.executable, *self.program, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=ENVIRONMENT,
        )
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], DEADLINE)
        line = self.process.stdout.readline() if ready else ""
        if not line.startswith("control-plane: listening on http://"):
            self.end(signal.SIGKILL)
            raise AssertionError(f"the server did not start: {line!r}")
        self.port = int(line.rsplit(":", 1)[1])
        return self

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends it a signal, and returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(DEADLINE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return ("127.0.0.1", self.port)

    def token(self, *options: object) -> str:
        """A new enrolment token."""
        text: str = json_of("token", "create", *self.database, *options)["token"]
        return text

    @property
    def location(self) -> Location:
        """Where its database is: in its data directory, unless told."""
        return self.where or in_folder(self.data_dir)

    @property
    def database(self) -> list[str]:
        """The option by which a command finds its database."""
        return self.location.option.split()

    def execute(self, statement: str, **values: str) -> int:
        """Does something to its database behind its back; how many rows that was about, or what it counted."""
        with contextlib.closing(open_database(self.location)) as database, database.writing() as connection:
            done = connection.execute(text(statement), values)
            return int(done.scalar_one()) if done.returns_rows else done.rowcount


class FrozenClock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    @property
    def seconds(self) -> int:
        """Unix seconds."""
        return int(self.now.timestamp())


@dataclass(frozen=True)
class FrozenServer:
    """A server, and its clock."""

    where: Location
    address: tuple[str, int]
    clock: FrozenClock

    def token(self) -> str:
        """A new enrolment token, good for an hour of the frozen clock."""
        with contextlib.closing(open_database(self.where)) as database:
            return format_token(tokens.create(database, sealer(), self.clock())[0])

    def node(self) -> Node:
        """A node that enrols now."""
        enrolment = Enrolment(self.address, self.token())
        return enrolment.node(enrolment.post(created=self.clock.seconds))


@contextlib.contextmanager
def frozen_server(where: Location, redis: str | None = None) -> Iterator[FrozenServer]:
    """The real server, in a thread, at a time that stands still."""
    clock, ready = FrozenClock(), threading.Event()
    service = prepare(
        where, sealer(), host="127.0.0.1", port=0, redis=redis, clock=clock, on_ready=lambda _url: ready.set()
    )
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        assert ready.wait(DEADLINE)
        yield FrozenServer(where, ("127.0.0.1", service.socket.getsockname()[1]), clock)
    finally:
        service.server.should_exit = True
        thread.join(DEADLINE)


def sealer() -> Sealer:
    """What seals under the tests' master key."""
    return Sealer([parse(MASTER_KEY)])


@dataclass(frozen=True)
class Reply:
    """An answer, and whether its signature is good and for the request that was sent."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    signed: bool = False

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def refusal(self) -> tuple[int, str, bool]:
        """Status, code, and whether it is signed."""
        return self.status, self.json["code"], self.signed

    def header(self, name: str) -> str:
        """The value of a header."""
        return next(value for each, value in self.headers if each.lower() == name)


def exchange(address: tuple[str, int], message: bytes, *, timeout: float = DEADLINE) -> Reply:
    """Sends bytes as they are, and reads one answer."""
    with socket.create_connection(address, timeout=timeout) as line:
        with contextlib.suppress(ConnectionError):
            line.sendall(message)
        return read_reply(line)


def read_reply(line: socket.socket) -> Reply:
    """Reads one answer."""
    with contextlib.closing(HTTPResponse(line)) as response:
        response.begin()
        return Reply(response.status, response.getheaders(), response.read())


def request_bytes(target: str, headers: Sequence[tuple[str, str]], body: bytes, *, method: str = "POST") -> bytes:
    """A request as it goes over the line."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join((*lines, f"content-length: {len(body)}", "", "")).encode("latin-1") + body


@dataclass(frozen=True)
class Signer:
    """A key, its name, and the requests that it signs."""

    address: tuple[str, int]
    key_id: str
    key: bytes
    tag: str = TAG_NODE

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
        authority = authority or f"{self.address[0]}:{self.address[1]}"
        headers = signatures.sign_request(
            self.key,
            key_id=self.key_id,
            method="POST",
            authority=authority,
            path=path,
            body=body,
            created=int(time.time()) if created is None else created,
            nonce=nonce or nonce_from(secrets.token_bytes(16)),
            tag=self.tag,
        )
        return [("host", authority), *headers]

    def post(self, path: str, value: Any, *, created: int | None = None, nonce: str | None = None) -> Reply:
        """A signed POST of a JSON value."""
        body = json.dumps(value).encode()
        return self.send(path, self.sign(path, body, created=created, nonce=nonce), body)

    def send(self, path: str, headers: Sequence[tuple[str, str]], body: bytes) -> Reply:
        """Sends what was signed, and looks at the answer's signature."""
        return self.judged(exchange(self.address, request_bytes(path, headers, body)), headers)

    def judged(self, reply: Reply, headers: Sequence[tuple[str, str]]) -> Reply:
        """The answer, with its signature looked at."""
        try:
            signatures.verify_response(
                self.key,
                key_id=self.key_id,
                status=reply.status,
                headers=reply.headers,
                body=reply.body,
                request_signature=signatures.signature_of(headers),
                tag=self.tag,
            )
        except Refused:
            return reply
        return Reply(reply.status, reply.headers, reply.body, signed=True)


class Enrolment:
    """A node on its way in: its key pair, the token it was given, and its machine, which is its own unless told."""

    def __init__(self, address: tuple[str, int], token: str, components: Mapping[str, str] | None = None) -> None:
        self.components = components or machine()
        parsed = parse_token(token)
        self.secret = parsed.secret
        self.signer = Signer(address, enroll_key_id(parsed.token_id), parsed.secret, TAG_ENROLL)
        self.private = secrets.token_bytes(32)
        self.salt_id: str = salt_of(address).json["salt_id"]

    def message(self, **changes: Any) -> dict[str, Any]:
        """What it sends."""
        return {
            "protocol": 1,
            "name": "attic-pi",
            "public_key": b64url_encode(public_key(self.private)),
            "agent": {"version": "0.1.0", "platform": "linux/amd64"},
            "replaces": None,
            "fingerprint": {"salt_id": self.salt_id, "components": self.components},
            **changes,
        }

    def post(self, *, created: int | None = None, nonce: str | None = None, **changes: Any) -> Reply:
        """Enrols."""
        return self.signer.post("/v1/enroll", self.message(**changes), created=created, nonce=nonce)

    def node(self, reply: Reply) -> Node:
        """The node that an answer made."""
        assert (reply.status, reply.signed) == (201, True), reply.body
        answer = reply.json
        key = derived(self.private, answer, salt=self.secret)
        signer = Signer(self.signer.address, answer["key_id"], key)
        return Node(signer, answer["ticket"], self.salt_id, self.components)


def derived(private: bytes, answer: Mapping[str, Any], *, salt: bytes) -> bytes:
    """The key that an enrolment's or a rotation's answer leads to."""
    server_public = b64url_decode(answer["public_key"], length=32)
    return derive_node_key(
        private=private,
        peer_public=server_public,
        salt=salt,
        key_id=answer["key_id"],
        node_public=public_key(private),
        server_public=server_public,
    )


def salt_of(address: tuple[str, int]) -> Reply:
    """The answer to a request for the salt."""
    host = f"{address[0]}:{address[1]}"
    return exchange(address, request_bytes("/v1/enroll/salt", [("host", host)], b"", method="GET"))


def enrolled(address: tuple[str, int], token: str, components: Mapping[str, str] | None = None) -> Node:
    """A node that has just enrolled."""
    enrolment = Enrolment(address, token, components)
    return enrolment.node(enrolment.post())


@dataclass
class Node:
    """An enrolled node: it keeps the ticket and counts its requests."""

    signer: Signer
    ticket: str
    salt_id: str
    components: Mapping[str, str]
    session: str = field(default_factory=lambda: nonce_from(secrets.token_bytes(16)))
    request: int = 0

    @property
    def node_id(self) -> str:
        """Its id."""
        return self.signer.key_id.partition(".")[0]

    def copy(self, **changes: Any) -> Node:
        """Another process that holds the same state, on the same machine unless told."""
        fresh: dict[str, Any] = {"session": nonce_from(secrets.token_bytes(16)), "request": 0}
        return replace(self, **(fresh | changes))

    def message(self, **changes: Any) -> dict[str, Any]:
        """The next sync."""
        self.request += 1
        seen = self.components
        return {
            "protocol": 1,
            "session": self.session,
            "request": self.request,
            "ticket": self.ticket,
            "fingerprint": {"salt_id": self.salt_id, "digest": digest(seen), "components": seen},
            "status": {"health": "good"},
            "events": [],
            "done_commands": [],
            "wait": 0,
            **changes,
        }

    def sync(self, *, created: int | None = None, **changes: Any) -> Reply:
        """Syncs, and keeps the ticket of a good answer."""
        reply = self.signer.post("/v1/sync", self.message(**changes), created=created)
        if reply.status == 200 and reply.signed:
            self.ticket = reply.json["ticket"]
        return reply

    def hold(
        self, wait: int, *, created: int | None = None, **changes: Any
    ) -> tuple[socket.socket, list[tuple[str, str]]]:
        """Sends a sync that may be held; the line on which the answer will come, and the request's headers."""
        body = json.dumps(self.message(wait=wait, **changes)).encode()
        headers = self.signer.sign("/v1/sync", body, created=created)
        line = socket.create_connection(self.signer.address, timeout=DEADLINE)
        line.sendall(request_bytes("/v1/sync", headers, body))
        return line, headers


def event(seq: int, **data: Any) -> dict[str, Any]:
    """An event."""
    return {
        "seq": seq,
        "id": f"ev_{seq}",
        "at": "2026-11-24T09:00:00.000Z",
        "type": "node.note",
        "data": {"text": f"note {seq}", **data},
    }
