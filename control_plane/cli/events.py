"""`control-plane events`: what nodes have reported and the verifier let through."""

from __future__ import annotations

import time
from typing import Any, Final

import click
from sqlalchemy import Row

from control_plane import ingest, registry
from control_plane.cli.support import database_option, json_option, node_option, opened, plain, print_json
from control_plane.location import Location
from node_protocol import strict_json
from node_protocol.encoding import format_time

_PAGE: Final = 1000
_LAST_SEQ: Final = 10**15 - 1
"""No event has a higher number on the wire."""
_POLL_SECONDS: Final = 0.2


@click.group("events", help="Read what nodes have reported.")
def command() -> None:
    pass


@command.command("tail", help="Print a node's events in order, a line each.")
@database_option
@node_option
@click.option(
    "--from-seq", type=click.IntRange(1, _LAST_SEQ), default=1, show_default="1", help="The number of the first event."
)
@click.option("--follow", is_flag=True, help="Go on with what comes, until interrupted.")
@json_option
def tail(where: Location, node_id: str, from_seq: int, follow: bool, as_json: bool) -> None:
    last = from_seq - 1
    with opened(where) as database:
        while True:
            with database.reading() as connection:
                registry.require(connection, node_id)
                rows = ingest.of_node(connection, node_id, after=last, limit=_PAGE)
            for row in rows:
                _show(row, as_json)
                last = row.seq
            if len(rows) == _PAGE:
                continue
            if not follow:
                return
            time.sleep(_POLL_SECONDS)


def _show(row: Row[Any], as_json: bool) -> None:
    if not as_json:
        click.echo(f"{row.seq:>8}  {format_time(row.at)}  {row.type:22}  {plain(row.data)}")
        return
    print_json(
        {
            "seq": row.seq,
            "id": row.id,
            "at": format_time(row.at),
            "type": row.type,
            "data": strict_json.loads(row.data.encode()),
            "node_id": row.node_id,
            "received_at": format_time(row.received_at),
        }
    )
