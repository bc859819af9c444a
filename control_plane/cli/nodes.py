"""`control-plane nodes`: who has enrolled, how they stand, and what they are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click
from sqlalchemy import Row, select

from control_plane import registry
from control_plane.cli import places
from control_plane.cli.issuing import expires_option, issue
from control_plane.cli.support import (
    database_option,
    json_option,
    node_argument,
    opened,
    plain,
    print_json,
    redis_option,
)
from control_plane.clock import utc_now
from control_plane.database import Database, node_keys
from control_plane.location import Location
from node_protocol import strict_json
from node_protocol.encoding import format_time
from verifier.stores import SqlStore


@click.group("nodes", help="See the nodes, and tell them what to do.")
def command() -> None:
    pass


@command.command("list", help="Print the nodes, the oldest first: a line each.")
@database_option
@json_option
def list_nodes(where: Location, as_json: bool) -> None:
    with opened(where) as database:
        with database.reading() as connection:
            rows = registry.every(connection)
        found = [_facts(database, row) for row in rows]
    if as_json:
        print_json(found)
        return
    for node in found:
        seen = node["last_sync_at"] or "never"
        click.echo(f"{node['node_id']}  {node['state']:9}  seq {node['last_seq']:<8}  seen {seen:24}  {node['name']}")


@command.command(
    "show",
    help="""Print all that is known of one node: keys, status, alerts.

    `machine` is the fingerprint that it was seen with last; `may_move_to` and `next_ticket_until` are what
    `approve-move` and `accept-next` have allowed, and the node has not made use of yet.
    """,
)
@database_option
@node_argument
@json_option
def show(where: Location, node_id: str, as_json: bool) -> None:
    with opened(where) as database:
        with database.reading() as connection:
            row = registry.require(connection, node_id)
            versions = connection.execute(
                select(node_keys).where(node_keys.c.node_id == node_id).order_by(node_keys.c.version)
            ).all()
            alerts = registry.alerts_of(connection, node_id)
        facts = _facts(database, row) | _place(database, node_id)
    facts["status"] = strict_json.loads(row.status.encode()) if row.status else None
    facts["keys"] = [
        {"key_id": key.key_id, **_times(key, "created_at", "first_used_at", "retires_at")} for key in versions
    ]
    facts["alerts"] = [
        {
            **_times(alert, "at"),
            "code": alert.code,
            "reason": alert.reason,
            "evidence": strict_json.loads(alert.evidence.encode()),
        }
        for alert in alerts
    ]
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        if isinstance(value, list):
            click.echo(f"{name}: {len(value)}")
            for item in value:
                click.echo(f"  {_line(item)}")
        else:
            click.echo(f"{name}: {_line(value)}")


def _tells(name: str, command_type: str, help_text: str) -> None:
    """Adds a subcommand that gives a node a command without data."""

    @command.command(name, help=help_text)
    @database_option
    @node_argument
    @redis_option
    @expires_option
    @json_option
    def give(where: Location, node_id: str, expires: timedelta, redis: str | None, as_json: bool) -> None:
        issue(where, node_id, command_type, {}, lifetime=expires, redis=redis, as_json=as_json)


_tells("pause", "trading.pause", "Tell a node to take no new risk; its owner may resume it too.")
_tells("resume", "trading.resume", "Tell a node to go on after `pause`; a pause by its owner stays.")
_tells("rotate-key", "key.rotate", "Tell a node to agree on a new key with this server.")
_tells("report", "account.report", "Tell a node to report its account.")
command.add_command(places.approve_move)
command.add_command(places.accept)


def _facts(database: Database, row: Row[Any]) -> dict[str, Any]:
    return {
        "node_id": row.node_id,
        "name": plain(row.name),
        "state": registry.state_of(database, row.node_id),
        "agent": f"{plain(row.agent_version)} {plain(row.platform)}",
        "replaces": row.replaces,
        "last_seq": row.last_seq,
        **_times(row, "enrolled_at", "last_sync_at", "revoked_at"),
    }


def _place(database: Database, node_id: str) -> dict[str, str | None]:
    state = SqlStore(database.engine).load(node_id)
    until = state.accept_until if state is not None else None
    armed = until is not None and until >= utc_now().timestamp()
    return {
        "machine": state.machine.digest if state is not None else None,
        "may_move_to": state.move_to if state is not None else None,
        "next_ticket_until": format_time(datetime.fromtimestamp(until, UTC)) if until is not None and armed else None,
    }


def _times(row: Row[Any], *names: str) -> dict[str, str | None]:
    return {name: format_time(moment) if (moment := getattr(row, name)) else None for name in names}


def _line(value: Any) -> str:
    if value is None:
        return "-"
    return plain(value if isinstance(value, str) else strict_json.dumps(value).decode())
