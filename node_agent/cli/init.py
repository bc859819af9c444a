"""`node-agent init`: a new node: its configuration, its owner's limits, its vault."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from node_agent.cli import options, templates
from node_agent.cli.errors import CliError, Exit
from node_agent.config import (
    CONFIG_FILE,
    POLICY_FILE,
    STRATEGIES,
    VAULT_FILE,
    ConfigError,
    load,
    load_policy,
    passphrase_from,
)
from node_agent.exchanges.catalogue import EXCHANGES, profile_of
from node_agent.exchanges.paper import candles as recording
from node_agent.exchanges.profile import Profile
from node_agent.journal import JOURNAL_FILE, Journal, JournalError
from node_agent.vault import Vault, VaultError, VaultKey

_FILES: Final = (CONFIG_FILE, POLICY_FILE, VAULT_FILE, JOURNAL_FILE)


@click.command(
    help="""Make a new node in a directory of its own: config.toml, policy.toml with the owner's limits, and the vault.

    Asks only for what is neither given by options nor by the environment.
    """
)
@options.data_dir
@click.option("--paper", is_flag=True, help="Trade recorded prices with play money.")
@click.option("--exchange", type=click.Choice(EXCHANGES), help="Trade on a real exchange; see `node-agent exchanges`.")
@click.option(
    "--candles",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="NODE_PAPER__CANDLES",
    show_envvar=True,
    help="Recorded prices: CSV, also .gz, with timestamp, open, high, low, close, volume.",
)
@click.option(
    "--candle-volume",
    type=click.Choice(("base", "quote")),
    default="base",
    show_default=True,
    help="The currency that the recording counts volume in.",
)
@click.option(
    "--vault-key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="NODE_VAULT__KEY_FILE",
    show_envvar=True,
    help="The file that holds the vault's key; made when it is not there. Else NODE_VAULT_PASSPHRASE_FILE is used.",
)
@click.option("--symbol", help="What to trade; BTC/USD, or what is usual on the exchange, unless given.")
@click.option("--strategy", type=click.Choice(STRATEGIES), default="ma_trend", show_default=True)
@click.option(
    "--notional", type=options.Money(), default="250", show_default=True, help="Size of the strategy's entries."
)
@click.option("--cash", type=options.Money(), default="10000", show_default=True, help="Play money at the start.")
@click.option("--name", help="How the server's operator sees the node; the machine's name unless given.")
@click.option("--non-interactive", is_flag=True, help="Ask nothing; what is missing is an error.")
def init(
    data_dir: Path,
    paper: bool,
    exchange: str | None,
    candles: Path | None,
    candle_volume: str,
    vault_key_file: Path | None,
    symbol: str | None,
    strategy: str,
    notional: str,
    cash: str,
    name: str | None,
    non_interactive: bool,
) -> None:
    asking = not non_interactive and sys.stdin.isatty()
    _see_where_it_trades(paper, exchange, asking)
    if exchange is None:
        candles = candles or _asked(asking, "Recorded prices (CSV or .csv.gz)", "--candles")
    else:
        _see_what_a_real_exchange_needs(profile_of(exchange), symbol)
        candles = None  # of the environment, where a paper node may have them
    symbol = symbol or ("BTC/USD" if exchange is None else profile_of(exchange).example_symbol)
    try:
        passphrase = passphrase_from(os.environ)
    except ConfigError as error:
        raise _usage(error.message, *error.hints) from None
    if vault_key_file is None and passphrase is None:
        vault_key_file = _asked(asking, "Where to keep the vault's key (a file elsewhere)", "--vault-key-file")
    if candles is not None and not candles.is_file():
        raise _usage(f"there is no file {candles}", "name the recorded prices with --candles")
    _see_that_it_is_empty(data_dir)
    values = {
        "name": _plain(name or socket.gethostname()),
        "mode": "paper" if exchange is None else "live",
        "exchange": exchange or "paper",
        "symbol": _plain(symbol),
        "of_exchange": _of_exchange(candles, candle_volume, cash),
        "strategy": strategy,
        "notional": notional,
        "vault": f'key_file = "{_plain(str(vault_key_file.resolve()))}"'
        if vault_key_file is not None
        else "# opened by the passphrase in the file that NODE_VAULT_PASSPHRASE_FILE names",
    }
    new_key_file = None if vault_key_file is None or vault_key_file.exists() else vault_key_file
    try:
        what = "nothing but what it is told to" if strategy == "none" else f"{strategy}, entries of {notional}"
        trades = f"{symbol} on {exchange} with real money, when it is run with --live: {what}"
        if candles is not None:
            trades = _recorded(candles, symbol, volume_in_quote=candle_volume == "quote")
        with _all_or_nothing(data_dir, new_key_file):
            _write(data_dir, values)
            made = _make_vault(
                data_dir, vault_key_file, None if passphrase is None else VaultKey.from_passphrase(passphrase)
            )
    except OSError as error:
        raise CliError(f"cannot write {error.filename or data_dir}: {error.strerror}") from None
    except JournalError as error:
        raise CliError(error.message, *error.hints) from None
    except (ConfigError, VaultError) as error:
        raise CliError(error.message, *error.hints, exit_code=Exit.USAGE) from None
    click.echo(f"made a node in {data_dir}: {CONFIG_FILE}, {POLICY_FILE}, {VAULT_FILE}")
    click.echo(f"it trades {trades}")
    if made is not None:
        click.echo(f"made the vault's key in {made}: keep a copy of it elsewhere, nothing else opens the vault")
    if exchange is not None:
        click.echo(f"next: see what {POLICY_FILE} allows: node-agent policy show --data-dir {data_dir}")
        click.echo(f"then: node-agent keys add {exchange} --data-dir {data_dir}")
        click.echo(f"then: node-agent run --live --data-dir {data_dir}")
        return
    click.echo(f"next: node-agent register --data-dir {data_dir} --server https://… --token nt_…")
    click.echo(f"  or: node-agent run --data-dir {data_dir}")


def _see_that_it_is_empty(data_dir: Path) -> None:
    existing = [each for each in _FILES if (data_dir / each).exists()]
    if existing:
        raise CliError(
            f"there is a node in {data_dir} already: {existing[0]}", "name another directory, or run that node"
        )


def _see_where_it_trades(paper: bool, exchange: str | None, asking: bool) -> None:
    """Raises CliError unless it is one of both."""
    if paper and exchange:
        raise _usage("--paper and --exchange cannot both be meant")
    if paper or exchange:
        return
    if not (asking and click.confirm("Trade recorded prices with play money (paper)?", default=True)):
        raise _usage("what is it to trade on?", "add --paper for play money, or --exchange with a name")


def _see_what_a_real_exchange_needs(profile: Profile, symbol: str | None) -> None:
    """Raises CliError for what only play money has, or for what is missing."""
    if click.get_current_context().get_parameter_source("candles") is ParameterSource.COMMANDLINE:
        raise _usage("--candles are recorded prices, and a real exchange has its own", "leave one of both out")
    if symbol is None and profile.names_a_symbol_each:
        raise _usage(f"--symbol is missing: on {profile.title} none is usual", f"such as {profile.example_symbol}")


def _of_exchange(candles: Path | None, candle_volume: str, cash: str) -> str:
    """The part of config.toml that the kind of exchange needs."""
    if candles is None:
        return templates.OF_A_REAL_ONE
    values = {"candles": _plain(str(candles.resolve())), "volume_unit": candle_volume, "cash": cash}
    return templates.OF_PAPER.substitute(values)


def _recorded(path: Path, symbol: str, *, volume_in_quote: bool) -> str:
    """What is in a recording, all of it read: a line that is no candle is told here, not when the node comes to it."""
    first = last = None
    count = 0
    for last in recording.read(path, symbol, volume_in_quote=volume_in_quote):
        first = first or last
        count += 1
    if first is None or last is None:
        raise ConfigError(f"{path} has no candles", "name another recording with --candles")
    return f"{symbol} on {count:,} recorded candles, {first.at:%Y-%m-%d %H:%M} to {last.at:%Y-%m-%d %H:%M} UTC"


def _write(data_dir: Path, values: dict[str, str]) -> None:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    (data_dir / CONFIG_FILE).write_text(templates.CONFIG.substitute(values), encoding="utf-8")
    (data_dir / POLICY_FILE).write_text(templates.POLICY.substitute(values), encoding="utf-8")
    # What was written must be what can be read: an amount that is none is said here, not at the first start.
    load(data_dir, {})
    load_policy(data_dir)


def _make_vault(data_dir: Path, key_file: Path | None, passphrase: VaultKey | None) -> Path | None:
    """Makes the vault and an empty journal; the key file, if it had to be made."""
    made = None
    if passphrase is not None and key_file is None:
        key = passphrase
    elif key_file is not None and not key_file.exists():
        try:
            key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise VaultError(
                f"there is no vault key {key_file}, and none can be made there: {why}",
                "in a container: mount a file that holds one there, as docs/running.md has it",
            ) from None
        key, made = VaultKey.generate_file(key_file), key_file
    elif key_file is not None:
        key = VaultKey.from_file(key_file)
    else:
        raise VaultError("nothing is to open the vault", "give --vault-key-file")
    Vault.create(data_dir / VAULT_FILE, key)
    Journal.open(data_dir / JOURNAL_FILE).close()
    return made


@contextmanager
def _all_or_nothing(data_dir: Path, new_key_file: Path | None) -> Iterator[None]:
    """Takes away what was made, when not all of it could be: half a node would be in the way of a whole one."""
    was_there = data_dir.exists()
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for each in (*_FILES, f"{JOURNAL_FILE}-wal", f"{JOURNAL_FILE}-shm", f"{JOURNAL_FILE}-open"):
                (data_dir / each).unlink(missing_ok=True)
            if new_key_file is not None:
                new_key_file.unlink(missing_ok=True)
            if not was_there:
                data_dir.rmdir()
        raise


def _asked(asking: bool, question: str, option: str) -> Path:
    if not asking:
        raise _usage(f"{option} is missing", "see `node-agent init --help`")
    return Path(click.prompt(question))


def _plain(text: str) -> str:
    """Text that may stand between quotes in TOML."""
    if re.search(r'["\\\x00-\x1f\x7f]', text):
        raise _usage(f"{text!r} has a character that config.toml cannot hold between quotes")
    return text


def _usage(message: str, *hints: str) -> CliError:
    return CliError(message, *hints, exit_code=Exit.USAGE)
