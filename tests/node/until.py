"""Waiting for something to become true, with an end to the patience."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 30.0


async def becomes(condition: Callable[[], T], what: str = "") -> T:
    """The first true value of `condition`; fails when it stays false for PATIENCE seconds."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen: {what or condition}")
        await asyncio.sleep(0.005)
    return value


def waits_for(condition: Callable[[], T], what: str = "") -> T:
    """The same outside an event loop."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen: {what or condition}")
        time.sleep(0.01)
    return value
