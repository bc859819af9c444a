"""The server side's library: who speaks, once, and from which machine."""

from node_protocol.messages import SyncRequest
from node_protocol.signatures import MacKey
from verifier.checks import Authenticated, NodeKey, Refused, SignedRequest
from verifier.clones import Continuity, Place, Policy, Verdict, live_on, see_that_there_is_room
from verifier.evidence import Cause
from verifier.node_state import NodeState, accept_next, enrolled, let_move, would_take
from verifier.observation import Observation
from verifier.stores.base import StoreUnavailable
from verifier.verifier import Answer, AsyncVerifier, Verified, Verifier

__all__ = [
    "Answer",
    "AsyncVerifier",
    "Authenticated",
    "Cause",
    "Continuity",
    "MacKey",
    "NodeKey",
    "NodeState",
    "Observation",
    "Place",
    "Policy",
    "Refused",
    "SignedRequest",
    "StoreUnavailable",
    "SyncRequest",
    "Verdict",
    "Verified",
    "Verifier",
    "accept_next",
    "enrolled",
    "let_move",
    "live_on",
    "see_that_there_is_room",
    "would_take",
]
