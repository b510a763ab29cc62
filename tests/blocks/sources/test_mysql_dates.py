"""Zero dates, partial dates, and dates that do not exist."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pytest

from blocks.sources.mysql.select import uncarried_condition
from ferry.batch import ExtractQuery
from ferry.errors import DataError
from ferry.schema import TableName

if TYPE_CHECKING:
    from tests.harness.mysql_shop import MySQLShop

IMPOSSIBLE = ["'0000-00-00'", "'2023-00-15'", "'2023-05-00'", "'2023-02-31'"]


@pytest.mark.parametrize(
    "definition", ["DATE", "DATE NOT NULL", "DATETIME", "DATETIME(6) NOT NULL"]
)
def test_dates_that_are_none_are_refused_by_column_and_count(
    shop: MySQLShop, definition: str
) -> None:
    for literal in IMPOSSIBLE:
        with pytest.raises(DataError) as caught:
            shop.read_one(definition, "'2023-01-05'", literal, literal)

        message = str(caught.value)
        assert "2 in 'c'" in message, literal
        assert "first 3 rows" in message, literal
        assert "zero_dates: null" in message, literal
        assert "2023" not in message, literal


@pytest.mark.parametrize(
    "definition", ["DATE", "DATE NOT NULL", "DATETIME", "DATETIME(6) NOT NULL"]
)
def test_dates_that_are_none_are_null_where_the_spec_says_so(
    shop: MySQLShop, definition: str
) -> None:
    values = shop.read_one(definition, "'2023-01-05'", *IMPOSSIBLE, zero_dates="null")

    assert values[0] in (date(2023, 1, 5), datetime(2023, 1, 5))
    assert values[1:] == [None] * len(IMPOSSIBLE)


def test_zero_timestamps_are_refused_or_null(shop: MySQLShop) -> None:
    zero = "'0000-00-00 00:00:00'"
    with pytest.raises(DataError, match="1 in 'c'"):
        shop.read_one("TIMESTAMP NULL", "'2023-01-05'", zero)

    assert shop.read_one("TIMESTAMP NULL", "'2023-01-05'", zero, zero_dates="null") == [
        datetime(2023, 1, 5, tzinfo=UTC),
        None,
    ]


def test_null_and_the_ends_of_the_calendar_are_not_zero_dates(shop: MySQLShop) -> None:
    assert shop.read_one("DATE", "NULL", "'0001-01-01'", "'9999-12-31'", "'2024-02-29'") == [
        None,
        date(1, 1, 1),
        date(9999, 12, 31),
        date(2024, 2, 29),
    ]


def test_forty_date_columns_are_each_looked_at(shop: MySQLShop) -> None:
    columns = ", ".join(f"d{n} DATE" for n in range(40))
    shop.run(f"CREATE TABLE many_dates ({columns})")
    shop.run("INSERT INTO many_dates (d0, d35) VALUES ('2023-01-05', '0000-00-00')")

    with pytest.raises(DataError, match="1 in 'd35', within"):
        shop.read("many_dates")


def test_bounds_pass_zero_dates_over(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE z (d DATE, at DATETIME, none DATE)")
    shop.run("INSERT INTO z VALUES ('0000-00-00', '2023-00-15', '0000-00-00')")
    shop.run("INSERT INTO z VALUES ('2023-01-05', '2023-01-05 00:00:01', '0000-00-00')")
    table = TableName("", "z")

    assert shop.source.bounds(table, "d") == (date(2023, 1, 5), date(2023, 1, 5))
    assert shop.source.bounds(table, "at") == (datetime(2023, 1, 5, 0, 0, 1),) * 2
    assert shop.source.bounds(table, "none") is None


def test_a_window_of_times_does_not_meet_zero_dates(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE z (at DATETIME)")
    shop.run("INSERT INTO z VALUES ('0000-00-00'), ('2023-01-05 00:00:01')")
    query = ExtractQuery(
        shop.source.describe(TableName("", "z")), "at", datetime(2023, 1, 5, tzinfo=UTC)
    )

    assert sum(batch.num_rows for batch in shop.source.read(query)) == 1


def test_the_index_of_the_cursor_column_is_used(shop: MySQLShop) -> None:
    shop.run("CREATE TABLE i (id INT PRIMARY KEY, at DATETIME(6), KEY (at))")
    shop.run(
        "INSERT INTO i SELECT seq, '2023-01-01' + INTERVAL seq MINUTE "
        f"FROM {shop.numbers(1, 20000)}"
    )
    shop.run("ANALYZE TABLE i")
    day = datetime(2023, 1, 5, tzinfo=UTC), datetime(2023, 1, 6, tzinfo=UTC)
    schema = shop.source.describe(TableName("", "i"))

    estimate = shop.source.estimate_rows(ExtractQuery(schema, "at", *day))

    assert estimate is not None
    assert 720 <= estimate <= 2880  # it is 1440; without the index, 20000


@pytest.mark.parametrize("null", ["NULL", "NOT NULL"])
@pytest.mark.parametrize("definition", ["DATE", "DATETIME", "DATETIME(6)", "TIMESTAMP"])
def test_zero_dates_are_counted_by_the_index_and_in_no_query_over_the_column(
    shop: MySQLShop, definition: str, null: str
) -> None:
    shop.run(f"CREATE TABLE z (id INT PRIMARY KEY, at {definition} {null}, KEY (at))")
    good = "2023-01-05"
    values = ["0000-00-00", "1970-01-02", good] + [good] * 500
    if definition != "TIMESTAMP":
        values += ["0000-01-00", "0001-01-01", "2023-00-15"]
    if null == "NULL":
        values += [None]
    with shop.connection.cursor() as cursor:
        cursor.executemany("INSERT INTO z VALUES (%s, %s)", list(enumerate(values)))
    shop.run("ANALYZE TABLE z")
    table = TableName("", "z")
    schema = shop.source.describe(table)
    uncarried = values.count("0000-00-00") + values.count("0000-01-00") + values.count(None)
    condition = uncarried_condition(schema.columns[1])

    assert shop.source.count_uncarried(table, "at") == uncarried
    for bounds in ({}, {"start": datetime(1, 1, 2, tzinfo=UTC)}):
        query = ExtractQuery(schema, "at", **bounds, zero_dates="null", null_cursors="ignore")
        left_out = values.count("2023-00-15") + (values.count("0001-01-01") if bounds else 0)
        rows = sum(batch.num_rows for batch in shop.source.read(query))
        assert rows == len(values) - uncarried - left_out
    (plan,) = shop.run(f"EXPLAIN FORMAT=TRADITIONAL SELECT 1 FROM z WHERE {condition} LIMIT 1")
    assert "range" in plan


_IN_UTC = "TIMESTAMPADD(SECOND, unix, TIMESTAMP'1970-01-01 00:00:00')"


@pytest.mark.parametrize(
    "computed",
    [
        "FROM_UNIXTIME(unix)",
        "CAST(at AS DATETIME)",
        f"CONVERT_TZ({_IN_UTC}, '+00:00', '+00:00')",
    ],
)
def test_what_a_view_computes_by_the_session_s_zone_is_the_wall_clock_of_utc(
    shop: MySQLShop, computed: str
) -> None:
    shop.run("SET SESSION time_zone = '+05:30'")
    shop.run("CREATE TABLE t (id INT PRIMARY KEY, unix INT, at TIMESTAMP NULL)")
    for n, hour in enumerate((22, 23, 24)):  # of 4 January in UTC
        unix = 1672790400 + hour * 3600
        shop.run("INSERT INTO t VALUES (%s, %s, FROM_UNIXTIME(%s))", (n, unix, unix))
    shop.run(f"CREATE VIEW seen AS SELECT id, {computed} AS c FROM t")
    day = datetime(2023, 1, 4, 23, tzinfo=UTC)  # the fifth in Berlin

    told_utc = shop.read("seen", cursor="c", start=day, zone="UTC")
    told_berlin = shop.read("seen", cursor="c", start=day, zone="Europe/Berlin")

    assert told_utc["id"].to_pylist() == [1, 2]
    assert told_utc["c"].to_pylist()[0] == datetime(2023, 1, 4, 23)
    assert told_berlin["id"].to_pylist() == [2]  # an hour late, as the page of this source says
