"""The drawing of who may connect to whom, and the same as it is found by trying everybody against everybody."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from tests.compose.site import BASE, Site
from tests.image.engine import docker

Edge = tuple[str, str, int]

DRAWN: Final[frozenset[Edge]] = frozenset(
    {
        ("caddy", "control-plane-1", 8099),
        ("caddy", "control-plane-2", 8099),
        ("control-plane-1", "postgres", 5432),
        ("control-plane-1", "redis", 6379),
        ("control-plane-2", "postgres", 5432),
        ("control-plane-2", "redis", 6379),
        ("node", "caddy", 443),
    }
)
_PROBE: Final = Path(__file__).with_name("probe.py").read_bytes()


def probed(network: str, places: Iterable[str] = ()) -> dict[str, Any]:
    """What probe.py says in a network, or in a container's own (`container:ID`)."""
    said = docker("run", "--rm", "--interactive", "--network", network, BASE, "python", "-", *places, data=_PROBE)
    found = json.loads(said)
    assert isinstance(found, dict)
    return found


def reached(network: str, places: Iterable[str]) -> set[str]:
    """Which of `host:port` take a connection from there."""
    return {place for place, address in probed(network, places)["reached"].items() if address is not None}


def listeners(site: Site) -> dict[str, list[str]]:
    """Who listens on what, for others than itself."""
    return {service: probed(f"container:{name}")["listeners"] for service, name in site.containers().items()}


def edges(site: Site) -> set[Edge]:
    """Who can connect to whom: by each name and address that the other has, on each port that anybody listens on."""
    containers = site.containers()
    ports = sorted({int(word.split()[1]) for words in listeners(site).values() for word in words})
    others = {service: _Known.by(site.facts(name)) for service, name in containers.items()}
    with nothing_leaves_for(inner_networks(site)), ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda source: _from(source, containers[source], others, ports), containers)
        return {edge for some in found for edge in some}


def inner_networks(site: Site) -> list[str]:
    """The subnets of the site's networks on which the host has no address."""
    names = {name for each in site.containers().values() for name in site.facts(each)["NetworkSettings"]["Networks"]}
    found = json.loads(docker("network", "inspect", *sorted(names)))
    return sorted(part["Subnet"] for network in found if network["Internal"] for part in network["IPAM"]["Config"])


@contextmanager
def nothing_leaves_for(subnets: Sequence[str]) -> Iterator[None]:
    """What is sent to these subnets from elsewhere ends on this machine, where root can say so.

    The host has no address on them, so a probe of them from an ordinary network would leave by the default route, and
    knock at whoever has such an address out there.
    """
    held = [("unreachable", subnet) for subnet in subnets if os.geteuid() == 0 and shutil.which("ip")]
    for route in held:
        subprocess.run(["ip", "route", "add", *route], check=True, timeout=10)
    try:
        yield
    finally:
        for route in held:
            subprocess.run(["ip", "route", "del", *route], check=False, timeout=10)


@dataclass(frozen=True, slots=True)
class _Known:
    """What a container is known as."""

    names: frozenset[str]
    nobodys: Mapping[str, str]
    """For each of its addresses one beside it that nobody has.

    What takes a connection to that one is no neighbour of it: it is a machine outside that takes every connection, and
    what it takes for the container's address says as little.
    """

    @classmethod
    def by(cls, facts: Mapping[str, Any]) -> _Known:
        networks = facts["NetworkSettings"]["Networks"].values()
        return cls(
            frozenset(alias for network in networks for alias in network["Aliases"] or ()),
            {
                network["IPAddress"]: str(ip_network(f"{network['IPAddress']}/{network['IPPrefixLen']}", False)[-2])
                for network in networks
            },
        )


def _from(source: str, container: str, others: Mapping[str, _Known], ports: list[int]) -> set[Edge]:
    tried = {
        f"{host}:{port}": (target, port)
        for target, known in others.items()
        if target != source
        for host in known.names | known.nobodys.keys()
        for port in ports
    }
    nobodys = {f"{address}:{ports[0]}" for known in others.values() for address in known.nobodys.values()}
    found = probed(f"container:{container}", nobodys | tried.keys())["reached"]
    return {
        (source, target, port)
        for place, (target, port) in tried.items()
        if (nobodys_beside := others[target].nobodys.get(found[place])) and not found[f"{nobodys_beside}:{ports[0]}"]
    }
