"""The options that name an order, the same for `policy check` and `orders place`, and the order that they name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from node_agent.cli import options
from node_protocol.messages import OrderPlace, parse_command_data
from node_protocol.refusals import Malformed

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: Final = (
    click.option("--symbol", required=True, help="What to trade, such as BTC/USD."),
    click.option("--side", type=click.Choice(("buy", "sell")), required=True),
    click.option("--type", "order_type", type=click.Choice(("market", "limit", "stop")), required=True),
    click.option("--amount", type=options.Money(), required=True, help="How much, in the base currency."),
    click.option("--price", type=options.Money(), help="The limit; for a limit order alone."),
    click.option("--stop-price", type=options.Money(), help="The trigger; for a stop order alone."),
    click.option("--time-in-force", type=click.Choice(("gtc", "ioc")), default="gtc", show_default=True),
    click.option("--reduce-only", is_flag=True, help="Only if it makes a position smaller."),
    click.option("--exchange", help="Where; the exchange that the node trades on unless given."),
)


def order_options(command: F) -> F:
    """Gives a command the options of an order, as keyword arguments for `asked`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def asked(*, exchange: str, order_type: str, **named: Any) -> OrderPlace:
    """The order that the options name."""
    data = {"exchange": exchange, "type": order_type, **named}
    try:
        order = parse_command_data("order.place", {name: value for name, value in data.items() if value is not None})
    except Malformed as error:
        raise click.UsageError(str(error)) from None
    if not isinstance(order, OrderPlace):
        raise click.UsageError("no order")
    return order
