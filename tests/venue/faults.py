"""What goes wrong on purpose: rules that are used up one by one, and a seeded chance of each fault. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

EVERYWHERE: Final = frozenset(
    (
        *("drop_before", "hang_before", "5xx_before"),
        *("drop_after", "hang_after", "answer_late", "5xx_after", "garbage"),
    )
)
"""What every exchange here can be made to do wrong, before or after it has done what it was asked."""


@dataclass
class Fault:
    """One thing to go wrong, so many times, with the requests that it names."""

    what: str
    method: str | None = None
    path: str | None = None
    times: int = 1
    seconds: float = 1.0

    def fits(self, method: str, path: str) -> bool:
        """Whether this request is one of them."""
        return self.times > 0 and self.method in (None, method) and self.path in (None, path)


class Faults:
    """The plan. Rules come first, in their order; then chance, for requests about orders."""

    def __init__(
        self,
        paths: Collection[str] = (),
        only_for: Mapping[str, tuple[str, str]] | None = None,
        more: Collection[str] = (),
    ) -> None:
        """`paths`: those of requests about orders. `only_for`: faults that go with one method and path alone.

        `more`: faults that this exchange alone knows.
        """
        self._paths, self._only_for, self._known = frozenset(paths), only_for or {}, EVERYWHERE.union(more)
        self.rules: list[Fault] = []
        self.chance: dict[str, float] = {}
        self.seconds = 1.0
        self.done: dict[str, int] = {}
        self._random = Random(0)

    def replace(self, plan: dict[str, Any]) -> None:
        """A new plan from `rules`, `chance`, `seconds` (of chance's hangs) and `seed`; raises ValueError."""
        rules = [Fault(**rule) for rule in plan.get("rules", [])]
        chance = {str(what): float(share) for what, share in (plan.get("chance") or {}).items()}
        for what in (*(rule.what for rule in rules), *chance):
            if what not in self._known:
                raise ValueError(f"no such fault here: {what}")
        self.rules, self.chance = rules, chance
        self.seconds = float(plan.get("seconds", 1.0))
        self._random = Random(plan.get("seed", 0))

    def next(self, method: str, path: str) -> Fault | None:
        """What is to go wrong with this request."""
        fault = self._ruled(method, path) or self._by_chance(method, path)
        if fault is not None:
            self.done[fault.what] = self.done.get(fault.what, 0) + 1
        return fault

    def coin(self) -> bool:
        """Heads or tails, from the plan's seed."""
        return self._random.random() < 0.5

    def _ruled(self, method: str, path: str) -> Fault | None:
        for rule in self.rules:
            if self._fits(rule, method, path):
                rule.times -= 1
                return rule
        return None

    def _by_chance(self, method: str, path: str) -> Fault | None:
        if path not in self._paths:
            return None
        drawn = self._random.random()
        for what, share in self.chance.items():
            drawn -= share
            if drawn < 0:
                fault = Fault(what, seconds=self.seconds)
                return fault if self._fits(fault, method, path) else None
        return None

    def _fits(self, fault: Fault, method: str, path: str) -> bool:
        return fault.fits(method, path) and self._only_for.get(fault.what, (method, path)) == (method, path)
