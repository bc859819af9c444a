"""`Verifier` and `AsyncVerifier`: all checks of one request in their order, around a key source and a store.

    form, key, signature and digest, freshness    verifier.checks
    nonce                                         the store; spent once the signature was good
    revoked key
    body                                          node_protocol.messages
    fingerprint, ticket                           verifier.clones, within the store's one atomic move
    the caller's veto                             events that leave a gap, say; nothing moves then but the nonce

The order is written once, as generators that yield each question that somebody may have to wait for; the two classes
differ in how they wait. Every refusal is `Refused`; one raised after the signature was good has a `sender`, and
`refuse` signs it. A store that cannot be reached means `unavailable`, never acceptance.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from node_protocol import MAX_BODY, refusals, strict_json
from node_protocol.messages import Message, SyncRequest, encode, validate
from node_protocol.refusals import PROBLEM_CONTENT_TYPE, Code, Malformed, Misuse
from node_protocol.signatures import TAG_NODE, Scheme, nonce_from, normal_authority, sign_response
from verifier import checks, clones
from verifier.checks import Authenticated, NodeKey, Refused, SignedRequest
from verifier.stores.base import Admission, Nonce, Step, Store, StoreUnavailable

_MOST_AHEAD: Final = 24 * 3600
"""Seconds: a message from a clock this far ahead will be fresh one day, so its nonce is spent though it is stale."""


@dataclass(frozen=True, slots=True)
class Verified:
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

T = TypeVar("T")


class _Question(NamedTuple):
    """Something that somebody may have to wait for."""

    ask: Callable[..., Any]
    arguments: tuple[Any, ...]
    of_store: bool = False


_Steps: TypeAlias = Generator[_Question, Any, T]


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
    ) -> None:
        if isinstance(authorities, str) or not authorities:
            raise Misuse("authorities: a list of the names that this server is reached by")
        self._keys = keys
        self._store = store
        self._scheme: Scheme = scheme
        self._authorities = frozenset(normal_authority(name, scheme) for name in authorities)
        self._now = now

    def answer(self, sender: Authenticated, payload: Message | Mapping[str, Any], *, status: int = 200) -> Answer:
        """The signed answer to a request that was accepted."""
        body = encode(payload) if isinstance(payload, Message) else strict_json.dumps(payload)
        return self._signed(sender, status, body)

    def refuse(self, refused: refusals.Refused, sender: Authenticated | None = None) -> Answer:
        """The answer to a request that was refused: problem details, signed where the sender is known."""
        if sender is None and isinstance(refused, Refused):
            sender = refused.sender
        body = strict_json.dumps(refused.problem())
        if sender is None:
            headers = [("content-type", PROBLEM_CONTENT_TYPE), ("cache-control", "no-store, no-transform")]
            return Answer(refused.status, headers, body)
        return self._signed(sender, refused.status, body)

    def _signed(self, sender: Authenticated, status: int, body: bytes) -> Answer:
        headers = sign_response(
            sender.key.mac,
            key_id=sender.key.key_id,
            status=status,
            body=body,
            request_signature=sender.facts.signature,
            created=int(self._now()),
            nonce=nonce_from(secrets.token_bytes(16)),
            tag=sender.facts.tag,
        )
        return Answer(status, headers, body)

    def _authenticate(self, request: SignedRequest, tag: str) -> _Steps[Authenticated]:
        sender, now, late = yield from self._identify(request, tag)
        admission = yield from self._admit(sender, now, None, late)
        _raise_if_spent_or_revoked(sender, admission)
        return sender

    def _verify(self, request: SignedRequest, veto: Callable[..., Any] | None) -> _Steps[Verified]:
        sender, now, late = yield from self._identify(request, TAG_NODE)
        value, message = _read(request.body)
        step = None
        if isinstance(message, SyncRequest) and not sender.key.revoked:
            node_id = sender.key.node_id
            objection = (yield _Question(veto, (node_id, message))) if veto and not late else None
            step = Step(node_id, message, nonce_from(secrets.token_bytes(16)), now, request.peer, objection)
        admission = yield from self._admit(sender, now, step, late)
        _raise_if_spent_or_revoked(sender, admission)
        if not isinstance(message, SyncRequest):
            raise Refused(message, sender)
        decision = admission.decision
        if decision is None:
            raise Refused(refusals.Refused(Code.TICKET_CONFLICT, "node_without_state"), sender)
        if decision.refusal is not None:
            raise Refused(decision.refusal, sender, decision)
        return Verified(sender, value, message, decision.verdict, decision.state.issued)

    def _identify(self, request: SignedRequest, tag: str) -> _Steps[tuple[Authenticated, int, refusals.Refused | None]]:
        """The sender, the time, and the refusal that it has earned if it is late."""
        if len(request.body) > MAX_BODY:
            raise Refused(refusals.Refused(Code.TOO_LARGE, "body_over_1_mib"))
        unverified = checks.parse(request, authorities=self._authorities, scheme=self._scheme, tag=tag)
        try:
            key = yield _Question(self._keys, (unverified.claims.key_id,))
        except StoreUnavailable as error:
            raise Refused(refusals.Refused(Code.UNAVAILABLE, f"keys: {error}")) from error
        sender = checks.authenticate(unverified, key, request.body)
        now = int(self._now())
        return sender, now, None if checks.fresh(sender.facts.created, now) else checks.stale(now)

    def _admit(
        self, sender: Authenticated, now: int, step: Step | None, late: refusals.Refused | None
    ) -> _Steps[Admission]:
        """What the store says; a late message is refused, after its nonce was spent if it could be fresh one day."""
        facts = sender.facts
        if late is not None and not 0 < facts.created - now <= _MOST_AHEAD:
            raise Refused(late, sender)
        nonce = Nonce(facts.key_id, facts.nonce, facts.created)
        try:
            admission: Admission = yield _Question(self._store.admit, (nonce, now, None if late else step), True)
        except StoreUnavailable as error:
            raise Refused(refusals.Refused(Code.UNAVAILABLE, f"store: {error}"), sender) from error
        if late is not None:
            raise Refused(late, sender)
        return admission


class Verifier(_Checks):
    """Judges requests in a thread that may wait.

    `keys` gives the key under a key id, or None (and raises StoreUnavailable when it cannot tell); `store` keeps nonces
    and node states; `authorities` are the names that this server is reached by, `host` or `host:port`; `scheme` decides
    which port goes without saying; `now` is the clock, in Unix seconds. Raises Misuse for no authorities.
    """

    def __init__(
        self,
        *,
        keys: Callable[[str], NodeKey | None],
        store: Store,
        authorities: Collection[str],
        scheme: Scheme = "https",
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(keys=keys, store=store, authorities=authorities, scheme=scheme, now=now)

    def authenticate(self, request: SignedRequest, *, tag: str = TAG_NODE) -> Authenticated:
        """Who sent this, whatever is in its body: form, key, signature, freshness, nonce. Raises Refused."""
        return self._run(self._authenticate(request, tag))

    def verify(self, request: SignedRequest, *, veto: Veto | None = None) -> Verified:
        """All checks of a sync. Raises Refused.

        `veto` is asked, with node id and message, for what the caller would refuse by its own records; it only looks.
        Its word counts where all else accepts, and then neither ticket nor anything else moves but the nonce.
        """
        return self._run(self._verify(request, veto))

    @staticmethod
    def _run(steps: _Steps[T]) -> T:
        try:
            question = next(steps)
            while True:
                try:
                    answer = question.ask(*question.arguments)
                except StoreUnavailable as error:
                    question = steps.throw(error)
                else:
                    question = steps.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result


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
    ) -> None:
        super().__init__(keys=keys, store=store, authorities=authorities, scheme=scheme, now=now)

    async def authenticate(self, request: SignedRequest, *, tag: str = TAG_NODE) -> Authenticated:
        """Who sent this, whatever is in its body: form, key, signature, freshness, nonce. Raises Refused."""
        return await self._run(self._authenticate(request, tag))

    async def verify(self, request: SignedRequest, *, veto: AsyncVeto | None = None) -> Verified:
        """All checks of a sync, as `Verifier.verify` has them. Raises Refused."""
        return await self._run(self._verify(request, veto))

    async def _run(self, steps: _Steps[T]) -> T:
        try:
            question = next(steps)
            while True:
                try:
                    answer = await self._wait(question)
                except StoreUnavailable as error:
                    question = steps.throw(error)
                else:
                    question = steps.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result

    async def _wait(self, question: _Question) -> Any:
        if question.of_store and self._store.blocking:
            return await asyncio.to_thread(question.ask, *question.arguments)
        answer = question.ask(*question.arguments)
        return await answer if inspect.isawaitable(answer) else answer


def _read(body: bytes) -> tuple[Any, SyncRequest | refusals.Refused]:
    """The body as JSON and as a message, or what is wrong with it: told only once the nonce was looked at."""
    try:
        value = strict_json.loads(body)
        return value, validate(SyncRequest, value)
    except Malformed as error:
        errors = [{"at": "", "error": str(error)}]
        return None, refusals.Refused(Code.INVALID_PAYLOAD, "not_strict_json", extra={"errors": errors})
    except refusals.Refused as error:
        return None, error


def _raise_if_spent_or_revoked(sender: Authenticated, admission: Admission) -> None:
    if not admission.fresh:
        raise Refused(refusals.Refused(Code.REPLAYED, "nonce_seen_before"), sender)
    if sender.key.revoked:
        raise Refused(refusals.Refused(Code.REVOKED, "key_revoked"), sender)
