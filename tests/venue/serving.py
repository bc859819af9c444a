"""An exchange as a process: says where it is, and serves until SIGTERM. A dialect's `__main__` calls `main`."""

from __future__ import annotations

import argparse
import asyncio
import signal
from typing import Final

from tests.venue import control
from tests.venue.app import Venue
from tests.venue.control import V
from tests.venue.http import Answer, HttpRequest
from tests.venue.server import serve

INTERVALS: Final = {"1s": 1000, "1m": 60_000, "1h": 3_600_000}


def main(kind: type[Venue]) -> None:
    """The process, from its arguments to its end."""
    parser = argparse.ArgumentParser(description=kind.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", action="append", default=[], metavar="PART=VALUE", help="may be given more than once")
    parser.add_argument("--interval", choices=INTERVALS, default="1s", help="how often the price moves")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    key = dict(part.split("=", 1) for part in options.key)
    venue = kind(key, interval=INTERVALS[options.interval], seed=options.seed)
    asyncio.run(run(venue, control.ACTIONS, options.port))


async def run(venue: V, actions: control.Actions[V], port: int) -> None:
    """Serves until SIGTERM or SIGINT; what is still on its way is let go of."""

    async def respond(request: HttpRequest) -> Answer | None:
        if request.path.startswith(control.PREFIX):
            return control.answer(venue, request, actions)
        return await venue.respond(request)

    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    _, port = await serve(respond, port)
    print(f"ready http://127.0.0.1:{port}", flush=True)
    await stopped.wait()
