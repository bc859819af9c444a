"""Enrolment: from a token to a node of one server, with nothing lost on the way.

The X25519 private key is in the vault before its public half is sent, and stays there until the node key that it led
to is there too: when the answer is lost, the same token and the same public key give the same node again.
"""

from __future__ import annotations

import platform
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, TypeVar

from node_agent.client import Clock, LineFault, ServerAddress, ServerRefused, SignedClient, SigningKey
from node_agent.journal import Journal, Registration
from node_agent.vault import Vault
from node_protocol import PROTOCOL_VERSION
from node_protocol.encoding import b64url_encode
from node_protocol.handshake import Token, derive_node_key, enroll_key_id, public_key
from node_protocol.messages import (
    Agent,
    EnrollAnswer,
    EnrollFingerprint,
    EnrollRequest,
    Message,
    SaltAnswer,
    encode,
    parse,
)
from node_protocol.refusals import Code, Refused
from node_protocol.signatures import TAG_ENROLL, MacKey
from node_protocol.version import __version__

_ENROLL_PATH: Final = "/v1/enroll"
_SALT_PATH: Final = "/v1/enroll/salt"

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Applicant:
    """Who wants to be enrolled."""

    name: str
    fingerprint: Callable[[bytes], Mapping[str, str]]
    """The machine's components under a server's salt."""
    replaces: str | None = None
    """The suspended node that this one is to stand in for."""


def node_key_name(key_id: str) -> str:
    """The vault's name for a version of the node key: the journal says which one is in use."""
    return f"node_key/{key_id}"


async def register(
    applicant: Applicant,
    token: Token,
    address: ServerAddress,
    *,
    insecure_loopback: bool,
    client: SignedClient,
    vault: Vault,
    journal: Journal,
    clock: Clock,
) -> Registration:
    """Enrol with a server, and write down all that follows from it. Doing it again after a crash ends it.

    Raises LineFault and ServerRefused; VaultError and JournalError.
    """
    salt = _read(SaltAnswer, await client.get(_SALT_PATH))
    pending = f"enroll_private/{token.token_id}"
    kept = vault.get(pending)
    private = kept.get_secret_value() if kept is not None else secrets.token_bytes(32)
    if kept is None:
        vault.put(pending, private)
    request = EnrollRequest(
        protocol=PROTOCOL_VERSION,
        name=applicant.name,
        public_key=public_key(private),
        agent=Agent(version=__version__, platform=_platform()),
        replaces=applicant.replaces,
        fingerprint=EnrollFingerprint(salt_id=salt.salt_id, components=dict(applicant.fingerprint(salt.salt))),
    )
    key = SigningKey(enroll_key_id(token.token_id), MacKey(token.secret), TAG_ENROLL)
    body = encode(request)
    try:
        answer_body = await client.post(_ENROLL_PATH, body, key)
    except ServerRefused as refused:
        if refused.problem.code != Code.STALE:
            raise
        answer_body = await client.post(_ENROLL_PATH, body, key)  # the refusal has told what time it is
    answer = _read(EnrollAnswer, answer_body)
    try:
        node_key = derive_node_key(
            private=private,
            peer_public=answer.public_key,
            salt=token.secret,
            key_id=answer.key_id,
            node_public=public_key(private),
            server_public=answer.public_key,
        )
    except Refused as error:
        raise LineFault(f"the server's public key is not usable: {error.reason}", HTTPStatus.OK) from None
    registration = Registration(
        server=address.url,
        authority=address.authority,
        insecure_loopback=insecure_loopback,
        node_id=answer.node_id,
        key_id=answer.key_id,
        salt_id=salt.salt_id,
        salt=b64url_encode(salt.salt),
        ticket=answer.ticket,
        registered_at=datetime.fromtimestamp(clock.now(), UTC),
    )
    vault.put(node_key_name(answer.key_id), node_key)
    journal.save_registration(registration)
    vault.remove(pending)
    return registration


def _read(model: type[M], body: bytes) -> M:
    """A message of the server's; one that is none is a fault of the line."""
    try:
        return parse(model, body)
    except Refused as error:
        raise LineFault(f"the server's answer cannot be read: {error.where}", HTTPStatus.OK) from None


def _platform() -> str:
    machines = {"x86_64": "amd64", "aarch64": "arm64"}
    return f"{platform.system().lower()}/{machines.get(platform.machine(), platform.machine())}"
