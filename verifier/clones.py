"""One identity, one machine: state and request in, verdict and next state out. Pure.

A key can be copied, and so can a disk; what cannot is being the only one to hold the newest ticket. Per node the server
holds the ticket it issued last (`issued`) and the one it was shown when it issued that (`shown`), and reads three signs
in this order:

    1. a suspended node is refused, whatever it shows
    2. process       fingerprint far off within a session: a fork. A number that is not above the last accepted one of
                     its session: a late packet, `superseded`; the third within the replay window: a fork
    3. continuity    `issued`: the last answer arrived. `shown`: it was lost, and the unused ticket is void.
                     Any other ticket: a fork
    4. place         another machine in a new session: `fingerprint_mismatch`, until an operator approves the move

On a fork the node is suspended, not the request alone: the server cannot tell which of the holders is the owner's.
Two holders of one state show a void ticket at the third request between them at the latest.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from node_protocol import REPLAY_WINDOW, fingerprints
from node_protocol.encoding import format_time
from node_protocol.messages import SyncRequest
from node_protocol.refusals import Code, Refused

DRIFT_SYNCS: Final = 5
"""Accepted syncs after which a drifted fingerprint becomes the baseline."""

_MOST_SUPERSEDED: Final = 3


class Place(StrEnum):
    """What the fingerprint says of the machine."""

    SAME = "same"
    DRIFT = "drift"
    ELSEWHERE = "elsewhere"
    INSUFFICIENT = "insufficient"


class Continuity(StrEnum):
    """What the ticket, or the request's number before it, says."""

    CONTINUES = "continues"
    RETRIES = "retries"
    LATE = "late"
    UNKNOWN = "unknown"
    FORKS = "forks"


class Cause(StrEnum):
    """The likely cause of a fork, for the operator; nothing is decided by it."""

    ROLLBACK = "rollback"
    COPY_SAME_HOST = "copy_same_host"
    COPY_OTHER_HOST = "copy_other_host"
    LIVE_CLONE = "live_clone"
    STOLEN_KEY = "stolen_key"


class Machine(NamedTuple):
    """A fingerprint that the server has: its digest and its salted components."""

    digest: str
    components: Mapping[str, str]


class Sighting(NamedTuple):
    """One request as evidence keeps it."""

    session: str
    request: int
    ticket: str
    digest: str
    peer: str | None
    at: int
    """The server's clock, Unix seconds."""


class NodeState(NamedTuple):
    """All that the server remembers of one node to tell it from its copies."""

    issued: str
    """The ticket issued last."""
    baseline: Machine
    shown: str | None = None
    """The ticket that was presented when `issued` was issued; the protocol calls it `from`."""
    last: Sighting | None = None
    """The last accepted request."""
    seen: Machine | None = None
    """The fingerprint of the last accepted request, where it is not the baseline."""
    drifting: int = 0
    """Accepted syncs in a row with `seen` as a drifted fingerprint."""
    superseded_at: tuple[int, ...] = ()
    """When late packets came, within the replay window."""
    suspended_at: int | None = None


class Verdict(NamedTuple):
    """How a request stands to the node's past."""

    continuity: Continuity
    place: Place
    score: float
    """Likeness to the baseline, 0 to 1; of no meaning when the place is `insufficient`."""
    cause: Cause | None = None
    evidence: Mapping[str, Any] = MappingProxyType({})
    """Both sides of a fork or of a move: session, number, ticket, fingerprint, address, time."""


_NOT_COMPARED: Final = Verdict(Continuity.UNKNOWN, Place.INSUFFICIENT, 0.0)


class Decision(NamedTuple):
    """What becomes of a request: the next state always, and a refusal or none."""

    state: NodeState
    verdict: Verdict
    """Of a suspended node, and of an unknown digest, it says `insufficient`: nothing was compared."""
    refusal: Refused | None = None

    @property
    def suspends(self) -> bool:
        """Whether this request is what suspends the node."""
        return self.verdict.continuity is Continuity.FORKS


def enrolled(ticket: str, components: Mapping[str, str]) -> NodeState:
    """The state of a node that has enrolled and has not synced yet."""
    return NodeState(issued=ticket, baseline=Machine(fingerprints.digest(components), components))


def next_ticket(issued: str, random: str) -> str:
    """The ticket after `issued`: its counter plus one, and 22 new characters."""
    return f"{_counter(issued) + 1}.{random}"


def would_take(state: NodeState, ticket: str) -> bool:
    """Whether a sync with this ticket would continue the node's state; nothing moves."""
    return state.suspended_at is None and ticket in (state.issued, state.shown)


def decide(
    state: NodeState, message: SyncRequest, *, ticket_random: str, now: int, peer: str | None = None
) -> Decision:
    """What becomes of a sync whose signature, freshness, nonce and body are good.

    `ticket_random` is 22 new characters of base64url for the next ticket; `now` the server's clock in Unix seconds.
    """
    if state.suspended_at is not None:
        return Decision(state, _NOT_COMPARED, Refused(Code.SUSPENDED, "node_suspended"))
    machine = _machine(state, message)
    if machine is None:
        errors = [{"at": "fingerprint.components", "error": "this digest is not known here: send the components"}]
        return Decision(state, _NOT_COMPARED, Refused(Code.INVALID_PAYLOAD, "unknown_digest", extra={"errors": errors}))

    look = _compare(
        state.baseline, machine, Sighting(message.session, message.request, message.ticket, machine.digest, peer, now)
    )
    same_session = state.last is not None and state.last.session == message.session
    if same_session and look.place is Place.ELSEWHERE:
        return _fork(state, look, Refused(Code.FINGERPRINT_MISMATCH, "machine_changed_in_session"))
    if same_session and state.last is not None and message.request <= state.last.request:
        late = (*(at for at in state.superseded_at if now - at <= REPLAY_WINDOW), now)
        if len(late) >= _MOST_SUPERSEDED:
            return _fork(state, look, Refused(Code.TICKET_CONFLICT, "superseded_too_often"))
        verdict = Verdict(Continuity.LATE, look.place, look.score)
        return Decision(state._replace(superseded_at=late), verdict, Refused(Code.SUPERSEDED, "number_not_above_last"))
    if not would_take(state, message.ticket):
        return _fork(state, look, Refused(Code.TICKET_CONFLICT, "void_ticket"))

    continuity = Continuity.CONTINUES if message.ticket == state.issued else Continuity.RETRIES
    if look.place is Place.ELSEWHERE:
        verdict = Verdict(continuity, look.place, look.score, evidence=_evidence(state, look.sighting))
        return Decision(state, verdict, Refused(Code.FINGERPRINT_MISMATCH, "other_machine"))
    baseline, seen, drifting = _machines(state, machine, look.place)
    moved = NodeState(
        issued=next_ticket(state.issued, ticket_random),
        baseline=baseline,
        shown=message.ticket,
        last=look.sighting,
        seen=seen,
        drifting=drifting,
        superseded_at=state.superseded_at,
    )
    return Decision(moved, Verdict(continuity, look.place, look.score))


class _Look(NamedTuple):
    """A request beside the baseline."""

    sighting: Sighting
    machine: Machine
    place: Place
    score: float


def _machine(state: NodeState, message: SyncRequest) -> Machine | None:
    """The machine that a sync names, by its components or by a digest that is known; else None."""
    fingerprint = message.fingerprint
    for known in (state.baseline, state.seen):
        if known is not None and known.digest == fingerprint.digest:
            return known
    return None if fingerprint.components is None else Machine(fingerprint.digest, fingerprint.components)


def _compare(baseline: Machine, machine: Machine, sighting: Sighting) -> _Look:
    similarity = fingerprints.compare(baseline.components, machine.components)
    score = similarity.score
    if not similarity.sufficient:
        place = Place.INSUFFICIENT
    elif score >= fingerprints.SAME:
        place = Place.SAME
    else:
        place = Place.DRIFT if score >= fingerprints.DRIFT else Place.ELSEWHERE
    return _Look(sighting, machine, place, score)


def _machines(state: NodeState, machine: Machine, place: Place) -> tuple[Machine, Machine | None, int]:
    """Baseline, machine seen last and drift, now that `machine` was; a drifted one becomes the baseline in the end."""
    if machine.digest == state.baseline.digest:
        return state.baseline, None, 0
    if place is not Place.DRIFT:
        return state.baseline, machine, 0
    same_again = state.seen is not None and state.seen.digest == machine.digest
    drifting = state.drifting + 1 if same_again else 1
    return (machine, None, 0) if drifting >= DRIFT_SYNCS else (state.baseline, machine, drifting)


def _fork(state: NodeState, look: _Look, refusal: Refused) -> Decision:
    evidence = _evidence(state, look.sighting)
    verdict = Verdict(Continuity.FORKS, look.place, look.score, _cause(state, look), evidence)
    return Decision(state._replace(suspended_at=look.sighting.at), verdict, refusal)


def _cause(state: NodeState, look: _Look) -> Cause:
    if _never_issued(state, look.sighting.ticket):
        return Cause.STOLEN_KEY
    if state.last is not None and state.last.session == look.sighting.session:
        return Cause.LIVE_CLONE
    if look.place is Place.ELSEWHERE:
        return Cause.COPY_OTHER_HOST
    before, after = (state.seen or state.baseline).components, look.machine.components
    same_boot = "boot" in before and before["boot"] == after.get("boot")
    other_inode = before.get("storage") != after.get("storage")
    return Cause.COPY_SAME_HOST if same_boot and other_inode else Cause.ROLLBACK


def _never_issued(state: NodeState, ticket: str) -> bool:
    """Whether a ticket is surely invented, for each counter was given out once. Of older ones nobody knows."""
    known = [each for each in (state.issued, state.shown) if each is not None]
    counter = _counter(ticket)
    return ticket not in known and (counter > _counter(state.issued) or counter in map(_counter, known))


def _counter(ticket: str) -> int:
    return int(ticket.partition(".")[0])


def _evidence(state: NodeState, sighting: Sighting) -> dict[str, Any]:
    return {"accepted_last": _facts(state.last), "refused_now": _facts(sighting)}


def _facts(sighting: Sighting | None) -> dict[str, Any] | None:
    if sighting is None:
        return None
    # Tickets stay out but for their counter: evidence is read by more people than may continue a node's state.
    return {
        "session": sighting.session,
        "request": sighting.request,
        "ticket_counter": _counter(sighting.ticket),
        "fingerprint": sighting.digest,
        "address": sighting.peer,
        "at": format_time(datetime.fromtimestamp(sighting.at, UTC)),
    }
