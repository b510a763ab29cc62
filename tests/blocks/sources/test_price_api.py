"""The price API over HTTP on loopback: what its answers become, and what its faults do.

The contract of the databases' sources is not run over it: it holds no table that a test could make,
and has one cursor. What of the contract fits it is here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from blocks.sources import DATABASES, SOURCES, PriceAPISource
from blocks.sources.price_api.answers import read_days
from deployments.local.price_api import Fault, PriceAPI
from ferry.batch import ExtractQuery
from ferry.errors import (
    AccessError,
    BusyError,
    ConfigurationError,
    ConnectionLostError,
    DataError,
    FerryError,
    IncompleteReadError,
    RequestError,
    SchemaError,
)
from ferry.schema import TableName, arrow_schema
from ferry.windows import day_window

TABLE = TableName("", "stock_prices")
MONDAY, FRIDAY = date(2024, 3, 4), date(2024, 3, 8)
WEEK = {"cursor": "date", "start": MONDAY, "end": date(2024, 3, 11)}
PRICES = ("open", "high", "low", "close", "volume")


@pytest.fixture
def api() -> Iterator[PriceAPI]:
    with PriceAPI() as api:
        yield api


@pytest.fixture
def prices(api: PriceAPI) -> PriceAPISource:
    return PriceAPISource(
        base_url=api.url,
        symbols=["AAPL", "SAP.DE", "7203.T"],
        pause_seconds=0,
        backoff_seconds=0.01,
    )


def only(prices: PriceAPISource, *symbols: str, **changes: Any) -> PriceAPISource:
    return prices.model_copy(update={"symbols": list(symbols), **changes})


def read(prices: PriceAPISource, found: list[Any] | None = None, **query: Any) -> list[Any]:
    """The rows; into `found` as they come, for a read that does not end well."""
    rows = [] if found is None else found
    schema = prices.describe(TABLE)
    for batch in prices.read(ExtractQuery(schema, **{**WEEK, **query})):
        assert batch.schema == arrow_schema(schema.columns)
        rows += batch.to_pylist()
    return rows


def test_a_week_arrives_value_for_value_and_weekends_are_no_gaps(
    api: PriceAPI, prices: PriceAPISource
) -> None:
    before = datetime.now(UTC)
    rows = read(prices, end=date(2024, 3, 12))

    days = [MONDAY + timedelta(days=n) for n in (0, 1, 2, 3, 4, 7)]
    assert [(row["symbol"], row["date"]) for row in rows] == [
        (symbol, day) for symbol in prices.symbols for day in days
    ]
    for row in rows:
        assert {name: row[name] for name in PRICES} == api.bar(row["symbol"], row["date"])
        assert before <= row["created_date"] <= datetime.now(UTC)


def test_each_symbol_is_one_call_of_the_documented_shape(
    api: PriceAPI, prices: PriceAPISource
) -> None:
    read(only(prices, "^GSPC", user_agent="ferry of Example Ltd"))

    (call,) = api.calls
    assert (call.symbol, call.user_agent) == ("^GSPC", "ferry of Example Ltd")
    assert {k: v for k, v in call.query.items() if "period" not in k} == {
        "interval": "1d",
        "events": "history",
    }


def test_a_day_is_the_exchange_s_own_whichever_zone_bounds_it(prices: PriceAPISource) -> None:
    window = day_window(FRIDAY, "America/Los_Angeles")
    bounds = {"start": window.start, "end": window.end, "zone": window.zone}

    rows = read(prices, **bounds)

    assert [(row["symbol"], row["date"]) for row in rows] == [
        (symbol, FRIDAY) for symbol in prices.symbols
    ]


def test_a_range_without_trading_has_no_rows(prices: PriceAPISource) -> None:
    assert read(prices, start=date(2024, 3, 9), end=date(2024, 3, 11)) == []
    assert read(prices, start=date(2024, 1, 1), end=date(2024, 1, 2)) == []
    assert read(prices, start=date(2005, 3, 4), end=date(2005, 3, 9)) == []  # not listed yet


def test_a_day_that_is_not_over_at_its_exchange_is_left_for_the_next_run(
    prices: PriceAPISource,
) -> None:
    today = datetime.now(UTC).date()
    rows = read(prices, start=today - timedelta(days=7), end=today + timedelta(days=3))
    assert rows
    assert max(row["date"] for row in rows) < today + timedelta(days=1)
    # The same answer, looked at before and after midnight in New York.
    body = answer([1709562600], {name: [1] for name in PRICES})
    for hour, kept in ((4, 0), (5, 1)):
        found = read_days(body, "AAPL", datetime(2024, 3, 5, hour, 30, tzinfo=UTC), None, None)
        assert len(found.days) == kept


def answer(stamps: list[Any], quote: dict[str, Any], **meta: Any) -> bytes:
    result = {
        "meta": {"symbol": "AAPL", "exchangeTimezoneName": "America/New_York", **meta},
        "timestamp": stamps,
        "indicators": {"quote": [quote]},
    }
    return json.dumps({"chart": {"result": [result], "error": None}}).encode()


def test_of_two_bars_of_one_day_the_later_counts() -> None:
    body = answer([1709562600, 1709586000], {name: [1, 2] for name in PRICES})
    (day,) = read_days(body, "AAPL", datetime.now(UTC), None, None).days
    assert (day.date, day.close) == (MONDAY, 2)


def test_days_with_a_null_price_are_skipped_counted_and_told_and_a_null_volume_is_null(
    api: PriceAPI, prices: PriceAPISource, caplog: pytest.LogCaptureFixture
) -> None:
    api.correct("AAPL", MONDAY, close=None)
    api.correct("AAPL", FRIDAY, **dict.fromkeys(PRICES))
    api.correct("SAP.DE", MONDAY, volume=None)

    rows = read(prices)

    apple = [row["date"] for row in rows if row["symbol"] == "AAPL"]
    assert apple == [MONDAY + timedelta(days=n) for n in (1, 2, 3)]
    assert len(rows) == 3 + 5 + 5
    assert [r["date"] for r in rows if r["volume"] is None] == [MONDAY]
    assert "days without all four prices were skipped: AAPL 2" in caplog.text


UNUSABLE = {
    "html": (b"<!DOCTYPE html><html>Sign in</html>", "HTML instead of JSON"),
    "not-json": (b'{"chart": {"resu', r"malformed \(not JSON"),
    "empty": (b"", r"malformed \(not JSON"),
    "another-shape": (b'{"prices": []}', r"malformed \(chart: missing"),
    "no-result": (b'{"chart": {"result": [], "error": null}}', "does not hold one result"),
    "price-as-text": (
        answer([1709562600], {**{name: [1] for name in PRICES}, "low": ["p1anted"]}),
        r"malformed \(chart.result.0.indicators.quote.0.low.0: float_type\)",
    ),
    "not-a-number": (
        answer([1709562600], {**{name: [1] for name in PRICES}, "open": [float("nan")]}),
        r"malformed .*finite_number",
    ),
    "volume-too-large": (
        answer([1709562600], {**{name: [1] for name in PRICES}, "volume": [2**63]}),
        r"malformed .*volume",
    ),
    "lists-differ": (
        answer([1709562600, 1709649000], {name: [1] for name in PRICES}),
        "different lengths",
    ),
    "no-lists": (answer([1709562600], {}), "different lengths"),
    "unknown-zone": (
        answer([1709562600], {name: [1] for name in PRICES}, exchangeTimezoneName="Mars/Base"),
        "time zone is unknown",
    ),
    "another-symbol": (
        answer([1709562600], {name: [1] for name in PRICES}, symbol="MSFT"),
        "for another symbol",
    ),
    "by-month": (
        answer([1709562600], {name: [1] for name in PRICES}, dataGranularity="1mo"),
        "not by day",
    ),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_an_answer_that_cannot_be_used_leaves_its_symbol_out_and_says_why(
    api: PriceAPI, prices: PriceAPISource, kind: str
) -> None:
    body, reason = UNUSABLE[kind]
    api.faults["AAPL"] = [Fault(body=body)]
    found: list[Any] = []

    with pytest.raises(IncompleteReadError, match=rf"1 of 3 symbols .*AAPL: .*{reason}") as caught:
        read(prices, found)

    assert {row["symbol"] for row in found} == {"SAP.DE", "7203.T"}
    assert "p1anted" not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"


def test_a_symbol_that_there_is_not_is_named_and_does_not_stop_the_others(
    prices: PriceAPISource,
) -> None:
    found: list[Any] = []
    with pytest.raises(IncompleteReadError, match=r"\(NOPE: the API knows no such symbol\)"):
        read(only(prices, "NOPE", "AAPL"), found)
    assert len(found) == 5


def test_without_a_single_usable_answer_nothing_was_read(prices: PriceAPISource) -> None:
    with pytest.raises(DataError, match="2 of 2 symbols could not be read") as caught:
        read(only(prices, "NOPE", "NADA"))
    assert not isinstance(caught.value, IncompleteReadError)
    assert "base_url" not in str(caught.value)  # the API itself knows none of them


@pytest.mark.seconds
def test_retry_after_is_kept_to_and_then_the_answer_counts(
    api: PriceAPI, prices: PriceAPISource
) -> None:
    api.faults["AAPL"] = [
        Fault(503, b"", {"Retry-After": in_seconds(3)}),
        Fault(429, b"Too Many Requests", {"Retry-After": "1"}),
    ]
    assert len(read(only(prices, "AAPL"))) == 5
    waits = [later.at - earlier.at for earlier, later in pairwise(api.calls)]
    assert len(waits) == 2
    assert waits[0] > 0.5
    assert waits[1] >= 1


def in_seconds(seconds: int) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


def test_without_retry_after_the_wait_doubles(api: PriceAPI, prices: PriceAPISource) -> None:
    api.faults["AAPL"] = [Fault(status, b"<html>busy</html>") for status in (429, 408, 502)]
    assert len(read(only(prices, "AAPL", backoff_seconds=0.1))) == 5
    waits = [later.at - earlier.at for earlier, later in pairwise(api.calls)]
    assert [wait >= least for wait, least in zip(waits, (0.1, 0.2, 0.4), strict=True)] == [True] * 3


def test_calls_keep_their_distance(api: PriceAPI, prices: PriceAPISource) -> None:
    read(prices.model_copy(update={"pause_seconds": 0.2}))
    assert all(later.at - earlier.at >= 0.2 for earlier, later in pairwise(api.calls))


BUSY = Fault(429, b"", {"Retry-After": "0"})


@pytest.mark.parametrize(
    ("faults", "changes", "kind", "told"),
    [
        ([BUSY] * 4, {}, BusyError, "HTTP 429, 4 times"),
        ([Fault(500, b"")] * 4, {}, BusyError, "HTTP 500, 4 times"),
        ([Fault(429, b"", {"Retry-After": "3600"})], {}, BusyError, "a wait of 3,600 s"),
        ([Fault(cut=True)] * 4, {}, ConnectionLostError, "RemoteProtocolError, 4 times"),
        (
            [Fault(delay_seconds=0.5)] * 2,
            {"timeout_seconds": 0.1, "attempts": 2},
            ConnectionLostError,
            "within 0.1 s; found ReadTimeout, 2 times",
        ),
        ([Fault(401, b"")], {}, AccessError, "HTTP 401"),
        ([Fault(403, b"")], {}, AccessError, "HTTP 403"),
        ([Fault(302, b"", {"Location": "/else"})], {}, ConfigurationError, "HTTP 302"),
    ],
    ids=["429", "500", "long-wait", "cut", "slow", "401", "403", "302"],
)
def test_what_concerns_the_api_and_not_a_symbol_ends_the_read(
    api: PriceAPI,
    prices: PriceAPISource,
    faults: list[Fault],
    changes: dict[str, Any],
    kind: type[FerryError],
    told: str,
) -> None:
    api.faults["AAPL"] = list(faults)
    with pytest.raises(kind, match=told):
        read(prices.model_copy(update=changes))
    assert {call.symbol for call in api.calls} == {"AAPL"}
    assert len(api.calls) == len(faults)


def test_a_cut_answer_is_asked_for_again(api: PriceAPI, prices: PriceAPISource) -> None:
    api.faults["AAPL"] = [Fault(cut=True)]
    assert len(read(only(prices, "AAPL"))) == 5


def test_an_api_that_is_not_there_or_elsewhere_is_told_apart_from_a_symbol_that_is_not(
    prices: PriceAPISource, api: PriceAPI
) -> None:
    with pytest.raises(ConnectionLostError, match="ConnectError"):
        read(prices.model_copy(update={"base_url": "http://127.0.0.1:1"}))
    with pytest.raises(DataError, match=r"AAPL: the answer is HTML.*Look at `base_url` of the"):
        read(only(prices, "AAPL", base_url=f"{api.url}/wrong"))


def test_a_correction_is_in_the_next_read(api: PriceAPI, prices: PriceAPISource) -> None:
    api.correct("AAPL", MONDAY, close=1.25)
    assert read(only(prices, "AAPL"))[0]["close"] == 1.25


def test_the_table_is_always_the_same_and_needs_no_call(
    api: PriceAPI, prices: PriceAPISource
) -> None:
    schema = prices.describe(TABLE, exclude=["VOLUME"])
    assert schema.column_names == ("symbol", "date", *PRICES[:-1], "created_date")
    assert schema.key == ("symbol", "date")
    assert [c.name for c in schema.columns if c.read_time] == ["created_date"]
    with pytest.raises(SchemaError, match="no column 'adjclose'"):
        prices.describe(TABLE, exclude=["adjclose"])
    assert api.calls == []


def test_only_the_date_bounds_a_read(prices: PriceAPISource) -> None:
    with pytest.raises(RequestError, match="the cursor `date`"):
        read(prices, cursor="created_date")


def test_bounds_nulls_and_estimate_are_those_of_the_rows(
    api: PriceAPI, prices: PriceAPISource
) -> None:
    one = only(prices, "AAPL")
    low, high = one.bounds(TABLE, "date") or (None, None)
    assert low == date(2010, 1, 4)
    assert isinstance(high, date) and datetime.now(UTC).date() - high <= timedelta(days=4)
    assert one.count_uncarried(TABLE, "date") == 0
    assert one.count_uncarried(TABLE, "volume") == 0
    api.correct("AAPL", MONDAY, volume=None)
    assert one.count_uncarried(TABLE, "volume") == 1
    assert prices.estimate_rows(ExtractQuery(prices.describe(TABLE), **WEEK)) == 15


@pytest.mark.parametrize(
    "fields",
    [
        {"base_url": "ftp://prices.example.com"},
        {"base_url": "https://me:s3cret@prices.example.com"},
        {"base_url": "https://prices.example.com/v8/finance/chart"},
        {"base_url": "https://prices.example.com/v8/finance/chart/AAPL"},
        {"symbols": []},
        {"symbols": ["AAPL", "../etc"]},
        {"symbols": ["."]},
    ],
)
def test_a_block_with_wrong_fields_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PriceAPISource(**{"base_url": "https://prices.example.com", "symbols": ["A"], **fields})


def test_symbols_are_upper_case_and_there_once() -> None:
    source = PriceAPISource(base_url="https://prices.example.com/", symbols=["aapl", " AAPL", "B"])
    assert (source.symbols, source.base_url) == (["AAPL", "B"], "https://prices.example.com")
    gateway = "https://gateway.example.com/prices"  # a path of its own
    assert PriceAPISource(base_url=gateway, symbols=["AAPL"]).base_url == gateway


def test_the_block_says_what_it_is_and_survives_being_saved(prefect_server: object) -> None:
    source = PriceAPISource(base_url="https://prices.example.com", symbols=["AAPL"])
    source.save("prices", overwrite=True)
    assert PriceAPISource.load("prices").symbols == ["AAPL"]
    assert PriceAPISource.get_block_type_slug() == "price-api-source"
    assert PriceAPISource.get_description() and PriceAPISource.get_code_example()
    assert all(field.description for field in PriceAPISource.model_fields.values())
    assert set(SOURCES) - set(DATABASES) == {PriceAPISource}


def test_a_body_without_an_end_is_given_up(prices: PriceAPISource, api: PriceAPI) -> None:
    api.faults["AAPL"] = [Fault(body=b" " * 65_000_000)]
    with pytest.raises(DataError, match="longer than any answer"):
        read(only(prices, "AAPL"))


def test_the_server_s_prices_are_the_same_in_every_process(api: PriceAPI) -> None:
    query = {"period1": "1709510400", "period2": "1709596800"}
    body = httpx.get(f"{api.url}/v8/finance/chart/AAPL", params=query).json()
    (result,) = body["chart"]["result"]
    assert result["timestamp"] == [1709562600]
    assert result["indicators"]["quote"][0]["volume"] == [88613608]
