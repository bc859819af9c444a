"""The example servers as processes on loopback, and nodes that they know."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from examples.new_node import new_node
from node_agent.client import Clock, ServerAddress, SignedClient, SigningKey
from node_protocol.encoding import b64url_decode
from node_protocol.signatures import TAG_NODE, MacKey
from tests.control_plane.support import DEADLINE, Signer
from tests.verifier.nodes import Node as Speaker

ROOT: Final = Path(__file__).parents[2]
_UVICORN: Final = ("-m", "uvicorn", "--fd", "{fd}", "--http")
_GUNICORN: Final = ("-m", "gunicorn", "--bind", "fd://{fd}", "--no-control-socket")
_WITH_RAW_TARGET: Final = (
    "import uvicorn; from verifier.integrations.uvicorn import RawTarget; "
    "uvicorn.run('examples.fastapi_server:app', fd={fd}, http=RawTarget)"
)
SERVERS: Final[Mapping[str, tuple[str, ...]]] = {
    "fastapi-uvicorn-raw": ("-c", _WITH_RAW_TARGET),
    "bare-uvicorn-h11": (*_UVICORN, "h11", "tests.integrations.bare_asgi:app"),
    "django-uvicorn-httptools": (*_UVICORN, "httptools", "examples.django_server:asgi"),
    "django-gunicorn": (*_GUNICORN, "examples.django_server:wsgi"),
    "flask-gunicorn": (*_GUNICORN, "examples.flask_server:app"),
}
MISBEHAVING: Final[Mapping[str, tuple[str, ...]]] = {
    "bare-uvicorn": (*_UVICORN, "h11", "tests.integrations.misbehaving:bare_asgi"),
    "bare-gunicorn": (*_GUNICORN, "tests.integrations.misbehaving:bare_wsgi"),
    "fastapi-uvicorn": (*_UVICORN, "httptools", "tests.integrations.misbehaving:fastapi_app"),
    "django-uvicorn": (*_UVICORN, "httptools", "tests.integrations.misbehaving:django_asgi"),
    "django-gunicorn": (*_GUNICORN, "tests.integrations.misbehaving:django_wsgi"),
    "flask-gunicorn": (*_GUNICORN, "tests.integrations.misbehaving:flask_app"),
}
NODES: Final = 60
"""How many nodes a server knows: each test takes new ones."""


@dataclass
class Node:
    """A node that the example servers know: its key, and what it says next."""

    signer: Signer
    speaker: Speaker

    @property
    def node_id(self) -> str:
        return self.speaker.node_id

    def ask(self, path: str, value: Any) -> Any:
        """What `node-agent`'s own client makes of the answer. Raises LineFault and ServerRefused."""

        async def go() -> bytes:
            host, port = self.signer.address
            address = ServerAddress.parse(f"http://{host}:{port}", insecure_loopback=True)
            client = SignedClient(address, Clock(time.time))
            try:
                key = SigningKey(self.signer.key_id, MacKey(self.signer.key), TAG_NODE)
                return await client.post(path, json.dumps(value).encode(), key)
            finally:
                await client.close()

        return json.loads(asyncio.run(go()))

    def sync(self, **changes: Any) -> Any:
        """The answer to the next sync, by the same client; its ticket is kept."""
        answer = self.ask("/v1/sync", self.speaker.message(**changes))
        self.speaker.ticket = answer["ticket"]
        return answer


@dataclass
class Server:
    """One running server."""

    name: str
    address: tuple[str, int]
    store: Path
    nodes: list[Node]

    @property
    def loses(self) -> tuple[str, ...]:
        """Targets that this server makes the signed one of, before any application can see them."""
        bare_query, others = "/signals?", ("/signals#", "http://{authority}/signals")
        if self.name == "bare-uvicorn-h11":
            return (bare_query,)
        return (bare_query, *others) if self.name == "django-uvicorn-httptools" else ()

    @contextmanager
    def without_store(self) -> Iterator[None]:
        """While the table of nonces is somewhere else."""
        with closing(sqlite3.connect(self.store, timeout=DEADLINE)) as database:
            database.execute("ALTER TABLE verifier_nonces RENAME TO elsewhere")
            try:
                yield
            finally:
                database.execute("ALTER TABLE elsewhere RENAME TO verifier_nonces")


@contextmanager
def running(name: str, command: Sequence[str], folder: Path) -> Iterator[Server]:
    """A server, by its documented command but for the socket; stopped by its pid."""
    nodes = [new_node() for _ in range(NODES)]
    (folder / "nodes.json").write_text(json.dumps(nodes))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # It listens from here on: who connects before the server is up is answered as soon as it is.
        address: tuple[str, int] = listening.getsockname()
        environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "EXAMPLE_NODES": str(folder / "nodes.json"),
            "EXAMPLE_STORE": f"sqlite:///{folder / 'store.sqlite3'}",
            "EXAMPLE_AUTHORITY": f"{address[0]}:{address[1]}",
        }
        words = [part.format(fd=listening.fileno()) for part in command]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *words],
                cwd=folder,
                env=environ,
                pass_fds=[listening.fileno()],
                stdout=log,
                stderr=log,
            )
    try:
        yield Server(name, address, folder / "store.sqlite3", [_node(each, address) for each in nodes])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE)


def _node(facts: Mapping[str, Any], address: tuple[str, int]) -> Node:
    key = b64url_decode(facts["key"], length=32)
    node_id = facts["key_id"].partition(".")[0]
    speaker = Speaker(node_id=node_id, secret=key, ticket=facts["ticket"], machine=facts["components"])
    return Node(Signer(address, facts["key_id"], key), speaker)
