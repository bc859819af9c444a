"""The channel to the server: one sync in flight, what the node has to say one way, what it is to do the other.

With something to say, a sync asks for an answer at once; with nothing, it lets the server hold it, and is dropped for
a new one when something comes up. A server that brings nothing new is asked again after a pause. A ticket is in the
journal before anything in its answer is acted on; an event stays there until an answer acknowledges it. Without a
verified answer nothing changes, and the next try waits longer, up to a minute, by chance within that.

    signed refusal                              what the node does
    stale                                       it has learnt the time, and asks again
    replayed, superseded                        asks again, with a new nonce and a higher number
    event_gap                                   sends again from where the server's events end, or all that it has
    suspended, revoked, ticket_conflict, …      takes no new risk, says why, asks seldom, goes on when accepted
    event_conflict, invalid_payload             says so loudly, asks seldom
    rate_limited, unavailable                   waits

A rotation of the key whose answer is lost is asked for again, a few times.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

import structlog

from node_agent.client import Clock, LineFault, ServerRefused, SignedClient, SigningKey
from node_agent.core import events
from node_agent.enrol import node_key_name
from node_agent.journal import Journal, Registration
from node_agent.vault import Vault
from node_protocol import MAX_EVENTS, PROTOCOL_VERSION, fingerprints
from node_protocol.encoding import format_time
from node_protocol.handshake import derive_node_key, parse_key_id, public_key
from node_protocol.messages import (
    Event,
    Fingerprint,
    KeysAnswer,
    KeysRequest,
    SyncAnswer,
    SyncRequest,
    encode,
    parse,
)
from node_protocol.refusals import Code, Refused
from node_protocol.signatures import TAG_NODE, MacKey, nonce_from

_SYNC_PATH: Final = "/v1/sync"
_KEYS_PATH: Final = "/v1/keys"
_HOLD_SECONDS: Final = 20
_PACE_SECONDS: Final = 0.5
"""From one request that came to nothing to the next, where the server does not hold it."""
_ROTATION_TRIES: Final = 5
_LEAST_HOLD_SECONDS: Final = 0.3
"""A held request is not dropped earlier: the one after it could overtake it, and the server would see it as late."""
_FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 60.0
_FINGERPRINT_SECONDS: Final = 300
_LAST_TRIES: Final = 20

_ASK: Final = "ask its operator why, then enrol anew with a new token: `node-agent register --replace`"
_STOPPING: Final[Mapping[str, str]] = MappingProxyType(
    {
        Code.TICKET_CONFLICT: f"two seem to hold this node's state, and the server has suspended it; {_ASK}",
        Code.SUSPENDED: f"the server has suspended this node; {_ASK}",
        Code.REVOKED: f"the server takes this node's key no more; {_ASK}",
        Code.FINGERPRINT_MISMATCH: (
            "to the server this is another machine; if you have moved the node, ask its operator to approve that "
            "(`control-plane nodes approve-move`): it goes on by itself then"
        ),
        Code.FINGERPRINT_DUPLICATE: (
            "the server knows another node on this machine; ask its operator to allow more of them "
            "(`control-plane serve --max-nodes-per-machine`), or to let one take the other's place"
        ),
    }
)
"""Refusals after which the node takes no new risk, and what its owner can do."""
_AGAIN: Final = frozenset((Code.STALE, Code.REPLAYED, Code.SUPERSEDED, Code.EVENT_GAP))
_ROTATE_AGAIN: Final = _AGAIN | {Code.TICKET_CONFLICT, Code.RATE_LIMITED, Code.UNAVAILABLE}
"""A sync beside the rotation may have moved the ticket on; that suspends nobody there."""

_log = structlog.get_logger("uplink")


class NotRegistered(Exception):
    """The journal knows no server, or the vault has no key for it."""


class Uplink:
    """The sync channel of one process. `deliver` takes what the core is to know; `status` says how the node is.

    Raises NotRegistered. `jitter` gives a number from 0 to 1.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        vault: Vault,
        client: SignedClient,
        clock: Clock,
        fingerprint: Callable[[], Mapping[str, str]],
        status: Callable[[], Mapping[str, Any]],
        deliver: Callable[[events.CoreEvent], None],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        registration = journal.registration()
        if registration is None:
            raise NotRegistered("this node is not registered with a server")
        self._journal = journal
        self._vault = vault
        self._client = client
        self._clock = clock
        self._read_fingerprint = fingerprint
        self._status = status
        self._deliver = deliver
        self._jitter = jitter
        self._registration: Registration = registration
        self._key = self._load_key(registration.key_id)
        self._session = nonce_from(secrets.token_bytes(16))
        self._request = 0
        self._failures = 0
        self._most_events = MAX_EVENTS
        self._wake = asyncio.Event()
        self._rotating = asyncio.Lock()
        self._components: Mapping[str, str] = {}
        self._components_at = float("-inf")
        self._digest_known = ""

    def wake(self) -> None:
        """There is something to say."""
        self._wake.set()

    async def run(self) -> None:
        """Speak with the server until cancelled. Raises JournalError."""
        hold = 0
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            began = loop.time()
            try:
                if self._something_to_say():
                    hold = 0
                if not await self._droppable(hold):
                    await self._woken_by(began + _PACE_SECONDS)
            except LineFault as fault:
                self._line_fault(fault)
                await asyncio.sleep(self._delay())
            except ServerRefused as refused:
                await asyncio.sleep(self._refused(refused))
            else:
                hold = _HOLD_SECONDS

    async def close(self, final_sync: bool) -> None:
        """Say what is left, if that is wanted and the server takes it, and let go of the line."""
        try:
            if final_sync:
                for _ in range(_LAST_TRIES):
                    if not self._something_to_say():
                        break
                    await self._last_sync()
        except (LineFault, ServerRefused) as error:
            _log.warning("the last reports stay in the journal for the next start", reason=str(error))
        finally:
            await self._client.close()

    async def rotate_key(self) -> str | None:
        """Have the server and the node agree on the next key. Returns why that came to nothing; None when it did.

        An answer that is lost leaves the node under the old key; what it asks for then is the version after that. One
        rotation at a time: of two the answers could cross, and the newer key be lost.
        """
        async with self._rotating:
            failed: str | None = None
            for attempt in range(_ROTATION_TRIES):
                delay = _FIRST_DELAY * 2.0**attempt
                try:
                    return await self._rotate_once()
                except LineFault as fault:
                    failed = fault.message
                except ServerRefused as refused:
                    failed = str(refused)
                    delay = max(delay, refused.retry_after or 0)
                    if refused.problem.code not in _ROTATE_AGAIN or delay > _LONGEST_DELAY:
                        break
                if attempt + 1 < _ROTATION_TRIES:
                    await asyncio.sleep(delay)
            return failed

    async def _rotate_once(self) -> str | None:
        """As `rotate_key`, once. Raises LineFault and ServerRefused."""
        private = secrets.token_bytes(32)
        own_public = public_key(private)
        request = KeysRequest(protocol=PROTOCOL_VERSION, ticket=self._journal.ticket(), public_key=own_public)
        before = parse_key_id(self._registration.key_id)
        current = self._vault.get(node_key_name(str(before)))
        if current is None:
            return "the vault has no key to begin from"
        try:
            answer = parse(KeysAnswer, await self._client.post(_KEYS_PATH, encode(request), self._key))
            after = parse_key_id(answer.key_id)
            if after.node_id != before.node_id or after.version <= before.version:
                return "the server's answer cannot be used: key_id is not one of this node's next versions"
            key = derive_node_key(
                private=private,
                peer_public=answer.public_key,
                salt=current.get_secret_value(),
                key_id=answer.key_id,
                node_public=own_public,
                server_public=answer.public_key,
            )
        except Refused as error:
            return f"the server's answer cannot be used: {error.where}"
        self._vault.put(node_key_name(answer.key_id), key)
        self._journal.set_key_id(answer.key_id)
        self._key = self._load_key(answer.key_id)
        self._registration = self._journal.registration() or self._registration
        self._vault.remove(node_key_name(str(before)))
        return None

    async def _droppable(self, hold: int) -> bool:
        """One sync, and whether it brought something new. A held one is dropped when there is something to say."""
        if hold == 0:
            return await self._sync(0)
        sync = asyncio.create_task(self._sync(hold))
        woken = asyncio.create_task(self._woken())
        try:
            await asyncio.wait((sync, woken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            if not sync.done():
                sync.cancel()
            await asyncio.wait((sync, woken))
        return sync.cancelled() or sync.result()

    async def _woken(self) -> None:
        await asyncio.sleep(_LEAST_HOLD_SECONDS)
        await self._wake.wait()

    async def _woken_by(self, moment: float) -> None:
        """Wait until there is something to say, or until this moment of the loop's clock."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(moment):
                await self._wake.wait()

    async def _last_sync(self) -> None:
        try:
            await self._sync(0)
        except ServerRefused as refused:
            if refused.problem.code not in _AGAIN:
                raise
            self._refused(refused)

    async def _sync(self, hold: int) -> bool:
        """One sync. Returns whether it came to something: an event acknowledged, or a command not seen before."""
        self._journal.settle()
        pending = self._journal.pending_events(limit=self._most_events)
        done = self._journal.done_commands()
        self._request += 1
        fingerprint = self._fingerprint()
        request = SyncRequest(
            protocol=PROTOCOL_VERSION,
            session=self._session,
            request=self._request,
            ticket=self._journal.ticket(),
            fingerprint=fingerprint,
            status={**self._status(), "clock_offset": self._clock.offset},
            events=tuple(pending),
            done_commands=tuple(done),
            wait=hold,
        )
        body = await self._client.post(_SYNC_PATH, encode(request), self._key, wait=hold)
        try:
            answer = parse(SyncAnswer, body)
        except Refused as error:
            raise LineFault(f"a signed answer that cannot be read: {error.where}") from None
        self._digest_known = fingerprint.digest
        return await self._accepted(answer, pending, done)

    async def _accepted(self, answer: SyncAnswer, sent: list[Event], done: list[str]) -> bool:
        now = self._now()
        # Only what was sent can have been stored: a server that says more must not make the node forget its reports.
        acked_through = min(answer.acked_through, sent[-1].seq) if sent else 0
        commands = self._journal.record_answer(
            ticket=answer.ticket, acked_through=acked_through, commands=answer.commands, at=now
        )
        self._deliver(events.ServerSeen(self._own_now(), timedelta(seconds=self._clock.offset)))
        if commands:
            self._deliver(events.CommandsArrived(tuple(commands), self._own_now()))
            # What was commanded goes out before our own bookkeeping: once round for the loop to decide, once to send.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        if done:
            self._journal.commands_told(done)
        self._journal.put_facts({"last_sync_at": format_time(now), "clock_offset": self._clock.offset, "line": "ok"})
        if self._failures:
            _log.info("the server answers again", after_failures=self._failures)
        self._failures = 0
        self._most_events = MAX_EVENTS
        return bool(commands) or (bool(sent) and acked_through >= sent[0].seq)

    def _line_fault(self, fault: LineFault) -> None:
        self._failures += 1
        if fault.status == 413 or fault.late:  # too much for the server, or for the line
            self._most_events = max(1, self._most_events // 2)
        _log.warning("no verified answer", reason=fault.message, failures=self._failures)
        self._journal.put_fact("line", fault.message)

    def _refused(self, refused: ServerRefused) -> float:
        """Takes a signed refusal in; how many seconds to wait before the next sync."""
        code, detail = refused.problem.code, refused.problem.detail
        self._failures += 1
        said = {"detail": detail} if detail else {}
        hint = {"hint": _STOPPING[code]} if code in _STOPPING else {}
        _log.warning("refused by the server", code=code, **said, failures=self._failures, **hint)
        self._journal.put_fact("line", f"refused: {code}")
        if code in _STOPPING:
            self._deliver(events.Suspended(f"{code}: {detail or _STOPPING[code]}", self._own_now()))
            return _LONGEST_DELAY * (0.5 + self._jitter() / 2)
        if code == Code.EVENT_GAP:
            last_seq = refused.problem.members.get("last_seq")
            # A server that does not say it in this word gets all that is kept: what it has, it knows by its number.
            self._journal.rewind_acknowledged(last_seq if isinstance(last_seq, int) and last_seq >= 0 else 0)
        if code == Code.INVALID_PAYLOAD:
            self._digest_known = ""
            _log.error("the server cannot read this node", errors=refused.problem.members.get("errors"))
        if code == Code.EVENT_CONFLICT:
            _log.error("the server holds another event under a number of ours", problem=refused.problem.members)
        if refused.retry_after is not None:
            return max(refused.retry_after, _FIRST_DELAY)
        if code in _AGAIN and self._failures == 1:
            return 0
        return self._delay()

    def _delay(self) -> float:
        """Seconds until the next try: longer with each failure, by chance, so that nodes do not come all at once."""
        longest: float = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(self._failures, 10))
        return longest * (0.5 + self._jitter() / 2)

    def _something_to_say(self) -> bool:
        return bool(self._journal.pending_events(limit=1) or self._journal.done_commands(limit=1))

    def _fingerprint(self) -> Fingerprint:
        now = self._clock.now()
        if not now - self._components_at < _FINGERPRINT_SECONDS:
            self._components, self._components_at = self._read_fingerprint(), now
        digest = fingerprints.digest(self._components)
        components = None if digest == self._digest_known else dict(self._components)
        if components is None:
            return Fingerprint(salt_id=self._registration.salt_id, digest=digest)
        return Fingerprint(salt_id=self._registration.salt_id, digest=digest, components=components)

    def _load_key(self, key_id: str) -> SigningKey:
        secret = self._vault.get(node_key_name(key_id))
        if secret is None:
            raise NotRegistered(f"the vault has no key {key_id}")
        return SigningKey(key_id, MacKey(secret.get_secret_value()), TAG_NODE)

    def _now(self) -> datetime:
        """By the server's clock."""
        return datetime.fromtimestamp(self._clock.now(), UTC)

    def _own_now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.wall(), UTC)
