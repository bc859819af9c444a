"""A key is examined before anything else, and once a day: what comes of each thing that an exchange may say."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from node_agent.core import events
from node_agent.exchange_keys import Attestation, ExchangeKey
from node_agent.exchanges import binance
from node_agent.exchanges.binance import PROFILE
from node_agent.exchanges.permissions import Judgement, Rules, judge
from node_agent.exchanges.port import ExchangeError, ExchangeUnavailable, KeyRefused, RealExchange
from node_agent.exchanges.profile import KeyCheck, Profile
from node_agent.key_watch import KeyRejected, KeyWatch

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HARMLESS = {"enableReading": True, "enableSpotAndMarginTrading": True, "enableWithdrawals": False, "ipRestrict": True}
AWAY = ExchangeUnavailable("away")
DAY = 86_400.0


class Asked:
    """An exchange that says one thing after the other, the last one for ever."""

    def __init__(self, *says: Mapping[str, bool] | ExchangeError | None) -> None:
        self.says = list(says)

    async def key_permissions(self) -> Mapping[str, bool] | None:
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(said, ExchangeError):
            raise said
        return said


class Watched:
    """A watch, and all that it does."""

    def __init__(self, exchange: Asked, profile: Profile = PROFILE, attested: Attestation | None = None) -> None:
        self.notes: list[dict[str, Any]] = []
        self.delivered: list[events.KeyJudged] = []
        self.pauses: list[float] = []
        self.end_after = math.inf
        self.winds_up_after: float | None = None
        self.watch = KeyWatch(
            cast(RealExchange, exchange),
            profile,
            ExchangeKey(profile.name, {}, NOW, attested),
            note=self.notes.append,
            deliver=self.delivered.append,
            clock=lambda: NOW,
            winding_up=lambda: self.winds_up_after is not None and sum(self.pauses) >= self.winds_up_after,
            pause=self.pause,
        )

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if self.pauses.count(DAY) > self.end_after:
            raise asyncio.CancelledError

    async def days(self, number: int) -> list[str | None]:
        """What is delivered over so many days, and from the start on."""
        self.end_after = number
        await self.watch.admit()
        with pytest.raises(asyncio.CancelledError):
            await self.watch.run()
        return [each.flaw for each in self.delivered]


def of_kind(check: KeyCheck) -> Profile:
    return Profile("shop", "Shop", (), check, "settings", rules=None)


pytestmark = pytest.mark.asyncio


async def test_a_harmless_key_is_admitted_and_noted_with_the_time() -> None:
    watched = Watched(Asked(HARMLESS))
    await watched.watch.admit()
    assert watched.notes == [
        {
            "exchange": "binance",
            "digest": watched.notes[0]["digest"],
            "check": "asked",
            "asked_at": "2026-01-01T00:00:00.000Z",
            "advice": [],
        }
    ]


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({**HARMLESS, "enableWithdrawals": True}, "enableWithdrawals"),
        ({**HARMLESS, "enableTeleportation": False}, "enableTeleportation"),
        ({"enableReading": True}, "enableSpotAndMarginTrading"),
        ({}, "cannot trade"),
        (KeyRefused("no such key"), "does not take this key"),
    ],
)
async def test_a_key_that_is_not_taken_ends_the_start(said: Any, word: str) -> None:
    watched = Watched(Asked(said))
    with pytest.raises(KeyRejected, match=word):
        await watched.watch.admit()
    (note,) = watched.notes
    assert word in note["refused"]
    assert "asked_at" not in note
    assert watched.pauses == []


async def test_a_start_waits_as_long_as_the_exchange_does_not_tell() -> None:
    watched = Watched(Asked(AWAY, AWAY, AWAY, AWAY, AWAY, None, HARMLESS))
    await watched.watch.admit()
    assert sum(watched.pauses) == 1 + 5 + 30 + 120 + 120 + 120
    assert len(watched.notes) == 1


async def test_who_winds_up_does_not_wait_for_the_exchange_to_tell_and_takes_no_new_risk_before_it_does() -> None:
    watched = Watched(Asked(AWAY, AWAY, AWAY, AWAY, AWAY, HARMLESS))
    watched.winds_up_after = 8
    first, then = await watched.days(0)
    assert first is not None
    assert "does not say" in first
    assert then is None
    assert watched.pauses[:9] == [1.0] * 8 + [120.0]  # 8 s into the second wait, and then as a node asks that runs
    assert len(watched.notes) == 1


async def test_a_key_that_is_not_taken_does_not_hold_up_who_winds_up_and_takes_no_new_risk() -> None:
    able = {**HARMLESS, "enableWithdrawals": True}
    watched = Watched(Asked(able, able, HARMLESS))
    watched.winds_up_after = 0
    at_start, still, later = await watched.days(1)
    for flaw in (at_start, still):
        assert flaw is not None
        assert "enableWithdrawals" in flaw
    assert later is None


async def test_nor_does_a_key_that_nobody_has_spoken_for() -> None:
    watched = Watched(Asked(None), of_kind(KeyCheck.ATTESTED))
    watched.winds_up_after = 0
    (flaw,) = await watched.days(1)
    assert flaw is not None
    assert "nobody has said" in flaw


async def test_nor_does_one_whose_key_turns_out_to_be_able_to_take_money_out() -> None:
    watched = Watched(Asked(AWAY, {**HARMLESS, "enableWithdrawals": True}))
    watched.winds_up_after = 0
    unanswered, flaw = await watched.days(0)
    assert unanswered is not None
    assert flaw is not None
    assert "enableWithdrawals" in flaw
    assert "enableWithdrawals" in watched.notes[-1]["refused"]


async def test_a_running_node_is_told_once_a_day_what_its_key_may_do() -> None:
    able = {**HARMLESS, "enableWithdrawals": True}
    flaws = await Watched(Asked(HARMLESS, HARMLESS, able, HARMLESS)).days(3)
    assert [None if flaw is None else "enableWithdrawals" in flaw for flaw in flaws] == [None, None, True, None]


async def test_a_key_of_which_nothing_is_told_for_an_hour_is_as_good_as_a_bad_one() -> None:
    watched = Watched(Asked(HARMLESS, *[AWAY] * 31, HARMLESS))
    first, second, third = await watched.days(1)
    assert first is None
    assert second is not None
    assert "does not say" in second
    assert third is None  # as soon as it says, and not a day later
    assert sum(watched.pauses) - 2 * DAY == 3720.0


async def test_that_nothing_is_told_of_a_key_does_not_hide_what_was_told_of_it() -> None:
    able = {**HARMLESS, "enableWithdrawals": True}
    first, flaw, then = await Watched(Asked(HARMLESS, able, *[AWAY] * 31, HARMLESS)).days(2)
    assert first is None
    assert flaw is not None
    assert "enableWithdrawals" in flaw
    assert then is None


async def test_a_short_silence_changes_nothing() -> None:
    assert await Watched(Asked(HARMLESS, AWAY, AWAY, HARMLESS)).days(1) == [None, None]


async def test_where_it_cannot_be_asked_the_owners_word_is_needed_and_shown() -> None:
    word = Attestation("Ada Lovelace", NOW)
    for check in (KeyCheck.ATTESTED, KeyCheck.CUSTODY):
        with pytest.raises(KeyRejected, match="nobody has said"):
            await Watched(Asked(None), of_kind(check)).watch.admit()
        watched = Watched(Asked(None), of_kind(check), word)
        await watched.watch.admit()
        assert watched.notes[0]["attested_by"] == "Ada Lovelace"
        assert await watched.days(2) == [None]


async def test_the_judgement_fails_closed() -> None:
    rules = Rules(
        forbidden=frozenset({"withdraw"}),
        harmless=frozenset({"read", "trade"}),
        needed=frozenset({"trade"}),
        better_on={"ip": "bind it"},
        better_off={"margin": "switch it off"},
    )
    assert judge(rules, {"read": True, "trade": True, "ip": True}).accepted
    assert judge(rules, {"trade": True, "withdraw": False, "margin": True}) == Judgement(
        advice=("bind it", "switch it off")
    )
    assert judge(rules, {"trade": True, "withdraw": True}).forbidden == ("withdraw",)
    assert judge(rules, {"trade": True, "new": False}).unknown == ("new",)
    assert judge(rules, {"read": True}).missing == ("trade",)


async def test_binance_has_to_tell_of_each_permission_that_takes_money_out() -> None:
    off = dict.fromkeys(("enableWithdrawals", "enableInternalTransfer", "permitsUniversalTransfer"), False)
    assert binance._permissions({**HARMLESS, **off})
    for name in off:
        with pytest.raises(ValueError, match="none"):
            binance._permissions({key: value for key, value in {**HARMLESS, **off}.items() if key != name})
