"""`control-plane orders`: order commands to nodes, and what became of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click
from sqlalchemy import Row

from control_plane import commands, ingest, orders, registry
from control_plane.cli.issuing import expires_option, issue
from control_plane.cli.support import (
    database_option,
    json_option,
    node_option,
    opened,
    plain,
    print_json,
    redis_option,
)
from control_plane.clock import utc_now
from control_plane.location import Location
from node_protocol import strict_json
from node_protocol.encoding import format_time


@click.group("orders", help="Place and cancel orders at nodes, and see them.")
def command() -> None:
    pass


@command.command(
    "place", help="Tell a node to place an order. Its owner's limits decide; `orders list` shows what became of it."
)
@database_option
@node_option
@click.option("--exchange", default="paper", show_default=True)
@click.option("--symbol", required=True, help="BTC/USD, say.")
@click.option("--side", required=True, type=click.Choice(["buy", "sell"]))
@click.option("--type", "order_type", required=True, type=click.Choice(["market", "limit", "stop"]))
@click.option("--amount", required=True, help="A decimal number, of the base currency.")
@click.option("--price", help="A decimal number; for limit orders.")
@click.option("--stop-price", help="A decimal number; for stop orders.")
@click.option("--time-in-force", type=click.Choice(["gtc", "ioc"]))
@click.option("--reduce-only", is_flag=True, default=None, help="It may only make a position smaller.")
@redis_option
@expires_option
@json_option
def place(
    where: Location, node_id: str, expires: timedelta, redis: str | None, as_json: bool, order_type: str, **options: Any
) -> None:
    data = {name: value for name, value in options.items() if value is not None} | {"type": order_type}
    issue(where, node_id, "order.place", data, lifetime=expires, redis=redis, as_json=as_json)


@command.command("cancel", help="Tell a node to cancel an order.")
@database_option
@node_option
@click.option("--client-order-id", required=True, help="The order, as `orders list` shows it.")
@redis_option
@expires_option
@json_option
def cancel(
    where: Location, node_id: str, client_order_id: str, expires: timedelta, redis: str | None, as_json: bool
) -> None:
    issue(
        where,
        node_id,
        "order.cancel",
        {"client_order_id": client_order_id},
        lifetime=expires,
        redis=redis,
        as_json=as_json,
    )


@command.command("cancel-all", help="Tell a node to cancel all that is open.")
@database_option
@node_option
@click.option("--symbol", help="Orders of this symbol alone.")
@redis_option
@expires_option
@json_option
def cancel_all(
    where: Location, node_id: str, symbol: str | None, expires: timedelta, redis: str | None, as_json: bool
) -> None:
    data = {} if symbol is None else {"symbol": symbol}
    issue(where, node_id, "orders.cancel_all", data, lifetime=expires, redis=redis, as_json=as_json)


@command.command(
    "list",
    help="""Print a node's orders as its events tell them, and the commands that it was given.

    \b
    A command is
      waiting   while the node has not come for it;
      sent      when it has, and did not say yet what became of it;
      done      when it was carried out;
      refused   when it was not, by the rule behind it;
      expired   when its time is over; with a rule behind it the node says so.
    """,
)
@database_option
@node_option
@json_option
def list_orders(where: Location, node_id: str, as_json: bool) -> None:
    with opened(where) as database, database.reading() as connection:
        registry.require(connection, node_id)
        found = orders.project(ingest.order_events(connection, node_id))
        ends = orders.endings(ingest.refusal_events(connection, node_id))
        given = [_command(row, ends.get(row.command_id), utc_now()) for row in commands.of_node(connection, node_id)]
    if as_json:
        print_json({"orders": found, "commands": given})
        return
    for order in found:
        told = {
            name: plain(str(order.get(name, "-"))) for name in ("client_order_id", "state", "symbol", "side", "type")
        }
        amounts = "/".join(plain(str(order.get(name, "-"))) for name in ("filled", "amount"))
        price = plain(str(order.get("average_price", order.get("price", "-"))))
        click.echo(f"{'  '.join(told.values())}  filled {amounts}  at {price}")
    for each in given:
        facts = (each["command_id"], each["state"], each["type"], strict_json.dumps(each["data"]).decode())
        why = ": ".join(each[name] for name in ("rule", "detail") if each[name])
        click.echo("  ".join((*facts, why) if why else facts))


def _command(row: Row[Any], ending: orders.Ending | None, now: datetime) -> dict[str, Any]:
    if ending is not None:
        state = ending.state
    elif row.done_at is not None:
        state = "done"
    elif row.expires_at <= now:
        state = "expired"
    else:
        state = "waiting" if row.first_sent_at is None else "sent"
    return {
        "command_id": row.command_id,
        "type": row.type,
        "data": strict_json.loads(row.data.encode()),
        "state": state,
        "rule": plain(ending.rule) if ending and ending.rule else None,
        "detail": plain(ending.detail) if ending and ending.detail else None,
        "issued_at": format_time(row.issued_at),
        "expires_at": format_time(row.expires_at),
    }
