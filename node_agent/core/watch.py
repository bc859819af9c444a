"""What only passing time tells: a server that has gone silent, prices that have grown old."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from node_agent.core import windup
from node_agent.core.pauses import lift, pause
from node_agent.core.policy import OnSilence
from node_agent.core.state import CLOCK_DRIFT, SERVER_SILENCE
from node_agent.core.turn import Turn

_FIRST_WORD: Final = timedelta(seconds=30)
"""How long a process that has begun waits for the server's first word: while none ran, nobody listened."""
_THEN: Final = {
    OnSilence.PAUSE: "no new risk is taken",
    OnSilence.CANCEL_OPEN: "open orders are cancelled",
    OnSilence.FLATTEN: "open orders are cancelled and positions closed",
}


def take_tick(turn: Turn) -> None:
    """A second has passed."""
    _mind_silence(turn)
    _mind_prices(turn)


def take_clock(turn: Turn, ahead: float) -> None:
    """Our clock was held against the exchange's."""
    limit = turn.state.policy.max_clock_drift.total_seconds()
    if abs(ahead) <= limit:
        lift(turn, CLOCK_DRIFT, by="rule")
        return
    way = "ahead of" if ahead > 0 else "behind"
    reason = f"this machine's clock is {abs(ahead):.1f} s {way} the exchange's, the most is {limit:g} s"
    pause(turn, CLOCK_DRIFT, by="rule", reason=reason)


def _mind_silence(turn: Turn) -> None:
    state = turn.state
    limit = state.policy.server_silence
    if not state.reports_to_server or limit is None or state.server_seen_at is None:
        lift(turn, SERVER_SILENCE, by="rule")
        return
    if turn.at - state.server_seen_at <= limit or SERVER_SILENCE in state.pauses:
        return
    if state.started_at is not None and turn.at - state.started_at <= min(limit, _FIRST_WORD):
        return
    wanted = state.policy.on_server_silence
    reason = f"no word from the server for more than {limit.total_seconds():g} s: {_THEN[wanted]}"
    pause(turn, SERVER_SILENCE, by="rule", reason=reason)
    if wanted is not OnSilence.PAUSE:
        windup.begin(turn, SERVER_SILENCE, flatten=wanted is OnSilence.FLATTEN)


def _mind_prices(turn: Turn) -> None:
    """Say it once when a price has grown too old to trade by, and once when there is a new one."""
    state = turn.state
    limit = state.policy.max_data_age
    watched = state.markets.keys() & state.policy.symbols & state.priced_at.keys()
    stale = frozenset(symbol for symbol in watched if turn.at - state.priced_at[symbol] > limit)
    for symbol in sorted(stale - state.stale):
        turn.note(f"the last price of {symbol} is older than {limit.total_seconds():g} s: no new risk is taken on it")
    for symbol in sorted(state.stale - stale):
        turn.note(f"{symbol} has a price of now again")
    if stale != state.stale:
        turn.change(stale=stale)
