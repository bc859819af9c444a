"""`python -m tests.binance`: the exchange as a process; says where it is, and serves until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import signal
from decimal import Decimal

from tests.binance import control
from tests.binance.app import Exchange
from tests.binance.requests import Key, Request
from tests.venue.http import Answer
from tests.venue.market import LISTED
from tests.venue.server import serve

INTERVALS = {"1s": 1000, "1m": 60_000}


def arguments() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.binance", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--symbol", action="append", choices=LISTED, help="may be given more than once")
    parser.add_argument("--interval", choices=INTERVALS, default="1s", help="how often the price moves")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--balance", action="append", metavar="ASSET=AMOUNT", help="may be given more than once")
    return parser.parse_args()


async def run(options: argparse.Namespace) -> None:
    """Serves until SIGTERM or SIGINT; what is still on its way is let go of."""
    balances = dict(pair.split("=") for pair in options.balance or ["USDT=100000", "BTC=5"])
    exchange = Exchange(
        Key(options.key, options.secret),
        [LISTED[symbol] for symbol in options.symbol or ["BTCUSDT"]],
        {asset: Decimal(amount) for asset, amount in balances.items()},
        interval=INTERVALS[options.interval],
        seed=options.seed,
    )
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)

    async def respond(request: Request) -> Answer | None:
        if request.path.startswith(control.PREFIX):
            return control.answer(exchange, request)
        return await exchange.respond(request)

    _, port = await serve(Request, respond, options.port)
    print(f"ready http://127.0.0.1:{port}", flush=True)
    await stopped.wait()


asyncio.run(run(arguments()))
