"""What an owner is told of an exchange, and asked for: the parts of its key, and how that is known to be harmless."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import SecretStr

from node_agent.exchanges.permissions import Rules


class KeyCheck(StrEnum):
    """How it is known that a key cannot take money out."""

    ASKED = "asked"
    """The exchange tells what the key may do."""
    ATTESTED = "attested"
    """It does not tell: the owner says so, by name."""
    CUSTODY = "custody"
    """The key signs for a wallet: whoever holds it, holds the wallet. Nothing can be known."""


@dataclass(frozen=True, slots=True)
class Credential:
    """One part of a key, as the exchange hands it out."""

    name: str
    """What files and variables call it: key, secret, passphrase."""
    label: str
    """What a prompt calls it."""
    form: re.Pattern[str]
    """What it looks like, whole."""
    looks: str
    """The same in words, for whoever pasted something else."""
    also: tuple[str, ...] = ()
    """What the exchange's own file of a key calls it."""
    hidden: bool = True
    """Whether it is typed without being shown."""
    tidy: Callable[[str], str] = str.strip
    """Takes off what copying it brought along."""
    signs: Callable[[str], bool] = lambda _text: True
    """Whether what looks like one is one: a part that was cut off, or has a wrong letter, may look right."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One exchange, as its owner's sees it."""

    name: str
    """Its id here, in configuration and events."""
    title: str
    """Its name."""
    credentials: tuple[Credential, ...]
    key_check: KeyCheck
    switch_off: str
    """Where at the exchange a permission of a key is taken away."""
    rules: Rules | None = None
    """How permissions are judged; for keys that are ASKED about."""
    example_symbol: str = "BTC/USD"
    order_types: tuple[str, ...] = ("market", "limit", "stop")
    """What kinds of orders it takes, as its conduct has it."""
    misfit: Callable[[Mapping[str, str]], str | None] = lambda _parts: None
    """What is wrong with parts of which each looks right by itself; None when they go together."""
    names_a_symbol_each: bool = False
    """Whether there is no symbol that most would trade: its owner has to name one."""


@dataclass(frozen=True, slots=True)
class Opening:
    """With what an account on an exchange is opened."""

    credentials: Mapping[str, SecretStr]
    """The key's parts by name."""
    symbol: str
    interval: timedelta
    """Of candles."""
    recv_window: float = 5.0
    """Seconds for which a request is good, where the exchange knows such a thing."""
    url: str | None = None
    """A stand-in for the exchange on this machine, such as `http://127.0.0.1:8080`."""
    banned_until: datetime | None = None
    """What the exchange last told an earlier process: before that nothing is sent."""
