"""Runs beside a container, in its network: who listens there, and which of the addresses it is given can be reached.

`python probe.py HOST:PORT...` prints JSON. A name that is this very machine is nobody else, and is left out.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SECONDS = 2.0
# in /proc/net: the state of a socket that waits for others
WAITING = {"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"}


def reached(place: str) -> str | None:
    """The address at which somebody took the connection, if anybody did."""
    host, _, port = place.rpartition(":")
    try:
        address = socket.gethostbyname(host)
        if ipaddress.ip_address(address).is_loopback:
            return None
        with socket.create_connection((address, int(port)), SECONDS):
            return address
    except OSError:
        return None


def listeners() -> list[str]:
    """`tcp 8099` for each port that is listened on for others than this machine itself."""
    found = set()
    for table, waiting in WAITING.items():
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            packed, port = local.split(":")
            words = [bytes.fromhex(packed[at : at + 8])[::-1] for at in range(0, len(packed), 8)]
            if state == waiting and not ipaddress.ip_address(b"".join(words)).is_loopback:
                found.add(f"{table[:3]} {int(port, 16)}")
    return sorted(found)


if __name__ == "__main__":
    places = sys.argv[1:]
    with ThreadPoolExecutor(64) as pool:
        answers = dict(zip(places, pool.map(reached, places), strict=True))
    print(json.dumps({"reached": answers, "listeners": listeners()}))
