"""What time it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Says what time it is: aware, UTC."""


def utc_now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)
