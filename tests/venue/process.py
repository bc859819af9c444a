"""An exchange as a process of a test's own, from `with` to its end, and its control by method."""

from __future__ import annotations

import select
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Self

import httpx

ROOT: Final = Path(__file__).parent.parent.parent
WITHIN: Final = 30.0


@dataclass(frozen=True)
class Placed:
    """An order in an exchange's books, in the books' own words."""

    id: int
    client_id: str
    status: str
    quantity: Decimal
    executed: Decimal
    foreign: bool


@dataclass(frozen=True)
class Traded:
    """A trade in an exchange's books."""

    quantity: Decimal
    commission: Decimal
    commission_asset: str


class VenueProcess:
    """`python -m` some module, ready when `with` is entered and stopped by its pid when it is left."""

    def __init__(self, module: str, *options: str) -> None:
        self.url = ""
        self._command = [sys.executable, "-m", module, *options]

    @classmethod
    def of(cls, name: str, key: Mapping[str, str], *options: str) -> Self:
        """`python -m tests.NAME` with this key."""
        return cls(f"tests.{name}", *(f"--key={part}={value}" for part, value in key.items()), *options)

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
        try:
            self.url = self._ready()
        except BaseException:
            self._end()
            raise
        self._client = httpx.Client(base_url=f"{self.url}/_test/", timeout=WITHIN, trust_env=False)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._end()

    def _ready(self) -> str:
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], WITHIN)[0], "the exchange did not start"
        word, _, url = self.process.stdout.readline().strip().partition(" ")
        assert word == "ready", "the exchange ended at once"
        return url

    def _end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.process.terminate()
        return self.process.wait(WITHIN)

    def books(self) -> dict[str, Any]:
        """All orders, trades, balances, counts of requests, refusals, faults and client ids that came twice."""
        books: dict[str, Any] = self._client.get("books").raise_for_status().json()
        return books

    def placed(self) -> list[Placed]:
        """Every order that was accepted, oldest first."""
        return [
            Placed(
                each["id"],
                each["client_id"],
                each["status"],
                Decimal(each["quantity"]),
                Decimal(each["executed"]),
                each["foreign"],
            )
            for each in self.books()["orders"]
        ]

    def trades(self) -> list[Traded]:
        """Every trade, oldest first."""
        return [
            Traded(Decimal(each["quantity"]), Decimal(each["commission"]), each["commission_asset"])
            for each in self.books()["trades"]
        ]

    def price(self, price: str, *, symbol: str | None = None, depth: str | None = None) -> None:
        """Pins the price; resting orders see it at once. `depth` is how much can be taken at once."""
        self._post("price", {"price": price, "symbol": symbol, "depth": depth})

    def touch(self, price: str, then: str, *, symbol: str | None = None) -> None:
        """The price is here for a moment, in which resting orders see it once, and goes on to there."""
        self._post("price", {"price": price, "then": then, "symbol": symbol})

    def walk(self, *, symbol: str | None = None) -> None:
        """Lets the price go on by its script."""
        self._post("price", {"walk": True, "symbol": symbol})

    def clock(self, ahead: float) -> None:
        """Sets how many seconds its clock is ahead of ours."""
        self._post("clock", {"ahead": ahead})

    def cancel(self, order_id: int, symbol: str | None = None) -> None:
        """The owner cancels an order by hand."""
        self._post("cancel", {"id": order_id, "symbol": symbol})

    def permissions(self, **told: Any) -> None:
        """Changes what the exchange tells of the key's permissions."""
        self._post("key", {"permissions": told})

    def expire_key(self, expired: bool = True) -> None:
        """The key is no good, or good again."""
        self._post("key", {"valid": not expired})

    def foreign(self, **order: str) -> dict[str, Any]:
        """An order by the owner's hand."""
        return self._post("foreign", order)

    def faults(
        self, *rules: dict[str, Any], chance: dict[str, float] | None = None, seed: int = 0, seconds: float = 1.0
    ) -> None:
        """Replaces the fault plan; without arguments nothing goes wrong any more."""
        self._post("faults", {"rules": rules, "chance": chance, "seed": seed, "seconds": seconds})

    def reset(self) -> None:
        """New books, limits and faults; the process goes on."""
        self._post("reset", {})

    def _post(self, action: str, body: Any) -> dict[str, Any]:
        answer = self._client.post(action, json=body)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result
