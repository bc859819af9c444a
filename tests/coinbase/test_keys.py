"""Coinbase's keys: their form, the tokens that are made with them, and what they may do."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from node_agent.core.market import ExchangeStatus
from node_agent.exchange_keys import flaw
from node_agent.exchanges.coinbase import PROFILE, open_exchange
from node_agent.exchanges.permissions import judge
from node_agent.exchanges.port import ExchangeError, KeyRefused
from tests.coinbase import tokens
from tests.coinbase.case import CASE
from tests.coinbase.ours import an_order, answering, opened
from tests.venue.process import VenueProcess

pytestmark = pytest.mark.asyncio


def pem(key: Any, form: PrivateFormat = PrivateFormat.TraditionalOpenSSL) -> str:
    return str(key.private_bytes(Encoding.PEM, form, NoEncryption()).decode())


@pytest.mark.parametrize(
    "written",
    [
        lambda key: key,
        lambda key: key.replace("\n", "\\n"),
        lambda key: key.replace("\n", "\r\n"),
        lambda key: key.replace("\n", " "),
        lambda key: f' "{key.strip()}" ',
        lambda key: "".join(key.split("\n")),
    ],
    ids=["as a file has it", "as JSON writes it", "from Windows", "on one line", "with quotes", "without line ends"],
)
async def test_a_private_key_is_read_however_its_line_ends_came(written: Any) -> None:
    key = tokens.new_key()
    secret = PROFILE.credentials[1]
    assert flaw(PROFILE, {"key": CASE.key["key"], "secret": written(key)}) is None
    assert secret.tidy(written(key)) == key
    assert tokens.private_key(secret.tidy(written(key))).curve.name == "secp256r1"


@pytest.mark.parametrize(
    "secret",
    [
        "A" * 86 + "==",
        pem(ed25519.Ed25519PrivateKey.generate(), PrivateFormat.PKCS8),
        pem(ec.generate_private_key(ec.SECP384R1())),
        pem(ec.generate_private_key(ec.SECP256R1()), PrivateFormat.PKCS8),
        pem(rsa.generate_private_key(65537, 2048)),
        tokens.new_key()[:100],
        "",
    ],
    ids=["Ed25519", "Ed25519 in PEM", "another curve", "PKCS 8", "RSA", "half of one", "nothing"],
)
async def test_another_kind_of_key_is_refused_in_words_that_say_which_one_to_make(secret: str) -> None:
    told = flaw(PROFILE, {"key": CASE.key["key"], "secret": secret})
    assert told is not None
    assert "no Ed25519 key" in told
    assert "is ECDSA" in told
    assert "PRIVATE KEY" in told
    assert not secret or secret not in told


@pytest.mark.parametrize("name", ["0f3cbe2c-7f2c-4a5e-9c0a-5f1f2f3d4e5f", "organizations/x/apiKeys/y", ""])
async def test_a_name_of_another_form_is_one_of_another_kind_of_key(name: str) -> None:
    told = flaw(PROFILE, {"key": name, "secret": CASE.key["secret"]})
    assert told is not None
    assert "API key name" in told
    assert "ECDSA" in told


async def test_the_names_in_coinbases_own_file_are_known() -> None:
    told = json.loads(json.dumps({"name": CASE.key["key"], "privateKey": CASE.key["secret"]}))
    assert {each.name: told[each.also[0]] for each in PROFILE.credentials} == CASE.key


async def test_the_real_address_is_what_a_token_is_for() -> None:
    exchange = open_exchange(replace(CASE.opening(""), url=None))
    client = exchange._line.client
    for api, method, path, place in (
        ("private", "POST", "brokerage/orders", {}),
        ("private", "GET", "brokerage/orders/historical/{order_id}", {"order_id": "x1", "limit": "1"}),
    ):
        signed = client.sign(path, ["v3", api], method, place)
        sent, _, _ = signed["url"].partition("?")
        bearer, _, token = signed["headers"]["Authorization"].partition(" ")
        assert bearer == "Bearer"
        tokens.see(
            token,
            tokens.private_key(CASE.key["secret"]).public_key(),
            name=CASE.key["key"],
            method=method,
            host="api.coinbase.com",
            path=sent.removeprefix("https://api.coinbase.com"),
            now=time.time(),
        )
    await exchange.close()


@pytest.mark.parametrize("ahead", [-7200.0, -90.0, 3.0, 90.0, 7200.0])
async def test_a_token_goes_by_the_exchanges_clock(venue: VenueProcess, ahead: float) -> None:
    venue.clock(ahead)
    async with opened(venue.url) as ours:
        placed = await ours.create_order(an_order())
        candles = await ours.candles(None)
        offset = await ours.clock_offset()
    assert placed.status is ExchangeStatus.OPEN
    assert offset == pytest.approx(-ahead, abs=0.5)
    assert timedelta(0) <= datetime.now(UTC) + timedelta(seconds=ahead) - candles[-1].at < timedelta(seconds=62)
    assert venue.books()["refusals"] == {}


async def test_a_key_that_is_another_s_is_told_as_such_and_not_shown(venue: VenueProcess) -> None:
    venue.expire_key()
    async with opened(venue.url) as ours:
        with pytest.raises(KeyRefused) as refused:
            await ours.create_order(an_order())
    assert CASE.key["secret"] not in str(refused.value)
    assert venue.placed() == []


TOLD: Final = {
    "can_view": True,
    "can_trade": True,
    "can_transfer": False,
    "portfolio_uuid": "8bfc20d7-f7c6-4422-bf07-8243ca4169fe",
    "portfolio_type": "DEFAULT",
}


@pytest.mark.parametrize(
    ("changes", "accepted"),
    [
        ({}, True),
        ({"can_transfer": True}, False),
        ({"can_trade": False}, False),
        ({"can_view": False}, False),
        ({"can_receive": True}, True),
        ({"can_receive": False}, True),
        ({"can_teleport": False}, False),
    ],
    ids=str,
)
async def test_a_key_that_can_transfer_or_something_unheard_of_is_not_taken(
    changes: Mapping[str, Any], accepted: bool
) -> None:
    async with answering({"key_permissions": {**TOLD, **changes}}) as (url, _), opened(url) as ours:
        told = await ours.key_permissions()
    assert told is not None
    assert PROFILE.rules is not None
    judgement = judge(PROFILE.rules, told)
    assert judgement.accepted is accepted
    assert bool(judgement.advice) is bool(changes.get("can_receive"))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {name: value for name, value in TOLD.items() if name != "can_transfer"},
        {**TOLD, "can_transfer": "false"},
        {**TOLD, "can_transfer": None},
        {**TOLD, "scopes": []},
        [],
        "all",
    ],
    ids=str,
)
async def test_permissions_that_cannot_be_read_are_none(body: Any) -> None:
    async with answering({"key_permissions": body}) as (url, _), opened(url) as ours:
        with pytest.raises(ExchangeError):
            await ours.key_permissions()
