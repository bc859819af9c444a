"""Configuration: what `init` writes can be read, variables go before it, each mistake names file, key, a way out."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import pytest

from node_agent.config import ConfigError, load, load_policy, passphrase_from, vault_key
from node_agent.core.market import OrderType
from node_agent.core.policy import TRADING_COMMANDS
from node_agent.exchanges.catalogue import EXCHANGES, profile_of
from node_agent.redaction import redacted
from tests.support import NodeDir


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return NodeDir.made(tmp_path_factory.mktemp("config")).path


@pytest.fixture
def data_dir(made: Path, tmp_path: Path) -> Path:
    for name in ("config.toml", "policy.toml"):
        (tmp_path / name).write_text((made / name).read_text())
    return tmp_path


def changed(data_dir: Path, name: str, before: str, after: str) -> None:
    text = (data_dir / name).read_text()
    assert before in text
    (data_dir / name).write_text(text.replace(before, after))


def error_of(data_dir: Path, **environ: str) -> ConfigError:
    with pytest.raises(ConfigError) as error:
        load(data_dir, environ)
    return error.value


def test_a_new_node_has_the_limits_that_init_promises(data_dir: Path) -> None:
    config, policy = load(data_dir, {}), load_policy(data_dir)
    assert (config.node.mode, config.exchange.name, config.exchange.symbol) == ("paper", "paper", "BTC/USD")
    assert (policy.max_order_notional, policy.max_total_notional) == (Decimal(1000), Decimal(5000))
    assert policy.server_commands == TRADING_COMMANDS
    assert policy.symbols == {"BTC/USD"}
    assert policy.order_types == set(OrderType)


def test_variables_go_before_the_file(data_dir: Path) -> None:
    config = load(
        data_dir,
        {"NODE_STRATEGY__NAME": "none", "NODE_STRATEGY__FAST": "3", "NODE_PAPER__CASH": "5.5", "NODE_DATA_DIR": "/x"},
    )
    assert (config.strategy.name, config.strategy.fast) == ("none", 3)
    assert config.paper is not None
    assert config.paper.cash == Decimal("5.5")


def test_no_variable_changes_the_owner_s_limits(data_dir: Path) -> None:
    assert "policy" in str(error_of(data_dir, NODE_POLICY__MAX_ORDER_NOTIONAL="1000000")).lower()


@pytest.mark.parametrize(
    ("before", "after", "said", "hint"),
    [
        ("\nnotional =", "\nnotionall =", "no such key: strategy.notionall", "did you mean notional?"),
        ("[strategy]", "[strategie]", "no such key: strategie", "did you mean strategy?"),
        ('name = "ma_trend"', 'name = "moon"', "strategy.name: must be 'ma_trend' or 'none'", ""),
        ("fast = 10", "fast = 0", "strategy.fast: must be greater than or equal to 1", ""),
        ("fast = 10", 'fast = "10"', "strategy.fast: must be a valid integer", ""),
        ("fast = 10", "fast = 30", "strategy.fast must be below strategy.slow", ""),
        ('cash = "10000"', "cash = 10000.5", "paper.cash: write it in quotes", ""),
        ('cash = "10000"', 'cash = "1e4"', "paper.cash: not a decimal string", ""),
        ('cash = "10000"', 'cash = "0"', "paper.cash: must be greater than 0", ""),
        ('symbol = "BTC/USD"', 'symbol = "BTCUSD"', "exchange.symbol: not a symbol", ""),
        ("[node]", "[node", "is not TOML", ""),
    ],
)
def test_a_mistake_names_file_key_and_what_is_allowed(
    data_dir: Path, before: str, after: str, said: str, hint: str
) -> None:
    changed(data_dir, "config.toml", before, after)
    error = error_of(data_dir)
    assert error.message.startswith(str(data_dir / "config.toml"))
    assert said in error.message
    assert hint in " ".join(error.hints)


def test_a_variable_s_mistake_names_the_variable(data_dir: Path) -> None:
    many = error_of(data_dir, NODE_STRATEGY__FAST="many").message
    assert many.startswith("NODE_STRATEGY__FAST (a variable): strategy.fast: ")
    # Whoever means the key of an exchange is to see what is wrong: nothing in this is a secret.
    for part in {each.name for name in EXCHANGES for each in profile_of(name).credentials} | {"private_key", "api_key"}:
        none = redacted(error_of(data_dir, **{f"NODE_EXCHANGE__{part.upper()}": "k"}).message)
        assert none.endswith(f"no such key: exchange.{part}")
        none = redacted(error_of(data_dir, **{f"NODE_EXCHANGES__{part.upper()}": "k"}).message)
        assert none.endswith("no section is called [exchanges]")
    assert "no section is called [strat]" in error_of(data_dir, NODE_STRAT__FAST="1").message


def test_a_directory_without_a_node_says_how_to_make_one(tmp_path: Path) -> None:
    error = error_of(tmp_path / "none")
    assert "there is no" in error.message
    assert "node-agent init" in error.hints[0]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("daily_loss =", "dayly_loss =", "no such key: dayly_loss"),
        ('price_collar = "0.20"', 'price_collar = "1.5"', "price_collar: must be less than or equal to 1"),
        ('max_order_notional = "1000"', "max_order_notional = 999.5", "max_order_notional: write it in quotes"),
        ("server_commands = true", 'server_commands = "yes"', "server_commands: true, false, or a list such as"),
        ("server_commands = true", 'server_commands = ["order.send"]', "server_commands: order.send is none of"),
        ("trading_hours = []", 'trading_hours = ["17:00-08:00"]', "trading_hours.0: hours end after they begin"),
        ("max_data_age = 180", "max_data_age = 0", "max_data_age: must be greater than or equal to 1"),
        ('sides = ["buy", "sell"]', 'sides = ["buy", "buy"]', "sides: a value twice"),
    ],
)
def test_limits_that_are_none_are_refused(data_dir: Path, before: str, after: str, said: str) -> None:
    changed(data_dir, "policy.toml", before, after)
    with pytest.raises(ConfigError) as error:
        load_policy(data_dir)
    assert error.value.message == f"{data_dir / 'policy.toml'}: {said}" or said in error.value.message


def test_there_is_no_default_key(data_dir: Path, tmp_path: Path) -> None:
    changed(data_dir, "config.toml", "key_file =", "# key_file =")
    config = load(data_dir, {})
    with pytest.raises(ConfigError, match="no default key"):
        vault_key(config, {})
    (tmp_path / "passphrase").write_text("correct horse battery\n")
    found = passphrase_from({"NODE_VAULT_PASSPHRASE_FILE": str(tmp_path / "passphrase")})
    assert found is not None
    assert found.get_secret_value() == "correct horse battery"


@pytest.mark.parametrize(
    "text",
    [
        "max_signal_age = 99999999999999",
        "max_signal_age = 1" + "0" * 5000,
        "server_silence = 9223372036854775807",
        "x = " + "[" * 3000,
        "\ud800".encode("utf-16-le", "surrogatepass").decode("latin-1"),
    ],
    ids=lambda text: text[:20],
)
def test_whatever_the_limits_say_is_limits_or_one_mistake(data_dir: Path, text: str) -> None:
    """An error of another kind would end the node that reads them, and the command that stops it."""
    path = data_dir / "policy.toml"
    key = text.partition(" ")[0]
    kept = [line for line in path.read_text().splitlines() if not line.startswith(f"{key} ")]
    path.write_text("\n".join([text, *kept]))
    with pytest.raises(ConfigError, match=r"policy\.toml"):
        load_policy(data_dir)


@pytest.mark.parametrize("kind", ["pipe", "device", "directory", "too large"])
def test_limits_that_are_no_file_are_not_waited_for(data_dir: Path, kind: str) -> None:
    path = data_dir / "policy.toml"
    text = path.read_text()
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "directory":
        path.mkdir()
    else:
        path.write_text(text + "#" * (1 << 20))
    with pytest.raises(ConfigError, match="cannot read"):
        load_policy(data_dir)
