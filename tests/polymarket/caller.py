"""Whoever calls the exchange: signs as its documentation says, and not as ccxt does."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx

from tests.polymarket import signing
from tests.polymarket.venue import KINDS, TOKEN, ZEROS

NOBODY = "0x" + "0" * 40


class Caller:
    """One wallet."""

    def __init__(self, url: str, key: dict[str, str]) -> None:
        self.key = key
        self.address = signing.own_address(key["key"])
        self.http = httpx.Client(base_url=url, timeout=30.0, trust_env=False)
        self.api: dict[str, str] = {}

    def get(self, path: str, **query: Any) -> httpx.Response:
        """A request of anybody's."""
        return self.http.get(path, params=query)

    def derived(self, *, at: int = 0, private: str | None = None, nonce: int = 0) -> httpx.Response:
        """A request for the second key, signed so many seconds from now."""
        private = private or self.key["key"]
        address, stamp = signing.own_address(private), str(int(time.time()) + at)
        headers = {
            "POLY_ADDRESS": address,
            "POLY_SIGNATURE": signing.signed(private, signing.auth_message(address, stamp, nonce)),
            "POLY_TIMESTAMP": stamp,
            "POLY_NONCE": str(nonce),
        }
        return self.http.get("/auth/derive-api-key", headers=headers)

    def asked(self, method: str, path: str, body: Any = None, *, at: int = 0, **query: Any) -> httpx.Response:
        """A request with the second key, stamped so many seconds from now."""
        self.api = self.api or self.derived().json()
        content = "" if body is None else json.dumps(body, separators=(",", ":"))
        stamp = str(int(time.time()) + at)
        headers = {
            "POLY_ADDRESS": self.address,
            "POLY_API_KEY": self.api["apiKey"],
            "POLY_PASSPHRASE": self.api["passphrase"],
            "POLY_SIGNATURE": signing.request_signature(self.api["secret"], stamp, method, path, content),
            "POLY_TIMESTAMP": stamp,
        }
        return self.http.request(method, path, content=content, headers=headers, params=query)

    def order(self, *, kind: str = "GTC", private: str | None = None, **changes: Any) -> dict[str, Any]:
        """The body of a new order: a buy of ten at 0.40 that rests, signed."""
        deposit = self.key["kind"] == "deposit"
        order: dict[str, Any] = {
            "salt": time.monotonic_ns() % (1 << 53),
            "maker": signing.checksummed(self.key["wallet"]),
            "signer": signing.checksummed(self.key["wallet"]) if deposit else self.address,
            "taker": NOBODY,
            "tokenId": TOKEN,
            "makerAmount": "4000000",
            "takerAmount": "10000000",
            "side": "BUY",
            "signatureType": KINDS.index(self.key["kind"]),
            "timestamp": str(int(time.time() * 1000)),
            "expiration": "0",
            "metadata": ZEROS,
            "builder": ZEROS,
        } | changes
        order["signature"] = signing.order_signature(private or self.key["key"], order, neg_risk=False)
        self.api = self.api or self.derived().json()
        return {"order": order, "owner": self.api["apiKey"], "orderType": kind, "postOnly": False, "deferExec": False}
