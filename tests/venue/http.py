"""A request as it came in, and an answer as it goes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

JSON: Final = "application/json;charset=UTF-8"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One HTTP request; names of headers are in lower case."""

    method: str
    path: str
    query: str = ""
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content: str = JSON


@dataclass
class Clock:
    """An exchange's time: ours, and so many seconds ahead."""

    ahead: float = 0.0
    source: Callable[[], float] = time.time

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return int((self.source() + self.ahead) * 1000)
