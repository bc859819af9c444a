"""`python -m tests.binance`: the exchange as a process; says where it is, and serves until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio

from tests.binance import control
from tests.binance.app import Exchange
from tests.venue.market import LISTED
from tests.venue.serving import INTERVALS, run


def arguments() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.binance", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--symbol", action="append", default=[], choices=LISTED, help="may be given more than once")
    parser.add_argument("--interval", choices=INTERVALS, default="1s", help="how often the price moves")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--balance", action="append", default=[], metavar="ASSET=AMOUNT", help="may be given more than once"
    )
    return parser.parse_args()


def exchange(options: argparse.Namespace) -> Exchange:
    """As it was asked for."""
    return Exchange(
        {"key": options.key, "secret": options.secret},
        listed={symbol: LISTED[symbol] for symbol in options.symbol},
        deposits=dict(pair.split("=") for pair in options.balance),
        interval=INTERVALS[options.interval],
        seed=options.seed,
    )


given = arguments()
asyncio.run(run(exchange(given), control.ACTIONS, given.port))
