"""Whose word counts on where a request comes from: that of the proxies which the operator names, and of no other.

Of what such a proxy says in `X-Forwarded-For` the last address counts, which it has put there itself; what stands
before it the client may have written.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from verifier.integrations.asgi_io import App, Receive, Scope, Send

Network: TypeAlias = IPv4Network | IPv6Network


def resolved(names: Iterable[str]) -> tuple[Network, ...]:
    """The networks of these: each an address, a network, or a host's name, looked up now. Raises OSError."""
    found: list[Network] = []
    for name in names:
        try:
            found.append(ip_network(name))
        except ValueError:
            answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            found.extend(ip_network(_address(str(answer[4][0]))) for answer in answers)
    return tuple(found)


class BehindProxies:
    """An application that is told where a request comes from by those of its peers who know."""

    def __init__(self, app: App, trusted: Sequence[Network]) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands the request on, with the peer that it has."""
        client = scope.get("client")
        if client and any(_address(client[0]) in network for network in self._trusted):
            lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
            try:
                told = _address(lines[-1].rpartition(b",")[2].strip(b" \t").decode("ascii"))
            except (IndexError, ValueError):
                pass  # then all that is known is the proxy
            else:
                scope = {**scope, "client": (str(told), 0)}
        await self._app(scope, receive, send)


def _address(text: str) -> IPv4Address | IPv6Address:
    """An address; one of IPv4 as that, in whatever form the socket has it. Raises ValueError."""
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address
