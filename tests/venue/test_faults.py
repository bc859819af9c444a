"""Every fault that an exchange here takes does something, and it takes no others."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from tests.venue.app import Venue
from tests.venue.faults import EVERYWHERE
from tests.venue.http import Answer, HttpRequest
from tests.venue.refusals import Refused

pytestmark = pytest.mark.asyncio

ASKED = HttpRequest("GET", "/anything")


class Plain(Venue):
    """Answers whatever it is asked, and counts how often."""

    listed: ClassVar = {}
    deposits: ClassVar = {}
    performed = 0

    def perform(self, request: HttpRequest) -> Answer:
        self.performed += 1
        return Answer(200, b"done")

    def refused(self, refused: Refused) -> Answer:
        return Answer(400, b"no")

    def unavailable(self) -> Answer:
        return Answer(503, b"later")


@pytest.mark.parametrize("what", sorted(EVERYWHERE))
async def test_every_fault_changes_an_answer_or_when_it_comes(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    venue = Plain({})
    venue.faults.replace({"rules": [{"what": what, "seconds": 3.0}]})
    first = await venue.respond(ASKED)
    assert (first, slept) != (Answer(200, b"done"), [])
    assert venue.performed == (0 if what in {"drop_before", "5xx_before"} else 1)
    assert await venue.respond(ASKED) == Answer(200, b"done")


@pytest.mark.parametrize("what", ["not_found_once", "stale_list", "duplicate", "-1021", "429", "418", "typo"])
@pytest.mark.parametrize("by", ["rules", "chance"])
async def test_a_fault_that_it_would_not_carry_out_is_refused(what: str, by: str) -> None:
    venue = Plain({})
    plan: dict[str, Any] = {"rules": [{"what": what}]} if by == "rules" else {"chance": {what: 0.5}}
    with pytest.raises(ValueError, match="no such fault here"):
        venue.faults.replace(plan)
    assert (venue.faults.rules, venue.faults.chance) == ([], {})
