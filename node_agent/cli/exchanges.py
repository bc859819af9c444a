"""`node-agent exchanges`: where the node can trade, and how it is known that a key there takes no money out."""

from __future__ import annotations

import json
from typing import Any, Final

import click

from node_agent.cli import options
from node_agent.exchanges import allowlist
from node_agent.exchanges.catalogue import EXCHANGES, profile_of
from node_agent.exchanges.profile import KeyCheck, Profile

_CHECKS: Final = {
    KeyCheck.ASKED: "asked: the exchange tells what a key may do; one that can withdraw is refused",
    KeyCheck.ATTESTED: "attested: it does not tell; you say by name that the key cannot withdraw",
    KeyCheck.CUSTODY: "none: the key signs for a wallet, so whoever holds it holds what is in the wallet",
}


@click.command(
    help="""Show where the node can trade, what a key there consists of, and how it is checked.

    The parts of a key stand under these names in the file for `node-agent keys add --file`, and in capitals behind
    NODE_EXCHANGE_ for --environment.

    What may be asked of an exchange at all is a list; everything else is refused before a byte is sent. How to make a
    key that can only trade: docs/exchanges.md.
    """
)
@options.as_json
def exchanges(as_json: bool) -> None:
    told = [_facts(profile_of(name)) for name in EXCHANGES]
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    for each in told:
        click.echo(f"{each['name']:<12}{each['title']}")
        parts = (f'{label} as "{name}"' for name, label in each["named"].items())
        click.echo(f"{'':<12}  key       {', '.join(parts)}")
        click.echo(f"{'':<12}  limited   {each['limited_at']}")
        click.echo(f"{'':<12}  checked   {_CHECKS[each['check']]}")
        click.echo(f"{'':<12}  takes     {', '.join(each['order_types'])} orders")
        click.echo(
            f"{'':<12}  may ask   {each['endpoints']} endpoints, {each['acting']} of which place or cancel orders"
        )


def _facts(profile: Profile) -> dict[str, Any]:
    allowed = allowlist.read(profile.name).allowed
    return {
        "name": profile.name,
        "title": profile.title,
        "parts": [each.label for each in profile.credentials],
        "named": {each.name: each.label for each in profile.credentials},
        "limited_at": profile.switch_off,
        "check": profile.key_check,
        "order_types": list(profile.order_types),
        "endpoints": len(allowed),
        "acting": sum(each.acts for each in allowed),
        "hosts": sorted({each.host for each in allowed}),
    }
