"""Asks the exchange what the node's key may do: before anything about orders is asked, and once a day from then on.

A key that could take money out ends a start, and halts a node that runs, or starts to close what is open. Where an
exchange does not tell, its owner has said by name that the key cannot, which is shown wherever the key is; where that
is missing too, the key is not taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import structlog

from node_agent.core import events
from node_agent.errors import Explained
from node_agent.exchange_keys import Attestation, ExchangeKey
from node_agent.exchanges.permissions import judge
from node_agent.exchanges.port import ExchangeError, KeyRefused, RealExchange
from node_agent.exchanges.profile import KeyCheck, Profile
from node_protocol.encoding import format_time

_EVERY: Final = 86_400.0
_RETRIES: Final = (1.0, 5.0, 30.0, 120.0)
"""Seconds between tries while the exchange does not tell; the last one again and again."""
_TRIES: Final = 30
"""How often a running node asks, over an hour, before a key of which it cannot be told is as good as a bad one."""
_LOOKS_UP: Final = 1.0
"""Seconds, at the most, until a start that waits notices that the owner wants it to wind up."""

_log = structlog.get_logger("exchange")


class KeyRejected(Explained):
    """A key that a node does not take."""


class CannotTell(Explained):
    """The exchange did not say what a key may do."""


async def examine(exchange: RealExchange, profile: Profile) -> tuple[str, ...]:
    """Ask what the key may do. Returns what its owner should change all the same.

    Raises KeyRejected for one that may do too much, too little or what is not known; CannotTell when nothing was said.
    """
    try:
        told = await exchange.key_permissions()
    except KeyRefused as error:
        raise KeyRejected(f"{profile.title} does not take this key: {error}") from None
    except ExchangeError as error:
        raise CannotTell(f"{profile.title} does not say what this key may do: {error}", "try it again later") from None
    if profile.rules is None or told is None:
        raise CannotTell(f"{profile.title} has no way to say what a key may do")
    judgement = judge(profile.rules, told)
    if judgement.forbidden:
        raise KeyRejected(
            f"this key could take money out: {profile.title} gives it {', '.join(judgement.forbidden)}",
            f"switch that off ({profile.switch_off}), or make another key that may only read and trade",
        )
    if judgement.unknown:
        raise KeyRejected(
            f"nobody here knows what {', '.join(judgement.unknown)} allows, of which {profile.title} tells",
            "an upgrade of the node may know it; until then the key is not taken",
        )
    if judgement.missing:
        raise KeyRejected(
            f"this key cannot trade: {profile.title} gives it no {', '.join(judgement.missing)}",
            f"switch that on ({profile.switch_off})",
        )
    return judgement.advice


class KeyWatch:
    """Of the one key that a node trades with."""

    def __init__(
        self,
        exchange: RealExchange,
        profile: Profile,
        key: ExchangeKey,
        *,
        note: Callable[[dict[str, Any]], None],
        deliver: Callable[[events.KeyJudged], None],
        clock: Callable[[], datetime],
        limited: Callable[[], None] = lambda: None,
        winding_up: Callable[[], bool] = lambda: False,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`note` keeps what is known of the key, for `status`. `deliver` hands on what becomes of it while it runs.

        `limited` is told when the exchange does not answer: it may want nothing of us for a while. `winding_up`: only
        cancels and exits are wanted, which are whatever the key may do.
        """
        self._exchange, self._profile, self._key = exchange, profile, key
        self._note, self._deliver, self._clock, self._pause = note, deliver, clock, pause
        self._limited, self._winding_up = limited, winding_up
        self._admitted = asyncio.Event()
        self._unjudged = self._known_bad = False

    async def admit(self) -> None:
        """Return when the key is known to be harmless. Raises KeyRejected; waits while the exchange does not tell.

        Whoever winds up waits for no answer, and a bad one does not hold that up; no new risk is taken meanwhile.
        """
        try:
            await self._admit()
        except KeyRejected as error:
            self._refused(error)
            if not self._winding_up():
                raise
            self._halts(error.message)
        self._admitted.set()

    async def _admit(self) -> None:
        if self._profile.key_check is not KeyCheck.ASKED:
            self._attested()
            return
        tries = 0
        while True:
            try:
                self._passed(await examine(self._exchange, self._profile))
            except CannotTell as error:
                self._limited()
                _log.warning("nothing is traded before the exchange says what the key may do", reason=error.message)
                await self._pause_unless_winding_up(_RETRIES[min(tries, len(_RETRIES) - 1)])
                tries += 1
                if self._winding_up():
                    self._halts(error.message)
                    return
            else:
                return

    def _halts(self, flaw: str) -> None:
        self._unjudged = True
        self._deliver(events.KeyJudged(self._clock(), flaw))

    async def _pause_unless_winding_up(self, seconds: float) -> None:
        while seconds > 0 and not self._winding_up():
            await self._pause(min(seconds, _LOOKS_UP))
            seconds -= _LOOKS_UP

    async def run(self) -> None:
        """Make up for what a start did not wait for; then ask once a day, for ever."""
        await self._admitted.wait()
        if not self._unjudged:
            self._deliver(events.KeyJudged(self._clock(), None))
        elif self._profile.key_check is KeyCheck.ASKED:
            self._deliver(events.KeyJudged(self._clock(), await self._flaw()))
        while True:
            await self._pause(_EVERY)
            if self._profile.key_check is KeyCheck.ASKED:
                self._deliver(events.KeyJudged(self._clock(), await self._flaw()))

    async def _flaw(self) -> str | None:
        """What is wrong with the key, as soon as the exchange says; that it does not say, after an hour, too."""
        tries = 0
        while True:
            try:
                self._passed(await examine(self._exchange, self._profile))
            except KeyRejected as error:
                self._refused(error)
                return error.message
            except CannotTell as error:
                self._limited()
                tries += 1
                if tries == _TRIES and not self._known_bad:
                    self._deliver(events.KeyJudged(self._clock(), error.message))
                await self._pause(_RETRIES[-1])
            else:
                return None

    def _attested(self) -> None:
        attested = self._key.attested
        if attested is None:
            raise KeyRejected(
                f"{self._profile.title} cannot be asked what this key may do, and nobody has said that it is harmless",
                f"put it in again and say so: node-agent keys add {self._profile.name} --help",
            )
        self._tell(by_word(attested))

    def _passed(self, advice: tuple[str, ...]) -> None:
        self._known_bad = False
        for each in advice:
            _log.warning("advice on the key", advice=each)
        self._tell(by_answer(self._clock(), advice))

    def _refused(self, error: KeyRejected) -> None:
        """What was said of it before does not hold any more, and is not to be shown."""
        self._known_bad = True
        self._tell({"refused": error.message, "refused_at": format_time(self._clock())})

    def _tell(self, facts: dict[str, Any]) -> None:
        self._note(known(self._key, self._profile, facts))


def known(key: ExchangeKey, profile: Profile, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a key for `status`."""
    return {"exchange": profile.name, "digest": key.digest, "check": profile.key_check, **facts}


def by_word(attested: Attestation) -> dict[str, Any]:
    """How it is known: its owner said so."""
    return {"attested_by": attested.by, "attested_at": format_time(attested.at)}


def by_answer(at: datetime, advice: Iterable[str]) -> dict[str, Any]:
    """How it is known: the exchange said so."""
    return {"asked_at": format_time(at), "advice": list(advice)}
