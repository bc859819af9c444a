"""A word to every process of a server, through Redis: this node's held requests should look again.

A word can be lost, and Redis be away: whoever waits looks at the database now and then all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

_CHANNEL: Final = "trading-node:look"
_TIMEOUT: Final = 2.0
_SILENCE_SECONDS: Final = 5
"""After so long without a word the line itself is tried, and after twice as long given up."""
_AGAIN_SECONDS: Final = 1
_log = structlog.get_logger("control_plane")


class Bell:
    """The bell at a Redis, for one process to ring and for all to hear."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = Redis.from_url(
            url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, retry=Retry(NoBackoff(), 0)
        )

    def ring(self, node_id: str) -> None:
        """Names a node to all who listen. Call it once what they are to find is committed. Raises nothing."""
        with suppress(RedisError):
            self._client.publish(_CHANNEL, node_id)

    async def listen(self, heard: Callable[[str | None], None]) -> None:
        """Calls `heard` with each node that is named, and with None when some may have been missed. Does not return."""
        reached = True
        while True:
            try:
                await self._listen(heard)
            except (RedisError, OSError) as error:
                log = _log.warning if reached else _log.debug
                log("bell_not_heard", error=type(error).__name__)
                reached = False
            else:
                reached = True
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _listen(self, heard: Callable[[str | None], None]) -> None:
        """Listens until the line is silent for too long."""
        client = AsyncRedis.from_url(
            self._url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, retry=AsyncRetry(NoBackoff(), 0)
        )
        async with client, client.pubsub() as words:
            await words.subscribe(_CHANNEL)
            tried = False
            while True:
                word = await words.get_message(timeout=_SILENCE_SECONDS)
                if word is None and tried:
                    return
                if word is None:
                    await words.ping()
                elif word["type"] == "subscribe":
                    heard(None)
                elif word["type"] == "message":
                    heard(word["data"].decode())
                tried = word is None
