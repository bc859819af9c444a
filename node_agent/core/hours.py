"""Trading hours: the windows of a week, in UTC, within which the owner takes new risk. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FORM: Final = re.compile(
    r"(?:(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))? )?(?P<from>[0-9]{2}:[0-9]{2})-(?P<to>[0-9]{2}:[0-9]{2})", re.ASCII
)
_MINUTES_OF_A_DAY: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class Window:
    """Some days of the week, from one minute of the day to before another."""

    days: frozenset[int]
    """0 is Monday."""
    start: int
    """Minutes since midnight, UTC."""
    end: int

    def __str__(self) -> str:
        days = "".join(f"{_DAYS[day]} " for day in sorted(self.days)) if len(self.days) < len(_DAYS) else ""
        return f"{days}{_clock(self.start)}-{_clock(self.end)}"


def parse(text: str) -> Window:
    """A window such as `mon-fri 08:00-17:30`, `sat 10:00-12:00` or `00:00-24:00`. Raises ValueError."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("not hours, such as mon-fri 08:00-17:30")
    start, end = _minutes(found["from"]), _minutes(found["to"])
    if start >= end:
        raise ValueError("hours end after they begin; write two windows for a night")
    return Window(_days(found["first"], found["last"]), start, end)


def is_within(windows: Iterable[Window], at: datetime) -> bool:
    """Whether a time is in one of the windows."""
    minute = at.hour * 60 + at.minute
    return any(at.weekday() in each.days and each.start <= minute < each.end for each in windows)


def _days(first: str | None, last: str | None) -> frozenset[int]:
    if first is None:
        return frozenset(range(len(_DAYS)))
    for name in (first, last or first):
        if name not in _DAYS:
            raise ValueError(f"{name} is no day: {', '.join(_DAYS)}")
    begin, end = _DAYS.index(first), _DAYS.index(last or first)
    span = (end - begin) % len(_DAYS)
    return frozenset((begin + day) % len(_DAYS) for day in range(span + 1))


def _minutes(clock: str) -> int:
    hour, minute = (int(part) for part in clock.split(":"))
    total = hour * 60 + minute
    if minute > 59 or total > _MINUTES_OF_A_DAY:
        raise ValueError(f"{clock} is no time of a day")
    return total


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
