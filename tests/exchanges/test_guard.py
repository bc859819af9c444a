"""What the guard lets go, and what a stranger would try to get past it, as values."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from node_agent.exchanges import allowlist
from node_agent.exchanges.allowlist import AllowlistError, parse
from node_agent.exchanges.catalogue import EXCHANGES
from node_agent.exchanges.guard import Forbidden, Guard

LIST = """
exchange = "shop"
body = "json"
headers = ["x-key"]

[[allowed]]
why = "place an order"
method = "POST"
url = "https://api.shop.example/v1/orders"
call = "private orders"
acts = true
query = ["sign"]
body = ["id", "size", "config.limit.price", "mode", "tags[]"]
only = { mode = ["cash"] }
must = ["mode"]

[[allowed]]
why = "one order"
method = "GET"
url = "https://api.shop.example/v1/orders/{order_id}"
call = "private orders/{order_id}"
query = ["full"]
"""
ORDERS = "https://api.shop.example/v1/orders"
GUARD = Guard(parse("shop", LIST))


def asked(method: str = "GET", url: str = f"{ORDERS}/a-1_B", headers: Any = None, body: Any = None) -> None:
    GUARD.request(method, url, headers, body)


def test_what_is_on_the_list_goes() -> None:
    asked()
    asked(url=f"{ORDERS}/abc?full=yes")
    asked("POST", ORDERS, {"X-Key": "k", "Content-Type": "application/json"}, '{"id": "1", "mode": "cash"}')
    asked(
        "POST",
        f"{ORDERS}?sign=ab%2Bc",
        None,
        b'{"mode": "cash", "config": {"limit": {"price": "1"}}, "tags": ["a", "b"]}',
    )
    GUARD.call(["private"], "GET", "orders/{order_id}")
    GUARD.call("private", "POST", "orders")


@pytest.mark.parametrize(
    "url",
    [
        f"{ORDERS}/../accounts",
        f"{ORDERS}/..",
        f"{ORDERS}/.",
        f"{ORDERS}/%2e%2e/accounts",
        f"{ORDERS}/%2E%2E",
        f"{ORDERS}/a%2Fb",
        f"{ORDERS}//a",
        f"{ORDERS}/a/",
        f"{ORDERS}/a/b",
        f"{ORDERS}/",
        f"{ORDERS}/a#b",
        f"{ORDERS}/a;b=c",
        f"{ORDERS}/a\\b",
        f"{ORDERS}/a\n",
        f"{ORDERS}/a ",
        f"{ORDERS}/\uff41",
        f"{ORDERS}/" + "a" * 129,
        f"{ORDERS}/a?",
        f"{ORDERS}/a?full",
        f"{ORDERS}/a?full=1&full=2",
        f"{ORDERS}/a?full=1&other=2",
        f"{ORDERS}/a?full=1&",
        f"{ORDERS}/a?full=1#x",
        f"{ORDERS}/a?full=%zz",
        f"{ORDERS}/a?full=é",
        f"{ORDERS}/a?fu%6cl=1",
        "http://api.shop.example/v1/orders/a",
        "HTTPS://api.shop.example/v1/orders/a",
        "https://api.shop.example:443/v1/orders/a",
        "https://api.shop.example./v1/orders/a",
        "https://API.shop.example/v1/orders/a",
        "https://user@api.shop.example/v1/orders/a",
        "https://user:word@api.shop.example/v1/orders/a",
        "https://api.shop.example@evil.example/v1/orders/a",
        "https://api.shop.example.evil.example/v1/orders/a",
        "https://evil.example/https://api.shop.example/v1/orders/a",
        "https:/api.shop.example/v1/orders/a",
        "//api.shop.example/v1/orders/a",
        "wss://api.shop.example/v1/orders/a",
        "https://api.shop.example/v2/orders/a",
        "https://api.shop.example/v1/Orders/a",
        "",
    ],
)
def test_an_address_that_is_another_in_any_way_is_refused(url: str) -> None:
    with pytest.raises(Forbidden):
        asked(url=url)


@pytest.mark.parametrize("method", ["get", "HEAD", "PUT", "PATCH", "DELETE", "POST", "GET ", ""])
def test_another_method_is_another_endpoint(method: str) -> None:
    with pytest.raises(Forbidden):
        asked(method)


@pytest.mark.parametrize(
    "body",
    [
        '{"id": "1", "leverage": "2"}',
        '{"mode": "cross"}',
        '{"mode": ["cash", "cross"]}',
        '{"mode": null}',
        '{"mode": ["cash"]}',
        '{"": {"mode": "cash"}, "id": "1"}',
        '{"mode": "cash", "tags": "a"}',
        '{"mode": "cash", "tags[]": "a"}',
        '{"mode": "cash", "tags": [["a"]]}',
        '{"mode": "cash", "config": [{"limit": {"price": "1"}}, {"limit": {"price": "2"}}]}',
        '{"mode": "cash", "config": {"limit": [{"price": "1"}, {"price": "2"}]}}',
        '{"mode": "cash", "mode": "cross"}',
        '{"config": {"market": {"size": "1"}}}',
        '{"config.limit.price": "1"}',
        '{"config": {"limit": {"price": {"deep": 1}}}}',
        '{"other": {}}',
        '{"other": []}',
        '[{"id": "1"}]',
        '"id"',
        "id=1",
        '{"id": "1"} {"leverage": "2"}',
        '{"id": NaN}',
        '{"id": "' + "x" * 20_000 + '"}',
    ],
)
def test_a_body_with_anything_that_is_not_expected_is_refused_for_that(body: str) -> None:
    with pytest.raises(Forbidden) as refused:
        asked("POST", ORDERS, None, body)
    assert "without" not in str(refused.value)


@pytest.mark.parametrize("body", ['{"id": "1"}', "{}", "", None, '{"id": "mode"}'])
def test_a_body_without_what_is_needed_is_refused(body: str | None) -> None:
    with pytest.raises(Forbidden, match="without mode"):
        asked("POST", ORDERS, None, body)


def test_a_read_carries_no_body_beyond_its_list() -> None:
    with pytest.raises(Forbidden):
        asked(body='{"id": "1"}')


@pytest.mark.parametrize("name", ["Host", "X-HTTP-Method-Override", "X-Forwarded-Host", "Transfer-Encoding", "Cookie"])
def test_a_header_that_is_not_expected_is_refused(name: str) -> None:
    with pytest.raises(Forbidden, match=name):
        asked(headers={name: "x"})


@pytest.mark.parametrize(
    ("api", "method", "path"),
    [
        ("private", "POST", "orders/{order_id}"),
        ("public", "POST", "orders"),
        (["private", "v2"], "POST", "orders"),
        ("private", "GET", "orders/../accounts"),
        ("private", "GET", "orders/abc"),
        ("", "", ""),
    ],
)
def test_an_endpoint_by_another_name_is_refused(api: Any, method: str, path: str) -> None:
    with pytest.raises(Forbidden):
        GUARD.call(api, method, path)


def test_only_what_was_let_go_may_be_sent() -> None:
    GUARD.passed(("GET", ORDERS), ("GET", ORDERS))
    for sent, let_go in [
        (("GET", ORDERS), None),
        (("POST", ORDERS), ("GET", ORDERS)),
        (("GET", f"{ORDERS}/a"), ("GET", ORDERS)),
    ]:
        with pytest.raises(Forbidden):
            GUARD.passed(sent, let_go)


def test_a_refusal_does_not_repeat_what_may_be_a_secret() -> None:
    with pytest.raises(Forbidden) as refused:
        asked(url=f"{ORDERS}/../x?sign=topsecret", headers={"x-key": "topsecret"})
    assert "topsecret" not in str(refused.value)


@given(st.text(max_size=40))
@example("-")
def test_no_id_makes_another_path_of_it(name: str) -> None:
    url = f"{ORDERS}/{name}"
    try:
        asked(url=url)
    except Forbidden:
        return
    plain = name.partition("?")[0]
    assert plain
    assert set(plain) <= set(string.ascii_letters + string.digits + "-_")


@given(st.text(alphabet=st.sampled_from("./%2eEfF\\#?@:a-;&= \t"), max_size=24), st.sampled_from(EXCHANGES))
def test_no_list_lets_a_path_be_climbed(tail: str, exchange: str) -> None:
    whole = allowlist.read(exchange)
    guard = Guard(whole)
    for each in whole.allowed:
        for url in (each.url + tail, each.url.replace("{", "").replace("}", "") + tail):
            try:
                guard.request(each.method, url, None, None)
            except Forbidden:
                continue
            path = url.partition("?")[0]
            assert ".." not in path
            assert not set("%#\\@;") & set(path)
            assert "//" not in path.removeprefix("https://")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('https://api.shop.example/v1/orders"', 'http://api.shop.example/v1/orders"'), "https"),
        (("/v1/orders/{order_id}", "/v1/../{order_id}"), "plain path"),
        (("/v1/orders/{order_id}", "/v1/{order_id}.json"), "plain path"),
        (('why = "one order"\n', ""), "why"),
        (('method = "GET"', 'method = "PATCH"'), "method"),
        (("only = { mode", "only = { other"), "other is not sent"),
        (('exchange = "shop"', 'exchange = "stall"'), "one of stall"),
        (('query = ["full"]', 'querry = ["full"]'), "querry"),
    ],
)
def test_a_list_that_is_not_written_well_is_told_and_used_for_nothing(change: tuple[str, str], said: str) -> None:
    assert change[0] in LIST
    with pytest.raises(AllowlistError, match=said):
        parse("shop", LIST.replace(*change))


@pytest.mark.parametrize(
    ("exchange", "path", "body"),
    [
        ("coinbase", "/orders", '{"product_id": "BTC-PERP-INTX", "side": "BUY"}'),
        (
            "cryptocom",
            "/create-order",
            '{"method": "private/create-order", "params": {"spot_margin": "SPOT", "instrument_name": "BTCUSD-PERP"}}',
        ),
        ("okx", "/order", '{"tdMode": "cash", "instId": "BTC-USDT-SWAP"}'),
        ("binance", "/order", "symbol=BTCUSDT&type=TAKE_PROFIT_LIMIT"),
        ("binance", "/order", "symbol=BTCUSDT&side=SHORT"),
        ("kraken", "/AddOrder", "pair=XBTUSD&price=%2B5%25"),
        ("kraken", "/AddOrder", "pair=XBTUSD&price=-5"),
    ],
)
def test_an_order_is_one_of_the_spot_market_and_of_a_kind_that_is_known(exchange: str, path: str, body: str) -> None:
    whole = allowlist.read(exchange)
    (url,) = (each.url for each in whole.allowed if each.acts and each.method == "POST" and each.url.endswith(path))
    with pytest.raises(Forbidden, match="than it may have"):
        Guard(whole).request("POST", url, None, body)
