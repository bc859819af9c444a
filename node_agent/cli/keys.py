"""`node-agent keys`: exchange keys in the vault. They come by prompt, file or environment, never as an argument."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from pydantic import SecretStr

from node_agent import exchange_keys, redaction
from node_agent.cli import hand, options, words
from node_agent.cli.errors import CliError, Exit
from node_agent.config import CONFIG_FILE, VAULT_FILE, Config, load, vault_key
from node_agent.exchange_keys import Attestation, ExchangeKey
from node_agent.exchanges import catalogue
from node_agent.exchanges.port import ExchangeError, KeyRefused, RealExchange
from node_agent.exchanges.profile import KeyCheck, Opening, Profile
from node_agent.journal import JOURNAL_FILE, Journal
from node_agent.key_watch import CannotTell, KeyRejected, by_answer, by_word, examine, known
from node_agent.lock import DirectoryLock
from node_agent.vault import Vault
from node_protocol.encoding import format_time
from node_protocol.messages import format_decimal

_VARIABLE: Final = "NODE_EXCHANGE_"
_SECONDS: Final = 20.0
_LONGEST_FILE: Final = 1 << 16
_LONGEST_NAME: Final = 100

T = TypeVar("T")


class _ExchangeName(click.Choice[str]):
    """One of ours. What else was typed may be a key, and is not repeated."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices:
            self.fail(f"none of {', '.join(self.choices)}", param, ctx)
        return str(value)


_exchange = click.argument("exchange", type=_ExchangeName(catalogue.EXCHANGES), metavar="EXCHANGE")


@dataclass(frozen=True, slots=True)
class _Node:
    """What of a node these commands work with."""

    data_dir: Path
    config: Config
    vault: Vault


@click.group(
    help="""Exchange keys in the vault: trade-only ones. A key that can withdraw is refused.

    EXCHANGE is a name from `node-agent exchanges`. How to make a key that can only trade: docs/exchanges.md.
    """
)
def keys() -> None:
    pass


@keys.command(
    context_settings={"allow_extra_args": True},
    help="""Put a key into the vault, in place of the exchange's earlier one.

    \b
    node-agent keys add kraken                         asks for it, hidden
    node-agent keys add coinbase --file cdp_api_key.json
    NODE_EXCHANGE_KEY_FILE=/run/secrets/key … node-agent keys add binance --environment

    The exchange is asked what the key may do, before it is kept. Where it does not tell, add --attest with your name.
    """,
)
@click.pass_context
@options.data_dir
@_exchange
@click.option(
    "--file",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help='JSON with the parts of the key, such as "key" and "secret" (`node-agent exchanges` names them), or the'
    " exchange's own file.",
)
@click.option(
    "--environment",
    is_flag=True,
    help="Take the parts from NODE_EXCHANGE_KEY, NODE_EXCHANGE_SECRET and so on, or from files that …_FILE names.",
)
@click.option("--attest", metavar="YOUR NAME", help="You say that this key cannot take money out; kept with the time.")
@click.option("--i-hold-the-wallet", is_flag=True, help="You know that this key is custody of a wallet, and want that.")
def add(
    ctx: click.Context,
    data_dir: Path,
    exchange: str,
    file: Path | None,
    environment: bool,
    attest: str | None,
    i_hold_the_wallet: bool,
) -> None:
    if ctx.args:
        raise CliError(
            "a key is no argument: other users of the machine see those, and the shell keeps them",
            "leave it out to be asked for it, or give it by --file or --environment; revoke one that was typed here",
            exit_code=Exit.USAGE,
        )
    profile = catalogue.profile_of(exchange)
    attest = attest and attest.strip()
    _see_what_was_said(profile, attest, i_hold_the_wallet)
    with _opened(data_dir) as node:
        parts = _parts(profile, file, environment)
        redaction.hide(json.dumps(parts))  # it is tried at the exchange before the vault has it
        wrong = exchange_keys.flaw(profile, parts)
        if wrong is not None:
            names = ", ".join(f'{each.label} as "{each.name}"' for each in profile.credentials)
            raise CliError(
                f"this is no key for {profile.title}: {wrong}",
                f"its parts, as a file has them: {names}",
                exit_code=Exit.USAGE,
            )
        tidied = {each.name: SecretStr(each.tidy(parts[each.name])) for each in profile.credentials}
        now = datetime.now(UTC)
        by = attest if profile.key_check is KeyCheck.ATTESTED else _holder() if i_hold_the_wallet else None
        key = ExchangeKey(exchange, tidied, now, None if by is None else Attestation(by, now))
        advice: tuple[str, ...] = ()
        if profile.key_check is KeyCheck.ASKED:
            advice = _with_exchange(node, key, lambda account: examine(account, profile))
        exchange_keys.keep(node.vault, key)
        facts = by_word(key.attested) if key.attested is not None else by_answer(now, advice)
        _remember(node, exchange, known(key, profile, facts))
    click.echo(f"the key {key.digest} for {profile.title} is in the vault{_known(profile, key)}")
    for each in advice:
        click.echo(f"advice: {each}")
    if file is not None and file.is_file():
        seen = ", and others on this machine may read it" if file.stat().st_mode & 0o077 else ""
        click.echo(f"advice: {file} still holds the key{seen}: take it away")


@keys.command(
    "list",
    help="Show which keys are in the vault: by a short digest, which tells them apart and nothing about them.",
)
@options.data_dir
@options.as_json
def list_(data_dir: Path, as_json: bool) -> None:
    with hand.said():
        config = load(data_dir, os.environ)
        kept = exchange_keys.all_kept(Vault.open(data_dir / VAULT_FILE, vault_key(config, os.environ)))
    if as_json:
        click.echo(json.dumps([_facts(each) for each in kept], indent=2))
        return
    for key in kept:
        profile = catalogue.profile_of(key.exchange)
        click.echo(f"{key.exchange:<12}{key.digest}  added {format_time(key.added_at)}{_known(profile, key)}")
    if not kept:
        click.echo("no key is in the vault; put one there: node-agent keys add EXCHANGE")


@keys.command(help="Take a key out of the vault. The exchange knows it still: revoke it there too.")
@options.data_dir
@_exchange
def remove(data_dir: Path, exchange: str) -> None:
    with _opened(data_dir) as node:
        if exchange_keys.kept(node.vault, exchange) is None:
            raise CliError(f"no key for {exchange} is in the vault")
        exchange_keys.forget(node.vault, exchange)
        _remember(node, exchange, None)
        left = hand.left_by(data_dir) if node.config.exchange.name == exchange else None
    click.echo(f"the key for {exchange} is no more in the vault; revoke it at the exchange too")
    if left is not None and (left["orders"] or left["positions"]):
        click.echo(f"advice: {words.counted(left)} of this node's stay there: without a key it can close nothing")


@keys.command(
    help="""Ask the exchange what the kept key may do, and what is in the account. Nothing is ordered.

    Exit code 0: the node takes the key; 1: it does not; 4: the exchange does not say.
    """
)
@options.data_dir
@_exchange
@options.as_json
def test(data_dir: Path, exchange: str, as_json: bool) -> None:
    profile = catalogue.profile_of(exchange)
    with hand.said():
        config = load(data_dir, os.environ)
        vault = Vault.open(data_dir / VAULT_FILE, vault_key(config, os.environ))
        key = exchange_keys.kept(vault, exchange)
    if key is None:
        raise CliError(f"no key for {exchange} is in the vault", f"put one there: node-agent keys add {exchange}")

    untold = ""

    async def asked(account: RealExchange) -> tuple[tuple[str, ...], dict[str, str]]:
        nonlocal untold
        advice = await examine(account, profile) if profile.key_check is KeyCheck.ASKED else ()
        try:
            return advice, {name: format_decimal(total) for name, total in (await account.balances()).items()}
        except ExchangeError as error:
            if profile.key_check is not KeyCheck.ASKED or isinstance(error, KeyRefused):
                raise
            untold = str(error)  # of the key it has told, and that was the question
            return advice, {}

    advice, balances = _with_exchange(_Node(data_dir, config, vault), key, asked)
    if as_json:
        told = {"advice": list(advice), "balances": None if untold else balances}
        click.echo(json.dumps({**_facts(key), **told}, indent=2))
        return
    click.echo(f"{profile.title} takes the key {key.digest}{_known(profile, key)}")
    if untold:
        click.echo(f"what is in the account it does not tell: {untold}{_about_the_symbol(config, exchange)}")
    else:
        click.echo(f"in the account: {', '.join(f'{name} {total}' for name, total in balances.items()) or 'nothing'}")
    for each in advice:
        click.echo(f"advice: {each}")


@contextmanager
def _opened(data_dir: Path) -> Any:
    """The node's vault, to be changed: no node runs on it meanwhile, which would write it too."""
    with hand.said():
        config = load(data_dir, os.environ)
        with DirectoryLock(data_dir):
            yield _Node(data_dir, config, Vault.open(data_dir / VAULT_FILE, vault_key(config, os.environ)))


def _remember(node: _Node, exchange: str, facts: dict[str, Any] | None) -> None:
    """What `status` shows from now on: else it would go on with the key before this one."""
    with Journal.open(node.data_dir / JOURNAL_FILE, create=False) as journal:
        shown = journal.fact("exchange_key") or {}
        if exchange in (node.config.exchange.name, shown.get("exchange")):
            journal.put_fact("exchange_key", facts)


def _see_what_was_said(profile: Profile, attest: str | None, i_hold_the_wallet: bool) -> None:
    """Raises CliError where the owner has to say something that was not said, before anything is asked for."""
    if attest is not None and profile.key_check is not KeyCheck.ATTESTED:
        raise CliError(f"--attest changes nothing for {profile.title}: leave it out", exit_code=Exit.USAGE)
    if i_hold_the_wallet and profile.key_check is not KeyCheck.CUSTODY:
        raise CliError(f"a key for {profile.title} is no wallet: leave --i-hold-the-wallet out", exit_code=Exit.USAGE)
    if attest and not _is_name(attest):
        raise CliError(
            f"--attest takes your name: letters, at most {_LONGEST_NAME} characters in one line", exit_code=Exit.USAGE
        )
    match profile.key_check:
        case KeyCheck.ATTESTED if not attest:
            raise CliError(
                f"{profile.title} cannot be asked what a key may do",
                f"see for yourself that it cannot withdraw ({profile.switch_off}), and say so: --attest 'Your Name'",
                exit_code=Exit.USAGE,
            )
        case KeyCheck.CUSTODY if not i_hold_the_wallet:
            raise CliError(
                f"a key for {profile.title} signs for a wallet: whoever holds it can take all that is in the wallet",
                "make a wallet for this node alone, put in it no more than you can lose, and add --i-hold-the-wallet",
                exit_code=Exit.USAGE,
            )


def _is_name(text: str) -> bool:
    """Whether it can stand in a line that is shown, and is no option that slipped in."""
    return text.isprintable() and len(text) <= _LONGEST_NAME and text[0] != "-" and any(map(str.isalpha, text))


def _parts(profile: Profile, file: Path | None, environment: bool) -> dict[str, str]:
    """The parts of a key as they are given."""
    if file is not None and environment:
        raise CliError("--file and --environment cannot both be meant", exit_code=Exit.USAGE)
    if file is not None:
        return _from_file(profile, file)
    if environment:
        return _from_environment(profile, os.environ)
    if not sys.stdin.isatty():
        raise CliError("there is nobody to ask for the key", "give it by --file or --environment", exit_code=Exit.USAGE)
    return {each.name: _typed(f"{profile.title} {each.label}", hide=each.hidden) for each in profile.credentials}


def _typed(question: str, *, hide: bool) -> str:
    if not hide:
        return str(click.prompt(question))
    from node_agent.cli.typed import hidden  # noqa: PLC0415  (where there is no terminal there is no termios either)

    try:
        return hidden(question)
    except UnicodeDecodeError:
        raise CliError("what was typed is no text", exit_code=Exit.USAGE) from None


def _from_file(profile: Profile, path: Path) -> dict[str, str]:
    try:
        content = json.loads(_read(path).removeprefix("\ufeff"))
    except OSError as error:
        raise CliError(f"cannot read {path}: {error.strerror}", exit_code=Exit.USAGE) from None
    except (ValueError, RecursionError):
        content = None
    parts = {}
    for each in profile.credentials if isinstance(content, dict) else ():
        name = next((name for name in (each.name, *each.also) if name in content), each.name)
        if name in content:
            parts[each.name] = content[name]
    if not parts or not all(isinstance(each, str) for each in parts.values()):
        names = ", ".join(f'"{each.name}"' for each in profile.credentials)
        raise CliError(f"{path} is not JSON with the parts of a key: {names}", exit_code=Exit.USAGE)
    return parts


def _read(path: Path) -> str:
    """A file, or a pipe such as `<(pass show kraken)` is. Raises OSError or UnicodeDecodeError."""
    kind = path.stat().st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
        raise CliError(f"{path} is no file", exit_code=Exit.USAGE)
    with path.open("rb") as file:
        content = file.read(_LONGEST_FILE + 1)
    if len(content) > _LONGEST_FILE:
        raise CliError(f"{path} is too long to be a key", exit_code=Exit.USAGE)
    return content.decode()


def _from_environment(profile: Profile, environ: Mapping[str, str]) -> dict[str, str]:
    parts = {}
    for each in profile.credentials:
        variable = _VARIABLE + each.name.upper()
        path = environ.get(f"{variable}_FILE")
        if path:
            if each.form.fullmatch(each.tidy(path)):  # it would else be shown as the name of a file that is not there
                raise CliError(f"{variable}_FILE names no file: it holds the {each.label}", exit_code=Exit.USAGE)
            try:
                parts[each.name] = _read(Path(path)).removeprefix("\ufeff")
            except OSError as error:
                raise CliError(f"{variable}_FILE: cannot read {path}: {error.strerror}", exit_code=Exit.USAGE) from None
            except UnicodeDecodeError:
                raise CliError(f"{variable}_FILE: {path} is no text", exit_code=Exit.USAGE) from None
        elif variable in environ:
            parts[each.name] = environ[variable]
        else:
            raise CliError(f"neither {variable} nor {variable}_FILE is set", exit_code=Exit.USAGE)
    return parts


def _with_exchange(node: _Node, key: ExchangeKey, ask: Callable[[RealExchange], Awaitable[T]]) -> T:
    """Ask the exchange something with a key. Raises CliError."""
    try:
        return asyncio.run(_asked(node.config, key, ask))
    except KeyRejected as error:
        raise CliError(error.message, *error.hints) from None
    except KeyRefused as error:
        raise CliError(f"{key.exchange} does not take this key: {error}") from None
    except CannotTell as error:
        raise CliError(error.message, *error.hints, exit_code=Exit.UNREACHABLE) from None
    except (ExchangeError, TimeoutError) as error:
        said = (str(error) or f"no answer within {_SECONDS:.0f} s") + _about_the_symbol(node.config, key.exchange)
        raise CliError(f"{key.exchange} does not answer: {said}", exit_code=Exit.UNREACHABLE) from None
    except ValueError as error:
        raise CliError(f"cannot ask {key.exchange}: {error}", exit_code=Exit.USAGE) from None


async def _asked(config: Config, key: ExchangeKey, ask: Callable[[RealExchange], Awaitable[T]]) -> T:
    ours = config.exchange.name == key.exchange
    opening = Opening(
        credentials=key.parts,
        symbol=config.exchange.symbol if ours else catalogue.profile_of(key.exchange).example_symbol,
        interval=timedelta(minutes=1),
        recv_window=float(config.exchange.recv_window),
        url=config.exchange.url if ours else None,
    )
    account = catalogue.open_exchange(key.exchange, opening)
    try:
        async with asyncio.timeout(_SECONDS):
            return await ask(account)
    finally:
        await account.close()


def _about_the_symbol(config: Config, exchange: str) -> str:
    ours = config.exchange.name == exchange
    return f"; is symbol = {json.dumps(config.exchange.symbol)} in {CONFIG_FILE} right?" if ours else ""


def _holder() -> str:
    return "--i-hold-the-wallet"


def _known(profile: Profile, key: ExchangeKey) -> str:
    """How it is known that the key takes no money out, for the end of a line."""
    match profile.key_check:
        case KeyCheck.ASKED:
            return f"; {profile.title} is asked what it may do"
        case KeyCheck.ATTESTED if key.attested is not None:
            return f"; attested by {key.attested.by} at {format_time(key.attested.at)}"
        case KeyCheck.CUSTODY if key.attested is not None:
            return "; it is custody of its wallet"
    return "; nobody has said that it is harmless: it will not be used"


def _facts(key: ExchangeKey) -> dict[str, Any]:
    attested = key.attested
    return {
        "exchange": key.exchange,
        "digest": key.digest,
        "added_at": format_time(key.added_at),
        "check": catalogue.profile_of(key.exchange).key_check,
        "attested": None if attested is None else {"by": attested.by, "at": format_time(attested.at)},
    }
