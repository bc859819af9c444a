"""A store in Redis or Valkey, alone or as a cluster: one round trip for each message that continues as expected.

A node's keys share a hash tag, so one script sees its nonces and its state at once. It spends the nonce, and moves the
state where the sync is an ordinary one. What else a sync may be (a restart, another machine, a fork) is decided here by
`verifier.clones`, as for every store, and set by compare-and-set: a second round trip, for those alone.

What Redis may lose it loses without a word: a process that was killed comes back empty or without its last second, and
a replica is promoted without what had not reached it. So a message is judged only by a process that has been primary
for longer than a replay window: whatever that process does not know of is stale by then. The sign is its replication
id, which every process makes anew when it starts as a primary or becomes one (`reign`); when a verifier first saw it is
kept in Redis too, under that id, so that nobody inherits it. Until then the store is unavailable. (A primary makes a
new one for its first replica too, which cannot be told apart: replicas should be there before nodes are.) A node whose
ticket is not known, and whose state no request has touched since the take-over, is not suspended either: that ticket
may be what was lost. It is refused as `unavailable` until an operator accepts its next ticket.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from typing import Any, Final, NamedTuple

from redis import Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from node_protocol import REPLAY_WINDOW
from verifier import node_state
from verifier.clones import Decision
from verifier.node_state import NodeState
from verifier.stores.base import CLOCKS_APART, NEW, SPENT, Admission, Nonce, Step, StoreUnavailable

_PERIOD: Final = 2 * REPLAY_WINDOW
"""Seconds for which a message can be fresh after it came: it may have been signed a window ahead."""
_SETTLED_AFTER: Final = REPLAY_WINDOW + 10
"""Seconds after the beginning of a reign from which on messages may have been signed that it takes."""
_MOST_TRIES: Final = 20
_FIELDS: Final = (
    "version",
    "reign",
    "state",
    "issued",
    "shown",
    "session",
    "request",
    "digest",
    "created",
    "at",
    "peer",
)


class _Script(NamedTuple):
    """A Lua script and the name that Redis keeps it under."""

    text: str
    sha: str

    @classmethod
    def of(cls, name: str) -> _Script:
        """The script in a file beside this one."""
        text = resources.files("verifier.stores").joinpath(name).read_text(encoding="utf-8")
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


_ADMIT: Final = _Script.of("redis_admit.lua")
_MOVE: Final = _Script.of("redis_move.lua")


class _Stored(NamedTuple):
    """A node's state as Redis has it: the one that was set, and what ordinary syncs have moved since."""

    version: str
    reign: str
    state: NodeState

    @classmethod
    def of(cls, node_id: str, values: Sequence[str]) -> _Stored:
        """The state that these fields hold. Raises StoreUnavailable for what cannot be read."""
        version, reign, text, issued, shown, _, request, _, created, at, peer = values[: len(_FIELDS)]
        try:
            state = node_state.from_json(json.loads(text))
            if (last := state.last) is not None:
                last = last._replace(
                    request=int(request), ticket=shown, created=int(created), at=int(at), peer=peer or None
                )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreUnavailable(f"the stored state of {node_id} cannot be read") from error
        return cls(version, reign, state._replace(issued=issued, shown=shown or None, last=last))


class RedisStore:
    """Nonces and node states in a Redis of 6.2 or newer, a Valkey, or a cluster of them.

    `client` should have a time-out and not retry; `from_url` makes such a one. `prefix` stands before every key. Redis
    must not evict (`maxmemory-policy noeviction`). With `appendfsync always` its states outlive it; without, tickets
    can be lost, and with them nodes wait for an operator.
    """

    blocking = True

    def __init__(self, client: Redis | RedisCluster, *, prefix: str = "trading-node") -> None:
        self._client = client
        self._prefix = prefix
        self._reigns: dict[str, int] = {}

    @classmethod
    def from_url(cls, url: str, *, timeout: float = 2.0, prefix: str = "trading-node") -> RedisStore:
        """A store at `redis://…` or `rediss://…`; after `timeout` seconds Redis counts as away."""
        client = Redis.from_url(
            url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0)
        )
        return cls(client, prefix=prefix)

    def close(self) -> None:
        """Close the client's connections."""
        self._client.close()

    def start_new(self) -> None:
        """Say that nothing was accepted before, for a deployment's very first start: it need not wait a window.

        Never again after that: what was accepted within the last window could be accepted once more.
        """
        with _reachable():
            if isinstance(self._client, RedisCluster):
                found = self._client.info("replication", target_nodes=RedisCluster.PRIMARIES)
                primaries = [found] if "master_replid" in found else list(found.values())
            else:
                primaries = [self._client.info("replication")]
            for each in primaries:
                self._client.hsetnx(self._reigns_key, each["master_replid"], 0)

    def ping(self, now: int | None = None) -> None:
        """Whether Redis is there. Raises StoreUnavailable.

        With the server's time in Unix seconds it is noted too that this process was primary then: its replay window
        runs from there, and not from the first message.
        """
        with _reachable():
            if now is None or isinstance(self._client, RedisCluster):
                self._client.ping()
                return
            reign = self._client.info("replication")["master_replid"]
            if reign not in self._reigns:
                memory = self._client.info("memory")
                self._learn(reign, memory["maxmemory_policy"] if memory["maxmemory"] else "noeviction", now)

    def admit(self, nonce: Nonce, now: int, step: Step | None = None) -> Admission:
        with _reachable():
            reply = self._admitted(nonce, now, step)
            if reply[0] == "spent":
                return SPENT
            if step is None or reply[0] == "new":
                return NEW
            reign, stored = reply[1], _Stored.of(step.node_id, reply[2:])
            decision = step(stored.state)
            if reply[0] == "moved":
                return Admission(True, _as_moved(decision, step))
            for _ in range(_MOST_TRIES):
                if decision.suspends and stored.reign != reign:
                    raise StoreUnavailable(f"the last move of {step.node_id} may be lost: accept its next ticket")
                if decision.state is stored.state or self._set(step.node_id, stored, decision.state):
                    return Admission(True, decision)
                again = self._read(step.node_id)
                if again is None:
                    return NEW
                stored = again
                decision = step(stored.state)
        raise StoreUnavailable(f"too many requests for {step.node_id} at once")

    def load(self, node_id: str) -> NodeState | None:
        with _reachable():
            stored = self._read(node_id)
        return stored.state if stored else None

    def save(self, node_id: str, state: NodeState) -> None:
        with _reachable():
            self._set(node_id, None, state)

    def change(self, node_id: str, change: Callable[[NodeState], NodeState]) -> NodeState | None:
        with _reachable():
            for _ in range(_MOST_TRIES):
                stored = self._read(node_id)
                if stored is None:
                    return None
                changed = change(stored.state)
                if self._set(node_id, stored, changed):
                    return changed
        raise StoreUnavailable(f"too many requests for {node_id} at once")

    def forget(self, node_id: str) -> None:
        with _reachable():
            stored = self._read(node_id)
            if stored is not None:
                self._client.delete(self._state_key(node_id))
                self._unmark(node_id, _marks(stored.state))

    def on_machine(self, components: Mapping[str, str]) -> dict[str, NodeState]:
        found = {}
        with _reachable():
            for mark in _marks_of(components):
                for member in self._client.smembers(self._mark_key(mark)):
                    node_id = _text(member)
                    stored = self._read(node_id)
                    if stored is not None:
                        found[node_id] = stored.state
        return found

    def _admitted(self, nonce: Nonce, now: int, step: Step | None) -> list[str]:
        """What the script says, once it was asked in a reign that may judge this message."""
        tag = _owner(nonce.key_id)
        period = now // _PERIOD
        keys = [self._state_key(step.node_id if step else tag)]
        keys += [self._key(tag, f"nonces:{number}") for number in (period - 1, period, period + 1)]
        keys.append(self._key(tag, "ahead"))
        for _ in range(2):
            trusted = " ".join(reign for reign, since in self._reigns.items() if nonce.created > since + _SETTLED_AFTER)
            reply = self._run(_ADMIT, keys, [f" {trusted} ", *_nonce_facts(nonce, now), *_sync_facts(step)])
            if reply[0] != "reign":
                return reply
            self._learn(reply[1], reply[2], now)
            if not nonce.created > self._reigns[reply[1]] + _SETTLED_AFTER:
                break
        raise StoreUnavailable("this Redis has not been primary for a replay window yet")

    def _learn(self, reign: str, eviction: str, now: int) -> None:
        """Since when the verifiers know this reign."""
        if eviction != "noeviction":
            raise StoreUnavailable(f"redis may drop nonces: set maxmemory-policy to noeviction, not {eviction}")
        if reign not in self._reigns:
            self._client.hsetnx(self._reigns_key, reign, now)
            since = self._client.hget(self._reigns_key, reign)
            self._reigns[reign] = now if since is None else int(since)

    def _read(self, node_id: str) -> _Stored | None:
        values = [_text(value) for value in self._client.hmget(self._state_key(node_id), _FIELDS)]
        return _Stored.of(node_id, values) if values[0] else None

    def _set(self, node_id: str, before: _Stored | None, after: NodeState) -> bool:
        """Compare and set, or set over whatever is there. The index is widened before, and narrowed after."""
        old, new = _marks(before.state) if before else set(), _marks(after)
        for mark in new - old:
            self._client.sadd(self._mark_key(mark), node_id)
        version = before.version if before else "any"
        done = self._run(_MOVE, [self._state_key(node_id)], [version, *_fields(after)]) == ["1"]
        if done:
            self._unmark(node_id, old - new)
        return done

    def _unmark(self, node_id: str, marks: set[str]) -> None:
        for mark in marks:
            self._client.srem(self._mark_key(mark), node_id)

    def _run(self, script: _Script, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> list[str]:
        try:
            reply = self._client.evalsha(script.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            reply = self._client.eval(script.text, len(keys), *keys, *arguments)
        return [_text(value) for value in (reply if isinstance(reply, list) else [reply])]

    def _key(self, tag: str, name: str) -> str:
        return f"{self._prefix}:{{{tag}}}:{name}"

    def _state_key(self, node_id: str) -> str:
        return self._key(node_id, "state")

    def _mark_key(self, mark: str) -> str:
        return f"{self._prefix}:machine:{mark}"

    @property
    def _reigns_key(self) -> str:
        return f"{self._prefix}:reigns"


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise StoreUnavailable(f"redis did not answer as it must: {type(error).__name__}") from error


def _owner(key_id: str) -> str:
    """What a key's nonces are kept under: all versions of a node's key together, a token's alone."""
    return key_id.rpartition(".")[0] if key_id.startswith("n_") else key_id


def _nonce_facts(nonce: Nonce, now: int) -> tuple[bytes, int, str]:
    """The nonce under its key's version, how long it is to be kept, and whether that is beyond the usual."""
    name = nonce.key_id.rpartition(".")[2].encode() + b":" + urlsafe_b64decode(nonce.nonce + "==")
    fresh_for = nonce.created + REPLAY_WINDOW - now
    longer = fresh_for > _PERIOD
    return name, max(fresh_for, _PERIOD) + CLOCKS_APART, "longer" if longer else ""


def _sync_facts(step: Step | None) -> tuple[str | int, ...]:
    if step is None:
        return ()
    message = step.message
    return (
        "move" if step.veto is None else "look",
        message.session,
        message.request,
        message.ticket,
        message.fingerprint.digest,
        step.created,
        step.ticket_random,
        step.now,
        step.peer or "",
    )


def _fields(state: NodeState) -> list[str | int]:
    """A state as the fields and values that the scripts know."""
    last = state.last
    plain = last is not None and state.suspended_at is None and state.drifting == 0 and state.accept_until is None
    values: dict[str, str | int] = {
        "state": json.dumps(node_state.to_json(state), separators=(",", ":")),
        "issued": state.issued,
        "shown": state.shown or "",
        "session": last.session if last else "",
        "request": last.request if last else "",
        "digest": last.digest if last else "",
        "created": last.created if last else "",
        "at": last.at if last else "",
        "peer": (last.peer or "") if last else "",
        "plain": 1 if plain else 0,
    }
    return [each for pair in values.items() for each in pair]


def _as_moved(decision: Decision, step: Step) -> Decision:
    """What the script has moved already, as it was decided here."""
    if decision.refusal is not None or not decision.state.issued.endswith(step.ticket_random):
        raise StoreUnavailable(f"redis moved the state of {step.node_id} against the rules")
    return decision


def _marks(state: NodeState) -> set[str]:
    return _marks_of(state.machine.components)


def _marks_of(components: Mapping[str, str]) -> set[str]:
    """What two nodes on one machine have in common."""
    return {f"{name}:{components[name]}" for name in ("machine_id", "boot") if name in components}


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    return "" if value is None else str(value)
