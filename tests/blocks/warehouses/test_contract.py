"""The promises of a warehouse, the same for every engine."""

from __future__ import annotations

import json
import pickle
import threading
import traceback
from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from math import copysign
from typing import Any

import pytest

from ferry import statements as sql
from ferry.batch import StageFormat
from ferry.errors import ConflictError, DataError, FerryError, SchemaError
from ferry.schema import Column, DataType, Kind, TableName, fits
from ferry.statements import PARAM, Statement
from ferry.summaries.query import parse_query
from ferry.target.key_index import create_index

EVERY_KIND = (
    Column("a_boolean", DataType(Kind.BOOLEAN)),
    Column("an_int16", DataType(Kind.INT16)),
    Column("an_int32", DataType(Kind.INT32)),
    Column("an_int64", DataType(Kind.INT64), nullable=False),
    Column("a_decimal", DataType(Kind.DECIMAL, 38, 10)),
    Column("a_money", DataType(Kind.DECIMAL, 19, 4)),
    Column("a_float32", DataType(Kind.FLOAT32)),
    Column("a_float64", DataType(Kind.FLOAT64)),
    Column("a_date", DataType(Kind.DATE)),
    Column("a_time", DataType(Kind.TIME)),
    Column("a_timestamp", DataType(Kind.TIMESTAMP)),
    Column("a_moment", DataType(Kind.TIMESTAMPTZ)),
    Column("a_text", DataType(Kind.TEXT, max_bytes=400)),
    Column("a_long_text", DataType(Kind.TEXT)),
    Column("a_binary", DataType(Kind.BINARY, max_bytes=400)),
    Column("a_json", DataType(Kind.JSON)),
)
ROWS: list[tuple[Any, ...]] = [
    (
        *(True, -32768, -2147483648, -9223372036854775808),
        *(Decimal("-9999999999999999999999999999.9999999999"), Decimal("-999999999999999.9999")),
        *(1.5, -2.2250738585072014e-308, date(1000, 1, 1), time(0, 0), datetime(1000, 1, 1)),
        datetime(1970, 1, 1, tzinfo=UTC),
        *("", "", b"", "{}"),
    ),
    (
        *(False, 32767, 2147483647, 9223372036854775807),
        *(Decimal("9999999999999999999999999999.9999999999"), Decimal("999999999999999.9999")),
        *(-1.5, 0.1, date(9999, 12, 31), time(23, 59, 59, 999999)),
        datetime(9999, 12, 31, 23, 59, 59, 999999),
        datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC),
        *('a "quoted", \\ text\r\nof lines\n', "'€uro' 😀 \\N NULL null", bytes(range(256))),
        '{"a": ["\\"", "\\\\", "\\n", "é😀"], "n": 1.5, "x": null}',
    ),
    (
        *(None, None, None, 1, None, Decimal("0.0001")),
        *(None, None, date(2024, 2, 29), time(1, 2, 3), datetime(2024, 2, 29, 1, 2, 3, 1)),
        *(None, " padded ", "~null", b"\x00\\x", "[1, 2]"),
    ),
    tuple(0 if each.name == "an_int64" else None for each in EVERY_KIND),
]
TWO = (Column("id", DataType(Kind.INT32)), Column("name", DataType(Kind.TEXT, max_bytes=40)))
SECRET = "s3cret-row-value"


def stored(engine: Any, columns: tuple[Column, ...]) -> list[tuple[Any, ...]]:
    names = ", ".join(f'"{each.name}"' for each in columns)
    rows = engine.warehouse.fetch(
        f'SELECT {names} FROM "{engine.schema}"."t" ORDER BY an_int64, a_text'
    )
    return [comparable(row, columns) for row in rows]


def comparable(row: tuple[Any, ...], columns: tuple[Column, ...]) -> tuple[Any, ...]:
    return tuple(
        json.loads(value) if each.type.kind is Kind.JSON and value is not None else value
        for value, each in zip(row, columns, strict=True)
    )


def everything_said(error: BaseException) -> str:
    """The message, the traceback with all its causes, and what a pickle would carry."""
    texts = ["".join(traceback.format_exception(error)), repr(error)]
    each: BaseException | None = error
    while each is not None:
        texts += [repr(each.args), str(getattr(each, "pgerror", "")), repr(each.__reduce__())]
        each = each.__cause__ or each.__context__
    texts.append(repr(pickle.dumps(error)))
    return "\n".join(texts)


def test_describe_tells_what_native_type_declared(engine: Any) -> None:
    made = engine.warehouse.describe(engine.create(EVERY_KIND))
    assert made is not None
    assert made.column_names == tuple(each.name for each in EVERY_KIND)
    for column, found in zip(EVERY_KIND, made.columns, strict=True):
        assert found.type.kind is column.type.kind, found
        assert found.nullable is column.nullable, found
        assert found.native, found
        # Without a limit there may be one after all, where the engine has no type without.
        limited = column.type.max_bytes is not None or column.type.kind is Kind.DECIMAL
        assert fits(column.type, found.type) or not limited, found


def test_describe_tells_none_of_a_table_that_is_not_there(engine: Any) -> None:
    assert engine.warehouse.describe(engine.table("nowhere")) is None
    assert engine.warehouse.describe(TableName("no_such_schema", "t")) is None
    assert engine.warehouse.describe(TableName("", "nowhere")) is None


def test_describe_shows_columns_of_types_that_ferry_does_not_load(engine: Any) -> None:
    columns = f"id INTEGER, added {engine.foreign_type}"
    engine.warehouse.execute(f'CREATE TABLE "{engine.schema}"."t" ({columns})')
    made = engine.warehouse.describe(engine.table())
    assert [each.type.kind for each in made.columns] == [Kind.INT32, Kind.OTHER]
    assert not fits(DataType(Kind.TEXT, max_bytes=1), made.columns[1].type)


def test_a_type_that_would_change_values_is_refused(engine: Any) -> None:
    assert engine.warehouse.native_type(DataType(Kind.DECIMAL, engine.widest_decimal, 0))
    for digits in (engine.widest_decimal + 1, 0):
        with pytest.raises(SchemaError):
            engine.warehouse.native_type(DataType(Kind.DECIMAL, digits, 0))
    with pytest.raises(SchemaError):
        engine.warehouse.native_type(DataType(Kind.OTHER))


@pytest.mark.parametrize("format", StageFormat)
def test_every_value_arrives_as_it_left(engine: Any, format: StageFormat) -> None:
    if format not in engine.warehouse.capabilities.stage_formats:
        with pytest.raises(SchemaError):
            engine.warehouse.copy_in(
                engine.table(), engine.stage_rows(EVERY_KIND, ROWS, format=format), engine.stage
            )
        return
    refused = engine.refused.get(format, ())
    kept = [i for i, each in enumerate(EVERY_KIND) if each.type.kind not in refused]
    columns = tuple(EVERY_KIND[i] for i in kept)
    rows = [tuple(row[i] for i in kept) for row in ROWS]
    table = engine.create(columns)
    staged = engine.stage_rows(columns, rows[:1], rows[1:2], rows[2:], format=format)
    assert engine.warehouse.copy_in(table, staged, engine.stage) == len(ROWS)
    if format is StageFormat.CSV and not engine.warehouse.capabilities.empty_binary_in_csv:
        rows = [tuple(None if value == b"" else value for value in row) for row in rows]
    expected = sorted((comparable(row, columns) for row in rows), key=lambda row: row[3])
    assert stored(engine, columns) == expected


def test_a_text_like_the_null_marker_is_no_null_when_quoted(engine: Any) -> None:
    columns = (Column("an_int64", DataType(Kind.INT64)), Column("a_text", DataType(Kind.TEXT)))
    table = engine.create(columns)
    staged = engine.stage_text(columns, b'1,"~null-test"\n2,~null-test~\n3,""\n')
    assert engine.warehouse.copy_in(table, staged, engine.stage) == 3
    assert stored(engine, columns) == [(1, "~null-test"), (2, None), (3, "")]


def test_json_stays_the_text_that_it_is_just_where_the_engine_says_so(engine: Any) -> None:
    columns = (Column("id", DataType(Kind.INT32)), Column("j", DataType(Kind.JSON)))
    table, document = engine.create(columns), '{"k": 1, "k": 2}'
    kept = []
    with suppress(DataError):
        engine.warehouse.copy_in(table, engine.stage_rows(columns, [(1, document)]), engine.stage)
        kept = engine.warehouse.fetch(f'SELECT j FROM "{engine.schema}"."t"')
    says_so = engine.warehouse.capabilities.json_digits is None
    assert (kept == [(document,)]) is says_so


BY_COPY_ALONE = {Kind.BINARY, Kind.JSON}  # the stage step never sends them by INSERT


def test_parameters_arrive_as_they_left(engine: Any) -> None:
    kept = [i for i, each in enumerate(EVERY_KIND) if each.type.kind not in BY_COPY_ALONE]
    columns = tuple(EVERY_KIND[i] for i in kept)
    rows = [tuple(row[i] for i in kept) for row in ROWS]
    table = engine.create(columns)
    insert = f'INSERT INTO "{table.schema}"."t" VALUES ({", ".join([PARAM] * len(columns))})'
    with engine.warehouse.transaction() as tx:
        for row in rows:
            assert tx.execute(Statement(insert, row)) == 1
    expected = sorted((comparable(row, columns) for row in rows), key=lambda row: row[3])
    assert stored(engine, columns) == expected


NOT_A_MARK = ("?", "%", "%s", "%%", "%(a)s", "$1", ":a", 'a"?"', "'%s'")


def test_a_zero_has_the_sign_as_a_parameter_that_it_has_out_of_a_text(engine: Any) -> None:
    columns = tuple(column for column in EVERY_KIND if "float" in column.name)
    table = engine.create(columns)
    engine.warehouse.execute(sql.insert_rows(table, columns, [(-0.0, -0.0), (-0.5, 0.5)]))
    text = ", ".join(["CAST('-0' AS DOUBLE PRECISION)"] * 2)
    engine.warehouse.execute(f'INSERT INTO "{table.schema}"."t" VALUES ({text})')
    found = engine.warehouse.fetch(f'SELECT * FROM "{table.schema}"."t"')
    given, read = ([copysign(1, value) for value in row] for row in found if row == (0, 0))
    assert given == read


@pytest.mark.parametrize("odd", NOT_A_MARK)
def test_nothing_in_a_name_or_a_literal_is_taken_for_a_value(engine: Any, odd: str) -> None:
    table = engine.table(f"t{odd}")
    columns = (Column(f"c{odd}", TWO[1].type), Column(odd, TWO[0].type))
    engine.warehouse.execute(sql.create_table(table, columns, engine.warehouse.native_type))
    assert engine.warehouse.execute(sql.insert_rows(table, columns, [(odd, 1), ("b", 2)])) == 2
    select = sql.select_where(table, columns, f"c{odd}", odd)
    assert engine.warehouse.fetch(select) == [(odd, 1)]
    text, first = odd.replace("'", "''"), sql.quoted(columns[0].name)
    literals = f"SELECT '{text}' FROM {sql.table_sql(table)} WHERE {first} LIKE '%{text}'"
    assert engine.warehouse.fetch(literals) == [(odd,)] * (2 if set(odd) == {"%"} else 1)
    both = Statement(f"{literals} AND {first} = {PARAM}", (odd,))
    assert engine.warehouse.fetch(both) == [(odd,)]
    with engine.warehouse.transaction() as tx:
        assert tx.fetch(both) == [(odd,)]
        assert tx.execute(sql.delete_between(table, odd, 1, 2)) == 1
    described = engine.warehouse.describe(table)
    assert described.column_names == tuple(column.name for column in columns)
    assert engine.warehouse.fetch(sql.count_rows(table)) == [(1,)]


def test_a_value_with_our_own_mark_is_a_value_and_a_name_with_it_is_refused(engine: Any) -> None:
    table = engine.create(TWO)
    held = f"a{PARAM}b"
    insert = sql.insert_rows(table, TWO, [(1, held)])
    if engine.warehouse.capabilities.nul_in_text:
        assert engine.warehouse.execute(insert) == 1
        assert engine.warehouse.fetch(sql.select_where(table, TWO, "name", held)) == [(1, held)]
    else:
        with pytest.raises(DataError):
            engine.warehouse.execute(insert)
    for place in (TableName(engine.schema, held), TableName(held, "t")):
        with pytest.raises(SchemaError, match="NUL"):
            engine.warehouse.fetch(sql.count_rows(place))
    with pytest.raises(ValueError, match="0 values for the 1 parameters"):
        engine.warehouse.execute(f'DELETE FROM "{held}"')
    assert len(engine.warehouse.fetch(sql.count_rows(table))) == 1


def test_schemas_tables_and_indexes_are_told_by_their_names(engine: Any) -> None:
    engine.create(TWO, "t%s")
    assert engine.warehouse.has_schema(engine.schema)
    assert not engine.warehouse.has_schema(engine.schema + "%")
    assert engine.warehouse.tables_in(engine.schema) == ["t%s"]
    assert engine.warehouse.tables_in("no_such_schema") == []
    assert engine.warehouse.indexes_in(engine.schema) == []
    if engine.warehouse.capabilities.max_index_bytes:
        engine.warehouse.execute(create_index("i%s", engine.table("t%s"), ["id"]))
        assert engine.warehouse.indexes_in(engine.schema) == [("t%s", "i%s")]


def test_moments_are_fetched_in_utc_and_percent_signs_are_left_alone(engine: Any) -> None:
    moment = engine.as_moment.format("'2024-01-01 02:00:00+02'")
    (row,) = engine.warehouse.fetch(f"SELECT {moment}, '100%'")
    assert row == (datetime(2024, 1, 1, tzinfo=UTC), "100%")
    assert row[0].utcoffset().total_seconds() == 0


def bad_files(engine: Any, format: StageFormat = StageFormat.CSV) -> Any:
    good = b"".join(b'%d,"n"\n' % i for i in range(1000))
    return engine.stage_text(TWO, good, b'1,"a"\n2,"b"\n' + SECRET.encode() + b',"c"\n4,"d"\n')


def test_a_bad_value_loads_nothing_and_is_located_without_being_told(engine: Any) -> None:
    table = engine.create(TWO)
    with pytest.raises(DataError) as caught:
        engine.warehouse.copy_in(table, bad_files(engine), engine.stage)
    message = str(caught.value)
    assert "file part-1.csv" in message
    assert "line 3" in message
    assert "column id" in message
    assert SECRET not in everything_said(caught.value)
    assert engine.warehouse.fetch(f'SELECT count(*) FROM "{engine.schema}"."t"') == [(0,)]


def test_a_null_where_none_may_be_is_told(engine: Any) -> None:
    columns = (Column("id", DataType(Kind.INT32), nullable=False), TWO[1])
    table = engine.create(columns)
    with pytest.raises(DataError, match=r"part-0\.csv.*column id|part-0\.csv") as caught:
        engine.warehouse.copy_in(table, engine.stage_rows(columns, [(None, SECRET)]), engine.stage)
    assert SECRET not in everything_said(caught.value)


def test_a_missing_column_is_a_schema_error(engine: Any) -> None:
    engine.create(TWO[:1])
    with pytest.raises(SchemaError):
        engine.warehouse.copy_in(engine.table(), engine.stage_rows(TWO, [(1, "a")]), engine.stage)
    with pytest.raises(SchemaError):
        engine.warehouse.fetch(f'SELECT nope FROM "{engine.schema}"."t"')
    with pytest.raises(SchemaError):
        engine.warehouse.execute(f'DELETE FROM "{engine.schema}"."nowhere"')


def test_values_in_statements_and_keys_are_not_told(engine: Any) -> None:
    engine.create(TWO)
    number, table = engine.as_number.format, f'"{engine.schema}"."t"'
    insert = f"INSERT INTO {table} VALUES ({PARAM}, {PARAM})"
    statements: list[Statement | str] = [
        Statement(f"INSERT INTO {table} VALUES ({number(PARAM)}, {PARAM})", (SECRET, "x")),
        "SELECT " + number(f"'{SECRET}'"),
        f"SELEC '{SECRET}'",
        f"SELECT '{SECRET}' '{SECRET}' FROM",
        Statement(insert, (1, SECRET + "\ud800")),
    ]
    for statement in statements:
        with pytest.raises(FerryError) as caught:
            engine.warehouse.execute(statement)
        assert SECRET not in everything_said(caught.value), statement


def test_the_rows_that_a_statement_touched_are_told(engine: Any) -> None:
    engine.create(TWO)
    table = f'"{engine.schema}"."t"'
    with engine.warehouse.transaction() as tx:
        assert tx.execute(f"INSERT INTO {table} VALUES (1, 'a'), (2, 'b'), (3, 'c')") == 3
        assert tx.execute(f"UPDATE {table} SET name = 'z' WHERE id > 1") == 2
        assert tx.execute(f"DELETE FROM {table} WHERE id = 9") == 0
        assert tx.fetch(f"SELECT id FROM {table} WHERE name = 'z' ORDER BY id") == [(2,), (3,)]
    assert engine.warehouse.execute(f"DELETE FROM {table}") == 3
    assert engine.warehouse.execute(f'CREATE TABLE {table[:-2]}u" (id INTEGER)') == 0


def test_a_transaction_that_raises_is_rolled_back(engine: Any) -> None:
    engine.create(TWO)
    insert = f'INSERT INTO "{engine.schema}"."t" VALUES (1, \'a\')'
    with pytest.raises(KeyboardInterrupt), engine.warehouse.transaction() as tx:
        tx.execute(insert)
        raise KeyboardInterrupt
    assert engine.warehouse.fetch(f'SELECT * FROM "{engine.schema}"."t"') == []


def test_a_transaction_in_which_a_statement_failed_is_never_committed(engine: Any) -> None:
    engine.create(TWO)
    with pytest.raises(FerryError), engine.warehouse.transaction() as tx:
        tx.execute(f'INSERT INTO "{engine.schema}"."t" VALUES (1, \'a\')')
        with pytest.raises(FerryError):
            tx.execute(f'INSERT INTO "{engine.schema}"."nowhere" VALUES (1)')
        if engine.goes_on_after_errors:
            tx.execute("SELEC")
    assert engine.warehouse.fetch(f'SELECT * FROM "{engine.schema}"."t"') == []


def test_lock_is_the_first_statement_and_makes_other_writers_wait(engine: Any) -> None:
    engine.create(TWO)
    table = f'"{engine.schema}"."t"'
    mode = engine.warehouse.capabilities.lock_mode
    inside, order = threading.Event(), []

    def other() -> None:
        inside.wait(10)
        with engine.warehouse.transaction() as tx:
            if mode is not None:
                tx.execute(f"LOCK TABLE {table} {mode}")
            order.append("other")
            tx.execute(f"INSERT INTO {table} VALUES (2, 'b')")

    thread = threading.Thread(target=other)
    thread.start()
    with engine.warehouse.transaction() as tx:
        if mode is not None:
            tx.execute(f"LOCK TABLE {table} {mode}")
        tx.execute(f"INSERT INTO {table} VALUES (1, 'a')")
        inside.set()
        thread.join(0.5)
        order.append("first")
    thread.join(20)
    assert order == ["first", "other"]
    assert engine.warehouse.fetch(f"SELECT id FROM {table} ORDER BY id") == [(1,), (2,)]


def test_a_write_conflict_asks_to_repeat_the_transaction(engine: Any) -> None:
    engine.create(TWO)
    table = f'"{engine.schema}"."t"'
    engine.warehouse.execute(f"INSERT INTO {table} VALUES (1, 'a')")
    with pytest.raises(ConflictError):
        engine.conflict(engine, table)


def test_a_summary_can_have_a_query_in_the_sql_of_the_engine(engine: Any) -> None:
    dialect = engine.warehouse.capabilities.dialect
    query = parse_query("SELECT CAST(a AS DATE) AS b FROM s.t", "query.sql", dialect=dialect)
    assert query.columns == ("b",)
    assert query.dialect == dialect


def test_blocks_survive_being_saved_and_have_descriptions(engine: Any) -> None:
    kind = type(engine.warehouse)
    assert kind.get_block_type_slug().endswith("-warehouse")
    assert kind.get_description()
    assert f"import {kind.__name__}" in kind.get_code_example()
    for name, field in kind.model_fields.items():
        assert field.description, name
    saved = kind.model_validate_json(
        engine.warehouse.model_dump_json(context={"include_secrets": True})
    )
    assert saved.model_dump() == engine.warehouse.model_dump()
