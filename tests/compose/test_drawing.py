"""Who can connect to whom: what is drawn in build/compose.yaml, and nothing else."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.compose.drawing import DRAWN, edges, inner_networks, listeners, nothing_leaves_for, probed, reached
from tests.compose.site import BASE, Site
from tests.image.engine import Container, docker
from tests.support import until

pytestmark = pytest.mark.timeout(1800)

INSIDE = ("control-plane-1", "control-plane-2", "postgres", "redis")
LISTEN = """
import socket, sys
with socket.create_server(("0.0.0.0", 0)) as server:
    print(server.getsockname()[1], flush=True)
    while True:
        server.accept()[0].close()
"""


@pytest.fixture
def outside(images: None) -> Iterator[tuple[set[str], str]]:
    """Two listeners of the test's own, outside of any site: on the host, and in an ordinary network; with its name."""
    network = f"trading-node-test-{uuid.uuid4().hex[:8]}"
    docker("network", "create", network)
    try:
        with (
            Container(BASE, ["python", "-c", LISTEN], ["--network", "host"]) as on_host,
            Container(BASE, ["python", "-c", LISTEN], ["--network", network]) as in_network,
        ):
            places = set()
            for container in (on_host, in_network):
                container.start()
            address = in_network.facts()["NetworkSettings"]["Networks"][network]["IPAddress"]
            places.add(f"{address}:{_port_of(in_network)}")
            places |= {f"{gateway}:{_port_of(on_host)}" for gateway in gateways(network)}
            yield places, network
    finally:
        docker("network", "rm", network)


def _port_of(container: Container) -> int:
    return int(until(lambda: container.log().strip() or None, "a listener's port"))


def gateways(*networks: str) -> set[str]:
    """The addresses that the host has, or would have, on networks of the engine."""
    found = json.loads(docker("network", "inspect", *networks))
    return {part["Gateway"] for network in found for part in network["IPAM"]["Config"]}


def test_everybody_reaches_whom_they_are_drawn_to_reach_and_nobody_else(site: Site) -> None:
    assert edges(site) == DRAWN


def test_nobody_listens_for_whom_nobody_is_drawn(site: Site) -> None:
    assert listeners(site) == {
        "caddy": ["tcp 443", "tcp 80"],
        "control-plane-1": ["tcp 8099"],
        "control-plane-2": ["tcp 8099"],
        "node": [],
        "postgres": ["tcp 5432"],
        "redis": ["tcp 6379"],
    }


def test_the_world_has_two_ports_of_the_site_and_those_on_this_machine_alone(site: Site) -> None:
    published = {
        (service, port, at["HostIp"], int(at["HostPort"]))
        for service, name in site.containers().items()
        for port, places in site.facts(name)["NetworkSettings"]["Ports"].items()
        for at in places or ()
    }
    assert published == {
        ("caddy", "443/tcp", "127.0.0.1", site.https_port),
        ("caddy", "80/tcp", "127.0.0.1", site.http_port),
    }


def test_from_the_inner_networks_nothing_outside_is_reached_not_even_the_host(
    site: Site, outside: tuple[set[str], str]
) -> None:
    places, network = outside
    [on_host] = {place for place in places if place.rpartition(":")[0] in gateways(network)}
    own = {name for each in site.containers().values() for name in site.facts(each)["NetworkSettings"]["Networks"]}
    everywhere = places | {f"{gateway}:{on_host.rpartition(':')[2]}" for gateway in gateways("bridge", *own)}
    containers = site.containers()
    with nothing_leaves_for(inner_networks(site)):
        found = [reached(f"container:{containers[service]}", everywhere) for service in INSIDE]
    # the control: from an ordinary network both listeners are reached, and from a node's own the host is
    assert reached(network, places) == places
    assert on_host in reached(f"container:{containers['node']}", places)
    assert found == [set()] * len(INSIDE)


def test_a_database_on_a_wrong_network_is_found_out(new_site: Callable[..., Site], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("services: { postgres: { networks: [sql, web-1] } }\n")
    site = new_site()
    site.up("secrets")
    site.compose("--file", wrong, "up", "--detach", "--no-build", "--wait", "control-plane-1")
    assert edges(site) - DRAWN == {("postgres", "control-plane-1", 8099)}


def test_a_probe_names_what_it_reaches_and_what_listens_there(images: None, outside: tuple[set[str], str]) -> None:
    places, network = outside
    shut = {place.rpartition(":")[0] + ":1" for place in places}
    found = probed(network, {"localhost:1"} | shut | places)
    assert {place for place, address in found["reached"].items() if address} == places
    assert found["listeners"] == []
