"""One identity, one machine: state, request and policy in, verdict and next state out. Pure.

A key can be copied, and so can a disk; what cannot is being the only one to hold the newest ticket. Per node the server
holds the ticket it issued last (`issued`) and the one it was shown when it issued that (`shown`), and reads three signs
in this order:

    1. a suspended node is refused, whatever it shows
    2. process       fingerprint far off within a session: a fork. A packet that a later request of the node has
                     overtaken: `superseded`; the third in a replay window that had no reason to be late: a fork
    3. continuity    `issued`: the last answer arrived. `shown`: it was lost, and the unused ticket is void.
                     Any other ticket: a fork, unless an operator said to accept the next one
    4. place         another machine in a new session: `fingerprint_mismatch`, until an operator approves the move

On a fork the node is suspended, not the request alone: the server cannot tell which of the holders is the owner's.
Two holders of one state show a void ticket at the third request between them at the latest.

A packet is late when its number is not above the last accepted one of its session, or when another session signed it
before the last accepted request, by the node's own clock: a process that is gone by now. A late packet moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from node_protocol import REPLAY_WINDOW, fingerprints
from node_protocol.messages import SyncRequest
from node_protocol.refusals import Code, Refused
from verifier import evidence
from verifier.evidence import Cause
from verifier.node_state import Machine, NodeState, Sighting, next_ticket, would_take

DRIFT_SYNCS: Final = 5
"""Accepted syncs after which a drifted fingerprint becomes the baseline."""

_MOST_SUPERSEDED: Final = 3
_FORMER_SESSIONS: Final = 3


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
    RESTORED = "restored"
    """Neither, but an operator said to accept the next ticket."""
    LATE = "late"
    UNKNOWN = "unknown"
    FORKS = "forks"


class Policy(NamedTuple):
    """What a deployment makes of the verdicts; the default is the protocol's table."""

    suspend_on_fork: bool = True
    """False refuses the request alone, and leaves it to the caller to ask somebody."""
    ask_before_move: bool = True
    """False accepts another machine in a new session, which becomes the baseline."""
    max_nodes_per_machine: int = 1
    """Live nodes that may have the same `machine_id` or `boot`."""


TABLE: Final = Policy()


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
        return self.verdict.continuity is Continuity.FORKS and self.state.suspended_at is not None


def decide(
    state: NodeState,
    message: SyncRequest,
    *,
    created: int,
    ticket_random: str,
    now: int,
    peer: str | None = None,
    policy: Policy = TABLE,
) -> Decision:
    """What becomes of a sync whose signature, freshness, nonce and body are good.

    `created` is when it was signed, by the node's clock, and `now` the server's clock, in Unix seconds;
    `ticket_random` is 22 new characters of base64url for the next ticket.
    """
    if state.suspended_at is not None:
        return Decision(state, _NOT_COMPARED, Refused(Code.SUSPENDED, "node_suspended"))
    machine = _machine(state, message)
    if machine is None:
        errors = [{"at": "fingerprint.components", "error": "this digest is not known here: send the components"}]
        return Decision(state, _NOT_COMPARED, Refused(Code.INVALID_PAYLOAD, "unknown_digest", extra={"errors": errors}))

    sighting = Sighting(message.session, message.request, message.ticket, machine.digest, peer, now, created)
    look = _compare(state.baseline, machine, sighting)
    last = state.last
    same_session = last is not None and last.session == sighting.session
    if same_session and _changed_machines(state, look):
        return _fork(state, look, Refused(Code.FINGERPRINT_MISMATCH, "machine_changed_in_session"), policy)
    if last is not None and (late := _lateness(state, last, sighting)) is not None:
        return _superseded(state, look, late, policy)
    continuity = _continuity(state, sighting)
    if continuity is Continuity.FORKS:
        return _fork(state, look, Refused(Code.TICKET_CONFLICT, "void_ticket"), policy)
    if look.place is Place.ELSEWHERE and policy.ask_before_move and machine.digest != state.move_to:
        both = evidence.both(state, sighting)
        verdict = Verdict(continuity, look.place, look.score, evidence=both)
        return Decision(state, verdict, Refused(Code.FINGERPRINT_MISMATCH, "other_machine"))
    return Decision(_moved(state, look, ticket_random), Verdict(continuity, look.place, look.score))


def live_on(machine: Mapping[str, str], others: Iterable[tuple[str, NodeState]]) -> list[str]:
    """The ids of those nodes that are not suspended and were last seen on the machine with these components."""
    return [
        node_id
        for node_id, state in others
        if state.suspended_at is None and fingerprints.on_one_machine(machine, state.machine.components)
    ]


def see_that_there_is_room(neighbours: Iterable[str], policy: Policy = TABLE) -> None:
    """Raises Refused (`fingerprint_duplicate`) when so many live nodes on a machine leave no room for one more."""
    if len(list(neighbours)) >= policy.max_nodes_per_machine:
        raise Refused(Code.FINGERPRINT_DUPLICATE, "machine_taken")


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


def _changed_machines(state: NodeState, look: _Look) -> bool:
    """Whether a process is on another machine than it was: than the baseline, or than it was seen on last."""
    if look.place is Place.ELSEWHERE:
        return True
    seen = state.seen
    if seen is None or seen.digest == look.machine.digest:
        return False
    return _compare(seen, look.machine, look.sighting).place is Place.ELSEWHERE


class _Late(StrEnum):
    """Why a packet may come after a later request of its node was accepted."""

    EXCUSED = "excused"
    """It was signed before that one, by the same process or by one before it: the network held it up."""
    ODD = "odd"
    """It was not, or nothing is known of the process that signed it."""


def _lateness(state: NodeState, last: Sighting, sighting: Sighting) -> _Late | None:
    """Whether a later request of the node has overtaken this packet, of which the node's own clock tells."""
    signed_before = sighting.created < last.created
    if sighting.session == last.session:
        if sighting.request > last.request:
            return None
        return _Late.EXCUSED if signed_before else _Late.ODD
    if not signed_before or sighting.ticket == state.issued:
        return None
    known = sighting.session in state.former or sighting.ticket == state.shown
    return _Late.EXCUSED if known else _Late.ODD


def _superseded(state: NodeState, look: _Look, late: _Late, policy: Policy) -> Decision:
    odd, now = state.superseded_at, look.sighting.at
    if late is _Late.ODD:
        odd = (*(at for at in odd if now - at <= REPLAY_WINDOW), now)
        if len(odd) >= _MOST_SUPERSEDED:
            return _fork(state, look, Refused(Code.TICKET_CONFLICT, "superseded_too_often"), policy)
    verdict = Verdict(Continuity.LATE, look.place, look.score)
    return Decision(state._replace(superseded_at=odd), verdict, Refused(Code.SUPERSEDED, "overtaken"))


def _continuity(state: NodeState, sighting: Sighting) -> Continuity:
    if sighting.ticket == state.issued:
        return Continuity.CONTINUES
    if would_take(state, sighting.ticket):
        return Continuity.RETRIES
    armed = state.accept_until is not None and sighting.at <= state.accept_until
    return Continuity.RESTORED if armed else Continuity.FORKS


def _moved(state: NodeState, look: _Look, ticket_random: str) -> NodeState:
    """The state after an accepted sync; with it an `accept_until` is used up."""
    sighting = look.sighting
    baseline, seen, drifting = _machines(state, look)
    former = state.former
    if state.last is not None and state.last.session != sighting.session:
        former = (state.last.session, *former)[:_FORMER_SESSIONS]
    return NodeState(
        issued=next_ticket(state.issued, ticket_random),
        baseline=baseline,
        shown=sighting.ticket,
        last=sighting,
        former=former,
        seen=seen,
        drifting=drifting,
        superseded_at=state.superseded_at,
        move_to=None if look.place is Place.ELSEWHERE else state.move_to,
    )


def _machines(state: NodeState, look: _Look) -> tuple[Machine, Machine | None, int]:
    """Baseline, machine seen last and drift, now that this one was; a drifted one becomes the baseline in the end."""
    machine = look.machine
    if machine.digest == state.baseline.digest:
        return state.baseline, None, 0
    if look.place is Place.ELSEWHERE:
        return machine, None, 0
    if look.place is not Place.DRIFT:
        return state.baseline, machine, 0
    same_again = state.seen is not None and state.seen.digest == machine.digest
    drifting = state.drifting + 1 if same_again else 1
    return (machine, None, 0) if drifting >= DRIFT_SYNCS else (state.baseline, machine, drifting)


def _fork(state: NodeState, look: _Look, refusal: Refused, policy: Policy) -> Decision:
    cause = evidence.likely_cause(state, look.sighting, look.machine, elsewhere=look.place is Place.ELSEWHERE)
    both = evidence.both(state, look.sighting)
    after = state._replace(suspended_at=look.sighting.at) if policy.suspend_on_fork else state
    return Decision(after, Verdict(Continuity.FORKS, look.place, look.score, cause, both), refusal)
