"""What runs beside the node's loop: its parts, requests and timers. None of them dies silently."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from node_agent.errors import Explained
from node_agent.journal import JournalError

_END_SECONDS: Final = 0.4
"""How long a part that was taken back is waited for."""

_log = structlog.get_logger("node")


class NodeFailed(Explained):
    """A part of the node died, and the process ends for it."""


class Parts:
    """The tasks and timers of one node. `failed` is told of each that died, or ended though it must not."""

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._parts: dict[str, asyncio.Task[None]] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._ending = False

    def ends(self) -> None:
        """From here on a part may end by itself: the node does."""
        self._ending = True

    def watch(self, name: str, work: Coroutine[Any, Any, None], *, may_end: bool = False) -> None:
        """Run a part of the node."""
        task = asyncio.create_task(work, name=name)
        self._parts[name] = task
        task.add_done_callback(lambda done: self._ended(done, name, may_end=may_end))

    def call(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a request."""
        task = asyncio.create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        task.add_done_callback(lambda done: self._ended(done, "request", may_end=True))

    def later(self, seconds: float, due: Callable[[], None]) -> None:
        """Have something done after so many seconds."""

        def passed() -> None:
            self._timers.discard(handle)
            due()

        handle = asyncio.get_running_loop().call_later(seconds, passed)
        self._timers.add(handle)

    def stop_timers(self) -> None:
        """Nothing that was to be done later is done any more."""
        for timer in self._timers:
            timer.cancel()

    async def answered(self, deadline: float) -> bool:
        """Wait for a request to end, until this moment of the loop's clock. False when nothing is to be waited for."""
        left = deadline - asyncio.get_running_loop().time()
        if not self._calls or left <= 0:
            return False
        await asyncio.wait(self._calls, timeout=left)
        return True

    async def take_back(self, name: str) -> None:
        """End a part."""
        task = self._parts.pop(name, None)
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=_END_SECONDS)

    async def take_all_back(self) -> None:
        """End all parts and requests."""
        for name in list(self._parts):
            await self.take_back(name)
        for call in list(self._calls):
            call.cancel()

    def _ended(self, task: asyncio.Task[None], name: str, *, may_end: bool) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, JournalError):
            self._failed(error)
        elif error is not None:
            self._failed(NodeFailed(f"the {name} died: {type(error).__name__}: {error}"))
            _log.error("a part of the node died", part=name, exc_info=error)
        elif not may_end and not self._ending:
            self._failed(NodeFailed(f"the {name} ended by itself"))
