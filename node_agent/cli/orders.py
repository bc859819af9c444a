"""`node-agent orders`: what is open, an order by hand, a cancel by hand."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from node_agent import at_rest, facts
from node_agent.cli import asked, hand, options, words
from node_agent.cli.errors import CliError
from node_agent.config import load
from node_agent.control_line import ControlError, NotRunning
from node_agent.journal import JOURNAL_FILE, Journal

_ENDED_OTHERWISE: Final = ("filled", "expired", "rejected", "refused")


@click.group(help="The node's orders: what is open, and the owner's own hand on them.")
def orders() -> None:
    pass


@orders.command(
    "list",
    help="""Show what is open: the node's orders, its positions, rests too small to trade, and orders that are not its
    own.

    From the node while it runs, and else from its journal: then it is what it knew last, and not what the exchange
    says. An order that is `unknown` may or may not be at the exchange; the node is finding out.
    """,
)
@options.data_dir
@options.as_json
def list_orders(data_dir: Path, as_json: bool) -> None:
    with hand.said():
        try:
            found = {**hand.answer(data_dir, {"request": "orders"}), "running": True}
            del found["done"]
        except NotRunning:
            with Journal.open_read_only(data_dir / JOURNAL_FILE) as journal:
                known = facts.of_account(at_rest.restored(journal))
                found = {**known, "foreign": journal.fact("foreign") or [], "running": False}
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for line in _lines(found):
        click.echo(line)


@orders.command(
    help="""Place an order by hand, through the node that runs.

    The owner's limits hold for it as for any other: try it on them with `node-agent policy check`. Says what became of
    it; exit code 1 when it was refused, by the limits or by the exchange.
    """
)
@options.data_dir
@asked.order_options
@click.option(
    "--id", "token", metavar="TEXT", help="Names the order: asked for again by the same id, it is not doubled."
)
@options.as_json
def place(data_dir: Path, token: str | None, as_json: bool, exchange: str | None, **named: Any) -> None:
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token and len(token) <= 64):
        raise click.UsageError("--id takes 1 to 64 letters, digits and signs, without blanks")
    with hand.said():
        hand.see_that_there_is_a_node(data_dir)
        wanted = asked.asked(exchange=exchange or load(data_dir, os.environ).exchange.name, **named)
        request = {"request": "place", "order": wanted.model_dump(mode="json", exclude_none=True)}
        token = token or secrets.token_hex(16)
        again = f"it may have been placed: ask again with `--id {token}`, which does not double it"
        try:
            became = hand.answer(data_dir, {**request, "token": token}, again)
        except NotRunning as error:
            raise CliError("orders are placed while the node runs alone, and it does not", *error.hints) from None
        except ControlError as error:
            raise CliError(error.message, again) from None
    order = became["order"]
    if became["known"] and not as_json:
        click.echo(f"placed before: {words.of_order(order)}")
    else:
        _show(order, as_json=as_json)
    if became["known"] and not became["same"]:
        raise CliError("another order was placed under this id before", "name this one by another --id")
    _see_that_it_was_taken(order, became.get("detail"))


@orders.command(
    help="""Cancel what is left of an order of the node's; ID is the last word of its line in `orders list`.

    Exit code 1 when it has ended in another way, or the exchange has not answered yet. A node that does not run takes
    all its orders back by `node-agent stop --cancel-open`.
    """
)
@options.data_dir
@click.argument("client_order_id", metavar="ID")
@options.as_json
def cancel(data_dir: Path, client_order_id: str, as_json: bool) -> None:
    with hand.said():
        hand.see_that_there_is_a_node(data_dir)
        try:
            order = hand.answer(data_dir, {"request": "cancel", "client_order_id": client_order_id})["order"]
        except NotRunning as error:
            raise CliError(
                "an order is cancelled while the node runs alone, and it does not",
                *error.hints,
                "or have all its orders cancelled: `node-agent stop --cancel-open`",
            ) from None
    _show(order, as_json=as_json)
    if order["state"] == "cancelled":
        return
    if order["state"] in _ENDED_OTHERWISE:
        raise CliError(f"it had ended before: {order['state']}")
    raise CliError("the exchange has not said yet that it is cancelled", "the node goes on; look with `orders list`")


@orders.command(
    "give-up",
    help="""Say of an `unknown` order that the exchange does not have it. ID is the last word of its line.

    An exchange that does not find an order has not said that it was cancelled, so the node goes on looking, and takes
    no new risk on that symbol. Look at the exchange's own pages: when it is neither among the open orders there nor
    among those that ended, this ends it here. Should it turn up after all, the node cancels it, and counts what it
    traded. Exit code 1 when it is not `unknown`.
    """,
)
@options.data_dir
@click.argument("client_order_id", metavar="ID")
@options.as_json
def give_up(data_dir: Path, client_order_id: str, as_json: bool) -> None:
    with hand.said():
        hand.see_that_there_is_a_node(data_dir)
        try:
            answer = hand.answer(data_dir, {"request": "give_up", "client_order_id": client_order_id})
        except NotRunning as error:
            raise CliError("an order is given up while the node runs alone, and it does not", *error.hints) from None
    order = answer["order"]
    _show(order, as_json=as_json)
    if answer["given_up"]:
        return
    if order["state"] in (*_ENDED_OTHERWISE, "cancelled"):
        raise CliError(f"it had ended before: {order['state']}")
    raise CliError(
        f"only an unknown order is given up, and this one is {order['state']}",
        f"have it cancelled: `node-agent orders cancel {client_order_id}`",
    )


def _show(order: dict[str, Any], *, as_json: bool) -> None:
    click.echo(json.dumps(order, indent=2) if as_json else words.of_order(order))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield words.counted(found)
    yield from words.of_work(found)
    if any(order["state"] == "unknown" for order in found["orders"]):
        yield "if the exchange's own pages do not show an unknown order either: `node-agent orders give-up ID`"
    if found["foreign"]:
        yield "open on the account, and not of this node:"
        for order in found["foreign"]:
            yield f"  {words.of_foreign(order)}"
    if not found["running"]:
        yield "the node does not run: this is what it knew last"


def _see_that_it_was_taken(order: dict[str, Any], detail: str | None) -> None:
    if order["state"] == "refused":
        raise CliError(f"refused by {order['reason']}" + (f": {detail}" if detail else ""))
    if order["state"] == "rejected":
        raise CliError(f"the exchange refused it: {order.get('reason', 'without a reason')}")
    if order["state"] in ("submitting", "accepted", "unknown"):
        raise CliError("the exchange has not answered yet", "the node goes on; look with `node-agent orders list`")
