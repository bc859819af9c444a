"""`node-agent init`: a new node: its configuration, its owner's limits, its vault."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from string import Template
from typing import Final

import click

from node_agent.cli import options
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
from node_agent.exchanges.paper import candles as recording
from node_agent.journal import JOURNAL_FILE, Journal, JournalError
from node_agent.vault import Vault, VaultError, VaultKey

_FILES: Final = (CONFIG_FILE, POLICY_FILE, VAULT_FILE, JOURNAL_FILE)

_CONFIG: Final = Template("""\
# The node's configuration. Each key can also be set by a variable that goes before this file: NODE_STRATEGY__NAME is
# `name` in [strategy]. The owner's limits are in policy.toml.

[node]
name = "$name"               # how the server's operator sees this node
mode = "paper"               # recorded prices and play money

[vault]
$vault

[exchange]
name = "paper"
symbol = "$symbol"

[paper]                      # the paper exchange
candles = "$candles"
volume_unit = "$volume_unit"         # what the recording counts volume in: base or quote currency
cash = "$cash"               # of the quote currency, at the start
maker_fee = "0.001"          # a fraction of the notional
taker_fee = "0.001"
volume_share = "0.1"         # a resting order gets at most this share of a candle's volume
tick_size = "0.5"            # prices are whole multiples of it
step_size = "0.00001"        # amounts are whole multiples of it
minimum_notional = "5"

[strategy]
name = "$strategy"           # ma_trend: long while the fast average of closes is above the slow one; or none
fast = 10                    # candles
slow = 30
notional = "$notional"             # size of an entry, in the quote currency

[log]
format = "text"              # or json
level = "info"               # debug, info, warning, error
""")

_POLICY: Final = Template("""\
# The owner's limits: no signal, strategy or server gets past them, and no server can change them. Amounts of money are
# in the quote currency, in quotes; ages are in seconds. A change holds from the next order on.
# Cancels and exits stay allowed whatever is reached. Try an order on them: node-agent policy check --help

exchanges = ["paper"]
symbols = ["$symbol"]
sides = ["buy", "sell"]
order_types = ["market", "limit", "stop"]
max_order_notional = "1000"       # of one order
max_open_notional = "5000"        # of all open orders
max_position_notional = "5000"    # of one symbol, open orders included
max_total_notional = "5000"       # of all positions and open orders
orders_per_minute = 60
orders_per_day = 5000
daily_loss = "500"                # new risk stops when a day (UTC) has lost this much
drawdown = "500"                  # and when so much is lost since the day's best moment
price_collar = "0.20"             # no price worse than the last trade by more than this fraction
max_signal_age = 0                # what was decided longer ago is not traded; 0: as long as its command is good
max_data_age = 180                # nothing is weighed by a price that is older
trading_hours = []                # such as ["mon-fri 08:00-17:30"], UTC; always when empty
server_commands = true            # or false, or those that are taken: ["order.cancel", "trading.pause"]
max_clock_drift = 2               # between this machine's clock and the exchange's
server_silence = 0                # how long the server may be silent; 0: for ever
on_server_silence = "pause"       # then: pause (new risk), cancel_open (orders), or flatten (positions too)
""")


@click.command()
@options.data_dir
@click.option("--paper", is_flag=True, help="Trade recorded prices with play money: the one mode that there is so far.")
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
@click.option("--symbol", default="BTC/USD", show_default=True, help="What to trade.")
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
    candles: Path | None,
    candle_volume: str,
    vault_key_file: Path | None,
    symbol: str,
    strategy: str,
    notional: str,
    cash: str,
    name: str | None,
    non_interactive: bool,
) -> None:
    """Make a new node in a directory of its own: config.toml, policy.toml with the owner's limits, and the vault.

    Asks only for what is neither given by options nor by the environment.
    """
    asking = not non_interactive and sys.stdin.isatty()
    if not paper and not (asking and click.confirm("Trade recorded prices with play money (paper)?", default=True)):
        raise _usage("this version trades on paper alone", "add --paper")
    candles = candles or _asked(asking, "Recorded prices (CSV or .csv.gz)", "--candles")
    try:
        passphrase = passphrase_from(os.environ)
    except ConfigError as error:
        raise _usage(error.message, *error.hints) from None
    if vault_key_file is None and passphrase is None:
        vault_key_file = _asked(asking, "Where to keep the vault's key (a file elsewhere)", "--vault-key-file")
    if not candles.is_file():
        raise _usage(f"there is no file {candles}", "name the recorded prices with --candles")
    existing = [each for each in _FILES if (data_dir / each).exists()]
    if existing:
        raise CliError(
            f"there is a node in {data_dir} already: {existing[0]}", "name another directory, or run that node"
        )
    values = {
        "name": _plain(name or socket.gethostname()),
        "symbol": symbol,
        "candles": _plain(str(candles.resolve())),
        "volume_unit": candle_volume,
        "cash": cash,
        "strategy": strategy,
        "notional": notional,
        "vault": f'key_file = "{_plain(str(vault_key_file.resolve()))}"'
        if vault_key_file is not None
        else "# opened by the passphrase in the file that NODE_VAULT_PASSPHRASE_FILE names",
    }
    new_key_file = None if vault_key_file is None or vault_key_file.exists() else vault_key_file
    try:
        prices = _recorded(candles, symbol, volume_in_quote=candle_volume == "quote")
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
    click.echo(f"it trades {prices}")
    if made is not None:
        click.echo(f"made the vault's key in {made}: keep a copy of it elsewhere, nothing else opens the vault")
    click.echo(f"next: node-agent register --data-dir {data_dir} --server https://… --token nt_…")
    click.echo(f"  or: node-agent run --data-dir {data_dir}")


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
    (data_dir / CONFIG_FILE).write_text(_CONFIG.substitute(values), encoding="utf-8")
    (data_dir / POLICY_FILE).write_text(_POLICY.substitute(values), encoding="utf-8")
    # What was written must be what can be read: an amount that is none is said here, not at the first start.
    load(data_dir, {})
    load_policy(data_dir)


def _make_vault(data_dir: Path, key_file: Path | None, passphrase: VaultKey | None) -> Path | None:
    """Makes the vault and an empty journal; the key file, if it had to be made."""
    made = None
    if passphrase is not None and key_file is None:
        key = passphrase
    elif key_file is not None and not key_file.exists():
        key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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
