"""The signed routes: what each message does, once the verifier has said who speaks.

`/v1/enroll`  under a token's secret: makes a node
`/v1/keys`    under a node's key, with a ticket that `sync` would take: the key's next version
`/v1/sync`    under a node's key: events in, ticket and commands out; with nothing to bring, held up to 25 s

Each refusal goes out as problem details, signed where the signature was good. A database or a Redis that does not
answer means `unavailable`, never acceptance.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Receive

from control_plane import commands, enrolment, http_io, ingest, node_keys, registry, schema
from control_plane.clock import Clock
from control_plane.database import Database
from control_plane.master_key import SealBroken, Sealer
from node_protocol import PROTOCOL_VERSION, messages, refusals
from node_protocol.refusals import Code
from node_protocol.signatures import TAG_ENROLL, Scheme
from verifier import (
    Answer,
    AsyncVerifier,
    Authenticated,
    Continuity,
    NodeKey,
    Observation,
    Place,
    Policy,
    Refused,
    SignedRequest,
    StoreUnavailable,
    SyncRequest,
    Verdict,
    Verified,
    would_take,
)
from verifier.stores import SplitStore, SqlStore, Store

if TYPE_CHECKING:
    from control_plane.bell import Bell
    from verifier.stores import RedisStore

_TOLD_OF_PLACE: Final = {
    Place.DRIFT: ("fingerprint_drift", "machine_part_changed"),
    Place.ELSEWHERE: ("node_moved", "move_approved"),
}
_TOLD_OF_CONTINUITY: Final = {Continuity.RESTORED: ("ticket_restored", "next_ticket_accepted")}
"""Code and reason of alerts that refuse nothing: a part of the machine is another one, an operator's word was used."""
_BY_THE_OPERATOR_S_WORD: Final = frozenset(("node_moved", "ticket_restored"))
_ALARMING: Final = frozenset((Code.TICKET_CONFLICT, Code.FINGERPRINT_MISMATCH, Code.FINGERPRINT_DUPLICATE))
_log = structlog.get_logger("control_plane")


class Channel:
    """The handlers of the signed routes and what they share. Each raises Refused, and http_io.Disconnected."""

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        salt: messages.SaltAnswer,
        *,
        authorities: Collection[str],
        scheme: Scheme,
        clock: Clock,
        max_nodes_per_machine: int = 1,
        nonces: RedisStore | None = None,
        bell: Bell | None = None,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._salt = salt
        self._clock = clock
        self._policy = Policy(max_nodes_per_machine=max_nodes_per_machine)
        # Node states are the database's in any case: enrolment writes them in its transaction.
        states = SqlStore(database.writer)
        self._store: Store = states if nonces is None else SplitStore(nonces, states)
        self._nonces = nonces
        self._watch = commands.Watch(database, bell)
        self._verifiers = {
            find: AsyncVerifier(
                keys=find,
                store=self._store,
                authorities=authorities,
                scheme=scheme,
                now=lambda: clock().timestamp(),
                policy=self._policy,
                observe=_observe,
            )
            for find in (self._find_node_key, self._find_token)
        }
        self._nodes = self._verifiers[self._find_node_key]
        self._tokens = self._verifiers[self._find_token]

    def is_ready(self) -> bool:
        """Whether requests can be judged. Raises SQLAlchemyError and StoreUnavailable where nobody answers."""
        if self._nonces is not None:
            self._nonces.ping(int(self._clock().timestamp()))
        return schema.is_current(self._database)

    def stop(self) -> None:
        """Lets held requests answer now, and holds no more."""
        self._watch.close()

    async def enroll(self, request: SignedRequest, receive: Receive) -> Answer:
        """`POST /v1/enroll`."""
        sender = await self._tokens.authenticate(request, tag=TAG_ENROLL)
        with _on_behalf_of(sender):
            message = messages.parse(messages.EnrollRequest, request.body)
            try:
                answer = await asyncio.to_thread(
                    enrolment.enrol,
                    self._database,
                    self._sealer,
                    sender.key.key_id,
                    message,
                    salt_id=self._salt.salt_id,
                    policy=self._policy,
                    now=self._clock(),
                )
            except enrolment.MachineTaken as taken:
                evidence = {**taken.evidence, "address": request.peer}
                for neighbour in taken.neighbours:
                    await self._alert(neighbour, taken.code, "another_node_enrols", evidence)
                raise
        _log.info("enrolled", node_id=answer.node_id, peer=request.peer)
        return self._tokens.answer(sender, answer, status=201)

    async def keys(self, request: SignedRequest, receive: Receive) -> Answer:
        """`POST /v1/keys`. Moves no ticket and suspends nobody: a thief of the key alone could do neither."""
        sender = await self._nodes.authenticate(request)
        with _on_behalf_of(sender):
            message = messages.parse(messages.KeysRequest, request.body)
            state = await asyncio.to_thread(self._store.load, sender.key.node_id)
            if state is None:
                raise refusals.Refused(Code.UNAVAILABLE, "node_without_state")
            if state.suspended_at is not None:
                raise refusals.Refused(Code.SUSPENDED, "node_suspended")
            if not would_take(state, message.ticket):
                raise refusals.Refused(Code.TICKET_CONFLICT, "void_ticket_at_rotation")
            answer = await asyncio.to_thread(
                node_keys.rotate, self._database, self._sealer, sender.key.key_id, message, self._clock()
            )
        _log.info("key_rotated", key_id=answer.key_id, peer=request.peer)
        return self._nodes.answer(sender, answer)

    async def sync(self, request: SignedRequest, receive: Receive) -> Answer:
        """`POST /v1/sync`."""
        verified = await self._nodes.verify(request, veto=self._objection)
        message = verified.message
        await self._tell_of(verified, request.peer)
        with _on_behalf_of(verified.sender):
            stored = await asyncio.to_thread(
                ingest.store, self._database, verified.node_id, verified.key_id, message, self._clock()
            )
            wait = 0 if stored.news else message.wait
            found = await self._commands(verified, wait, receive)
        answer = messages.SyncAnswer(
            protocol=PROTOCOL_VERSION,
            ticket=verified.ticket,
            acked_through=stored.last_seq,
            server_time=self._clock(),
            commands=tuple(found),
        )
        return self._nodes.answer(verified.sender, answer)

    async def refuse(self, refused: refusals.Refused, request: SignedRequest | None) -> Answer:
        """The answer to what was refused; what the operator should see becomes an alert."""
        sender = refused.sender if isinstance(refused, Refused) else None
        peer = request.peer if request else None
        # A token has no node yet: what is to be told of its bearer, `enroll` has told.
        node_id = (sender.key.node_id or None) if sender else None
        alarming = refused.code in _ALARMING
        log = _log.warning if alarming else _log.info
        log("refused", code=refused.code, reason=refused.reason, node_id=node_id, peer=peer)
        if sender is not None and node_id is not None and alarming:
            decision = refused.decision if isinstance(refused, Refused) else None
            evidence = _evidence(sender, peer, decision.verdict if decision else None)
            if decision is not None:
                evidence["suspends"] = decision.suspends
            await self._alert(node_id, refused.code, refused.reason, evidence)
            await self._watch.call(node_id)
        answer = self._nodes.refuse(refused)
        if refused.code is Code.UNAVAILABLE:
            answer.headers.append(("retry-after", "5"))
        return answer

    async def _commands(self, verified: Verified, seconds: float, receive: Receive) -> list[messages.Command]:
        """What the node is to do; waits for it so long, but not for a node that has gone away, or on.

        Raises Refused for a request that is not its node's latest any more, and http_io.Disconnected.
        """
        node_id = verified.node_id
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        gone = asyncio.create_task(http_io.gone(receive))
        try:
            with self._watch.entered(node_id) as woken:
                while True:
                    woken.clear()
                    found = await asyncio.to_thread(commands.fetch, self._database, node_id, self._clock())
                    left = until - loop.time()
                    if found or left <= 0 or self._watch.closed:
                        return found
                    waking = asyncio.create_task(woken.wait())
                    await asyncio.wait((waking, gone), timeout=left, return_when=asyncio.FIRST_COMPLETED)
                    waking.cancel()
                    if gone.done():
                        raise http_io.Disconnected
                    await asyncio.to_thread(self._not_overtaken, verified)
        finally:
            gone.cancel()

    async def _tell_of(self, verified: Verified, peer: str | None) -> None:
        """Keeps for the operator what is odd about a sync that was accepted."""
        verdict = verified.verdict
        told = (_TOLD_OF_PLACE.get(verdict.place), _TOLD_OF_CONTINUITY.get(verdict.continuity))
        for code, reason in filter(None, told):
            evidence = _evidence(verified.sender, peer, verdict) | {"accepted_now": _sighting(verified.message)}
            await self._alert(verified.node_id, code, reason, evidence, each_time=code in _BY_THE_OPERATOR_S_WORD)

    async def _alert(
        self, node_id: str, code: str, reason: str, evidence: Mapping[str, Any], *, each_time: bool = False
    ) -> None:
        """Keeps something for the operator to see; what cannot be kept is said in the log at least."""
        try:
            await asyncio.to_thread(
                registry.raise_alert,
                self._database,
                node_id,
                self._clock(),
                code=code,
                reason=reason,
                evidence=evidence,
                each_time=each_time,
            )
        except SQLAlchemyError as error:
            _log.error("alert_not_kept", node_id=node_id, code=code, error=type(error).__name__)

    def _not_overtaken(self, verified: Verified) -> None:
        """Whether a request that was held is still its node's latest: else it brings nothing. Raises Refused."""
        with self._database.reading() as connection:
            revoked_at = registry.require(connection, verified.node_id).revoked_at
        state = self._store.load(verified.node_id)
        if revoked_at is not None:
            raise refusals.Refused(Code.REVOKED, "revoked_while_held")
        if state is None:
            raise refusals.Refused(Code.UNAVAILABLE, "node_without_state")
        if state.suspended_at is not None:
            raise refusals.Refused(Code.SUSPENDED, "suspended_while_held")
        if state.issued != verified.ticket:
            raise refusals.Refused(Code.SUPERSEDED, "overtaken_while_held")

    async def _objection(self, node_id: str, message: SyncRequest) -> refusals.Refused | None:
        if message.fingerprint.salt_id != self._salt.salt_id:
            errors = [{"at": "fingerprint.salt_id", "error": "not this server's salt: ask for /v1/enroll/salt"}]
            return refusals.Refused(Code.INVALID_PAYLOAD, "foreign_salt", extra={"errors": errors})
        if not message.events:
            return None
        try:
            return await asyncio.to_thread(ingest.objection, self._database, node_id, message)
        except SQLAlchemyError as error:
            return _unavailable(error)

    async def _find_node_key(self, key_id: str) -> NodeKey | None:
        with _key_source():
            return await asyncio.to_thread(node_keys.find, self._database, self._sealer, key_id, self._clock())

    async def _find_token(self, key_id: str) -> NodeKey | None:
        with _key_source():
            return await asyncio.to_thread(enrolment.find_token, self._database, self._sealer, key_id)


@contextmanager
def _on_behalf_of(sender: Authenticated) -> Iterator[None]:
    """Lets what is refused from here on be signed for the sender."""
    try:
        yield
    except refusals.Refused as refused:
        raise Refused(refused, sender) from refused
    except (SQLAlchemyError, StoreUnavailable, SealBroken) as error:
        raise Refused(_unavailable(error), sender) from error


@contextmanager
def _key_source() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, SealBroken) as error:
        raise StoreUnavailable(type(error).__name__) from error


def _unavailable(error: Exception) -> refusals.Refused:
    return refusals.Refused(Code.UNAVAILABLE, f"database: {type(error).__name__}")


def _observe(observation: Observation) -> None:
    # Those that are refused, `Channel.refuse` logs, with the ones that the verifier has let through.
    if observation.outcome == "accepted":
        _log.debug("accepted", **observation.facts())


def _sighting(message: SyncRequest) -> dict[str, Any]:
    return {"session": message.session, "request": message.request, "fingerprint": message.fingerprint.digest}


def _evidence(sender: Authenticated, peer: str | None, verdict: Verdict | None) -> dict[str, Any]:
    evidence: dict[str, Any] = {"key_id": sender.key.key_id, "address": peer}
    if verdict is None:
        return evidence
    found = {
        "continuity": verdict.continuity,
        "place": verdict.place,
        "score": round(verdict.score, 3),
        "cause": verdict.cause,
    }
    return {**evidence, **found, **verdict.evidence}
