"""`control-plane serve`: the server's process."""

from __future__ import annotations

import logging
import sys
from typing import Final

import click
import structlog

from control_plane import service
from control_plane.cli.errors import CliError, Exit
from control_plane.cli.support import AUTHORITY, database_option, failures, redis_option, sealer
from control_plane.location import Location
from control_plane.proxies import resolved
from node_protocol.signatures import is_authority

_MOST_NODES: Final = 1000
"""On one machine: beyond that it is no machine but a mistake."""


@click.command("serve", help="Serve nodes until SIGTERM. Prints one line when it listens; logs to stderr.")
@database_option
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="The address to listen on, or a name of this machine's."
)
@click.option("--port", default=8099, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option(
    "--authority",
    "authorities",
    multiple=True,
    type=AUTHORITY,
    help="A name, or name:port, by which nodes reach this server over https. Without: the bind address, over http.",
)
@click.option(
    "--max-nodes-per-machine",
    type=click.IntRange(1, _MOST_NODES),
    default=1,
    show_default=True,
    envvar="CONTROL_PLANE_MAX_NODES_PER_MACHINE",
    show_envvar=True,
    help="Nodes that may live on one machine; more are refused as fingerprint_duplicate, and the operator is told.",
)
@redis_option
@click.option(
    "--trusted-proxy",
    "proxies",
    multiple=True,
    metavar="HOST_OR_CIDR",
    help="A proxy in front of this server: it says in X-Forwarded-For where a request comes from. A name is looked up "
    "once, at the start.",
)
@click.option("--verbose", is_flag=True, help="Log each request that was accepted too.")
def command(
    where: Location,
    host: str,
    port: int,
    authorities: tuple[str, ...],
    max_nodes_per_machine: int,
    redis: str | None,
    proxies: tuple[str, ...],
    verbose: bool,
) -> None:
    seals = sealer()
    _log_to_stderr(logging.DEBUG if verbose else logging.INFO)
    if not authorities:
        _see_to_its_name(host)
    try:
        trusted = resolved(proxies)
    except OSError as error:
        what = (error.strerror or str(error)).lower()
        hint = "name a host that is up already, its address, or its network, such as 172.20.0.0/24"
        raise CliError(f"no such proxy: {what}", hint, exit_code=Exit.USAGE) from None
    with failures(where):
        try:
            ready = service.prepare(
                where,
                seals,
                host=host,
                port=port,
                authorities=authorities,
                max_nodes_per_machine=max_nodes_per_machine,
                redis=redis,
                trusted=trusted,
                on_ready=_say,
            )
        except service.CannotListen as error:
            raise CliError(
                f"cannot listen on {host}:{port}: {error}", "name another one with --host and --port"
            ) from None
        ready.run()


def _see_to_its_name(host: str) -> None:
    """Nodes sign for the name by which they reach us, and by some addresses nobody can."""
    hint = "say by which --authority they reach this server"
    if not is_authority(service.bracketed(host).lower()):
        raise CliError(f"nodes cannot sign requests for {host!r}", hint, exit_code=Exit.USAGE)
    if host in ("0.0.0.0", "::"):  # noqa: S104  compared with, not bound to
        click.echo(f"control-plane: warning: no node reaches {host} by this name: {hint}", err=True)


def _say(url: str) -> None:
    click.echo(f"control-plane: listening on {url}")


def _log_to_stderr(least: int) -> None:
    # Its own lines are JSON; what the libraries have to say, warnings and our own faults, comes as they word it.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it warns of what is no HTTP, and so do we
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
