"""`node-agent init`: what it makes and says, what it asks, and that a mistake leaves nothing behind."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from node_agent.config import load, load_policy
from tests.support import CANDLES, WITHIN, environment, node_agent, told, with_room_for

ROWS = "timestamp,open,high,low,close,volume\n2026-01-01 00:00:00,1,2,1,2,5\n"


@pytest.fixture
def words(tmp_path: Path) -> list[str | Path]:
    """All that `init` must be told."""
    return [
        *("init", "--data-dir", tmp_path / "node", "--paper", "--non-interactive"),
        *("--candles", CANDLES, "--vault-key-file", tmp_path / "vault.key"),
    ]


def put(words: list[str | Path], option: str, value: str | Path) -> list[str | Path]:
    """The same words with another value behind an option."""
    at = words.index(option) + 1
    return [*words[:at], value, *words[at + 1 :]]


def test_it_says_what_it_made_and_what_comes_next(words: list[str | Path], tmp_path: Path) -> None:
    done = node_agent(*words)
    assert (done.returncode, done.stderr) == (0, "")
    for said in ("1,440 recorded candles", "made the vault's key", "node-agent register", "node-agent run"):
        assert said in done.stdout
    for path, mode in (
        (tmp_path / "node", 0o700),
        (tmp_path / "vault.key", 0o600),
        (tmp_path / "node/vault.json", 0o600),
    ):
        assert path.stat().st_mode & 0o777 == mode


def test_a_node_that_is_there_is_left_as_it_is(words: list[str | Path], tmp_path: Path) -> None:
    assert node_agent(*words).returncode == 0
    before = {path: path.read_bytes() for path in (tmp_path / "node").iterdir()}
    assert "there is a node in" in told(node_agent(*words), 1)
    assert {path: path.read_bytes() for path in (tmp_path / "node").iterdir()} == before


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (None, "there is no file"),
        ("", "has no candles"),
        (ROWS + "2026-01-01 00:01:00,1,2,1,two,5\n", "prices.csv:3: not a candle"),
        (ROWS + ROWS.splitlines()[1], "prices.csv:3: not later than the line before"),
    ],
)
def test_a_recording_that_cannot_be_played_is_told_at_once_and_nothing_is_made(
    words: list[str | Path], tmp_path: Path, rows: str | None, said: str
) -> None:
    path = tmp_path / "prices.csv"
    if rows is not None:
        path.write_text(rows)
    assert said in told(node_agent(*put(words, "--candles", path)), 2)
    assert not (tmp_path / "node").exists()


@pytest.mark.parametrize(
    ("missing", "said"),
    [("--candles", "--candles is missing"), ("--vault-key-file", "--vault-key-file is missing")],
)
def test_what_is_missing_is_an_error_when_it_may_not_ask(words: list[str | Path], missing: str, said: str) -> None:
    at = words.index(missing)
    assert said in told(node_agent(*words[:at], *words[at + 2 :]), 2)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--symbol", "bitcoin", "exchange.symbol: not a symbol"),
        ("--cash", "much", "--cash': 'much' is no decimal number above 0"),
        ("--notional", "-5", "--notional': '-5' is no decimal number above 0"),
        ("--name", 'the "best"', "a character that config.toml cannot hold"),
    ],
)
def test_a_value_that_cannot_be_is_told_and_nothing_is_made(
    words: list[str | Path], tmp_path: Path, option: str, value: str, said: str
) -> None:
    assert said in told(node_agent(*words, option, value), 2)
    assert not (tmp_path / "node").exists()


@pytest.mark.parametrize("room", [0, 500, 2000, 10_000])
@pytest.mark.parametrize("beside", [False, True])
def test_a_disk_that_is_full_leaves_nothing_behind(
    words: list[str | Path], tmp_path: Path, room: int, beside: bool
) -> None:
    if beside:
        (tmp_path / "node").mkdir()
        (tmp_path / "node/config.toml.old").write_text("somebody's own")
    left = list(tmp_path.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-m", "node_agent", *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=with_room_for(room),
        env={name: value for name, value in environment().items() if not name.startswith("COVERAGE_")},
    )
    assert done.returncode in (1, 2)
    assert "cannot" in told(done, done.returncode)
    assert list(tmp_path.rglob("*")) == left
    assert node_agent(*words).returncode == 0


def test_a_passphrase_opens_the_vault_where_no_key_file_is_named(words: list[str | Path], tmp_path: Path) -> None:
    phrase = tmp_path / "phrase"
    phrase.write_text("correct horse battery staple\n")
    at = words.index("--vault-key-file")
    done = node_agent(*words[:at], *words[at + 2 :], NODE_VAULT_PASSPHRASE_FILE=str(phrase))
    assert done.returncode == 0, done.stderr
    assert "correct horse" not in (tmp_path / "node/vault.json").read_text()
    assert '"scrypt"' in (tmp_path / "node/vault.json").read_text()


def test_at_a_terminal_it_asks_for_what_is_missing(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "node_agent", "init", "--data-dir", str(tmp_path / "node")]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment())
    os.close(theirs)
    os.write(ours, f"y\n{CANDLES}\n{tmp_path / 'vault.key'}\n".encode())
    said = b""
    try:
        while chunk := os.read(ours, 4096):
            said += chunk
    except OSError:  # the other end is closed: it has ended
        pass
    finally:
        os.close(ours)
    assert process.wait(WITHIN) == 0, said
    assert b"Trade recorded prices with play money" in said
    assert (tmp_path / "node/config.toml").exists()


def test_a_node_on_a_real_exchange_is_made_with_limits_that_name_it_and_told_what_comes_next(tmp_path: Path) -> None:
    options = ("--exchange", "kraken", "--vault-key-file", tmp_path / "vault.key", "--non-interactive")
    done = node_agent("init", "--data-dir", tmp_path / "node", *options)
    assert done.returncode == 0, done.stderr
    config, limits = load(tmp_path / "node", {}), load_policy(tmp_path / "node")
    assert (config.node.mode, config.exchange.name, config.exchange.url) == ("live", "kraken", None)
    assert limits.exchanges == {"kraken"}
    assert limits.symbols == {config.exchange.symbol}
    assert "node-agent keys add kraken" in done.stdout
    assert "run --live" in done.stdout
    assert "no key for kraken" in told(node_agent("run", "--live", "--data-dir", tmp_path / "node"), 2)


def test_a_node_trades_on_paper_or_on_an_exchange_and_is_told_which(tmp_path: Path) -> None:
    common = ("init", "--data-dir", tmp_path / "node", "--vault-key-file", tmp_path / "key", "--non-interactive")
    assert "what is it to trade on" in told(node_agent(*common), 2)
    assert "cannot both be meant" in told(node_agent(*common, "--paper", "--exchange", "kraken"), 2)
    assert not (tmp_path / "node").exists()


def test_recorded_prices_are_never_mixed_up_with_a_real_exchange(tmp_path: Path) -> None:
    common = ("init", "--data-dir", tmp_path / "node", "--vault-key-file", tmp_path / "key", "--non-interactive")
    assert "leave one of both out" in node_agent(*common, "--exchange", "kraken", "--candles", CANDLES).stderr
    done = node_agent(*common, "--exchange", "kraken", NODE_PAPER__CANDLES=str(CANDLES))
    assert done.returncode == 0, done.stderr
    assert "recorded candles" not in done.stdout
    assert "real money" in done.stdout
    assert load(tmp_path / "node", {}).paper is None


def test_where_no_symbol_is_usual_one_has_to_be_named(tmp_path: Path) -> None:
    common = ("init", "--data-dir", tmp_path / "node", "--vault-key-file", tmp_path / "key", "--non-interactive")
    assert "--symbol is missing" in told(node_agent(*common, "--exchange", "polymarket"), 2)
    assert not (tmp_path / "node").exists()
