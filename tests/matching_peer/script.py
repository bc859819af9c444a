"""A case's script and an engine's outcome, in the words in which both engines are asked and compared.

A step is a line: a candle that closes, an order that is placed, or one that is cancelled:

    candle OPEN HIGH LOW CLOSE VOLUME
    place ID buy|sell market|limit|stop AMOUNT [PRICE] [ioc]
    cancel ID

The standard library alone: two environments import this.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Case:
    """One story to play: the market's rules, the account, and what happens, step by step."""

    name: str
    kind: str
    steps: tuple[str, ...]
    rules: Mapping[str, Decimal]
    """`tick`, `step`, `minimum_notional`, `maker_fee`, `taker_fee`, and `volume_share`, which is ours alone."""
    base: Decimal
    quote: Decimal
    differs: Mapping[str, Any] | None
    """Why the engines differ on purpose, with what each of them makes of it; None where they must agree."""


@dataclass(frozen=True)
class Candle:
    """One interval of trading that has closed."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True)
class Place:
    """An order is placed; the price is a limit's limit and a stop's trigger."""

    id: str
    side: str
    type: str
    amount: Decimal
    price: Decimal | None
    ioc: bool


@dataclass(frozen=True)
class Cancel:
    """What is left of an order is cancelled."""

    id: str


Step = Candle | Place | Cancel


@dataclass
class Outcome:
    """What an engine made of a case, as text that is equal where the numbers are."""

    fills: list[str] = field(default_factory=list)
    orders: dict[str, str] = field(default_factory=dict)
    balances: dict[str, str] = field(default_factory=dict)

    def fill(self, step: int, order: str, amount: Decimal, price: Decimal, fee: Decimal, liquidity: str) -> None:
        """Note a fill, and in which step it happened."""
        told = f"{order} {plain(amount)} @ {plain(price)} fee {plain(fee)} {liquidity}"
        self.fills.append(f"step {step}: {told}")


def plain(number: Decimal) -> str:
    """The one spelling of a number."""
    return f"{number.normalize():f}" if number else "0"


def parse(step: str) -> Step:
    """A step's line as values. Raises ValueError for a line that is none."""
    match step.split():
        case ["candle", opens, high, low, close, volume]:
            return Candle(Decimal(opens), Decimal(high), Decimal(low), Decimal(close), Decimal(volume))
        case ["place", name, "buy" | "sell" as side, "market" | "limit" | "stop" as kind, amount, *rest]:
            ioc = rest[-1:] == ["ioc"]
            prices = [Decimal(each) for each in (rest[:-1] if ioc else rest)]
            if len(prices) != (kind != "market"):
                raise ValueError(f"a {kind} order with {len(prices)} prices: {step!r}")
            return Place(name, side, kind, Decimal(amount), prices[0] if prices else None, ioc)
        case ["cancel", name]:
            return Cancel(name)
    raise ValueError(f"not a step: {step!r}")


def read(path: Path) -> list[Case]:
    """The cases of a file; what a case does not say is as the file's defaults say."""
    told = json.loads(path.read_text(encoding="utf-8"))
    defaults = told["defaults"]
    return [
        Case(
            name=each["name"],
            kind=each["kind"],
            steps=tuple(each["steps"]),
            rules={name: Decimal(each.get("rules", {}).get(name, value)) for name, value in defaults["rules"].items()},
            base=Decimal(each.get("base", defaults["base"])),
            quote=Decimal(each.get("quote", defaults["quote"])),
            differs=each.get("differs"),
        )
        for each in told["cases"]
    ]
