"""One running control plane: its settings, and the parts in the order in which they come up and go down."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uvicorn import Server

from control_plane import deployment, schema, server
from control_plane.app import create_app
from control_plane.channel import Channel
from control_plane.clock import Clock, utc_now
from control_plane.database import Database, open_database
from control_plane.location import Location
from control_plane.master_key import Sealer
from control_plane.proxies import BehindProxies, Network
from node_protocol.signatures import Scheme
from verifier.integrations.asgi_io import App

if TYPE_CHECKING:
    from control_plane.bell import Bell
    from verifier.stores import RedisStore


class CannotListen(Exception):
    """The address is taken, or is none of this machine's."""


@dataclass(frozen=True)
class Service:
    """A server that is ready to run on its socket."""

    server: Server
    socket: socket.socket
    database: Database
    url: str
    """Where it listens, for people."""

    def run(self) -> None:
        """Serves until it is told to stop."""
        try:
            self.server.run(sockets=[self.socket])
        finally:
            self.database.close()


def bracketed(host: str) -> str:
    """A host as it stands before a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def prepare(
    where: Location,
    sealer: Sealer,
    *,
    host: str,
    port: int,
    authorities: Collection[str] = (),
    max_nodes_per_machine: int = 1,
    redis: str | None = None,
    trusted: Sequence[Network] = (),
    clock: Clock = utc_now,
    on_ready: Callable[[str], None] = lambda url: None,
) -> Service:
    """Brings the database up to date and binds the address; nothing listens yet.

    `authorities` are the names by which nodes reach the server, and then it stands behind TLS; without any it is the
    bind address, over plain http. `max_nodes_per_machine` live nodes may be on one machine. `redis` is the URL of the
    Redis that all processes of this server share; one process alone needs none. Proxies at the `trusted` addresses say
    where a request comes from. `on_ready` is called with the address once it listens. Raises CannotListen, SealBroken,
    NewerSchema, StepsMissing, and OSError for a data directory that cannot be used.
    """
    database = open_database(where, create=True)
    schema.upgrade(database)
    nonces, bell = (None, None) if redis is None else _shared(redis)
    salt = deployment.ensure(database, sealer, clock(), nonces=nonces)
    try:
        bound = server.listen(host, port)
    except OSError as error:
        raise CannotListen((error.strerror or str(error)).lower()) from error
    bind_address = f"{bracketed(host)}:{bound.getsockname()[1]}"
    scheme: Scheme = "https" if authorities else "http"
    channel = Channel(
        database,
        sealer,
        salt,
        authorities=authorities or (bind_address,),
        scheme=scheme,
        clock=clock,
        max_nodes_per_machine=max_nodes_per_machine,
        nonces=nonces,
        bell=bell,
    )
    url = f"http://{bind_address}"
    app: App = create_app(channel, salt)
    if trusted:
        app = BehindProxies(app, trusted)
    return Service(server.make_server(app, on_ready=lambda: on_ready(url), on_stop=channel.stop), bound, database, url)


def _shared(redis: str) -> tuple[RedisStore, Bell]:
    """What the processes of one server share through Redis."""
    # Only who has a Redis has its client.
    from control_plane.bell import Bell  # noqa: PLC0415
    from verifier.stores import RedisStore  # noqa: PLC0415

    return RedisStore.from_url(redis), Bell(redis)
