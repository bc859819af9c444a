"""Puts a node together from its data directory, runs it, and takes it apart again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import structlog

from node_agent import fingerprint, redaction
from node_agent.client import Clock, ServerAddress, SignedClient
from node_agent.config import VAULT_FILE, Config, load, load_policy, vault_key
from node_agent.exchanges.paper import open_paper
from node_agent.journal import JOURNAL_FILE, Journal, Registration
from node_agent.lock import DirectoryLock
from node_agent.runner import Runner
from node_agent.strategies import MaTrend, Strategy
from node_agent.uplink import Uplink
from node_agent.vault import Vault
from node_protocol.encoding import b64url_decode, format_time
from node_protocol.version import __version__

_log = structlog.get_logger("node")


async def run_node(data_dir: Path, environ: Mapping[str, str], *, speed: float | None) -> None:
    """Run the node in `data_dir` until it is told to stop.

    Raises ConfigError, VaultError, LockError, JournalError, NotRegistered or NodeFailed; nothing is left open.
    """
    config = load(data_dir, environ)
    policy = load_policy(data_dir)
    redaction.configure(json=config.log.format == "json", level=config.log.level)
    vault = Vault.open(data_dir / VAULT_FILE, vault_key(config, environ))
    with DirectoryLock(data_dir), Journal.open(data_dir / JOURNAL_FILE, create=False) as journal:
        clock = Clock(time.time, offset=int(journal.fact("clock_offset") or 0))
        runner = Runner(
            journal=journal,
            exchange=open_paper(config, data_dir, speed),
            policy=policy,
            strategies=strategies_of(config),
            version=__version__,
            mode=config.node.mode,
            clock=lambda: datetime.fromtimestamp(clock.now(), UTC),
        )
        registration = journal.registration()
        if registration is None:
            _log.info("no server: trading all the same, reports are kept", hint="node-agent register")
        else:
            runner.attach(_uplink(data_dir, registration, journal, vault, clock, runner))
        journal.put_fact("run", {"started_at": format_time(datetime.fromtimestamp(clock.now(), UTC))})
        await runner.run()


def strategies_of(config: Config) -> tuple[Strategy, ...]:
    """The strategies that the configuration names."""
    if config.strategy.name == "none":
        return ()
    settings = config.strategy
    trend = MaTrend(config.exchange.symbol, settings.fast, settings.slow, Decimal(settings.notional))
    return (trend,)


def _uplink(
    data_dir: Path, registration: Registration, journal: Journal, vault: Vault, clock: Clock, runner: Runner
) -> Uplink:
    address = ServerAddress.parse(registration.server, insecure_loopback=registration.insecure_loopback)
    salt = b64url_decode(registration.salt, length=len(registration.salt) * 3 // 4)
    return Uplink(
        journal=journal,
        vault=vault,
        client=SignedClient(address, clock),
        clock=clock,
        fingerprint=lambda: fingerprint.salted(fingerprint.collect(data_dir), salt),
        status=runner.status,
        deliver=runner.deliver,
    )
