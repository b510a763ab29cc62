from dataclasses import replace

import pytest

from ferry.batch import StageFormat
from ferry.capabilities import Capabilities
from ferry.errors import SchemaError
from ferry.schema import Column, DataType, Kind, TableName, TableSchema, fits
from ferry.target.changes import TargetChanges, plan_target, within_limits
from ferry.target.retype import HeldColumns

TARGET = TableName("raw_data", "t")
NARROW = Capabilities((StageFormat.CSV,), 20, 65_535, 4, "redshift", widens_text=True)


def column(name: str, kind: Kind, nullable: bool = True, **sizes: int) -> Column:
    return Column(name, DataType(kind, **sizes), nullable)


def plan(ours: list[Column], theirs: list[Column] | None) -> TargetChanges:
    there = TableSchema(TARGET, tuple(theirs)) if theirs is not None else None
    return plan_target(TARGET, there, ours, NARROW)


def test_a_missing_target_is_made():
    assert plan([column("a", Kind.INT32)], None) == TargetChanges(create=True)


def test_a_target_in_another_order_and_with_columns_that_the_spec_knows_of_fits():
    ours = [column("a", Kind.INT32), column("b", Kind.TEXT, max_bytes=10)]
    theirs = [
        column("extra", Kind.DATE),
        column("b", Kind.TEXT, max_bytes=20),
        column("a", Kind.INT64),
    ]
    target = TableSchema(TARGET, tuple(theirs))
    assert plan_target(TARGET, target, ours, NARROW, ["Extra"]) == TargetChanges()


def test_a_name_in_upper_case_is_another_column_where_the_engine_says_so():
    """PostgreSQL does not find `"Id"` by `"id"`, and `"Name"` beside `"name"` would be emptied."""
    ours = [column("id", Kind.INT32), column("name", Kind.TEXT, max_bytes=10)]
    theirs = [replace(ours[0], name="Id"), replace(ours[1], name="Name"), ours[1]]
    there = TableSchema(TARGET, tuple(theirs))
    with pytest.raises(SchemaError, match="upper case alone: Id, Name") as caught:
        plan_target(TARGET, there, ours, replace(NARROW, tells_case=True))
    for old, new in (("Id", "id"), ("Name", "name_of_before")):
        rename = f'ALTER TABLE "raw_data"."t" RENAME COLUMN "{old}" TO "{new}";'
        assert rename in str(caught.value)
    one = TableSchema(TARGET, (theirs[0], ours[1]))
    assert plan_target(TARGET, one, ours, NARROW) == TargetChanges()


@pytest.mark.parametrize("nullable", [True, False])
def test_a_column_that_the_source_lost_is_refused_and_not_forgotten(nullable: bool):
    theirs = [column("a", Kind.INT32), column("lost", Kind.INT32, nullable=nullable)]
    told = r"columns that the source has not: lost.*SHOW GRANTS.*DROP COLUMN.*`target_only`"
    with pytest.raises(SchemaError, match=told):
        plan([column("a", Kind.INT32)], theirs)


def test_a_column_that_the_spec_excludes_is_told_as_such():
    theirs = [column("a", Kind.INT32), column("b", Kind.INT32), column("lost", Kind.INT32)]
    there, ours = TableSchema(TARGET, tuple(theirs[:2])), [column("a", Kind.INT32)]
    with pytest.raises(SchemaError) as caught:
        plan_target(TARGET, there, ours, NARROW, exclude=["B"])
    assert "the target has columns that the spec excludes: b." in str(caught.value)
    todo = str(caught.value.todo)
    assert "take them out of `exclude`" in todo
    assert 'ALTER TABLE "raw_data"."t" DROP COLUMN "b";' in todo
    assert "name them in `target_only`, too" in todo
    assert plan_target(TARGET, there, ours, NARROW, ["b"], ["b"]) == TargetChanges()
    with pytest.raises(SchemaError, match="that the source has not: lost"):
        plan_target(TARGET, TableSchema(TARGET, tuple(theirs)), ours, NARROW, exclude=["b"])


def test_a_new_column_is_added_and_longer_text_widened():
    new, longer = column("b", Kind.DATE), column("a", Kind.TEXT, max_bytes=40)
    assert plan([longer, new], [column("a", Kind.TEXT, max_bytes=10)]) == TargetChanges(
        add=(new,), widen=(longer,)
    )


def decimal(precision: int, scale: int) -> Column:
    return column("a", Kind.DECIMAL, precision=precision, scale=scale)


def of(kind: Kind) -> Column:
    return column("a", kind)


@pytest.mark.parametrize(
    ("ours", "theirs", "grown"),
    [
        (of(Kind.INT64), of(Kind.INT32), of(Kind.INT64)),
        (of(Kind.INT32), of(Kind.INT16), of(Kind.INT32)),
        (of(Kind.FLOAT64), of(Kind.FLOAT32), of(Kind.FLOAT64)),
        (of(Kind.TIMESTAMP), of(Kind.DATE), of(Kind.TIMESTAMP)),
        (of(Kind.INT16), of(Kind.BOOLEAN), of(Kind.INT16)),
        (decimal(14, 4), decimal(10, 2), decimal(14, 4)),
        (decimal(12, 4), decimal(12, 2), decimal(14, 4)),
        (decimal(8, 4), decimal(10, 1), decimal(13, 4)),
        (decimal(20, 0), of(Kind.INT64), decimal(20, 0)),
        (decimal(10, 2), of(Kind.INT64), decimal(21, 2)),
        (of(Kind.INT64), decimal(18, 0), decimal(19, 0)),
        (of(Kind.BINARY), column("a", Kind.BINARY, max_bytes=10), of(Kind.BINARY)),
    ],
)
def test_a_type_grows_so_that_it_holds_what_comes_and_what_is_there(
    ours: Column, theirs: Column, grown: Column
):
    (change,) = plan([ours], [theirs]).retype
    assert (change.there, change.wanted) == (theirs, grown)
    assert fits(ours.type, grown.type)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (column("a", Kind.TEXT, max_bytes=5), of(Kind.INT32)),
        (of(Kind.INT32), column("a", Kind.TEXT, max_bytes=5)),
        (of(Kind.TIMESTAMP), of(Kind.TIMESTAMPTZ)),
        (of(Kind.TIMESTAMPTZ), of(Kind.TIMESTAMP)),
        (of(Kind.TIMESTAMPTZ), of(Kind.DATE)),
        (of(Kind.DATE), of(Kind.TIMESTAMP)),
        (of(Kind.FLOAT64), decimal(10, 2)),
        (of(Kind.FLOAT64), of(Kind.INT64)),
        (of(Kind.BOOLEAN), of(Kind.INT16)),
        (of(Kind.JSON), column("a", Kind.TEXT, max_bytes=10)),
        (of(Kind.INT16), of(Kind.OTHER)),
    ],
)
def test_a_type_that_cannot_hold_every_value_is_refused(ours: Column, theirs: Column):
    with pytest.raises(SchemaError, match=r"raw_data.t: the target's columns do not fit: a is"):
        plan([ours], [theirs])


def test_a_type_that_the_warehouse_cannot_declare_is_a_persons_decision():
    def native(data_type: DataType) -> str:
        if (data_type.precision or 0) > 38:
            raise SchemaError("no such type")
        return str(data_type)

    there = TableSchema(TARGET, (decimal(38, 0),))
    with pytest.raises(SchemaError, match="do not fit"):
        plan_target(TARGET, there, [decimal(38, 2)], NARROW, native_type=native)


def test_a_full_copy_replaces_columns_of_any_other_type_and_no_column_that_only_the_target_has():
    there = TableSchema(TARGET, (of(Kind.INT32), column("b", Kind.DATE)))
    ours = [column("a", Kind.TEXT, max_bytes=5)]
    made = plan_target(TARGET, there, ours, NARROW, ["b"], replaced=True)
    assert [change.wanted for change in made.remake] == ours
    with pytest.raises(SchemaError, match='DROP COLUMN "b";'):
        plan_target(TARGET, there, ours, NARROW, replaced=True)


@pytest.mark.parametrize("replaced", [True, False])
def test_a_column_of_a_key_is_refused_with_what_to_run(replaced: bool):
    there = TableSchema(TARGET, (Column("a", DataType(Kind.INT32), False, "integer"),))
    held = HeldColumns({"a": "the sort key"}, ' SORTKEY ("a")')
    with pytest.raises(SchemaError) as caught:
        plan_target(
            TARGET,
            there,
            [of(Kind.INT64)],
            NARROW,
            native_type=lambda t: str(t.kind),
            held=lambda: held,
            replaced=replaced,
        )
    assert "a (of the sort key)" in str(caught.value)
    expected = (
        'ALTER TABLE "raw_data"."t" RENAME TO "t_before";'
        if replaced
        else 'BEGIN; CREATE TABLE "raw_data"."t_retyped" ("a" int64 NOT NULL) SORTKEY ("a"); '
        'INSERT INTO "raw_data"."t_retyped" ("a") SELECT CAST("a" AS int64) FROM '
        '"raw_data"."t"; DROP TABLE "raw_data"."t"; '
        'ALTER TABLE "raw_data"."t_retyped" RENAME TO "t"; COMMIT;'
    )
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Kind.INT16, column("a", Kind.INT64)),
        (Kind.FLOAT32, column("a", Kind.FLOAT64)),
        (Kind.INT64, column("a", Kind.DECIMAL, precision=19, scale=0)),
    ],
)
def test_a_wider_type_fits(ours: Kind, theirs: Column):
    assert plan([column("a", ours)], [theirs]) == TargetChanges()


def test_too_many_columns_and_too_long_names_are_refused():
    with pytest.raises(SchemaError, match="more columns than the warehouse can hold"):
        plan([column(f"c{n}", Kind.INT32) for n in range(5)], None)
    with pytest.raises(SchemaError, match=r"longer than the warehouse's 20 bytes: é{11}"):
        plan([column("é" * 11, Kind.INT32)], None)


@pytest.mark.parametrize("name", ["xmin", "XMIN"])
def test_a_column_that_the_warehouse_has_itself_is_refused(name: str):
    reserving = replace(NARROW, reserved_columns=frozenset({"xmin", "xmax"}))
    with pytest.raises(SchemaError, match=f"names of columns for itself: {name}.*`exclude`.*view"):
        plan_target(TARGET, None, [column("a", Kind.INT32), column(name, Kind.DATE)], reserving)


def test_a_column_longer_than_the_warehouse_holds_gets_its_limit_and_fits_ever_after():
    ours = (
        column("a", Kind.TEXT),
        column("b", Kind.TEXT, max_bytes=80_000),
        column("c", Kind.TEXT, max_bytes=10),
        column("d", Kind.BINARY, max_bytes=80_000),
    )
    limited = within_limits(ours, NARROW)
    assert [c.type.max_bytes for c in limited] == [65_535, 65_535, 10, 80_000]
    assert plan(list(limited), list(limited)) == TargetChanges()
