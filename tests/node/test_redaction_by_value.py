"""A secret that was brought in once shows nowhere, however it is written; and what is no secret stays as it is."""

from __future__ import annotations

import io
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretBytes, SecretStr

from node_agent import exchange_keys, redaction
from node_agent.cli.errors import CliError
from node_agent.exchange_keys import Attestation, ExchangeKey
from node_agent.exchanges import catalogue
from node_agent.redaction import Secrets, redacted
from node_agent.vault import Vault, VaultKey
from tests.node.secrets_written import PEM, encoded, lines, spelled
from tests.node.values import START

AWKWARD = "ab1 \t\r\n\"'\\%+/=&?#-_.~é€😀\x00\x85\u2028"
SECRETS = st.text(min_size=8, max_size=200) | st.text(AWKWARD, min_size=8, max_size=60) | st.just(PEM)
TOLD = SECRETS.filter(lambda text: len(text.strip()) >= 8)
AROUND = st.text(max_size=20) | st.text(AWKWARD + "0123456789abcdefABCDEF", max_size=20)

KNOWN_TO_ALL = {"wallet", "kind"}
"""Parts of an exchange's key that are no secret: Polymarket shows whose wallet an order is of."""


def knowing(*values: Any) -> Secrets:
    secrets = Secrets()
    for each in values:
        secrets.hide(each)
    return secrets


@given(TOLD, AROUND, AROUND)
@example("correct horse battery", "", "")
@example("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "aaa", "aaaa")
@example("it's \"both\" \\ and \\' more", "'", '"')
def test_a_secret_does_not_show_however_it_is_spelled(secret: str, before: str, behind: str) -> None:
    secrets = knowing(secret)
    for written in spelled(secret):
        assert written not in secrets.redacted(before + written + behind)


@pytest.mark.parametrize(
    ("secret", "written"),
    [
        ("it's (all) * of/it!", "it%27s%20%28all%29%20%2A%20of%2Fit%21"),  # Python
        ("it's (all) * of/it!", "it's%20(all)%20*%20of%2Fit!"),  # browsers, and ccxt
        ("it's (all) * of/it!", "it%27s%20%28all%29%20%2a%20of/it%21"),
        ("canary/value/of/it", r"canary\/value\/of\/it"),  # PHP's JSON
        ("0xABCDEF0123456789abcdef", "abcdef0123456789abcdef"),
        ("abcdef0123456789abcdef", "ABCDEF0123456789ABCDEF"),
        ("canary?>~?>~?>~", "Y2FuYXJ5Pz5%2bPz5%2bPz5%2b"),
        ("half \udc80 of a character", r"half \udc80 of a character"),
    ],
)
def test_a_secret_does_not_show_in_the_manner_of_other_programs(secret: str, written: str) -> None:
    assert knowing(secret).redacted(f"<{written}>") == "<[redacted]>"


@given(TOLD, AROUND, AROUND)
def test_a_secret_does_not_show_in_hex_or_in_base64_alone_or_as_a_part(secret: str, before: str, behind: str) -> None:
    secrets = knowing(secret)
    for written in encoded(secret):
        shown = secrets.redacted(f"{before} {written} {behind}")
        assert written not in shown
        # Of what is alone in base64, all but some edge is the secret.
        assert written[4:-6] not in shown


@given(st.binary(min_size=32, max_size=64), st.text(max_size=20))
@example(bytes(range(160, 192)), "")
def test_bytes_that_are_no_text_do_not_show(secret: bytes, before: str) -> None:
    secrets = knowing(SecretBytes(secret))
    shown = secrets.redacted([f"{before}{secret!r}", secret, b"ab" + secret + b"c", {"x": bytearray(secret)}])
    assert not any(str(secret)[2:-1] in each for each in map(str, shown))
    as_text = (secret.decode("latin-1"), secret.decode(errors="replace"), repr(secret)[2:-1], quote(secret))
    for written in (*as_text, secret.hex(), secret.hex().upper(), b64encode(secret).decode()):
        assert written not in secrets.redacted(before + " " + written)


def test_bytes_that_are_partly_text_are_hidden_before_they_are_made_one() -> None:
    secret = "éé".encode() + b"\xff canary"
    assert knowing(secret).redacted(b"<" + secret + b">") == "<[redacted]>"


@pytest.mark.parametrize("around", ["user:{}", "a{}", "{}", '{{"key": "{}", "more": "canary"}}'])
@pytest.mark.parametrize("secret", ["canary-value", "canary of a value that is longer than what it is known by?>~"])
@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode, bytes.hex])
def test_an_encoded_word_with_a_secret_in_it_is_hidden_whole(
    secret: str, around: str, encode: Callable[[bytes], Any]
) -> None:
    word = encode(around.format(secret).encode())
    assert (
        knowing(secret).redacted(b"< %b >" % (word if isinstance(word, bytes) else word.encode())) == "< [redacted] >"
    )


def test_what_stands_around_a_secret_when_it_is_brought_in_is_no_part_of_it() -> None:
    assert knowing(" canary-value\n").redacted("<canary-value>") == "<[redacted]>"


def test_of_a_secret_that_repeats_itself_nothing_is_left() -> None:
    assert knowing("abababab").redacted("<ababababab>") == "<[redacted]>"


@given(st.text("abcdefghijklmnopqrstuvwxyz0123456789+/", min_size=30, max_size=80), st.data())
def test_what_was_cut_off_is_hidden_too(secret: str, data: st.DataObject) -> None:
    cut = secret[: data.draw(st.integers(24, len(secret)))]
    assert knowing(secret).redacted(f"words {cut}") == "words [redacted]"


def test_a_json_with_a_secret_that_was_cut_off_is_still_one() -> None:
    secrets = knowing("a canary of a long first line\nand of another")
    told = secrets.redacted(json.dumps({"said": '"a canary of a long first line" and so on'}))
    assert json.loads(told) == {"said": '"[redacted]" and so on'}


@pytest.mark.parametrize("written", lines(PEM))
def test_a_line_of_a_key_is_hidden_where_it_stands_alone(written: str) -> None:
    assert knowing(PEM).redacted(f"  | {written}") == "  | [redacted]"


@pytest.mark.parametrize("kind", [str, str.encode, SecretStr, lambda text: SecretBytes(text.encode())])
def test_a_secret_is_taken_in_as_whatever_it_comes(kind: Callable[[str], Any]) -> None:
    assert knowing(kind("canary-value")).redacted("a canary-value") == "a [redacted]"


@given(TOLD, TOLD, TOLD, AROUND)
def test_of_two_secrets_that_overlap_nothing_is_left(one: str, shared: str, other: str, around: str) -> None:
    one, shared, other = one.strip(), shared.strip(), other.strip()
    shown = knowing(one + shared, shared + other).redacted(f"{around}<{one}{shared}{other}>{around}")
    for each in (one + shared, shared + other):
        assert each not in shown


def test_secrets_that_share_characters_are_hidden_as_one() -> None:
    assert knowing("abcdefghij", "ghijklmnop").redacted("<abcdefghijklmnop>") == "<[redacted]>"


def deep(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    )


@given(TOLD, st.data())
def test_a_secret_does_not_show_from_any_depth_nor_as_the_name_of_a_field(secret: str, data: st.DataObject) -> None:
    leaves = st.sampled_from(
        [secret, secret.encode(), ValueError(secret), (secret, 1), {secret: 1}, {("x", secret): secret}, None, 5]
    )
    shown = knowing(secret).redacted(data.draw(deep(leaves)))
    written = json.dumps(shown, ensure_ascii=False)
    assert secret not in written
    assert json.dumps(secret, ensure_ascii=False)[1:-1] not in written


def test_what_has_no_end_is_hidden_from_some_depth_on() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert "[redacted]" in json.dumps(redacted(endless))


def test_what_cannot_be_printed_stops_no_log() -> None:
    class Mute:
        def __str__(self) -> str:
            raise ValueError

    assert redacted({"what": Mute()}) == {"what": "<Mute that does not print>"}


@given(st.text() | st.text("abcdefghij klmnop:=.,{}[]()'\"0123456789-", max_size=80))
def test_what_is_no_secret_stays(text: str) -> None:
    secrets = knowing("a canary that nobody writes", PEM, bytes(range(200, 240)))
    for place in (text, [text], {"event": text}):
        assert secrets.redacted(place) == place


def test_a_value_that_is_too_short_is_in_too_many_words_to_be_hidden() -> None:
    secrets = knowing("abc", "", " ", "         short  ", b"\xff\xfe")
    assert secrets.redacted("an abc that is short") == "an abc that is short"
    assert knowing("eight ch").redacted("an eight chance") == "an [redacted]ance"


def test_of_a_record_the_values_under_secret_names_are_hidden_and_the_rest_is_not() -> None:
    record = {"parts": {"key": "canary-key", "secret": PEM}, "added_at": "2026-01-01T00:00:00Z", "by": "Alice Owner"}
    secrets = knowing(json.dumps(record).encode())
    assert secrets.redacted("canary-key, added 2026-01-01T00:00:00Z by Alice Owner") == (
        "[redacted], added 2026-01-01T00:00:00Z by Alice Owner"
    )
    assert secrets.redacted(lines(PEM)[0]) == "[redacted]"
    assert knowing('{"without": "a secret name"}').redacted('x {"without": "a secret name"}') == "x [redacted]"
    assert knowing('{"no JSON at all').redacted('{"no JSON at all') == "[redacted]"


def test_what_knows_the_secrets_does_not_print_them() -> None:
    secrets = knowing("canary-value")
    assert "canary" not in f"{secrets!r} {secrets} {secrets.hide!r} {secrets.redacted!r} {redaction.hide!r}"


def test_a_secret_that_is_added_later_is_hidden_in_names_seen_before() -> None:
    secrets = knowing()
    assert secrets.redacted({"canary-value": 1}) == {"canary-value": 1}
    secrets.hide("canary-value")
    assert secrets.redacted({"canary-value": 1}) == {"[redacted]": 1}


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> Secrets:
    """What the process knows from here on."""
    secrets = Secrets()
    monkeypatch.setattr(redaction, "hide", secrets.hide)
    return secrets


def test_what_is_put_into_the_vault_is_hidden(tmp_path: Path, ours: Secrets) -> None:
    vault = Vault.create(tmp_path / "vault.json", VaultKey.generate_file(tmp_path / "key"))
    vault.put("one", b"canary-value")
    assert ours.redacted("canary-value") == "[redacted]"


def test_what_the_vault_gives_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = VaultKey.generate_file(tmp_path / "key")
    Vault.create(tmp_path / "vault.json", key).put("one", b"canary-value")
    later = Secrets()
    monkeypatch.setattr(redaction, "hide", later.hide)
    Vault.open(tmp_path / "vault.json", key).get("one")
    assert later.redacted("canary-value") == "[redacted]"


def test_the_vaults_own_key_and_passphrase_are_hidden(tmp_path: Path, ours: Secrets) -> None:
    VaultKey.generate_file(tmp_path / "key")
    written = (tmp_path / "key").read_text().strip()
    assert ours.redacted(f"the key {written}") == "the key [redacted]"
    again = Secrets()
    VaultKey.from_file(tmp_path / "key")
    VaultKey.from_passphrase(SecretStr("correct horse battery"))
    assert ours.redacted("correct horse battery") == "[redacted]"
    assert again.redacted("correct horse battery") == "correct horse battery"


def test_a_key_that_a_passphrase_makes_is_hidden(
    tmp_path: Path, ours: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bytes] = []
    monkeypatch.setattr("node_agent.vault.Fernet", made.append)
    key = VaultKey.from_passphrase(SecretStr("correct horse battery"))
    key.fernet(key.derivation())
    assert ours.redacted(made[0]) == "[redacted]"


@pytest.mark.parametrize("exchange", catalogue.EXCHANGES)
def test_every_secret_part_of_an_exchanges_key_is_hidden_once_the_vault_has_it(
    exchange: str, tmp_path: Path, ours: Secrets
) -> None:
    parts = {each.name: f"canary-{each.name}-of-it" for each in catalogue.profile_of(exchange).credentials}
    vault = Vault.create(tmp_path / "vault.json", VaultKey.generate_file(tmp_path / "key"))
    attested = Attestation("Alice Owner", START)
    key = ExchangeKey(exchange, {name: SecretStr(part) for name, part in parts.items()}, START, attested)
    exchange_keys.keep(vault, key)
    shown = {name for name, part in parts.items() if ours.redacted(part) == part}
    assert shown <= KNOWN_TO_ALL
    assert ours.redacted("Alice Owner") == "Alice Owner"


def test_an_error_of_a_command_shows_no_secret_in_its_line_or_hints() -> None:
    redaction.hide("canary-of-a-command")
    said = io.StringIO()
    CliError("cannot use canary-of-a-command", "not canary-of-a-command").show(said)
    assert said.getvalue() == "node-agent: error: cannot use [redacted]\nhint: not [redacted]\n"
