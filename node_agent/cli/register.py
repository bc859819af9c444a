"""`node-agent register`: enrol the node with a server."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from node_agent import fingerprint
from node_agent.cli import options
from node_agent.cli.errors import CliError, Exit
from node_agent.client import AddressError, Clock, LineFault, ServerAddress, ServerRefused, SignedClient
from node_agent.config import VAULT_FILE, Config, ConfigError, load, server_trust, vault_key
from node_agent.enrol import Applicant
from node_agent.enrol import register as enrol
from node_agent.journal import JOURNAL_FILE, Journal, JournalError, Registration
from node_agent.lock import DirectoryLock, LockError
from node_agent.vault import Vault, VaultError
from node_protocol.handshake import Token, parse_token
from node_protocol.refusals import Code, Malformed

_ASK_OPERATOR: Final = (
    "ask the server's operator for a new token: one serves once, and for an hour unless made otherwise"
)
_HINTS: Final[Mapping[str, str]] = {
    Code.REVOKED: _ASK_OPERATOR,
    Code.FINGERPRINT_DUPLICATE: (
        "does it stand in for a node that was here before? ask the operator for a token made with `token create "
        "--replaces`; is it one more? for `serve --max-nodes-per-machine`"
    ),
    Code.RATE_LIMITED: "try again in a while, with the same token",
    Code.UNAVAILABLE: "try again in a while, with the same token",
}


@click.command(
    help="""Enrol the node with a server, by the one-time token that its operator made.

    Both sides come to a key that never crosses the wire. When it breaks off, do it again with the same token.
    """
)
@options.data_dir
@click.option("--server", required=True, help="The server's URL, https://…")
@click.option("--token", envvar="NODE_ENROLL_TOKEN", show_envvar=True, help="The enrolment token, nt_…")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file that holds the token: an option's value can be seen by others on this machine.",
)
@click.option("--insecure-loopback", is_flag=True, help="Take plain http, to a server on this machine alone.")
@click.option("--replaces", help="The suspended node that this one stands in for; its operator must have allowed it.")
@click.option("--replace", is_flag=True, help="Leave the server that this node is registered with now.")
@options.as_json
def register(
    data_dir: Path,
    server: str,
    token: str | None,
    token_file: Path | None,
    insecure_loopback: bool,
    replaces: str | None,
    replace: bool,
    as_json: bool,
) -> None:
    try:
        address = ServerAddress.parse(server, insecure_loopback=insecure_loopback)
        parsed = parse_token(_token(token, token_file))
        config = load(data_dir, os.environ)
        vault = Vault.open(data_dir / VAULT_FILE, vault_key(config, os.environ))
        with DirectoryLock(data_dir), Journal.open(data_dir / JOURNAL_FILE, create=False) as journal:
            known = journal.registration()
            if known is not None and not replace:
                raise CliError(
                    f"this node is registered already: {known.node_id} with {known.server}",
                    "to leave that server for another one, or for a new identity: add --replace",
                )
            made = asyncio.run(_enrol(data_dir, config, parsed, address, insecure_loopback, replaces, vault, journal))
    except (AddressError, ConfigError, VaultError) as error:
        raise CliError(error.message, *error.hints, exit_code=Exit.USAGE) from None
    except Malformed as error:
        raise CliError(str(error), _ASK_OPERATOR, exit_code=Exit.USAGE) from None
    except (JournalError, LockError) as error:
        raise CliError(error.message, *error.hints) from None
    except ServerRefused as error:
        raise _refused(error) from None
    except LineFault as error:
        raise _fault(error) from None
    if as_json:
        click.echo(json.dumps({"node_id": made.node_id, "key_id": made.key_id, "server": made.server}))
    else:
        click.echo(f"registered as {made.node_id} with {made.server}")
        click.echo(f"next: node-agent run --data-dir {data_dir}")


async def _enrol(
    data_dir: Path,
    config: Config,
    token: Token,
    address: ServerAddress,
    insecure_loopback: bool,
    replaces: str | None,
    vault: Vault,
    journal: Journal,
) -> Registration:
    clock = Clock(time.time)
    client = SignedClient(address, clock, trust=server_trust(config))
    applicant = Applicant(
        name=config.node.name,
        fingerprint=lambda salt: fingerprint.salted(fingerprint.collect(data_dir), salt),
        replaces=replaces,
    )
    try:
        return await enrol(
            applicant,
            token,
            address,
            insecure_loopback=insecure_loopback,
            client=client,
            vault=vault,
            journal=journal,
            clock=clock,
        )
    finally:
        await client.close()


def _token(token: str | None, token_file: Path | None) -> str:
    if token is not None and token_file is not None:
        raise CliError(
            "there are two tokens", "give --token (or NODE_ENROLL_TOKEN) or --token-file", exit_code=Exit.USAGE
        )
    if token_file is not None:
        try:
            return token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CliError(f"cannot read the token file {token_file}: {error}", exit_code=Exit.USAGE) from None
    if token is None:
        raise CliError("--token is missing", _ASK_OPERATOR, exit_code=Exit.USAGE)
    return token


def _refused(refused: ServerRefused) -> CliError:
    problem = refused.problem
    said = f"the server refused the enrolment: {problem.code}" + (f" ({problem.detail})" if problem.detail else "")
    hint = _HINTS.get(problem.code, "ask the server's operator")
    return CliError(said, hint, exit_code=Exit.REFUSED)


def _fault(fault: LineFault) -> CliError:
    if fault.status == 401:
        return CliError(
            "the server does not know this token, or is not reached by this name",
            "is the URL the one that the server goes by? its operator can add names with `serve --authority`",
            _ASK_OPERATOR,
            exit_code=Exit.REFUSED,
        )
    if fault.status is not None:
        return CliError(fault.message, "is this the right URL, and is the server up?", exit_code=Exit.UNREACHABLE)
    return CliError(
        f"cannot reach the server: {fault.message}",
        "is it up, and is the URL right? do it again, with the same token",
        exit_code=Exit.UNREACHABLE,
    )
