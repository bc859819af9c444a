"""What became of one request, for logs and metrics: nothing secret is in it, and nothing that was not verified."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from node_protocol.refusals import Code
from verifier.checks import Authenticated, Refused
from verifier.clones import Continuity, Place, Verdict


class Observation(NamedTuple):
    """One request that was judged."""

    outcome: str
    """`accepted`, or the code of the refusal."""
    reason: str
    """One word from a bounded set: how an accepted request continues, or the finer reason of a refusal."""
    node_id: str | None
    """Who spoke; None when the signature was not good, whatever the request claimed."""
    key_id: str | None
    peer: str | None
    """The address that it came from."""
    continuity: Continuity | None = None
    """What the ticket said; None when it did not come to that, as for every payload but a sync."""
    place: Place | None = None
    suspends: bool = False
    """Whether this request is what suspends the node."""

    def facts(self) -> dict[str, Any]:
        """Those members that are known, for a structured log."""
        return {name: value for name, value in self._asdict().items() if value not in (None, False)}


Observer: TypeAlias = Callable[[Observation], object]
"""Is told of every request, in the thread or on the loop that judged it; it must neither raise nor wait."""


def accepted(sender: Authenticated, peer: str | None, verdict: Verdict | None = None) -> Observation:
    """A request that was accepted: a sync with its verdict, or another payload without."""
    key = sender.key
    if verdict is None:
        return Observation("accepted", "authenticated", key.node_id, key.key_id, peer)
    return Observation("accepted", verdict.continuity, key.node_id, key.key_id, peer, verdict.continuity, verdict.place)


def refused(cause: Refused, peer: str | None) -> Observation:
    """A request that was refused."""
    key, decision = cause.key, cause.decision
    # Behind a colon stands what a store or a key source said, in words without number.
    reason = cause.reason.partition(":")[0]
    if cause.code is Code.UNAUTHENTICATED or key is None:
        return Observation(cause.code, reason, None, None, peer)
    if decision is None:
        return Observation(cause.code, reason, key.node_id, key.key_id, peer)
    verdict = decision.verdict
    return Observation(
        cause.code, reason, key.node_id, key.key_id, peer, verdict.continuity, verdict.place, decision.suspends
    )
