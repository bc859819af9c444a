"""Configuration: `config.toml`, `policy.toml` and `NODE_…` variables, parsed once into frozen values.

A variable is named after section and key, `NODE_STRATEGY__NAME` for `name` in `[strategy]`, and goes before the file.
The owner's limits are in `policy.toml` alone: no variable changes them. Every mistake is a ConfigError that names the
file or variable, the key, and what is allowed.
"""

from __future__ import annotations

import difflib
import json
import re
import stat
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeGuard, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from node_agent.core import hours
from node_agent.core.market import OrderType, Side
from node_agent.core.policy import TRADING_COMMANDS, OnSilence, Policy
from node_agent.errors import Explained
from node_agent.vault import VaultKey
from node_protocol.messages import parse_decimal
from node_protocol.refusals import Malformed

if TYPE_CHECKING:
    import ssl

_LONGEST_FILE: Final = 1 << 20
"""Bytes."""
CONFIG_FILE: Final = "config.toml"
POLICY_FILE: Final = "policy.toml"
VAULT_FILE: Final = "vault.json"
_LOOPBACK: Final = re.compile(r"http://(127\.0\.0\.1|localhost|\[::1\]):[0-9]{1,5}", re.ASCII)
_PREFIX: Final = "NODE_"
_PASSPHRASE: Final = "NODE_VAULT_PASSPHRASE"  # noqa: S105  (the name of a variable)
_PASSPHRASE_FILE: Final = "NODE_VAULT_PASSPHRASE_FILE"  # noqa: S105


class ConfigError(Explained):
    """The configuration cannot be used."""


def _money(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, float):
        raise Malformed(f'write it in quotes, "{value}": a binary fraction is not what it looks like')
    return parse_decimal(value)


def _symbol(text: str) -> str:
    if not re.fullmatch(r"[A-Z0-9]{1,80}/[A-Z0-9]{1,20}", text, re.ASCII):
        raise Malformed("not a symbol, such as BTC/USD")
    return text


def _not_twice(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise Malformed("a value twice")
    return values


Money = Annotated[Decimal, BeforeValidator(_money), Field(ge=0)]
Positive = Annotated[Decimal, BeforeValidator(_money), Field(gt=0)]
Fraction = Annotated[Decimal, BeforeValidator(_money), Field(ge=0, le=1)]
Symbol = Annotated[str, AfterValidator(_symbol)]
Names = Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_not_twice)]


class Section(BaseModel):
    """What all sections share: nothing unknown, nothing converted, nothing changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class NodeSection(Section):
    """`[node]`."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    mode: Literal["paper", "live"] = "paper"


class VaultSection(Section):
    """`[vault]`."""

    key_file: str | None = None


class ServerSection(Section):
    """`[server]`."""

    ca_file: str | None = None
    """Certificates of the authorities by which the server is believed, and then by no other; else the public ones."""


class ExchangeSection(Section):
    """`[exchange]`."""

    name: Literal["paper", "binance", "coinbase", "cryptocom", "kraken", "okx", "polymarket", "robinhood"] = "paper"
    symbol: Symbol = "BTC/USD"
    interval: Literal["1s", "5s", "1m", "5m", "15m", "1h"] = "1m"
    """Of candles, where the exchange makes them."""
    recv_window: Annotated[int, Field(ge=1, le=60)] = 5
    """Seconds for which a request is good at the exchange."""
    url: str | None = None
    """Another address than the exchange's own: a rehearsal on this machine."""


class PaperSection(Section):
    """`[paper]`."""

    candles: str
    volume_unit: Literal["base", "quote"] = "base"
    cash: Positive = Decimal(10_000)
    maker_fee: Fraction = Decimal("0.001")
    taker_fee: Fraction = Decimal("0.001")
    volume_share: Annotated[Fraction, Field(gt=0)] = Decimal("0.1")
    tick_size: Positive = Decimal("0.5")
    step_size: Positive = Decimal("0.00001")
    minimum_notional: Money = Decimal(5)


class StrategySection(Section):
    """`[strategy]`."""

    name: Literal["ma_trend", "none"] = "ma_trend"
    fast: Annotated[int, Field(ge=1, le=10_000)] = 10
    slow: Annotated[int, Field(ge=2, le=10_000)] = 30
    notional: Positive = Decimal(250)


class LogSection(Section):
    """`[log]`."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(Section):
    """`config.toml`, with the variables that go before it."""

    node: NodeSection
    vault: VaultSection = VaultSection()
    server: ServerSection = ServerSection()
    exchange: ExchangeSection = ExchangeSection()
    paper: PaperSection | None = None
    strategy: StrategySection = StrategySection()
    log: LogSection = LogSection()


def _window(text: str) -> str:
    try:
        hours.parse(text)
    except ValueError as error:
        raise Malformed(str(error)) from None
    return text


def _commands(value: object) -> object:
    if isinstance(value, bool):
        return TRADING_COMMANDS if value else frozenset()
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        unknown = sorted(set(value) - TRADING_COMMANDS)
        if not unknown:
            return frozenset(value)
        raise Malformed(f"{unknown[0]} is none of: {', '.join(sorted(TRADING_COMMANDS))}")
    raise Malformed('true, false, or a list such as ["order.cancel", "trading.pause"]')


Seconds = Annotated[int, Field(ge=1, le=10 * 365 * 24 * 3600)]
SecondsOrZero = Annotated[int, Field(ge=0, le=10 * 365 * 24 * 3600)]
Window = Annotated[str, AfterValidator(_window)]


class PolicyFile(Section):
    """`policy.toml`: the owner's limits."""

    exchanges: Names
    symbols: Names
    sides: Annotated[tuple[Literal["buy", "sell"], ...], Field(strict=False), AfterValidator(_not_twice)]
    order_types: Annotated[
        tuple[Literal["market", "limit", "stop"], ...], Field(strict=False), AfterValidator(_not_twice)
    ]
    max_order_notional: Money
    max_open_notional: Money
    max_position_notional: Money
    max_total_notional: Money
    orders_per_minute: Annotated[int, Field(ge=0, le=10_000)]
    orders_per_day: Annotated[int, Field(ge=0, le=10_000_000)]
    daily_loss: Money
    drawdown: Money
    price_collar: Fraction
    max_signal_age: SecondsOrZero
    max_data_age: Seconds
    server_commands: Annotated[frozenset[str], BeforeValidator(_commands)]
    trading_hours: Annotated[tuple[Window, ...], Field(strict=False), AfterValidator(_not_twice)] = ()
    max_clock_drift: Seconds = 2
    server_silence: SecondsOrZero = 0
    on_server_silence: Literal["pause", "cancel_open", "flatten"] = "pause"


M = TypeVar("M", bound=Section)


def load(data_dir: Path, environ: Mapping[str, str]) -> Config:
    """The configuration of a data directory. Raises ConfigError."""
    path = data_dir / CONFIG_FILE
    content = _toml(path)
    sources = {key: str(path) for key in content}
    for variable, value in environ.items():
        section, _, key = variable.removeprefix(_PREFIX).lower().partition("__")
        if not variable.startswith(_PREFIX) or not key:
            continue
        if section not in Config.model_fields:
            raise ConfigError(
                f"{variable} (a variable): no section is called [{section}]", _allowed(section, Config.model_fields)
            )
        content = {**content, section: {**content.get(section, {}), key: _from_text(section, key, value)}}
        sources[f"{section}.{key}"] = f"{variable} (a variable)"
    config = _validated(Config, content, str(path), sources)
    if config.strategy.fast >= config.strategy.slow:
        raise ConfigError(f"{path}: strategy.fast must be below strategy.slow")
    _check_mode(path, config)
    return config


def _check_mode(path: Path, config: Config) -> None:
    """Play money and a real exchange are never mixed up."""
    paper = config.exchange.name == "paper"
    if paper != (config.node.mode == "paper"):
        raise ConfigError(
            f'{path}: node.mode is "{config.node.mode}" and exchange.name is "{config.exchange.name}"',
            'play money is mode "paper" on exchange "paper"; any other exchange is mode "live"',
        )
    if paper and config.paper is None:
        raise ConfigError(f"{path}: paper: missing", "name the recording to play in [paper] candles")
    if config.exchange.url is not None and not _LOOPBACK.fullmatch(config.exchange.url):
        raise ConfigError(
            f"{path}: exchange.url: must be http:// to this machine with a port, such as http://127.0.0.1:8080"
        )


def load_policy(data_dir: Path) -> Policy:
    """The owner's limits. Raises ConfigError."""
    path = data_dir / POLICY_FILE
    limits = _validated(PolicyFile, _toml(path), str(path), {})
    return Policy(
        exchanges=frozenset(limits.exchanges),
        symbols=frozenset(limits.symbols),
        sides=frozenset(Side(side) for side in limits.sides),
        order_types=frozenset(OrderType(each) for each in limits.order_types),
        max_order_notional=limits.max_order_notional,
        max_open_notional=limits.max_open_notional,
        max_position_notional=limits.max_position_notional,
        max_total_notional=limits.max_total_notional,
        orders_per_minute=limits.orders_per_minute,
        orders_per_day=limits.orders_per_day,
        daily_loss=limits.daily_loss,
        drawdown=limits.drawdown,
        price_collar=limits.price_collar,
        max_signal_age=timedelta(seconds=limits.max_signal_age) if limits.max_signal_age else None,
        max_data_age=timedelta(seconds=limits.max_data_age),
        server_commands=limits.server_commands,
        trading_hours=tuple(hours.parse(each) for each in limits.trading_hours),
        max_clock_drift=timedelta(seconds=limits.max_clock_drift),
        server_silence=timedelta(seconds=limits.server_silence) if limits.server_silence else None,
        on_server_silence=OnSilence(limits.on_server_silence),
    )


def vault_key(config: Config, environ: Mapping[str, str]) -> VaultKey:
    """The key that the configuration and the environment name. Raises ConfigError or VaultError."""
    if passphrase := passphrase_from(environ):
        return VaultKey.from_passphrase(passphrase)
    if config.vault.key_file is None:
        raise ConfigError(
            "nothing opens the vault: there is no default key",
            f"set vault.key_file in {CONFIG_FILE}, NODE_VAULT__KEY_FILE, or {_PASSPHRASE_FILE}",
        )
    return VaultKey.from_file(Path(config.vault.key_file))


def server_trust(config: Config) -> ssl.SSLContext | None:
    """By whom the server is believed, where the configuration names it. Raises ConfigError."""
    import ssl  # noqa: PLC0415  a health check reads the configuration too, and speaks to no server

    path = config.server.ca_file
    if path is None:
        return None
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:
        why = "it holds no certificate" if isinstance(error, ssl.SSLError) else (error.strerror or str(error)).lower()
        raise ConfigError(
            f"server.ca_file: cannot be used: {why}: {path}", "name a file of certificates in PEM, or leave it out"
        ) from None


def passphrase_from(environ: Mapping[str, str]) -> SecretStr | None:
    """The vault's passphrase in the environment, or in the file that it names; None when there is neither."""
    if path := environ.get(_PASSPHRASE_FILE):
        try:
            return SecretStr(Path(path).read_text(encoding="utf-8").rstrip("\r\n"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{_PASSPHRASE_FILE}: cannot read {path}: {error}") from None
    passphrase = environ.get(_PASSPHRASE)
    return SecretStr(passphrase) if passphrase else None


def _toml(path: Path) -> dict[str, Any]:
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > _LONGEST_FILE:
            raise ConfigError(f"cannot read {path}: it is no file, or larger than {_LONGEST_FILE >> 20} MiB")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if any((path.parent / each).exists() for each in (CONFIG_FILE, POLICY_FILE, VAULT_FILE)):
            hint = "restore it from your backup, or make a new node with `node-agent init` in another directory"
        else:
            hint = f"make a node with `node-agent init --data-dir {path.parent}`"
        raise ConfigError(f"there is no {path}", hint) from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # tomllib's own, Unicode's, that of a number without an end
        raise ConfigError(f"{path} is not TOML: {error}") from None


def _from_text(section: str, key: str, text: str) -> object:
    """A variable's value as TOML would have it: a number or a truth where the key wants one, else the text."""
    model = Config.model_fields[section].annotation
    field = model.model_fields.get(key) if _is_model(model) else None
    if field is not None and field.annotation in (int, bool):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _validated(model: type[M], content: Mapping[str, Any], file: str, sources: Mapping[str, str]) -> M:
    try:
        return model.model_validate(dict(content))
    except ValidationError as error:
        # A key that there is none of says more than the one that is missing for it.
        found = error.errors(include_url=False, include_input=False)
        first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
        where = [str(part) for part in first["loc"]]
        key = ".".join(where)
        source = sources.get(".".join(where[:2]), file)
        message, *hints = _explained(model, first["type"], where, first["msg"])
        # Behind a key's name and a colon anything would be taken for its value, and hidden.
        told = f"{message}: {key}" if first["type"] == "extra_forbidden" else f"{key}: {message}"
        raise ConfigError(f"{source}: {told}", *hints) from None


def _explained(model: type[BaseModel], kind: str, where: list[str], message: str) -> list[str]:
    """What is wrong with a key, and what is allowed there."""
    section: Any = model
    for part in where[:-1]:
        known = section.model_fields.get(part) if _is_model(section) else None
        section = known.annotation if known is not None else None
    if kind == "extra_forbidden" and _is_model(section):
        return ["no such key", _allowed(where[-1], section.model_fields)]
    if kind == "missing":
        return ["missing"]
    return [message.removeprefix("Value error, ").replace("Input should", "must")]


def _is_model(value: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _allowed(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    allowed = "allowed here: " + ", ".join(known)
    return f"did you mean {near[0]}? {allowed}" if near else allowed


STRATEGIES: Final[tuple[str, ...]] = get_args(StrategySection.model_fields["name"].annotation)
"""Names that `strategy.name` takes."""
