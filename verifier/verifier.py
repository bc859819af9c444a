"""`Verifier` and `AsyncVerifier`: all checks of one request in their order, around a key source and a store.

    form, key, signature and digest, freshness    verifier.checks
    nonce                                         the store; spent once the signature was good
    revoked key
    body                                          node_protocol.messages
    fingerprint, ticket                           verifier.clones, called by the store
    other nodes on the machine                    where a sync tells of its machine's components
    the caller's veto                             events that leave a gap, say; nothing moves then but the nonce

What decides is written once, as functions that do not wait; the two classes below them differ in nothing but who waits
for keys, store and veto. Every refusal is `Refused`; one raised after the signature was good has a `sender`, and
`refuse` signs it. Each request is told to `observe`, once it is judged. A store that cannot be reached means
`unavailable`, never acceptance.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, ParamSpec, TypeAlias, TypeVar

from node_protocol import MAX_BODY, refusals, strict_json
from node_protocol.messages import Message, SyncRequest, encode, validate
from node_protocol.refusals import PROBLEM_CONTENT_TYPE, Code, Malformed, Misuse
from node_protocol.signatures import (
    TAG_NODE,
    Scheme,
    Unverified,
    is_authority,
    nonce_from,
    normal_authority,
    parse_request,
    sign_response,
)
from verifier import checks, clones, observation
from verifier.checks import Authenticated, NodeKey, Refused, SignedRequest
from verifier.clones import Policy
from verifier.node_state import NodeState
from verifier.observation import Observer
from verifier.stores.base import Admission, Step, Store, StoreUnavailable

P = ParamSpec("P")
R = TypeVar("R")


class Verified(NamedTuple):
    """A sync that was accepted."""

    sender: Authenticated
    body: Any
    """The message as decoded JSON."""
    message: SyncRequest
    """The message as a typed value."""
    verdict: clones.Verdict
    ticket: str
    """The new ticket, which the answer has to carry."""

    @property
    def node_id(self) -> str:
        """Who speaks."""
        return self.sender.key.node_id

    @property
    def key_id(self) -> str:
        """Under which key."""
        return self.sender.key.key_id

    @property
    def created(self) -> int:
        """When it was signed, by the node's clock, in Unix seconds."""
        return self.sender.facts.created


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is ready to be sent."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


Veto: TypeAlias = Callable[[str, SyncRequest], refusals.Refused | None]
AsyncVeto: TypeAlias = Callable[[str, SyncRequest], Awaitable[refusals.Refused | None]]


class _Checks:
    """The checks and their order, without the waiting."""

    def __init__(
        self,
        *,
        keys: Callable[[str], Any],
        store: Store,
        authorities: Collection[str],
        scheme: Scheme,
        now: Callable[[], float],
        policy: Policy,
        observe: Observer | None,
    ) -> None:
        if isinstance(authorities, str) or not authorities:
            raise Misuse("authorities: a list of the names that this server is reached by")
        for name in authorities:
            if not is_authority(name.lower()):
                raise Misuse(f"authorities: {name!r} is not `host` or `host:port`")
        self._keys = keys
        self._store = store
        self._scheme: Scheme = scheme
        self._authorities = frozenset(normal_authority(name, scheme) for name in authorities)
        self._now = now
        self._policy = policy
        self._observe = observe

    def answer(self, sender: Authenticated, payload: Message | Mapping[str, Any], *, status: int = 200) -> Answer:
        """The signed answer to a request that was accepted."""
        body = encode(payload) if isinstance(payload, Message) else strict_json.dumps(payload)
        return self.sign(sender, status, body)

    def sign(self, sender: Authenticated, status: int, body: bytes, content_type: str | None = None) -> Answer:
        """The signed answer of ready bytes: `application/json` below status 400, else problem details, unless told.

        Raises Misuse for a status or a content type that no node would take.
        """
        headers = sign_response(
            sender.key.mac,
            key_id=sender.key.key_id,
            status=status,
            body=body,
            request_signature=sender.facts.signature,
            created=int(self._now()),
            nonce=nonce_from(secrets.token_bytes(16)),
            tag=sender.facts.tag,
            content_type=content_type,
        )
        return Answer(status, headers, body)

    def refuse(self, refused: refusals.Refused, sender: Authenticated | None = None) -> Answer:
        """The answer to a request that was refused: problem details, signed where the sender is known.

        What was refused before it could be judged, as a body that is too large, is told to `observe` here.
        """
        if isinstance(refused, Refused):
            sender = sender or refused.sender
        elif sender is None:
            self._told(Refused(refused), None)
        body = strict_json.dumps(refused.problem())
        if sender is None:
            headers = [("content-type", PROBLEM_CONTENT_TYPE), ("cache-control", "no-store, no-transform")]
            return Answer(refused.status, headers, body)
        return self.sign(sender, refused.status, body)

    def _step(
        self, sender: Authenticated, message: SyncRequest, peer: str | None, objection: refusals.Refused | None
    ) -> Step:
        ticket_random = nonce_from(secrets.token_bytes(16))
        created = sender.facts.created
        return Step(sender.key.node_id, message, created, ticket_random, sender.at, peer, objection, self._policy)

    def _no_room(self, node_id: str, message: SyncRequest, found: Mapping[str, NodeState]) -> refusals.Refused | None:
        """The refusal of a node whose machine has other nodes enough, of those that the store found."""
        components = message.fingerprint.components or {}
        others = clones.live_on(components, ((name, state) for name, state in found.items() if name != node_id))
        try:
            clones.see_that_there_is_room(others, self._policy)
        except refusals.Refused as refused:
            return refused
        return None

    def _told(self, refused: Refused, request: SignedRequest | None) -> Refused:
        if self._observe is not None:
            self._observe(observation.refused(refused, request.peer if request else None))
        return refused

    def _parsed(self, request: SignedRequest, tag: str) -> Unverified:
        method, path, headers, body, _ = request
        if len(body) > MAX_BODY:
            raise Refused(refusals.Refused(Code.TOO_LARGE, "body_over_1_mib"))
        try:
            return parse_request(
                method=method,
                path=path,
                headers=headers,
                authorities=self._authorities,
                scheme=self._scheme,
                tag=tag,
            )
        except refusals.Refused as error:
            raise Refused(error) from None


class _Sync(NamedTuple):
    """A body as JSON and as a message, or what is wrong with it: told only once the nonce was looked at."""

    value: Any
    message: SyncRequest | refusals.Refused


def _read(body: bytes) -> _Sync:
    try:
        value = strict_json.loads(body)
        return _Sync(value, validate(SyncRequest, value))
    except Malformed as error:
        errors = [{"at": "", "error": str(error)}]
        return _Sync(None, refusals.Refused(Code.INVALID_PAYLOAD, "not_strict_json", extra={"errors": errors}))
    except refusals.Refused as error:
        return _Sync(None, error)


def _to_judge(sender: Authenticated, sync: _Sync) -> SyncRequest | None:
    """The message that the store is to judge; None where only the nonce is to be spent."""
    if sender.late is None and not sender.key.revoked and isinstance(sync.message, SyncRequest):
        return sync.message
    return None


def _in_time(sender: Authenticated, admission: Admission) -> Authenticated:
    """The sender, when its nonce was new and its key is good. Raises Refused."""
    if sender.late is not None:
        raise Refused(sender.late, sender)
    if not admission.fresh:
        raise Refused(refusals.Refused(Code.REPLAYED, "nonce_seen_before"), sender)
    if sender.key.revoked:
        raise Refused(refusals.Refused(Code.REVOKED, "key_revoked"), sender)
    return sender


def _concluded(sender: Authenticated, sync: _Sync, admission: Admission) -> Verified:
    """The verdict. Raises Refused."""
    _in_time(sender, admission)
    if not isinstance(sync.message, SyncRequest):
        raise Refused(sync.message, sender)
    decision = admission.decision
    if decision is None:
        # The store has lost what it knew, or the node was never saved to it: nobody can tell whose ticket this is.
        raise Refused(refusals.Refused(Code.UNAVAILABLE, "node_without_state"), sender)
    if decision.refusal is not None:
        raise Refused(decision.refusal, sender, decision)
    return Verified(sender, sync.value, sync.message, decision.verdict, decision.state.issued)


def _unavailable(error: StoreUnavailable, sender: Authenticated | None) -> Refused:
    what = "keys" if sender is None else "store"
    return Refused(refusals.Refused(Code.UNAVAILABLE, f"{what}: {error}"), sender)


class Verifier(_Checks):
    """Judges requests in a thread that may wait.

    `keys` gives the key under a key id, or None (and raises StoreUnavailable when it cannot tell); `store` keeps nonces
    and node states; `authorities` are the names that this server is reached by, `host` or `host:port`; `scheme` decides
    which port goes without saying; `now` is the clock, in Unix seconds; `policy` says what forks and moves lead to;
    `observe` is told of each request. Raises Misuse for authorities that are none.
    """

    def __init__(
        self,
        *,
        keys: Callable[[str], NodeKey | None],
        store: Store,
        authorities: Collection[str],
        scheme: Scheme = "https",
        now: Callable[[], float] = time.time,
        policy: Policy = clones.TABLE,
        observe: Observer | None = None,
    ) -> None:
        super().__init__(
            keys=keys,
            store=store,
            authorities=authorities,
            scheme=scheme,
            now=now,
            policy=policy,
            observe=observe,
        )

    def authenticate(self, request: SignedRequest, *, tag: str = TAG_NODE) -> Authenticated:
        """Who sent this, whatever is in its body: form, key, signature, freshness, nonce. Raises Refused."""
        sender = None
        try:
            unverified = self._parsed(request, tag)
            key = self._keys(unverified.claims.key_id)
            sender = checks.authenticate(unverified, key, request.body, int(self._now()))
            _in_time(sender, self._store.admit(sender.facts, sender.at))
        except StoreUnavailable as error:
            raise self._told(_unavailable(error, sender), request) from error
        except Refused as refused:
            self._told(refused, request)
            raise
        if self._observe is not None:
            self._observe(observation.accepted(sender, request.peer))
        return sender

    def verify(self, request: SignedRequest, *, veto: Veto | None = None) -> Verified:
        """All checks of a sync. Raises Refused.

        `veto` is asked, with node id and message, for what the caller would refuse by its own records; it only looks.
        Its word counts where all else accepts, and then neither ticket nor anything else moves but the nonce. When it
        cannot tell, it raises StoreUnavailable, and nothing moves at all.
        """
        sender = None
        try:
            unverified = self._parsed(request, TAG_NODE)
            key = self._keys(unverified.claims.key_id)
            sender = checks.authenticate(unverified, key, request.body, int(self._now()))
            sync, step = _read(request.body), None
            if (message := _to_judge(sender, sync)) is not None:
                objection, node_id = None, sender.key.node_id
                if (components := message.fingerprint.components) is not None:
                    objection = self._no_room(node_id, message, self._store.on_machine(components))
                if objection is None and veto is not None:
                    objection = veto(node_id, message)
                step = self._step(sender, message, request.peer, objection)
            verified = _concluded(sender, sync, self._store.admit(sender.facts, sender.at, step))
        except StoreUnavailable as error:
            raise self._told(_unavailable(error, sender), request) from error
        except Refused as refused:
            self._told(refused, request)
            raise
        if self._observe is not None:
            self._observe(observation.accepted(sender, request.peer, verified.verdict))
        return verified


class AsyncVerifier(_Checks):
    """As `Verifier`, for an event loop: `keys` and `veto` are coroutine functions, a blocking store gets a thread."""

    def __init__(
        self,
        *,
        keys: Callable[[str], Awaitable[NodeKey | None]],
        store: Store,
        authorities: Collection[str],
        scheme: Scheme = "https",
        now: Callable[[], float] = time.time,
        policy: Policy = clones.TABLE,
        observe: Observer | None = None,
    ) -> None:
        super().__init__(
            keys=keys,
            store=store,
            authorities=authorities,
            scheme=scheme,
            now=now,
            policy=policy,
            observe=observe,
        )

    async def authenticate(self, request: SignedRequest, *, tag: str = TAG_NODE) -> Authenticated:
        """Who sent this, whatever is in its body: form, key, signature, freshness, nonce. Raises Refused."""
        sender = None
        try:
            unverified = self._parsed(request, tag)
            key = await self._keys(unverified.claims.key_id)
            sender = checks.authenticate(unverified, key, request.body, int(self._now()))
            _in_time(sender, await self._stored(self._store.admit, sender.facts, sender.at))
        except StoreUnavailable as error:
            raise self._told(_unavailable(error, sender), request) from error
        except Refused as refused:
            self._told(refused, request)
            raise
        if self._observe is not None:
            self._observe(observation.accepted(sender, request.peer))
        return sender

    async def verify(self, request: SignedRequest, *, veto: AsyncVeto | None = None) -> Verified:
        """All checks of a sync, as `Verifier.verify` has them. Raises Refused."""
        sender = None
        try:
            unverified = self._parsed(request, TAG_NODE)
            key = await self._keys(unverified.claims.key_id)
            sender = checks.authenticate(unverified, key, request.body, int(self._now()))
            sync, step = _read(request.body), None
            if (message := _to_judge(sender, sync)) is not None:
                objection, node_id = None, sender.key.node_id
                if (components := message.fingerprint.components) is not None:
                    found = await self._stored(self._store.on_machine, components)
                    objection = self._no_room(node_id, message, found)
                if objection is None and veto is not None:
                    objection = await veto(node_id, message)
                step = self._step(sender, message, request.peer, objection)
            verified = _concluded(sender, sync, await self._stored(self._store.admit, sender.facts, sender.at, step))
        except StoreUnavailable as error:
            raise self._told(_unavailable(error, sender), request) from error
        except Refused as refused:
            self._told(refused, request)
            raise
        if self._observe is not None:
            self._observe(observation.accepted(sender, request.peer, verified.verdict))
        return verified

    async def _stored(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        if self._store.blocking:
            return await asyncio.to_thread(call, *args, **kwargs)
        return call(*args, **kwargs)
