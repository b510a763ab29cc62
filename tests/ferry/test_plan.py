from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from ferry.batch import STAGING_NAME, Batch, staging_table
from ferry.errors import RequestError, SchemaError
from ferry.plan import choose_window, plan_query, range_count, stored_bound
from ferry.schema import Column, DataType, Kind, TableName, TableSchema, target_columns
from ferry.specs.tables import TableSpec
from ferry.windows import Window, day_window

START = datetime(2023, 1, 6, 9, tzinfo=UTC)
TEXT, INT = DataType(Kind.TEXT, max_bytes=40), DataType(Kind.INT64)
TIMESTAMP = DataType(Kind.TIMESTAMP)
SCHEMA = TableSchema(
    TableName("", "orders"),
    (
        Column("ID", INT),
        Column("Modified", TIMESTAMP),
        Column("created_at", TIMESTAMP),
        Column("note", TEXT),
    ),
    ("ID",),
)


def spec(**fields: object) -> TableSpec:
    return TableSpec(
        **{"name": "orders", "source": "shop", "mode": "window", "key": ["id"], **fields}
    )


def test_a_run_without_dates_carries_the_day_before_its_scheduled_start():
    assert choose_window(spec(), scheduled_start=START) == ("window", day_window(date(2023, 1, 5)))


def test_the_zone_of_the_deployment_wins_over_the_tables():
    _, window = choose_window(spec(zone="Asia/Seoul"), scheduled_start=START, zone="Europe/Berlin")
    assert window == day_window(date(2023, 1, 5), "Europe/Berlin")


@pytest.mark.parametrize(
    "dates", [{"run_date": date(2023, 1, 5)}, {"window_start": START}, {"window_end": START}]
)
@pytest.mark.parametrize("mode", ["full", "watermark"])
def test_dates_for_a_table_that_takes_none_are_refused(dates: dict, mode: str):
    with pytest.raises(RequestError, match=f"mode {mode} takes no dates") as caught:
        choose_window(spec(mode=mode), scheduled_start=START, **dates)
    assert "raw_data.orders" in str(caught.value)
    assert "mode=window" in str(caught.value)


def test_mode_window_without_a_key_is_refused():
    with pytest.raises(RequestError, match="a table without a key has no windows"):
        choose_window(spec(mode="full", key=[]), scheduled_start=START, mode="window")


def test_wrong_dates_say_which_table():
    with pytest.raises(RequestError, match=r"raw_data.orders: the window's end is not after"):
        choose_window(
            spec(),
            scheduled_start=START,
            window_start=START,
            window_end=START - timedelta(hours=1),
        )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cursor": "modfied"}, "no column 'modfied', which `cursor` names"),
        ({"key": ["idd"]}, "no column 'idd', which `key` names"),
        ({"sort_key": ["nope"]}, "no column 'nope', which `sort_key` names"),
        ({"dist_key": "nope"}, "no column 'nope', which `dist_key` names"),
        ({"soft_deletes": "apply"}, "no column 'deleted', which `deleted_column` names"),
        ({"cursor": "note"}, "column 'note' cannot be the cursor of mode window"),
        ({"cursor": "id"}, "column 'ID' cannot be the cursor of mode window"),
    ],
)
def test_a_column_that_is_missing_or_of_no_use_is_named(fields: dict, message: str):
    with pytest.raises(SchemaError, match=message) as caught:
        plan_query(spec(**fields), "window", day_window(date(2023, 1, 5)), SCHEMA)
    assert "raw_data.orders" in str(caught.value)


@pytest.mark.parametrize("mode", ["window", "watermark"])
@pytest.mark.parametrize(
    ("key", "primary", "refused"),
    [
        (["id"], ("ID", "note"), True),
        (["NOTE"], ("ID", "note"), True),
        (["note", "id"], ("ID", "note"), False),
        (["id", "note"], ("ID",), False),  # more than it takes
        (["note"], ("ID",), False),  # another key, which the catalog says nothing of
        (["id"], (), False),
        (["id"], ("ID", "excluded"), True),
    ],
)
def test_a_key_that_is_a_part_of_the_primary_key_is_refused(
    mode: str, key: list[str], primary: tuple[str, ...], refused: bool
):
    schema, window = replace(SCHEMA, key=primary), day_window(date(2023, 1, 5))
    ask = (mode, window if mode == "window" else None, schema, START)
    if refused:
        with pytest.raises(SchemaError, match="only a part of the source's primary key") as caught:
            plan_query(spec(key=key), *ask)
        assert f"expected `key: [{', '.join(primary)}]`" in str(caught.value)
        plan_query(spec(key=key, on_repeated_key="newest"), *ask)
    else:
        plan_query(spec(key=key), *ask)
    plan_query(spec(key=key), "full", None, schema, START)


UNIX = replace(
    SCHEMA,
    columns=(
        Column("id", INT),
        Column("seen", DataType(Kind.INT32)),
        Column("big", DataType(Kind.DECIMAL, 20, 0)),
        Column("exact", DataType(Kind.DECIMAL, 20, 3)),
        Column("at", TIMESTAMP),
    ),
)


@pytest.mark.parametrize("cursor", ["seen", "big"])
@pytest.mark.parametrize(("unit", "each"), [("s", 1), ("ms", 1_000), ("us", 1_000_000)])
def test_a_window_of_unix_time_has_whole_numbers_as_bounds(cursor: str, unit: str, each: int):
    window = day_window(date(2023, 3, 26), "Europe/Berlin")  # of 23 hours
    query = plan_query(spec(cursor=cursor, cursor_unit=unit), "window", window, UNIX)
    assert (query.start, query.end) == (1679785200 * each, (1679785200 + 23 * 3600) * each)
    assert (query.cursor, query.schema) == (cursor, UNIX)


def test_a_watermark_of_unix_time_goes_back_by_seconds():
    ask = ("watermark", None, UNIX, 1679785200_000)
    query = plan_query(spec(cursor="seen", cursor_unit="ms", lag=60), *ask)
    assert (query.start, query.end) == (1679785140_000, None)


@pytest.mark.parametrize("cursor", ["exact", "at"])
@pytest.mark.parametrize("mode", ["window", "watermark", "full"])
def test_what_is_no_whole_number_counts_no_unix_time(cursor: str, mode: str):
    window = day_window(date(2023, 1, 5)) if mode == "window" else None
    with pytest.raises(SchemaError, match=f"'{cursor}' is no whole number") as caught:
        plan_query(spec(cursor=cursor, cursor_unit="s"), mode, window, UNIX)
    assert "leave `cursor_unit` out" in str(caught.value)


def test_a_number_as_the_cursor_of_windows_is_asked_what_it_counts():
    with pytest.raises(SchemaError, match="`cursor_unit: s`, ms or us"):
        plan_query(spec(cursor="seen"), "window", day_window(date(2023, 1, 5)), UNIX)


def test_a_window_needs_a_cursor_column():
    without = replace(SCHEMA, columns=SCHEMA.columns[:1])
    with pytest.raises(SchemaError, match="mode window needs a cursor column"):
        plan_query(spec(), "window", day_window(date(2023, 1, 5)), without)


def test_a_watermark_reads_from_the_highest_cursor_less_the_lag():
    highest = datetime(2023, 1, 5, 12)
    query = plan_query(spec(mode="watermark", lag=60), "watermark", None, SCHEMA, highest)
    assert (query.start, query.end) == (
        datetime(2023, 1, 5, 11, 59, tzinfo=query.start.tzinfo),
        None,
    )


def test_a_cursor_of_dates_takes_whole_days_only():
    dated = replace(SCHEMA, columns=(*SCHEMA.columns, Column("day", DataType(Kind.DATE))))
    day, hour = day_window(date(2023, 1, 5)), timedelta(hours=1)
    for start, end in (
        (START, START + hour),
        (day.start, day.end - hour),
        (day.start, day.end + hour),
    ):
        with pytest.raises(SchemaError, match=r"orders .*: column 'day' has no time of day"):
            plan_query(spec(cursor="day"), "window", Window(start, end), dated)
    assert plan_query(spec(cursor="day"), "window", day, dated).cursor == "day"


@pytest.mark.parametrize("kind", [Kind.TEXT, Kind.FLOAT64, Kind.JSON, Kind.BINARY])
def test_a_column_that_cannot_mark_deletions_is_refused(kind: Kind):
    marked = replace(SCHEMA, columns=(*SCHEMA.columns, Column("deleted", DataType(kind))))
    with pytest.raises(SchemaError, match="cannot tell which rows are deleted"):
        plan_query(spec(mode="full", soft_deletes="apply"), "full", None, marked)


def test_a_bound_is_stored_as_the_column_holds_it():
    moment = datetime(2023, 1, 5, 23, tzinfo=UTC)
    assert stored_bound(moment, Kind.TIMESTAMP, "Asia/Seoul") == datetime(2023, 1, 6, 8)
    assert stored_bound(moment, Kind.TIMESTAMPTZ, "Asia/Seoul") == moment
    assert stored_bound(moment, Kind.DATE, "Asia/Seoul") == date(2023, 1, 6)
    assert stored_bound(7, Kind.INT64, "UTC") == 7
    for zone in ("Asia/Seoul", "America/New_York"):  # what has no zone is on its clock already
        late, early = datetime(2023, 1, 5, 23, 30), datetime(2023, 1, 5, 0, 30)
        assert stored_bound(late, Kind.DATE, zone) == date(2023, 1, 5)
        assert stored_bound(early, Kind.TIMESTAMP, zone) == early


def test_two_names_that_fold_to_one_are_refused():
    columns = (Column("Id", INT), Column("ID", INT))
    with pytest.raises(SchemaError, match="'Id' and 'ID' fold to one name"):
        target_columns(columns, TableName("raw_data", "orders"))


def test_a_batch_has_one_id_in_all_attempts_of_a_run_and_another_in_every_other_run():
    def batch(**changes: object) -> Batch:
        values = {
            "spec": spec(),
            "mode": "window",
            "window": day_window(date(2023, 1, 5)),
            "flow_run_id": "run",
            "scheduled_start": START,
            "work_folder": Path("/tmp"),
        }
        return Batch(**{**values, **changes})

    assert batch().id == batch(attempt=2).id
    others = [
        batch(flow_run_id="another"),
        batch(window=day_window(date(2023, 1, 6))),
        batch(mode="full", window=None),
        batch(spec=spec(name="nps")),
        batch(subset="symbols AAPL"),
        # As the spec was before it was corrected: other rows, or others that replace one another.
        batch(spec=spec(source_zone="Asia/Seoul")),
        batch(spec=spec(source_zone="UTC", zone="Asia/Seoul")),
        *(
            batch(mode="full", window=None, spec=spec(**was))
            for was in ({"source_table": "shop.old"}, {"key": ["code"]})
        ),
    ]
    assert len({batch().id, *(other.id for other in others)}) == 10
    # A batch that is not whole is found again by its own attempt, and by no other.
    assert batch().receipt_id("", "a") == batch().id
    ids = [batch().receipt_id("NOPE: no such symbol", read) for read in ("a", "a", "b")]
    assert ids[0] == ids[1] != ids[2]
    assert batch().id not in ids
    long, alike = (
        staging_table(date(2023, 1, 6), batch(spec=spec(name=name)).id, "a1b2c3", name).name
        for name in ("x" * 60, "x" * 59 + "y")
    )
    assert len(f"{long}_newest") <= 63
    assert long != alike
    assert STAGING_NAME.match(long)[1] == "20230106"
    assert str(batch()) == "raw_data.orders 2023-01-05"
    # By these a run that an older Ferry has begun is found to have landed.
    assert batch(subset="symbols AAPL").id == "6b5e8d48-32f3-513b-abf1-95f3990b7fae"
    assert batch(again=2).id == "7f291acc-41b8-5026-8346-e77121392de9"
    # What an attempt has caught up, it may have to repair once more.
    repairs = [batch(again=attempt, compared=True).id for attempt in (1, 2)]
    assert len({batch(again=1).id, batch(again=2).id, *repairs}) == 4


@pytest.mark.parametrize(
    ("version", "problem"),
    [("changed", "no column 'changed', which `version` names"), ("note", "which version of a row")],
)
def test_a_version_that_cannot_tell_which_row_is_newer_is_refused(version: str, problem: str):
    window = day_window(date(2023, 1, 5))
    with pytest.raises(SchemaError, match=problem):
        plan_query(spec(version=version), "window", window, SCHEMA)
    plan_query(spec(version="MODIFIED"), "window", window, SCHEMA)


def test_a_table_that_is_only_carried_when_it_is_named_carries_days():
    found = choose_window(spec(every="never"), scheduled_start=START)
    assert found == ("window", day_window(date(2023, 1, 5)))


def test_that_a_column_is_the_time_of_reading_survives_its_renaming():
    read = Column("Created", TIMESTAMP, read_time=True)
    assert target_columns((read,), SCHEMA.name) == (replace(read, name="created"),)


@pytest.mark.parametrize(
    ("asked", "rows", "count"),
    [
        (1, 10**9, 1),
        (2, 40_000, 2),
        (4, None, 1),  # nobody knows whether it is worth it
        (4, 0, 1),
        (4, 19_999, 1),
        (4, 39_999, 3),
        (4, 40_000, 4),
        (16, 10**9, 16),
        ("auto", 5_000_000, 1),
        ("auto", 5_000_001, 2),
        ("auto", 10**9, 4),
    ],
)
def test_so_many_connections_read_as_are_worth_it(asked: int | str, rows: int | None, count: int):
    assert range_count(spec(read_ranges=asked), rows) == count
