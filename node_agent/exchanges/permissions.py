"""What a key may do, and whether a node takes it. Pure: an exchange's answer in, a judgement out.

A node holds no key that could take money out. So of every permission that an exchange knows it is written here whether
it is harmless; a name that is not written here refuses the key, whatever its value: what it allows is not known. The
same goes for an answer that cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from node_agent.exchanges.port import ExchangeError


class KeyTooPowerful(ExchangeError):
    """The key may do what no key of a node may, or nobody can tell what it may."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How one exchange's permissions are judged, by its own names of them."""

    forbidden: frozenset[str]
    """With any of these the key could take money out of the account."""
    harmless: frozenset[str]
    """Known, and no danger: reading, trading."""
    needed: frozenset[str] = frozenset()
    """Without these it cannot trade."""
    better_on: Mapping[str, str] = field(default_factory=dict)
    """Restrictions that an owner should switch on, each with the advice."""
    better_off: Mapping[str, str] = field(default_factory=dict)
    """Permissions that take no money out, but that a node has no use for, each with the advice."""


@dataclass(frozen=True, slots=True)
class Query:
    """How an exchange is asked what a key may do."""

    method: str
    """ccxt's name of the request."""
    read: Callable[[Any], Mapping[str, bool]]
    """Permissions by name, from the answer. Raises ValueError, LookupError or TypeError for what cannot be read."""
    rules: Rules


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came of it."""

    forbidden: tuple[str, ...] = ()
    """Permissions that it has and must not."""
    unknown: tuple[str, ...] = ()
    """Permissions of which nobody here knows what they allow."""
    missing: tuple[str, ...] = ()
    """Permissions that it needs to trade, and lacks."""
    advice: tuple[str, ...] = ()
    """What an owner should do, though the key is taken."""

    @property
    def accepted(self) -> bool:
        """Whether a node takes the key."""
        return not (self.forbidden or self.unknown or self.missing)


def judge(rules: Rules, told: Mapping[str, bool]) -> Judgement:
    """Whether a key with these permissions is taken."""
    on = {name for name, has in told.items() if has}
    known = rules.forbidden | rules.harmless | rules.better_on.keys() | rules.better_off.keys()
    advice = {name: what for name, what in rules.better_on.items() if name not in on}
    advice |= {name: what for name, what in rules.better_off.items() if name in on}
    return Judgement(
        forbidden=tuple(sorted(on & rules.forbidden)),
        unknown=tuple(sorted(told.keys() - known)),
        missing=tuple(sorted(rules.needed - on)),
        advice=tuple(dict.fromkeys(what for _, what in sorted(advice.items()))),
    )
