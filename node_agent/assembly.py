"""Puts a node together from its data directory, runs it, and takes it apart again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import structlog

from node_agent import at_rest, exchange_keys, facts, fingerprint, redaction
from node_agent.client import Clock, ServerAddress, SignedClient
from node_agent.config import (
    CONFIG_FILE,
    POLICY_FILE,
    VAULT_FILE,
    Config,
    ConfigError,
    load,
    load_policy,
    server_trust,
    vault_key,
)
from node_agent.control import Control, StopWish
from node_agent.core import events
from node_agent.core.policy import NOTHING
from node_agent.core.windup import open_work
from node_agent.exchange_keys import ExchangeKey
from node_agent.exchanges import catalogue
from node_agent.exchanges.paper import open_paper
from node_agent.exchanges.port import Exchange, RealExchange
from node_agent.exchanges.profile import Opening
from node_agent.journal import JOURNAL_FILE, Journal, Registration
from node_agent.key_watch import KeyWatch
from node_agent.lock import DirectoryLock
from node_agent.owner_files import OwnerFiles
from node_agent.runner import Runner
from node_agent.strategies import MaTrend, Strategy
from node_agent.uplink import Uplink
from node_agent.vault import Vault
from node_protocol.encoding import b64url_decode, format_time, parse_time
from node_protocol.version import __version__

INTERVALS: Final = {
    "1s": timedelta(seconds=1),
    "5s": timedelta(seconds=5),
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
}

_log = structlog.get_logger("node")


async def run_node(
    data_dir: Path,
    environ: Mapping[str, str],
    *,
    speed: float | None,
    live: bool = False,
    stop_with: StopWish | None = None,
) -> None:
    """Run the node in `data_dir` until it is told to stop, or with `stop_with` just for that.

    `live`: the owner said once more that it may trade on a real exchange.

    Raises ConfigError, VaultError, LockError, JournalError, NotRegistered, KeyRejected or NodeFailed; nothing is left
    open.
    """
    config = load(data_dir, environ)
    if config.node.mode == "live" and not live:
        raise ConfigError(
            f'{data_dir / CONFIG_FILE} says mode = "live": this node trades on {config.exchange.name} with real orders',
            "if that is what you want, start it with `node-agent run --live`",
        )
    owner_files = OwnerFiles(data_dir)
    unreadable = None
    try:
        policy = load_policy(data_dir)
    except ConfigError as error:
        if stop_with is None:
            raise
        policy, unreadable = NOTHING, error.message  # to stop needs no limits
    interval = INTERVALS[config.exchange.interval]
    if config.node.mode == "live" and policy.max_data_age <= interval and stop_with is None:
        raise ConfigError(
            f"{data_dir / POLICY_FILE}: max_data_age: must be longer than a candle of {config.exchange.interval}",
            f"prices come with candles: with anything up to {interval.total_seconds():.0f} s they would all be too old",
        )
    redaction.configure(json=config.log.format == "json", level=config.log.level)
    vault = Vault.open(data_dir / VAULT_FILE, vault_key(config, environ))
    with DirectoryLock(data_dir), Journal.open(data_dir / JOURNAL_FILE, create=False) as journal:
        _see_that_its_books_are_of(config, data_dir, journal)
        clock = Clock(time.time, offset=int(journal.fact("clock_offset") or 0))

        def own_time() -> datetime:
            return datetime.fromtimestamp(clock.wall(), UTC)

        def winding_up() -> bool:
            windup = runner.state.windup
            if windup is None and not owner_files.stop_is_there:
                return False
            # Of one that has begun dust is to be closed too: only the exchange's rules, as they are now, end it.
            work = open_work(at_rest.restored(journal) if windup is None else runner.state)
            return work.is_left(flatten=owner_files.stop_says_flatten if windup is None else windup.flatten)

        watch: KeyWatch | None = None
        if config.exchange.name == "paper":
            exchange: Exchange = open_paper(config, data_dir, speed)
        else:
            exchange, key = _account(config, data_dir, vault, journal.fact("line_to_exchange") or {})
            watch = KeyWatch(
                exchange,
                catalogue.profile_of(config.exchange.name),
                key,
                note=lambda known: journal.put_fact("exchange_key", known),
                deliver=lambda event: runner.deliver(event),  # noqa: PLW0108  (it is made below)
                clock=own_time,
                limited=lambda: runner.note_line(),  # noqa: PLW0108  (it is made below)
                winding_up=winding_up,
            )
        runner = Runner(
            journal=journal,
            exchange=exchange,
            policy=policy,
            strategies=() if stop_with is not None else strategies_of(config),
            version=__version__,
            mode=config.node.mode,
            clock=own_time,
            news=owner_files.news,
            unreadable=unreadable,
            # To stop, whatever the key may do: that needs it for cancels and exits alone.
            admit=None if watch is None or stop_with is not None else watch.admit,
        )
        if watch is not None and stop_with is None:
            runner.add("watch of the key", watch.run)
        control = Control(
            data_dir,
            settle=runner.settle,
            state=lambda: runner.state,
            clock=own_time,
            knows=journal.has_order,
            end=runner.stop,
        )
        runner.add("control socket", control.run)
        if stop_with is not None:
            reason = "stopped by the owner"
            runner.deliver(events.OwnerStops(own_time(), flatten=stop_with.flatten, then_end=True, reason=reason))
        registration = journal.registration()
        if registration is None:
            _log.info("no server: trading all the same, reports are kept", hint="node-agent register")
        else:
            runner.attach(_uplink(config, data_dir, registration, journal, vault, clock, runner))
        journal.put_fact("run", {"started_at": format_time(own_time())})
        await runner.run()


def _see_that_its_books_are_of(config: Config, data_dir: Path, journal: Journal) -> None:
    """Positions and orders of play money are not those of a real account, nor one exchange's another's."""
    node = journal.fact("node")
    if node is None:
        return
    if (node["mode"], node["exchange"]) == (config.node.mode, config.exchange.name):
        _see_that_nothing_is_left_of_another_symbol(config, data_dir, journal)
        return
    if not journal.has_orders():
        return
    raise ConfigError(
        f"this node has traded on {node['exchange']} ({node['mode']}), and {data_dir / CONFIG_FILE} says"
        f" {config.exchange.name} ({config.node.mode}): its orders and positions are not there",
        f'put mode = "{node["mode"]}" and name = "{node["exchange"]}" back to go on with it, or to stop it',
        "for another account make a new node in another directory: `node-agent init`",
    )


def _see_that_nothing_is_left_of_another_symbol(config: Config, data_dir: Path, journal: Journal) -> None:
    """An exchange is asked of one symbol alone: an order or a position of another would be left to itself."""
    work = facts.of_work(at_rest.restored(journal))
    left = {*work["positions"], *(order["symbol"] for order in work["orders"])} - {config.exchange.symbol}
    if left:
        before = min(left)
        raise ConfigError(
            f"this node has orders or a position of {before}, and {data_dir / CONFIG_FILE} says"
            f" {config.exchange.symbol}: nobody would mind them",
            f'put symbol = "{before}" back to go on with them, or to close them: `node-agent stop --flatten`',
            "for another symbol meanwhile make a new node in another directory: `node-agent init`",
        )


def strategies_of(config: Config) -> tuple[Strategy, ...]:
    """The strategies that the configuration names."""
    if config.strategy.name == "none":
        return ()
    settings = config.strategy
    trend = MaTrend(config.exchange.symbol, settings.fast, settings.slow, Decimal(settings.notional))
    return (trend,)


def _account(
    config: Config, data_dir: Path, vault: Vault, last_told: Mapping[str, Any]
) -> tuple[RealExchange, ExchangeKey]:
    """The real exchange that the configuration names, and its key."""
    name = config.exchange.name
    key = exchange_keys.kept(vault, name)
    if key is None:
        raise ConfigError(f"the vault has no key for {name}", f"put one there: node-agent keys add {name}")
    opening = Opening(
        credentials=key.parts,
        symbol=config.exchange.symbol,
        interval=INTERVALS[config.exchange.interval],
        recv_window=float(config.exchange.recv_window),
        url=config.exchange.url,
        banned_until=None if last_told.get("banned_until") is None else parse_time(last_told["banned_until"]),
    )
    try:
        return catalogue.open_exchange(name, opening), key
    except ValueError as error:
        raise ConfigError(f"cannot trade on {name} as {data_dir / CONFIG_FILE} has it: {error}") from None


def _uplink(
    config: Config,
    data_dir: Path,
    registration: Registration,
    journal: Journal,
    vault: Vault,
    clock: Clock,
    runner: Runner,
) -> Uplink:
    address = ServerAddress.parse(registration.server, insecure_loopback=registration.insecure_loopback)
    salt = b64url_decode(registration.salt, length=len(registration.salt) * 3 // 4)
    return Uplink(
        journal=journal,
        vault=vault,
        client=SignedClient(address, clock, trust=server_trust(config)),
        clock=clock,
        fingerprint=lambda: fingerprint.salted(fingerprint.collect(data_dir), salt),
        status=runner.status,
        deliver=runner.deliver,
    )
