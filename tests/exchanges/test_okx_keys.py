"""What a key of OKX's may do, what its account may, and how each part of a key looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from node_agent.exchange_keys import flaw
from node_agent.exchanges.okx import PROFILE
from node_agent.exchanges.permissions import judge
from node_agent.exchanges.port import ExchangeUnavailable
from tests.okx.case import CASE
from tests.okx.documented import CONFIG
from tests.okx.ours import Told

pytestmark = pytest.mark.asyncio


async def permissions_of(told: Mapping[str, Any]) -> Mapping[str, bool] | None:
    async with Told(config=[told]).account() as exchange:
        return await exchange.key_permissions()


@pytest.mark.parametrize(
    ("changed", "accepted", "forbidden", "unknown", "missing"),
    [
        ({"perm": "read_only,trade"}, True, (), (), ()),
        ({"perm": "trade,read_only", "ip": "117.37.203.58,117.37.203.57"}, True, (), (), ()),
        ({}, False, ("withdraw",), (), ()),
        ({"perm": "withdraw"}, False, ("withdraw",), (), ("trade",)),
        ({"perm": "read_only"}, False, (), (), ("trade",)),
        ({"perm": "read_only,trade,transfer"}, False, (), ("transfer",), ()),
        ({"perm": "read_only,trade,ip"}, False, (), ("ip",), ()),
    ],
)
async def test_a_key_is_judged_by_what_it_may_do(
    changed: dict[str, Any], accepted: bool, forbidden: tuple[str], unknown: tuple[str], missing: tuple[str]
) -> None:
    told = await permissions_of({**CONFIG, **changed})
    assert told is not None
    assert PROFILE.rules is not None
    judgement = judge(PROFILE.rules, told)
    assert (judgement.accepted, judgement.forbidden, judgement.unknown, judgement.missing) == (
        accepted,
        forbidden,
        unknown,
        missing,
    )
    assert any("address" in each for each in judgement.advice) is not bool(changed.get("ip"))


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"enableSpotBorrow": True}, "borrowing"),
        ({"autoLoan": True}, "borrowing"),
        ({"autoLoan": "true"}, "borrowing"),
        ({"acctLv": "3"}, "Spot mode"),
        ({"acctLv": "4"}, "Spot mode"),
    ],
)
async def test_an_account_that_may_borrow_or_takes_no_cash_is_told_of(changed: dict[str, Any], word: str) -> None:
    told = await permissions_of({**CONFIG, "perm": "read_only,trade", "ip": "192.0.2.1", **changed})
    assert told is not None
    assert PROFILE.rules is not None
    judgement = judge(PROFILE.rules, told)
    assert judgement.accepted
    (advice,) = judgement.advice
    assert word in advice


@pytest.mark.parametrize("perm", ["", "trade,", "TRADE", "read_only, trade", None, 7, ["trade"], {"trade": True}])
async def test_permissions_that_cannot_be_read_are_none(perm: Any) -> None:
    with pytest.raises(ExchangeUnavailable, match="cannot be read"):
        await permissions_of({**CONFIG, "perm": perm})


async def test_an_answer_without_permissions_or_for_two_keys_cannot_be_read() -> None:
    for rows_ in ([], [CONFIG, CONFIG], [{"uid": "1"}]):
        async with Told(config=rows_).account() as exchange:
            with pytest.raises(ExchangeUnavailable, match="cannot be read"):
                await exchange.key_permissions()


@pytest.mark.parametrize(
    ("part", "given", "fits"),
    [
        ("key", "37c541a1-0000-4000-8000-10fe7a038418", True),
        ("key", " 37c541a1-0000-4000-8000-10fe7a038418\n", True),
        ("key", "37c541a1000040008000", False),
        ("secret", "22582BD0CFF14C41EDBF1AB98506286D", True),
        ("secret", "22582BD0CFF14C41", False),
        ("passphrase", "Open#Sesame1", True),
        ("passphrase", "Open Sesame", False),
        ("passphrase", "Sésame", False),
        ("passphrase", "", False),
    ],
)
async def test_each_part_of_a_key_has_its_form(part: str, given: str, fits: bool) -> None:
    assert (flaw(PROFILE, {**CASE.key, part: given}) is None) is fits
