"""Requests made by hand, signed as Crypto.com documents it, or wrongly on purpose."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import httpx

from tests.cryptocom.case import KEY
from tests.cryptocom.signing import sign
from tests.cryptocom.venue import ROOT
from tests.venue.fixtures import ByHand


class Caller(ByHand):
    """A caller with the account's key."""

    def get(self, method: str, **params: Any) -> httpx.Response:
        """A question about the market."""
        return self.http.get(ROOT + method, params=params)

    def call(self, method: str, *, to: str | None = None, ahead: float = 0.0, **params: Any) -> httpx.Response:
        """A signed request; it goes to the address of another method where `to` says so."""
        return self.send(to or method, self.envelope(method, ahead=ahead, **params))

    def envelope(self, method: str, *, ahead: float = 0.0, **params: Any) -> dict[str, Any]:
        """What a signed request's body holds."""
        nonce = str(round((time.time() + ahead) * 1000))
        signature = sign(KEY["secret"], method, nonce, KEY["key"], params, nonce)
        named = {"id": nonce, "method": method, "params": params}
        return named | {"api_key": KEY["key"], "sig": signature, "nonce": nonce}

    def send(self, method: str, envelope: dict[str, Any]) -> httpx.Response:
        """Exactly this body."""
        return self.http.post(ROOT + method, json=envelope)

    def order(self, **params: Any) -> httpx.Response:
        """A new order: a limit buy far below the price, but for what is said otherwise; None leaves something out."""
        usual = {
            "instrument_name": "BTC_USDT",
            "side": "BUY",
            "type": "LIMIT",
            "price": "30000",
            "quantity": "0.01",
            "client_oid": uuid4().hex,
            "spot_margin": "SPOT",
        }
        asked = {name: value for name, value in {**usual, **params}.items() if value is not None}
        return self.call("private/create-order", **asked)

    def result(self, method: str, **params: Any) -> Any:
        """What it answers to something that is right."""
        answer = self.call(method, **params)
        assert (answer.status_code, answer.json()["code"]) == (200, 0), answer.text
        return answer.json()["result"]


def refusal(answer: httpx.Response) -> tuple[int, int, str]:
    """HTTP status, code and message."""
    told = answer.json()
    return answer.status_code, told["code"], told["message"]
