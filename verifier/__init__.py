"""The server side's library: who speaks, once, and from which machine."""

from node_protocol.messages import SyncRequest
from node_protocol.signatures import MacKey
from verifier.checks import Authenticated, NodeKey, Refused, SignedRequest
from verifier.clones import Cause, Continuity, NodeState, Place, Verdict, enrolled, would_take
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
    "Place",
    "Refused",
    "SignedRequest",
    "StoreUnavailable",
    "SyncRequest",
    "Verdict",
    "Verified",
    "Verifier",
    "enrolled",
    "would_take",
]
