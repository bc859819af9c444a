"""`control-plane token`: enrolment tokens."""

from __future__ import annotations

from datetime import timedelta

import click

from control_plane import deployment, schema, tokens
from control_plane.cli.errors import require_stdout
from control_plane.cli.migrate import migrate
from control_plane.cli.support import (
    DURATION,
    NODE_ID,
    database_option,
    failures,
    json_option,
    opened,
    print_json,
    redis_option,
    sealer,
)
from control_plane.clock import utc_now
from control_plane.location import Location
from node_protocol.encoding import format_time
from node_protocol.handshake import format_token


@click.group("token", help="Make enrolment tokens.")
def command() -> None:
    pass


@command.command(
    "create",
    help="Print a new token. It is shown once, and serves once; also while the server runs, and before it first does.",
)
@database_option
@click.option(
    "--expires", type=DURATION, default=tokens.DEFAULT_LIFETIME, show_default="1h", help="How long it is good."
)
@click.option("--replaces", type=NODE_ID, help="The node whose place is taken; it is revoked then.")
@redis_option
@json_option
def create(where: Location, expires: timedelta, replaces: str | None, redis: str | None, as_json: bool) -> None:
    require_stdout()
    seals = sealer()
    with failures(where):
        made = schema.is_made(where)
    if not made:
        migrate(where)
        click.echo(f"there was no server {where.name}: made its database", err=True)
    nonces = None
    if redis is not None:
        from verifier.stores import RedisStore  # noqa: PLC0415

        nonces = RedisStore.from_url(redis)
    with opened(where) as database:
        deployment.ensure(database, seals, utc_now(), nonces=nonces)
        token, expires_at = tokens.create(database, seals, utc_now(), lifetime=expires, replaces=replaces)
    if as_json:
        print_json({"token": format_token(token), "expires_at": format_time(expires_at)})
    else:
        click.echo(format_token(token))
        click.echo(f"good for one node until {format_time(expires_at)}", err=True)
