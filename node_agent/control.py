"""The owner's hand on a node that runs: takes what its commands ask for on the data directory's socket.

Whatever comes in there, nonsense, nothing, or a client that hangs, costs its own connection and nothing else. What a
client asked for is done whether it waits for the answer or not.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, assert_never

from node_agent import facts
from node_agent.control_line import NotRunning, ask, is_owner, reachable
from node_agent.control_requests import (
    LONGEST_REQUEST,
    Cancel,
    GiveUp,
    Health,
    Orders,
    Pause,
    Place,
    Request,
    Resume,
    Stop,
    read_request,
)
from node_agent.core import events
from node_agent.core.ids import order_of_owner
from node_agent.core.intents import judge, request_of
from node_agent.core.orders import Order, OrderState
from node_agent.core.state import STOPPED_BY_OWNER, State
from node_protocol import strict_json
from node_protocol.refusals import Malformed

__all__ = ["Control", "NotRunning", "StopWish", "ask"]

_MOST_CLIENTS: Final = 16
_CLIENT_SECONDS: Final = 5.0
"""A client sends its one line within these, and takes each line of ours."""
_TAKEN_SECONDS: Final = 10.0
"""How long a client is kept waiting for the node, or the exchange, to take what it asked for."""
_TELL_SECONDS: Final = 2.0
"""What is still open is told at every change, and at least so often."""
_LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class StopWish:
    """The owner wants open orders cancelled, with `flatten` positions closed too, and then the process ended."""

    flatten: bool


class Control:
    """Serves the owner's commands. The caller holds the data directory's lock.

    `settle` has an event taken and written down, and gives the node as it is then; `knows` says of an order that is not
    at hand whether it is in the journal; `end` ends the process in order.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        settle: Callable[[events.OwnerEvent | events.Tick], Awaitable[State]],
        state: Callable[[], State],
        clock: Callable[[], datetime],
        knows: Callable[[str], bool] = lambda client_order_id: False,
        end: Callable[[str], None] = lambda reason: os.kill(os.getpid(), signal.SIGTERM),
    ) -> None:
        self._data_dir = data_dir
        self._settle = settle
        self._state = state
        self._clock = clock
        self._knows = knows
        self._end = end
        self._clients: set[asyncio.Task[Any]] = set()
        self._asked: set[asyncio.Future[State]] = set()

    async def run(self) -> None:
        """Serve until cancelled. A socket that a killed process left behind is replaced."""
        with reachable(self._data_dir) as path:
            server = await asyncio.start_unix_server(self._serve, sock=_listener(path), limit=LONGEST_REQUEST)
            try:
                await asyncio.Event().wait()
            finally:
                server.close()
                for client in self._clients:
                    client.cancel()
                _remove(path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.current_task()
        if client is None or len(self._clients) >= _MOST_CLIENTS:
            _Voice(writer).last({"error": "too many others are asking the node just now; ask again in a moment"})
            writer.close()
            return
        self._clients.add(client)
        try:
            # Whoever asked is gone, or the node ends: nobody waits for this task.
            with suppress(OSError, TimeoutError, asyncio.CancelledError):
                await self._answer(await _request(reader, writer), _Voice(writer))
        except Malformed as error:
            _Voice(writer).last({"error": str(error)})
        finally:
            self._clients.discard(client)
            writer.close()

    async def _answer(self, request: Request, voice: _Voice) -> None:
        match request:
            case Pause():
                await self._switch(events.OwnerPaused(self._clock(), request.reason), voice)
            case Resume():
                await self._switch(events.OwnerResumed(self._clock()), voice)
            case Stop():
                await self._stop(request, voice)
            case Health():
                await self._tell_health(voice)
            case Orders():
                voice.last(facts.of_account(self._state()))
            case Place():
                await self._place(request, voice)
            case Cancel():
                await self._cancel(request.client_order_id, voice)
            case GiveUp():
                await self._give_up(request.client_order_id, voice)
            case _:
                assert_never(request)

    async def _switch(self, event: events.OwnerPaused | events.OwnerResumed, voice: _Voice) -> None:
        state = await self._taken(event, voice)
        if state is not None:
            voice.last(facts.of_trading(state))

    async def _stop(self, wish: Stop, voice: _Voice) -> None:
        if not (wish.cancel_open or wish.flatten):
            voice.last(facts.of_work(self._state()))
            self._end("stopped by the owner")
            return
        taken = self._deliver(
            events.OwnerStops(self._clock(), flatten=wish.flatten, then_end=True, reason="`node-agent stop`")
        )
        try:
            await self._tell_what_is_open(taken, voice)
        finally:  # also when the process ends meanwhile: whoever asked is to know how far it came
            state = self._state()
            voice.last({**facts.of_work(state), "called_off": taken.done() and STOPPED_BY_OWNER not in state.pauses})

    async def _tell_what_is_open(self, taken: asyncio.Future[State], voice: _Voice) -> None:
        told, told_at = None, self._now()
        while not taken.done() or self._state().windup is not None:
            now = facts.of_work(self._state())
            if now != told or self._now() >= told_at + _TELL_SECONDS:
                told, told_at = now, self._now()
                await voice.say({**now, "done": False})
            await asyncio.sleep(_LOOK_SECONDS)

    async def _tell_health(self, voice: _Voice) -> None:
        """That a socket answers says little: what trades is the loop, and it shows by taking what costs nothing."""
        before = self._state()
        if before.started_at is None:
            voice.last({"started": False, **facts.of_health(before, self._clock())})
            return
        state = await self._taken(events.Tick(self._clock()), voice)
        if state is not None:
            voice.last({"started": True, **facts.of_health(state, self._clock())})

    async def _place(self, wanted: Place, voice: _Voice) -> None:
        before = self._state()
        client_order_id = order_of_owner(before.origin, wanted.token)
        request = request_of(client_order_id, wanted.order)
        known = before.orders.get(client_order_id)
        if known is not None:
            same = (known.side, known.symbol, known.type) == (request.side, request.symbol, request.type)
            voice.last({"order": facts.of_order(known), "known": True, "same": same})
            return
        if self._knows(client_order_id):
            voice.last({"error": f"an order was placed under this id before, and ended: {client_order_id}"})
            return
        _, verdict = judge(before, wanted.order.exchange, request, self._clock())
        now = self._clock()
        state = await self._taken(events.OwnerWants(now, wanted.order.exchange, request, asked_at=now), voice)
        if state is None:
            return
        if client_order_id not in state.orders:
            voice.last({"error": "the node is ending: nothing was placed"})
            return
        order = await self._becomes(client_order_id, lambda order: not order.on_its_way)
        detail = verdict.detail if verdict.rule == order.reason else None
        voice.last({"order": facts.of_order(order), "known": False, "detail": detail})

    async def _cancel(self, client_order_id: str, voice: _Voice) -> None:
        order = self._state().orders.get(client_order_id)
        if order is None:
            voice.last(_not_known(client_order_id))
            return
        if not order.ended:
            if await self._taken(events.OwnerCancels(self._clock(), client_order_id), voice) is None:
                return
            order = await self._becomes(client_order_id, lambda order: order.ended)
        voice.last({"order": facts.of_order(order)})

    async def _give_up(self, client_order_id: str, voice: _Voice) -> None:
        order = self._state().orders.get(client_order_id)
        given_up = order is not None and order.state is OrderState.UNKNOWN
        if given_up:
            state = await self._taken(events.OwnerGivesUp(self._clock(), client_order_id), voice)
            if state is None:
                return
            order = state.orders.get(client_order_id)
        if order is None:
            voice.last(_not_known(client_order_id))
        else:
            voice.last({"order": facts.of_order(order), "given_up": given_up and order.ended})

    async def _becomes(self, client_order_id: str, wanted: Callable[[Order], bool]) -> Order:
        """The order when it is as wanted, or as it is when that takes too long."""
        deadline = self._now() + _TAKEN_SECONDS
        while True:
            order = self._state().orders[client_order_id]
            if wanted(order) or self._now() >= deadline:
                return order
            await asyncio.sleep(_LOOK_SECONDS)

    async def _taken(self, event: events.OwnerEvent | events.Tick, voice: _Voice) -> State | None:
        """The node after the event; None when it has not come to it yet, which is said."""
        taken = self._deliver(event)
        await asyncio.wait((taken,), timeout=_TAKEN_SECONDS)
        if taken.done():
            return taken.result()
        voice.last({"error": "the node has been told, and has not come to it yet", "pending": True})
        return None

    def _deliver(self, event: events.OwnerEvent | events.Tick) -> asyncio.Future[State]:
        """Apart from the client, whose going away must not take back what it asked for."""
        taken = asyncio.ensure_future(self._settle(event))
        self._asked.add(taken)
        taken.add_done_callback(self._asked.discard)
        return taken

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


class _Voice:
    """Says one line after the other to a client."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def say(self, line: dict[str, Any]) -> None:
        """One line; the client takes it in time or is gone."""
        self._writer.write(strict_json.dumps(line) + b"\n")
        async with asyncio.timeout(_CLIENT_SECONDS):
            await self._writer.drain()

    def last(self, line: dict[str, Any]) -> None:
        """The last line."""
        self._writer.write(strict_json.dumps({**line, "done": True}) + b"\n")


def _not_known(client_order_id: str) -> dict[str, Any]:
    return {"error": f"no order {client_order_id} is known to this node"}


def _listener(path: str) -> socket.socket:
    """Bound, and for the owner alone before anybody can connect."""
    _remove(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        Path(path).chmod(0o600)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    """What the client asks for. Raises Malformed, or OSError and TimeoutError when there is nobody to answer."""
    try:
        async with asyncio.timeout(_CLIENT_SECONDS):
            line = await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError:
        raise Malformed("a line that is too long") from None
    except asyncio.IncompleteReadError:
        raise ConnectionResetError from None
    # Only now: closed with something unread, the line would lose what we say.
    if not is_owner(writer.get_extra_info("socket")):
        raise Malformed("only the user who runs the node may speak with it")
    return read_request(line)
