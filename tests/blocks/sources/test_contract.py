"""The same promises, kept by every engine in DATABASES.

A web API holds no table that a test can make: test_price_api.py keeps what fits it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from blocks.source import Source
from blocks.sources import DATABASES, MySQLSource, SQLiteSource
from ferry.batch import ExtractQuery
from ferry.errors import RequestError, SchemaError
from ferry.schema import Kind, TableName, TableSchema, arrow_schema
from ferry.windows import day_window
from tests.harness.mysql_shop import SERVERS, ServerName, opened_shop

NPS = TableName("", "nps")
ROWS = [
    (1, 9, Decimal("12.50"), "good", "2023-01-04 23:59:59.999999", "2023-01-04"),
    (2, 0, Decimal("-0.01"), "", "2023-01-05 00:00:00.000000", "2023-01-05"),
    (3, None, None, None, "2023-01-05 12:30:00.000001", "2023-01-05"),
    (4, 7, Decimal("99999999.99"), "ünïcode 🚢 'quoted' \"too\"\n\\", "2023-01-06 00:00:00", None),
    (5, 1, Decimal("0.00"), "NULL", None, "2023-01-06"),
]


Engine = tuple[Source, Callable[..., Any]]


@contextlib.contextmanager
def _mysql(request: pytest.FixtureRequest, server: ServerName, _: Path) -> Iterator[Engine]:
    with opened_shop(request.getfixturevalue(server)) as shop:
        yield shop.source, shop.run


@contextlib.contextmanager
def _sqlite(_: pytest.FixtureRequest, __: None, folder: Path) -> Iterator[Engine]:
    path = folder / "shop.sqlite"

    def run(sql: str, parameters: Any = ()) -> None:
        values = [str(v) if isinstance(v, Decimal) else v for v in parameters]
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(sql.replace("%s", "?").replace("`", '"'), values)

    run("CREATE TABLE made (id INTEGER)")
    yield SQLiteSource(path=str(path)), run


# An engine without an entry here fails: nothing is skipped.
ENGINES: dict[type[Source], tuple[Callable[..., Any], tuple[Any, ...]]] = {
    MySQLSource: (_mysql, SERVERS),
    SQLiteSource: (_sqlite, (None,)),
}


@pytest.fixture(
    scope="module",
    params=[(kind, server) for kind in DATABASES for server in ENGINES[kind][1]],
    ids=lambda each: "-".join(filter(None, (each[0].__name__, each[1]))),
)
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    kind, server = request.param
    with ENGINES[kind][0](request, server, tmp_path_factory.mktemp("engine")) as made:
        yield made


@pytest.fixture
def run(engine: Engine) -> Callable[..., Any]:
    """Runs a statement; what it makes besides stays for the other tests of the engine."""
    return engine[1]


@pytest.fixture(scope="module")
def source(engine: Engine) -> Source:
    """An engine with a table that no test changes."""
    source, run = engine
    run(
        "CREATE TABLE nps (id BIGINT NOT NULL PRIMARY KEY, score SMALLINT, amount DECIMAL(10,2), "
        "comment VARCHAR(100), created_at DATETIME(6), day DATE)"
        if isinstance(source, MySQLSource)
        else "CREATE TABLE nps (id BIGINT NOT NULL PRIMARY KEY, score SMALLINT, "
        "amount DECIMAL(10,2), comment VARCHAR(100), created_at DATETIME, day DATE)"
    )
    for row in ROWS:
        run("INSERT INTO nps VALUES (%s, %s, %s, %s, %s, %s)", row)
    return source


def read(source: Source, schema: TableSchema, **query: Any) -> list[dict[str, Any]]:
    batches = list(source.read(ExtractQuery(schema, **query)))
    for batch in batches:
        assert batch.schema == arrow_schema(schema.columns)
    table = pa.Table.from_batches(batches, schema=arrow_schema(schema.columns))
    return table.to_pylist()


def ids(rows: list[dict[str, Any]]) -> list[int]:
    return sorted(row["id"] for row in rows)


def test_the_catalog_tells_columns_in_their_order_types_and_key(source: Source) -> None:
    schema = source.describe(NPS)

    assert schema.column_names == ("id", "score", "amount", "comment", "created_at", "day")
    assert [c.type.kind for c in schema.columns] == [
        Kind.INT64,
        Kind.INT16,
        Kind.DECIMAL,
        Kind.TEXT,
        Kind.TIMESTAMP,
        Kind.DATE,
    ]
    assert [c.nullable for c in schema.columns] == [False, True, True, True, True, True]
    assert (schema.columns[2].type.precision, schema.columns[2].type.scale) == (10, 2)
    assert schema.columns[3].type.max_bytes == 400
    assert schema.key == ("id",)


def test_a_key_of_several_columns_keeps_the_order_of_the_key(
    source: Source, run: Callable[..., Any]
) -> None:
    run("CREATE TABLE pair (a INTEGER, b INTEGER, c INTEGER, PRIMARY KEY (c, a))")

    assert source.describe(TableName("", "pair")).key == ("c", "a")


def test_excluded_columns_are_left_out_of_the_schema(source: Source) -> None:
    assert "comment" not in source.describe(NPS, exclude=["COMMENT"]).column_names


def test_a_whole_table_arrives_unchanged(source: Source) -> None:
    rows = sorted(read(source, source.describe(NPS)), key=lambda row: row["id"])

    expected = [
        (*row[:4], row[4] and datetime.fromisoformat(row[4]), row[5] and date.fromisoformat(row[5]))
        for row in ROWS
    ]
    assert [tuple(row.values()) for row in rows] == expected


def test_null_and_the_empty_text_stay_apart(source: Source) -> None:
    rows = {row["id"]: row["comment"] for row in read(source, source.describe(NPS))}

    assert rows[2] == ""
    assert rows[3] is None
    assert rows[5] == "NULL"


def test_columns_come_in_the_order_of_the_query(source: Source) -> None:
    schema = source.describe(NPS)
    turned = dataclasses.replace(schema, columns=(schema.columns[3], schema.columns[0]))

    rows = read(source, turned)

    assert [list(row) for row in rows] == [["comment", "id"]] * len(ROWS)


def test_a_window_is_half_open_to_the_microsecond(source: Source) -> None:
    window = day_window(date(2023, 1, 5))

    rows = read(
        source, source.describe(NPS), cursor="created_at", start=window.start, end=window.end
    )

    assert ids(rows) == [2, 3]


def test_a_bound_within_a_second_keeps_its_microseconds(source: Source) -> None:
    schema = source.describe(NPS)
    start = datetime(2023, 1, 5, 12, 30, 0, 1, tzinfo=UTC)

    assert ids(read(source, schema, cursor="created_at", start=start)) == [3, 4]
    assert ids(read(source, schema, cursor="created_at", end=start)) == [1, 2]


def test_wall_clock_columns_are_bounded_in_the_query_s_zone(source: Source) -> None:
    # 5 January in Berlin, as the wall clock there shows it; its bounds in UTC are an hour earlier.
    window = day_window(date(2023, 1, 5), "Europe/Berlin")

    rows = read(
        source,
        source.describe(NPS),
        cursor="created_at",
        start=window.start.astimezone(UTC),
        end=window.end.astimezone(UTC),
        zone="Europe/Berlin",
    )

    assert ids(rows) == [2, 3]


def test_date_columns_are_bounded_by_days(source: Source) -> None:
    window = day_window(date(2023, 1, 5), "Europe/Berlin")

    query = {"start": window.start, "end": window.end, "zone": "Europe/Berlin"}
    rows = read(source, source.describe(NPS), cursor="day", **query)

    assert ids(rows) == [2, 3]


def test_every_day_is_in_exactly_one_of_the_hours(source: Source) -> None:
    schema = source.describe(NPS)
    zone = ZoneInfo("America/Sao_Paulo")
    hours = [datetime(2023, 1, 5, hour, tzinfo=zone) for hour in range(24)]
    hours.append(datetime(2023, 1, 6, tzinfo=zone))

    found: list[int] = []
    for start, end in pairwise(hours):
        query = {"cursor": "day", "start": start, "end": end, "zone": "America/Sao_Paulo"}
        found += ids(read(source, schema, **query))

    assert found == [2, 3]


def test_numbers_bound_as_well(source: Source) -> None:
    schema = source.describe(NPS)

    assert ids(read(source, schema, cursor="id", start=2, end=4)) == [2, 3]
    assert ids(read(source, schema, cursor="amount", start=Decimal("12.50"))) == [1, 4]


def test_text_bounds_are_values_never_sql(source: Source) -> None:
    schema = source.describe(NPS)

    assert read(source, schema, cursor="comment", start="x' OR '1'='1", end="z") == []
    assert ids(read(source, schema, cursor="comment", start="good", end="good\\'")) == [1]


def test_the_cursor_need_not_be_among_the_columns(source: Source) -> None:
    schema = source.describe(NPS, exclude=["created_at"])

    assert ids(
        read(source, schema, cursor="created_at", start=datetime(2023, 1, 6, tzinfo=UTC))
    ) == [4]


def test_an_empty_window_has_no_rows(source: Source) -> None:
    schema = source.describe(NPS)
    window = day_window(date(1999, 1, 1))

    assert read(source, schema, cursor="created_at", start=window.start, end=window.end) == []


@pytest.mark.parametrize(
    ("cursor", "bound"),
    [
        ("id", "1"),
        ("id", True),
        ("created_at", 5),
        ("day", "2023-01-05"),
        ("comment", 1),
        ("amount", 1.5),
    ],
)
def test_a_bound_of_another_kind_than_its_column_is_refused(
    source: Source, cursor: str, bound: Any
) -> None:
    with pytest.raises(RequestError, match=cursor):
        read(source, source.describe(NPS), cursor=cursor, start=bound)


def test_an_unknown_table_is_named_with_names_that_come_close(source: Source) -> None:
    with pytest.raises(SchemaError) as caught:
        source.describe(TableName("", "npz"))

    assert "'npz'" in str(caught.value)
    assert "'nps'" in str(caught.value)


def test_an_unknown_cursor_column_is_named_with_names_that_come_close(source: Source) -> None:
    with pytest.raises(SchemaError, match=r"'create_at'.*'created_at'"):
        read(source, source.describe(NPS), cursor="create_at", start=datetime.now(UTC))


def test_bounds_are_the_lowest_and_highest_value(source: Source) -> None:
    assert source.bounds(NPS, "id") == (1, 5)
    assert source.bounds(NPS, "amount") == (Decimal("-0.01"), Decimal("99999999.99"))
    assert source.bounds(NPS, "day") == (date(2023, 1, 4), date(2023, 1, 6))
    assert source.bounds(NPS, "created_at") == (
        datetime(2023, 1, 4, 23, 59, 59, 999999),
        datetime(2023, 1, 6),
    )


def test_bounds_can_be_given_back_as_they_came(source: Source) -> None:
    found = source.bounds(NPS, "created_at")
    assert found is not None

    rows = read(source, source.describe(NPS), cursor="created_at", start=found[0], end=found[1])

    assert ids(rows) == [1, 2, 3]


def test_a_column_without_values_has_no_bounds(source: Source, run: Callable[..., Any]) -> None:
    run("CREATE TABLE bare (id INTEGER, at DATE)")
    run("INSERT INTO bare VALUES (1, NULL)")

    assert source.bounds(TableName("", "bare"), "at") is None


def test_rows_without_a_cursor_are_counted_and_in_no_query_over_it(source: Source) -> None:
    schema = source.describe(NPS)
    counts = [source.count_uncarried(NPS, name) for name in ("id", "amount", "Created_At", "day")]

    assert counts == [0, 1, 1, 1]
    assert ids(read(source, schema, cursor="id")) == [1, 2, 3, 4, 5]
    assert ids(read(source, schema, cursor="amount")) == [1, 2, 4, 5]
    assert ids(read(source, schema, cursor="created_at")) == [1, 2, 3, 4]
    assert ids(read(source, schema, cursor="day", end=datetime(2023, 1, 6, tzinfo=UTC))) == [
        1,
        2,
        3,
    ]


def test_the_estimate_is_about_right(source: Source) -> None:
    estimate = source.estimate_rows(ExtractQuery(source.describe(NPS)))

    assert estimate is not None
    assert 1 <= estimate <= 20


def test_views_are_read_like_tables(source: Source, run: Callable[..., Any]) -> None:
    run("CREATE VIEW good AS SELECT id, amount, created_at FROM nps WHERE score > 5")
    schema = source.describe(TableName("", "good"))

    assert schema.key == ()
    assert ids(read(source, schema)) == [1, 4]


def test_names_may_be_anything(source: Source, run: Callable[..., Any]) -> None:
    names = ["select", "a b", "x :name ?", "100%", "ünï", "it's", "back\\slash"]
    columns = ", ".join(f"`{name}` INTEGER" for name in names)
    run(f"CREATE TABLE `order by 'x'` ({columns})")
    run("INSERT INTO `order by 'x'` VALUES (1, 2, 3, 4, 5, 6, 7)")
    schema = source.describe(TableName("", "order by 'x'"))

    assert schema.column_names == tuple(names)
    assert read(source, schema, cursor="x :name ?", start=3) == [
        dict(zip(names, range(1, 8), strict=True))
    ]


def test_batches_add_up_over_many(source: Source, run: Callable[..., Any]) -> None:
    small = source.model_copy(update={"batch_rows": 2})

    batches = list(small.read(ExtractQuery(source.describe(NPS))))

    assert sum(batch.num_rows for batch in batches) == len(ROWS)
    assert max(batch.num_rows for batch in batches) <= 2


def test_a_read_that_is_abandoned_leaves_nothing_behind(
    source: Source, run: Callable[..., Any]
) -> None:
    run("CREATE TABLE abandoned (id INTEGER PRIMARY KEY)")
    run("INSERT INTO abandoned SELECT id FROM nps")
    schema = source.describe(TableName("", "abandoned"))
    batches = source.model_copy(update={"batch_rows": 1}).read(ExtractQuery(schema))
    next(batches)
    batches.close()
    assert len(read(source, schema)) == len(ROWS)
    if isinstance(source, MySQLSource):
        run("SET SESSION lock_wait_timeout = 5")
    run("DROP TABLE abandoned")  # waits for whoever reads it still, and not for long
    if isinstance(source, MySQLSource):  # whose connection others have, too
        run("SET SESSION lock_wait_timeout = DEFAULT")


def test_blocks_say_what_they_are(source: Source) -> None:
    kind = type(source)

    assert kind.get_block_type_slug().endswith("-source")
    assert kind.get_description()
    assert kind.get_code_example()
    for name, field in kind.model_fields.items():
        assert field.description, name


def test_a_block_survives_being_saved_and_loaded(source: Source, prefect_server: object) -> None:
    source.save("shop", overwrite=True)

    loaded = type(source).load("shop")

    assert loaded.describe(NPS) == source.describe(NPS)
