"""Which column is the cursor where the spec names none."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from ferry.cursors import choose_cursor, cursor_line, find_cursor
from ferry.errors import SchemaError
from ferry.plan import plan_query
from ferry.schema import Column, DataType, Kind, TableName, TableSchema, target_columns
from ferry.specs.tables import CHANGE_TIMES, TableSpec
from ferry.windows import day_window

TIME, DAY, MOMENT = (DataType(k) for k in (Kind.TIMESTAMP, Kind.DATE, Kind.TIMESTAMPTZ))
INT, TEXT = DataType(Kind.INT64), DataType(Kind.TEXT, max_bytes=40)
ID, CREATED = Column("id", INT), Column("created_at", TIME)


def spec(**fields: object) -> TableSpec:
    return TableSpec(
        **{"name": "orders", "source": "shop", "mode": "window", "key": ["id"], **fields}
    )


def chosen(*columns: Column, mode: str = "window", **fields: object) -> str | None:
    found = choose_cursor(spec(mode=mode, **fields), (ID, *columns), mode)
    return found.name if found else None


@pytest.mark.parametrize("mode", ["window", "watermark", "full"])
@pytest.mark.parametrize("name", [*CHANGE_TIMES, "Modified", "updatedAt", "LASTMODIFIED"])
def test_a_usual_name_of_a_change_time_is_preferred_to_created_at(name: str, mode: str):
    for kind in (TIME, DAY, MOMENT):
        assert chosen(CREATED, Column(name, kind), mode=mode) == name
        assert chosen(Column(name, kind), CREATED, mode=mode) == name


def test_else_it_is_created_at_in_any_spelling_and_else_none():
    assert chosen(CREATED) == "created_at"
    assert chosen(Column("createdAt", TIME)) == "createdAt"
    assert chosen(Column("moment", TIME)) is None
    with pytest.raises(SchemaError, match="mode window needs a cursor column"):
        plan_query(
            spec(),
            "window",
            day_window(date(2023, 1, 5)),
            TableSchema(TableName("", "orders"), (ID,), ()),
            datetime(2023, 1, 6, tzinfo=UTC),
        )


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ((Column("modified", TEXT), CREATED), r"`cursor: created_at`: .*another type cannot"),
        ((Column("modified", TEXT),), "which it is: .*another type cannot be it"),
        (
            (Column("mtime", INT), CREATED),
            r"`cursor: created_at`: .* needs a `cursor_unit`, too\.$",
        ),
        ((Column("modified", TIME), Column("updated", DAY)), r"`cursor: modified`: [^.]*\.$"),
    ],
)
def test_what_is_advised_for_a_cursor_can_be_one(columns: tuple[Column, ...], told: str) -> None:
    with pytest.raises(SchemaError, match=told):
        chosen(*columns)


@pytest.mark.parametrize("mode", ["window", "watermark"])
@pytest.mark.parametrize(
    "columns",
    [
        (Column("modified", TIME), Column("updated_at", TIME)),
        (Column("modified", TIME), Column("updatedAt", DAY), CREATED),
        (Column("modified", TIME), Column("price_edited_on", DAY), CREATED),
        (Column("updated_at", MOMENT), Column("status_changed_at", TIME)),
        (CREATED, Column("edited_on", TIME)),
        (CREATED, Column("stock_updated", DAY)),
        (CREATED, Column("lastSeen", MOMENT)),
        (CREATED, Column("touched", TIME)),
        (CREATED, Column("modified", TEXT)),
        (Column("file_mtime", TIME),),
    ],
)
def test_a_table_in_which_another_column_may_tell_changes_is_refused_until_the_spec_says(
    columns: tuple[Column, ...], mode: str
):
    with pytest.raises(SchemaError, match=r"raw_data.orders: .*names no cursor") as caught:
        chosen(*columns, mode=mode)
    message = str(caught.value)
    assert [c.name for c in columns if c is not CREATED and c.name not in message] == []
    assert "such as `cursor: " in message
    for column in columns:
        assert chosen(*columns, mode=mode, cursor=column.name.upper()) == column.name
    assert chosen(*columns, mode="full") is not None or len(columns) == 1


def test_a_number_under_a_change_times_name_is_taken_only_where_numbers_can_be_cursors():
    number, flag = Column("updated", INT), Column("modified", DataType(Kind.INT16))
    assert chosen(number, mode="watermark") == "updated"
    with pytest.raises(SchemaError, match="updated, created_at"):
        chosen(number, CREATED)
    assert chosen(number, CREATED, cursor_unit="s") == "updated"
    assert chosen(flag, CREATED) == chosen(flag, CREATED, mode="watermark") == "created_at"


def test_columns_that_only_resemble_such_names_are_in_nobodys_way():
    names = ("credited_on", "exchange_date", "interchanged", "birthday", "deleted_at", "blasted")
    assert chosen(CREATED, *(Column(name, TIME) for name in names)) == "created_at"
    others = (Column("updated_by", TEXT), Column("last_login_at", TIME), Column("changes", INT))
    assert chosen(*others, Column("modified", TIME), CREATED) == "modified"


def test_the_targets_cursor_is_found_by_the_same_order_and_never_refused():
    source = (ID, CREATED, Column("updatedAt", TIME), Column("lastModified", TIME))
    target = target_columns(source, TableName("raw_data", "orders"))
    for columns in (source, target, target[::-1]):
        found = find_cursor(spec(), columns)
        assert found and found.name.lower() == "updatedat"
    assert find_cursor(spec(), (ID, Column("edited", TIME))) is None
    with pytest.raises(SchemaError, match="no column 'nope', which `cursor` names"):
        find_cursor(spec(cursor="nope"), source)


def test_people_are_told_when_nobody_named_the_cursor():
    assert cursor_line(spec(cursor="modified"), "Modified") == "cursor 'Modified'"
    assert cursor_line(spec(), "modified") == "cursor 'modified', which the spec does not name"
