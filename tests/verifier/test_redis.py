"""What Redis and Valkey may do to a store: lose all, fail over to a replica that is behind, stop answering, forget
scripts, run full, be a cluster. Nothing that was accepted is accepted again, and no honest node is suspended for it.
"""

from __future__ import annotations

import secrets
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from redis import Redis, RedisCluster

from node_protocol.refusals import Code
from node_protocol.signatures import nonce_from
from tests.services import RedisServer
from tests.support import until
from tests.verifier.nodes import AUTHORITY, FIRST_TICKET, HOME, NOW, Node, other_machine
from verifier import Refused, SignedRequest, Verifier, accept_next, enrolled
from verifier.stores import RedisStore, StoreUnavailable

KINDS = ("redis", "valkey")


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


class Deployment:
    """A server's verifiers on one store, and a node of it."""

    def __init__(self, store: RedisStore) -> None:
        self.store = store
        self.clock = Clock()
        self.node = Node()
        self.node.enrol(store)

    def restarted(self, store: RedisStore) -> None:
        """Other processes of the server, which remember nothing."""
        self.store = store

    def outcome(self, request: SignedRequest) -> str:
        node = self.node
        verifier = Verifier(keys={node.key_id: node.key}.get, store=self.store, authorities=[AUTHORITY], now=self.clock)
        try:
            node.ticket = verifier.verify(request).ticket
        except Refused as refused:
            return refused.code
        return "accepted"

    def signed(self) -> SignedRequest:
        return self.node.signed(created=self.clock.now)


@pytest.fixture
def servers() -> Iterator[Callable[..., RedisServer]]:
    """Makes servers, and takes them away after the test."""
    with ExitStack() as stack:

        def make(*arguments: str, **more: str) -> RedisServer:
            server = RedisServer(*arguments, **more)
            stack.callback(server.remove)
            return server

        yield make


def followed(kind: str, servers: Callable[..., RedisServer]) -> tuple[RedisServer, RedisServer]:
    """A primary and its replica."""
    options = ("--repl-diskless-sync-delay", "0")
    primary, replica = servers(kind, *options), servers(kind, *options)
    follows(replica, primary)
    return primary, replica


def follows(replica: RedisServer, primary: RedisServer) -> None:
    """Makes one the replica of the other, and waits until it has all."""
    replica.client.replicaof("127.0.0.1", primary.port)
    until(lambda: replica.client.info("replication").get("master_link_status") == "up" or None, "the replica")


def new(server: RedisServer) -> Deployment:
    store = RedisStore(server.client)
    store.start_new()
    return Deployment(store)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_accepted_is_not_accepted_again_when_redis_is_killed_in_mid_load_and_comes_back_empty(
    kind: str, servers: Callable[..., RedisServer]
) -> None:
    server = servers(kind)
    deployment = new(server)
    accepted: list[SignedRequest] = []
    enough, killed = threading.Event(), threading.Event()

    def load() -> None:
        while not killed.is_set():
            request = deployment.signed()
            if deployment.outcome(request) == "accepted":
                accepted.append(request)
            if len(accepted) >= 200:
                enough.set()

    worker = threading.Thread(target=load)
    worker.start()
    assert enough.wait(60)
    server.kill()
    killed.set()
    worker.join()
    server.start()

    # The same server process, and one that was started after the loss; with the node's state put back as it was saved.
    for each in (deployment.store, RedisStore(server.client)):
        deployment.restarted(each)
        deployment.store.save(deployment.node.node_id, accept_next(enrolled(FIRST_TICKET, HOME), NOW + 9999))
        for passed in (0, 60, 120, 121, 240):
            deployment.clock.now = NOW + passed
            outcomes = {deployment.outcome(request) for request in accepted[-200:]}
            assert outcomes <= {Code.UNAVAILABLE, Code.STALE}
        deployment.clock.now = NOW
    deployment.clock.now = NOW + 131
    assert deployment.outcome(deployment.signed()) == "accepted"


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_replica_did_not_get_before_it_was_promoted_is_not_accepted_again(
    kind: str, servers: Callable[..., RedisServer]
) -> None:
    primary, replica = followed(kind, servers)
    deployment = new(primary)
    first = deployment.signed()
    assert deployment.outcome(first) == "accepted"
    primary.client.wait(1, 10_000)
    stale = RedisStore(replica.client)
    replica.client.replicaof("NO", "ONE")  # behind from here on, and with the old reign's record in its data
    second = deployment.signed()
    assert deployment.outcome(second) == "accepted"
    primary.kill()

    deployment.restarted(stale)
    for passed in (0, 60, 120):
        deployment.clock.now = NOW + passed
        assert {deployment.outcome(each) for each in (first, second)} == {Code.UNAVAILABLE}
    # The ticket that the node holds is one that this replica never saw. It waits for an operator, and is not suspended.
    deployment.clock.now = NOW + 131
    assert deployment.outcome(deployment.signed()) == "unavailable"
    node_id = deployment.node.node_id
    state = stale.load(node_id)
    assert state is not None
    assert state.suspended_at is None
    stale.change(node_id, lambda state: accept_next(state, NOW + 3600))
    assert deployment.outcome(deployment.signed()) == "accepted"
    assert deployment.outcome(deployment.signed()) == "accepted"
    forged = Node(ticket="7." + "x" * 22, session="f" * 22).signed(created=NOW + 131)
    assert deployment.outcome(forged) == "ticket_conflict"


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_was_primary_before_is_not_trusted_when_it_becomes_primary_again(
    kind: str, servers: Callable[..., RedisServer]
) -> None:
    one, other = followed(kind, servers)
    deployment = new(one)
    assert deployment.outcome(deployment.signed()) == "accepted"
    one.client.wait(1, 10_000)
    other.client.replicaof("NO", "ONE")
    follows(one, other)
    one.client.replicaof("NO", "ONE")
    assert deployment.outcome(deployment.signed()) == "unavailable"


def test_a_redis_that_writes_every_command_to_the_disk_keeps_tickets_and_nonces_over_a_kill(
    servers: Callable[..., RedisServer],
) -> None:
    server = servers("redis", "--appendonly", "yes", "--appendfsync", "always")
    deployment = new(server)
    requests = [deployment.signed()]
    assert deployment.outcome(requests[0]) == "accepted"
    server.kill()
    server.start()
    assert deployment.outcome(deployment.signed()) == "unavailable"
    deployment.clock.now = NOW + 131
    assert deployment.outcome(deployment.signed()) == "accepted"


def test_a_new_deployment_says_so_or_waits_a_window(servers: Callable[..., RedisServer]) -> None:
    server = servers("redis")
    deployment = Deployment(RedisStore(server.client))
    assert deployment.outcome(deployment.signed()) == "unavailable"
    deployment.clock.now = NOW + 130
    assert deployment.outcome(deployment.signed()) == "unavailable"
    deployment.clock.now = NOW + 131
    assert deployment.outcome(deployment.signed()) == "accepted"
    deployment.restarted(RedisStore(server.client))
    assert deployment.outcome(deployment.signed()) == "accepted"


def test_a_window_runs_from_when_a_health_check_met_redis_and_not_from_the_first_message(
    servers: Callable[..., RedisServer],
) -> None:
    deployment = Deployment(RedisStore.from_url(servers("redis").url))
    deployment.store.ping(deployment.clock.now)
    deployment.clock.now += 131
    assert deployment.outcome(deployment.signed()) == "accepted"


@pytest.mark.parametrize("kind", KINDS)
def test_a_redis_that_does_not_answer_means_unavailable_and_the_next_request_is_good(
    kind: str, servers: Callable[..., RedisServer]
) -> None:
    server = servers(kind)
    deployment = new(server)
    assert deployment.outcome(deployment.signed()) == "accepted"
    deployment.store = hasty = RedisStore.from_url(server.url, timeout=0.2)
    server.signal(signal.SIGSTOP)
    assert deployment.outcome(deployment.signed()) == "unavailable"
    server.signal(signal.SIGCONT)
    assert deployment.outcome(deployment.signed()) == "accepted"
    hasty.close()


def test_scripts_that_redis_has_forgotten_are_given_again(servers: Callable[..., RedisServer]) -> None:
    server = servers("redis")
    deployment = new(server)
    assert deployment.outcome(deployment.signed()) == "accepted"
    server.client.script_flush()
    assert deployment.outcome(deployment.signed()) == "accepted"
    assert server.client.info("stats")["total_error_replies"] >= 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_redis_that_may_evict_is_not_used(kind: str, servers: Callable[..., RedisServer]) -> None:
    server = servers(kind, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    deployment = Deployment(RedisStore(server.client))
    with pytest.raises(StoreUnavailable, match="noeviction"):
        deployment.store.admit(Spent(deployment.node.key_id, nonce_from(bytes(16)), NOW), NOW)
    assert deployment.outcome(deployment.signed()) == "unavailable"


class Spent:
    """As much of a signature as a store asks for."""

    def __init__(self, key_id: str, nonce: str, created: int) -> None:
        self.key_id, self.nonce, self.created = key_id, nonce, created


@pytest.mark.parametrize("kind", KINDS)
def test_a_cluster_serves_every_node_from_the_shard_that_has_it(kind: str, servers: Callable[..., RedisServer]) -> None:
    shards = [servers(kind, "--cluster-enabled", "yes") for _ in range(3)]
    addresses = [f"127.0.0.1:{shard.port}" for shard in shards]
    made = subprocess.run(
        ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"], capture_output=True, timeout=60, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr
    for shard in shards:
        until(lambda shard=shard: shard.client.cluster("info")["cluster_state"] == "ok" or None, "the cluster")  # type: ignore[misc]
    client = RedisCluster(host="127.0.0.1", port=shards[0].port)
    store = RedisStore(client)
    store.start_new()
    nodes = [Node(node_id="n_" + secrets.token_hex(10).translate(str.maketrans("0189", "abcd"))) for _ in range(30)]
    keys = {node.key_id: node.key for node in nodes}
    verifier = Verifier(keys=keys.get, store=store, authorities=[AUTHORITY], now=lambda: NOW)
    for number, node in enumerate(nodes):
        node.machine = dict.fromkeys(HOME, f"{number:022}")
        node.enrol(store)
    for node in nodes * 2:
        request = node.signed()
        node.ticket = verifier.verify(request).ticket
        with pytest.raises(Refused) as refused:
            verifier.verify(request)
        assert refused.value.code is Code.REPLAYED
    assert all(shard.client.dbsize() > 0 for shard in shards)
    store.close()


@pytest.mark.parametrize("kind", KINDS)
def test_memory_of_a_node_that_speaks_every_second_stays_flat_over_ten_windows(
    kind: str, servers: Callable[..., RedisServer]
) -> None:
    """Ten seconds pass for Redis, too, after every ten: each key loses them from what it has left to live."""
    client = servers(kind).client
    store = RedisStore(client)
    store.start_new()
    used: list[int] = []
    for second in range(2400):
        nonce = Spent("n_a.1", nonce_from(second.to_bytes(16, "big")), NOW + second)
        assert store.admit(nonce, NOW + second).fresh
        if second % 10 == 9:
            for key in client.keys("*nonces*"):
                left = client.ttl(key)
                assert left > 0
                client.expire(key, left - 10)
            used.append(sum(client.memory_usage(key) or 0 for key in client.keys("*nonces*")))
    third = len(used) // 3
    assert max(used[2 * third :]) <= 1.02 * max(used[third : 2 * third])
    assert max(used) <= 540 * 25, "not more than 25 bytes for each nonce that is kept"


def test_a_state_that_cannot_be_read_means_unavailable(servers: Callable[..., RedisServer]) -> None:
    server = servers("redis")
    deployment = new(server)
    server.client.hset(f"trading-node:{{{deployment.node.node_id}}}:state", "state", "{")
    assert deployment.outcome(deployment.signed()) == "unavailable"
    deployment.node.enrol(deployment.store)
    assert deployment.outcome(deployment.signed()) == "accepted"


def test_a_client_that_decodes_answers_serves_as_well(servers: Callable[..., RedisServer]) -> None:
    server = servers("redis")
    deployment = new(server)
    deployment.store = decoding = RedisStore(Redis(port=server.port, decode_responses=True))
    assert deployment.outcome(deployment.signed()) == "accepted"
    deployment.node.machine = other_machine("machine_id", "storage", "boot", "disk", "cpu")
    assert deployment.outcome(deployment.signed()) == "accepted"
    decoding.close()
