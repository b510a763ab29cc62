"""The statement that reads a window: names are quoted, values cannot be read as SQL."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from blocks.sources.cursors import cursor_bound
from blocks.sources.mysql.select import Select, literal
from ferry.batch import ExtractQuery
from ferry.errors import RequestError
from ferry.schema import Column, DataType, Kind, TableName, TableSchema


@pytest.mark.parametrize(
    ("value", "sql"),
    [
        (-5, "-5"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0.00000001"), "0.00000001"),
        (date(2023, 1, 5), "DATE'2023-01-05'"),
        (datetime(2023, 1, 5, 1, 2, 3, 4), "TIMESTAMP'2023-01-05 01:02:03.000004'"),
        ("' OR 1=1 -- ", "_utf8mb4 X'27204f5220313d31202d2d20'"),
        ("", "_utf8mb4 X''"),
    ],
)
def test_literals_are_typed(value: Any, sql: str) -> None:
    assert literal(value) == sql


@pytest.mark.parametrize(
    "value", [True, 1.5, None, b"x", Decimal("NaN"), datetime(2023, 1, 5, tzinfo=UTC), [1]]
)
def test_nothing_else_becomes_a_literal(value: Any) -> None:
    with pytest.raises(TypeError):
        literal(value)


def test_the_predicate_is_a_range_on_the_bare_column() -> None:
    at = Column("at `x`", DataType(Kind.TIMESTAMP), native="datetime(6)")
    query = ExtractQuery(
        TableSchema(TableName("", "t"), (Column("id", DataType(Kind.INT32), native="int(11)"),)),
        cursor="at `x`",
        start=datetime(2023, 1, 5, tzinfo=UTC),
        end=datetime(2023, 1, 6, tzinfo=UTC),
    )

    assert Select.build(query, at, "shop", "tag").sql == (
        "SELECT /* tag */ `id` AS c0 FROM `shop`.`t` "
        "WHERE `at ``x``` >= TIMESTAMP'2023-01-05 00:00:00.000000' "
        "AND `at ``x``` < TIMESTAMP'2023-01-06 00:00:00.000000'"
    )


def test_a_day_whose_midnight_is_skipped_begins_with_its_first_moment() -> None:
    day = Column("day", DataType(Kind.DATE))
    zone = "America/Sao_Paulo"  # 4 November 2018 began at 01:00
    first = datetime.fromisoformat("2018-11-04T03:00:00+00:00")

    assert cursor_bound(first, day, zone) == date(2018, 11, 4)


def test_a_moment_within_a_day_bounds_dates_by_the_next() -> None:
    day = Column("day", DataType(Kind.DATE))

    assert cursor_bound(datetime(2023, 1, 5, 0, 0, 1, tzinfo=UTC), day, "UTC") == date(2023, 1, 6)


def test_moments_need_a_zone_to_bound_a_column_of_moments() -> None:
    at = Column("at", DataType(Kind.TIMESTAMPTZ))

    with pytest.raises(RequestError, match="without a zone"):
        cursor_bound(datetime(2023, 1, 5), at, "UTC")
    assert cursor_bound(date(2023, 1, 5), at, "Europe/Berlin") == datetime(2023, 1, 4, 23)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Seoul", "America/New_York"])
def test_a_bound_where_the_calendar_ends_bounds_every_kind_of_column(zone: str) -> None:
    for kind in (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ):
        column = Column("at", DataType(kind))
        for edge in (datetime.min, datetime.max):
            for own in ("UTC", "Asia/Seoul", "America/New_York"):
                bound = cursor_bound(edge.replace(tzinfo=ZoneInfo(own)), column, zone)
                assert isinstance(bound, date)
                assert bound.year == edge.year
    column_of_days = Column("day", DataType(Kind.DATE))
    assert cursor_bound(datetime(1, 1, 1, 9, tzinfo=UTC), column_of_days, "UTC") == date(1, 1, 2)
