"""What this OKX checks and refuses, with which status and code; and what its answers look like."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest

from tests.okx.caller import CANCEL, ORDER, Caller, refusal, rows
from tests.okx.case import CASE, KEY
from tests.okx.signing import sign, stamp
from tests.venue.process import VenueProcess

ACCOUNT = "/api/v5/account/config"
MINE = "a1" * 16


def test_it_is_ready_when_it_says_so_and_ends_well_on_sigterm() -> None:
    with CASE.start() as exchange:
        assert exchange.placed() == []
        assert exchange.stop() == 0


def test_a_signature_is_the_one_that_another_client_is_held_to() -> None:
    """The known answer in the tests of nautilus_trader's adapter for OKX."""
    secret = "chNOOS4KvNXR_Xq4k4c9qsfoKWvnDecLATCRlcBwyKDYnWgO"
    signed = sign(secret, "2020-12-08T09:08:57.715Z", "GET", "/api/v5/account/balance", "")
    assert signed == "PJ61e1nb2F2Qd7D8SPiaIcx2gjdELc+o0ygzre9z33k="


def test_a_request_that_is_signed_as_documented_is_answered(caller: Caller) -> None:
    (told,) = rows(caller.get(ACCOUNT))
    assert (told["perm"], told["ip"]) == ("read_only,trade", "")
    assert rows(caller.get("/api/v5/trade/fills", instType="SPOT", instId="BTC-USDT")) == []
    (placed,) = rows(caller.order(clOrdId=MINE))
    assert set(placed) == {"clOrdId", "ordId", "sCode", "sMsg", "subCode", "tag", "ts"}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"ok_access_key": None}, "50103"),
        ({"ok_access_passphrase": None}, "50104"),
        ({"ok_access_sign": None}, "50106"),
        ({"ok_access_key": "0f0e0d0c-0b0a-4908-8706-000000000000"}, "50111"),
        ({"ok_access_timestamp": "1700000000"}, "50112"),
        ({"ok_access_timestamp": stamp(round(time.time() * 1000) - 3_600_000)}, "50102"),
        ({"ok_access_timestamp": stamp(round(time.time() * 1000) + 3_600_000)}, "50102"),
        ({"ok_access_passphrase": "Close#Sesame1"}, "50105"),
        ({"ok_access_sign": "PJ61e1nb2F2Qd7D8SPiaIcx2gjdELc+o0ygzre9z33k="}, "50113"),
    ],
)
def test_each_part_of_a_signature_is_checked(caller: Caller, changed: dict[str, str | None], code: str) -> None:
    assert refusal(caller.send("GET", ACCOUNT, "", **changed)) == (401, code)


def test_the_signature_is_over_method_path_query_and_body(caller: Caller) -> None:
    now = stamp(round(time.time() * 1000))
    body = '{"instId":"BTC-USDT","ordId":"1"}'
    for method, target, signed in (
        ("GET", f"{ORDER}?instId=BTC-USDT&ordId=1", ("GET", ORDER, "")),
        ("GET", f"{ORDER}?instId=BTC-USDT&ordId=1", ("POST", f"{ORDER}?instId=BTC-USDT&ordId=1", "")),
        ("POST", CANCEL, ("POST", ORDER, body)),
        ("POST", CANCEL, ("POST", CANCEL, body.replace("1", "2"))),
    ):
        wrong = sign(KEY["secret"], now, *signed)
        sent = body if method == "POST" else ""
        answer = caller.send(method, target, sent, ok_access_timestamp=now, ok_access_sign=wrong)
        assert refusal(answer) == (401, "50113")


def test_the_window_of_time_follows_the_exchanges_clock(caller: Caller, exchange: VenueProcess) -> None:
    exchange.clock(60)
    assert refusal(caller.get(ACCOUNT)) == (401, "50102")
    ahead = stamp(round(time.time() * 1000) + 60_000)
    assert caller.send("GET", ACCOUNT, ok_access_timestamp=ahead).status_code == 200
    exchange.clock(25)
    assert caller.get(ACCOUNT).status_code == 200


def test_a_key_that_was_deleted_is_good_for_nothing(caller: Caller, exchange: VenueProcess) -> None:
    exchange.expire_key()
    assert refusal(caller.get(ACCOUNT)) == (200, "50119")


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("/api/v5/public/time", {"x": "1"}, "51000"),
        ("/api/v5/public/instruments", {"instId": "BTC-USDT"}, "50014"),
        ("/api/v5/public/instruments", {"instType": "SPOT", "instId": "BTC-NONE"}, "51001"),
        ("/api/v5/market/candles", {"instId": "BTC-USDT", "bar": "7m"}, "51000"),
        ("/api/v5/market/candles", {"instId": "BTC-USDT", "limit": "301"}, "51000"),
        ("/api/v5/market/ticker", {}, "50014"),
        ("/api/v5/asset/withdrawal", {}, "404"),
    ],
)
def test_a_public_request_is_read_strictly(caller: Caller, path: str, params: dict[str, str], code: str) -> None:
    assert refusal(caller.public(path, **params))[1] == code


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"tag": "6b9ad766b55dBCDE"}, "51000"),
        ({"ccy": "USDT"}, "51000"),
        ({"posSide": "net"}, "51000"),
        ({"attachAlgoOrds": []}, "51000"),
        ({"banAmend": True}, "51000"),
        ({"sz": 0.01}, "51000"),
        ({"px": None}, "50014"),
        ({"ordType": "trigger"}, "51000"),
        ({"clOrdId": "a1-" * 8}, "51000"),
        ({"clOrdId": "a" * 33}, "51000"),
        ({"tdMode": "cross"}, "51010"),
        ({"instId": "BTC-NONE"}, "51001"),
        ({"sz": "0.000001"}, "51020"),
        ({"sz": "0.010000001"}, "51150"),
        ({"px": "30000.01"}, "51150"),
        ({"sz": "50"}, "51008"),
    ],
)
def test_an_order_is_read_strictly(caller: Caller, exchange: VenueProcess, members: dict[str, Any], code: str) -> None:
    assert refusal(caller.order(**members))[1] == code
    assert exchange.placed() == []


def test_a_body_must_be_an_object_in_json(caller: Caller) -> None:
    assert refusal(caller.send("POST", ORDER, "[]")) == (400, "50002")
    assert refusal(caller.send("POST", ORDER, "instId=BTC-USDT")) == (400, "50002")
    assert refusal(caller.send("POST", ORDER, "{}", content_type="text/plain")) == (400, "50006")


def test_an_orders_refusal_stands_in_a_row_of_its_own(caller: Caller) -> None:
    answer = caller.order(sz="50", clOrdId=MINE)
    told = answer.json()
    (row,) = told["data"]
    assert (answer.status_code, told["code"], told["msg"]) == (200, "1", "All operations failed")
    assert (row["clOrdId"], row["ordId"], row["sCode"], row["subCode"]) == (MINE, "", "51008", "1000")


def test_an_id_is_taken_while_its_order_is_open_and_free_again_after(caller: Caller) -> None:
    rows(caller.order(clOrdId=MINE))
    assert refusal(caller.order(clOrdId=MINE)) == (200, "51016")
    rows(caller.post(CANCEL, instId="BTC-USDT", clOrdId=MINE))
    (second,) = rows(caller.order(clOrdId=MINE))
    assert caller.found(MINE)["ordId"] == second["ordId"]  # the latest of them


def test_an_order_is_shown_with_its_fills(caller: Caller) -> None:
    rows(caller.market(clOrdId=MINE, banAmend=True))
    order = caller.found(MINE)
    told = {name: order[name] for name in ("state", "accFillSz", "avgPx", "sz", "tgtCcy", "ordType", "fee", "feeCcy")}
    assert told == {
        "state": "filled",
        "accFillSz": "0.01",
        "avgPx": "40000",
        "sz": "0.01",
        "tgtCcy": "base_ccy",
        "ordType": "market",
        "fee": "-0.00001",
        "feeCcy": "BTC",
    }


def test_a_market_order_is_made_smaller_than_it_was_unless_that_is_forbidden(caller: Caller) -> None:
    assert refusal(caller.market(sz="50", banAmend=True)) == (200, "51008")
    rows(caller.market(sz="50", clOrdId=MINE))
    assert caller.found(MINE)["accFillSz"] == "2.5"


def test_a_market_buy_is_in_the_quote_unless_it_says_otherwise(caller: Caller) -> None:
    rows(caller.market(sz="400", tgtCcy=None, clOrdId=MINE))
    order = caller.found(MINE)
    assert (order["sz"], order["tgtCcy"], order["accFillSz"]) == ("400", "quote_ccy", "0.01")


def test_a_cancel_says_that_it_was_taken_and_no_more(caller: Caller) -> None:
    (placed,) = rows(caller.order(clOrdId=MINE))
    (row,) = rows(caller.post(CANCEL, instId="BTC-USDT", ordId=placed["ordId"]))
    assert set(row) == {"clOrdId", "ordId", "ts", "sCode", "sMsg"}
    assert caller.found(MINE)["state"] == "canceled"
    assert refusal(caller.post(CANCEL, instId="BTC-USDT", ordId=placed["ordId"])) == (200, "51400")
    assert refusal(caller.post(CANCEL, instId="BTC-USDT", clOrdId="b2" * 16)) == (200, "51400")
    assert refusal(caller.post(CANCEL, instId="BTC-USDT")) == (400, "50015")


def test_an_order_that_never_was_is_not_shown(caller: Caller) -> None:
    assert refusal(caller.get(ORDER, instId="BTC-USDT", clOrdId=MINE)) == (200, "51603")
    assert refusal(caller.get(ORDER, instId="BTC-USDT", ordId="1")) == (200, "51603")


def test_nothing_is_known_of_a_cancelled_order_after_two_hours(caller: Caller, exchange: VenueProcess) -> None:
    rows(caller.order(clOrdId=MINE))
    rows(caller.post(CANCEL, instId="BTC-USDT", clOrdId=MINE))
    exchange.clock(3 * 3600)
    later = stamp(round(time.time() * 1000) + 3 * 3_600_000)
    answer = caller.send("GET", f"{ORDER}?instId=BTC-USDT&clOrdId={MINE}", ok_access_timestamp=later)
    assert refusal(answer) == (200, "51603")


def test_lists_begin_with_the_newest_and_go_back_by_ids(caller: Caller) -> None:
    placed = [rows(caller.order(clOrdId=f"{MINE[:-1]}{number}"))[0]["ordId"] for number in range(5)]
    path = "/api/v5/trade/orders-pending"

    def listed(**params: Any) -> list[str]:
        return [row["ordId"] for row in rows(caller.get(path, instId="BTC-USDT", **params))]

    assert listed() == placed[::-1]
    assert listed(limit=2) == [placed[4], placed[3]]
    assert listed(limit=2, after=placed[3]) == [placed[2], placed[1]]
    assert listed(limit=2, before=placed[0]) == [placed[2], placed[1]]
    assert refusal(caller.get(path, limit=101)) == (400, "51000")


def test_ended_orders_since_a_time_begin_at_it_unless_an_end_is_given(caller: Caller) -> None:
    for number in range(4):
        rows(caller.market(clOrdId=f"{MINE[:-1]}{number}"))
    path, now = "/api/v5/trade/orders-history", round(time.time() * 1000)
    asked = {"instType": "SPOT", "state": "filled", "limit": 2, "begin": now - 60_000}
    from_begin = [row["clOrdId"][-1] for row in rows(caller.get(path, **asked))]
    from_end = [row["clOrdId"][-1] for row in rows(caller.get(path, **asked, end=now + 60_000))]
    assert (from_begin, from_end) == (["1", "0"], ["3", "2"])


def test_recent_fills_are_there_at_once_and_all_fills_late(caller: Caller, exchange: VenueProcess) -> None:
    rows(caller.market(clOrdId=MINE))
    asked = {"instType": "SPOT", "instId": "BTC-USDT"}
    recent = rows(caller.get("/api/v5/trade/fills", **asked))
    assert {row["clOrdId"] for row in recent} == {MINE}
    assert all(row["fee"].startswith("-") and row["billId"] != row["tradeId"] for row in recent)
    assert rows(caller.get("/api/v5/trade/fills-history", **asked)) == []
    exchange.clock(4 * 86_400)

    def later(name: str) -> list[dict[str, Any]]:
        now = stamp(round(time.time() * 1000) + 4 * 86_400_000)
        target = f"/api/v5/trade/{name}?instType=SPOT&instId=BTC-USDT"
        return rows(caller.send("GET", target, ok_access_timestamp=now))

    assert (later("fills"), later("fills-history")) == ([], recent)


def test_prices_agree_with_each_other(caller: Caller) -> None:
    (time_,) = rows(caller.public("/api/v5/public/time"))
    assert abs(int(time_["ts"]) - time.time() * 1000) < 5000
    (ticker,) = rows(caller.public("/api/v5/market/ticker", instId="BTC-USDT"))
    assert (ticker["last"], ticker["bidPx"], ticker["askPx"]) == ("40000", "39999.9", "40000.1")
    (book,) = rows(caller.public("/api/v5/market/books", instId="BTC-USDT", sz=2))
    assert book["bids"] == [["39999.9", "1", "0", "1"], ["39999.8", "1", "0", "1"]]
    (rules,) = rows(caller.public("/api/v5/public/instruments", instType="SPOT", instId="BTC-USDT"))
    assert (rules["tickSz"], rules["lotSz"], rules["minSz"]) == ("0.1", "0.00000001", "0.00001")


def test_candles_are_aligned_joined_and_newest_first(caller: Caller) -> None:
    def listed(**params: Any) -> list[Any]:
        return rows(caller.public("/api/v5/market/candles", instId="BTC-USDT", bar="1m", **params))

    candles = listed(limit=5)
    assert len(candles) == 5
    assert all(int(newer[0]) - int(older[0]) == 60_000 for newer, older in pairwise(candles))
    assert all(newer[1] == older[4] for newer, older in pairwise(candles))
    assert [each[8] for each in candles] == ["0", "1", "1", "1", "1"]
    between = listed(before=candles[4][0], after=candles[1][0])
    assert [each[0] for each in between] == [candles[2][0], candles[3][0]]


def test_the_account_tells_what_orders_hold(caller: Caller) -> None:
    rows(caller.order(sz="0.1"))
    (told,) = rows(caller.get("/api/v5/account/balance"))
    usdt = next(each for each in told["details"] if each["ccy"] == "USDT")
    assert (usdt["eq"], usdt["availBal"], usdt["frozenBal"]) == ("100000", "97000", "3000")


def test_the_key_may_trade_and_nothing_else_unless_a_test_says_so(caller: Caller, exchange: VenueProcess) -> None:
    exchange.permissions(perm="read_only,withdraw,trade", ip="192.0.2.1")
    (told,) = rows(caller.get(ACCOUNT))
    assert (told["perm"], told["ip"]) == ("read_only,withdraw,trade", "192.0.2.1")
