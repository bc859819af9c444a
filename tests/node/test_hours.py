"""Trading hours: what is within them, in UTC, and what is no hours at all."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from node_agent.core.hours import is_within, parse

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "day", "clock", "within"),
    [
        ("mon-fri 08:00-17:30", 5, "07:59", False),
        ("mon-fri 08:00-17:30", 5, "08:00", True),
        ("mon-fri 08:00-17:30", 5, "17:29", True),
        ("mon-fri 08:00-17:30", 5, "17:30", False),
        ("mon-fri 08:00-17:30", 10, "12:00", False),
        ("sat 10:00-12:00", 10, "11:00", True),
        ("fri-mon 00:00-24:00", 5, "23:59", True),
        ("fri-mon 00:00-24:00", 6, "00:00", False),
        ("00:00-24:00", 7, "00:00", True),
    ],
)
def test_hours_are_those_of_their_days(text: str, day: int, clock: str, within: bool) -> None:
    hour, minute = map(int, clock.split(":"))
    assert is_within((parse(text),), MONDAY.replace(day=day, hour=hour, minute=minute)) is within


def test_any_window_of_several_will_do() -> None:
    windows = (parse("mon 22:00-24:00"), parse("tue 00:00-06:00"))
    assert is_within(windows, MONDAY.replace(hour=23))
    assert is_within(windows, MONDAY.replace(day=6, hour=5))
    assert not is_within(windows, MONDAY.replace(day=6, hour=6))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mon",
        "08:00",
        "8:00-9:00",
        "08:00-08:00",
        "22:00-06:00",
        "00:00-24:01",
        "00:60-02:00",
        "lun 08:00-09:00",
        "mon-x 08:00-09:00",
        "٠٨:00-09:00",
    ],
)
def test_what_is_no_hours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"hours|day"):
        parse(text)


@pytest.mark.parametrize("text", ["00:00-24:00", "mon tue 08:00-17:30"])
def test_hours_say_themselves(text: str) -> None:
    windows = {"00:00-24:00": "00:00-24:00", "mon tue 08:00-17:30": "mon-tue 08:00-17:30"}
    assert str(parse(windows[text])) == text
