"""Which values mark a row as deleted."""

import pytest

from ferry.errors import SchemaError
from ferry.schema import Column, DataType, Kind, TableName
from ferry.statements import PARAM
from ferry.write.deletions import Deletion, deletion

TABLE = TableName("raw_data", "users")


def column(kind: Kind) -> Column:
    return Column("gone", DataType(kind), native=f"native {kind}")


@pytest.mark.parametrize(
    ("kind", "given", "held"),
    [
        (Kind.TEXT, ("Y", 1), ("Y", "1")),
        (Kind.INT16, (2, 3), (2, 3)),
        (Kind.DECIMAL, (2,), (2,)),
        (Kind.BOOLEAN, (0,), (False,)),
        (Kind.BOOLEAN, (1,), (True,)),
        (Kind.BOOLEAN, (), ()),
        (Kind.TIMESTAMP, (), ()),
        (Kind.INT64, (), ()),
    ],
)
def test_values_are_as_the_column_holds_them(kind: Kind, given: tuple, held: tuple):
    assert deletion(column(kind), given, TABLE) == Deletion(column(kind), held)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (Kind.TEXT, (), "the values that mark a row, such as `deleted_values: [Y]`"),
        (Kind.INT32, ("Y",), "whole numbers in `deleted_values`"),
        (Kind.INT32, (1, "Y"), "whole numbers in `deleted_values`"),
        (Kind.BOOLEAN, (2,), "0 or 1"),
        (Kind.BOOLEAN, (1, 2), "0 or 1"),
        (Kind.BOOLEAN, ("Y",), "0 or 1"),
        (Kind.TIMESTAMP, ("2023-01-01",), "text, a whole number"),
        (Kind.TIMESTAMP, (1,), "text, a whole number"),
        (Kind.JSON, ("Y",), "text, a whole number"),
        (Kind.FLOAT64, (), "text, a whole number"),
    ],
)
def test_a_column_that_cannot_tell_by_such_values_is_refused(
    kind: Kind, values: tuple, expected: str
):
    with pytest.raises(SchemaError, match="'gone' cannot tell which rows are deleted") as refused:
        deletion(column(kind), values, TABLE)
    assert expected in str(refused.value)
    assert "raw_data.users: column 'gone'" in str(refused.value)
    assert f"native {kind}" in str(refused.value)


def test_values_are_bound_and_compared_to_the_last_blank():
    marked = Deletion(column(Kind.TEXT), ("Ä", "gone' OR 1=1 --"))
    plain = marked.condition(pads_text=False, prefix="t.")
    assert plain.sql == f'(t."gone" IS NOT NULL AND (t."gone" = {PARAM} OR t."gone" = {PARAM}))'
    assert plain.values == ("Ä", "gone' OR 1=1 --")
    padded = marked.condition(pads_text=True)
    assert padded.sql.count(f'"gone" = {PARAM} AND OCTET_LENGTH("gone") = {PARAM}') == 2
    assert padded.values == ("Ä", 2, "gone' OR 1=1 --", 15)


@pytest.mark.parametrize(
    ("kind", "marks"),
    [
        (Kind.BOOLEAN, '("gone" IS NOT NULL AND "gone" = TRUE)'),
        (Kind.INT32, '("gone" IS NOT NULL AND "gone" <> 0)'),
        (Kind.TIMESTAMP, '("gone" IS NOT NULL)'),
    ],
)
def test_without_values_it_is_marked_by_any_that_means_yes(kind: Kind, marks: str):
    assert Deletion(column(kind)).condition(pads_text=True).sql == marks


def test_numbers_have_no_blanks_to_compare():
    marked = Deletion(column(Kind.INT32), (1,)).condition(pads_text=True)
    assert marked.sql == f'("gone" IS NOT NULL AND ("gone" = {PARAM}))'
