"""The write algorithms that replace all rows, or all from a bound on, without a key."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from unittest.mock import call, patch

import pytest

from ferry.errors import DataError
from ferry.schema import DataType, Kind
from ferry.statements import any_row, table_sql
from ferry.write.algorithms import replace_all, replace_from
from ferry.write.deletions import Deletion
from ferry.write.load import Written
from tests.harness.write_engine import CAPABILITIES, COLUMNS, STAGING, TARGET, Engine, load


def test_full_replaces_everything(engine: Engine):
    old, new = (1, 1, 1, "old", None), (2, 2, 2, "new", None)
    engine.put(TARGET, [old])
    engine.put(STAGING, [new, new])
    assert replace_all(engine, load([new, new]), CAPABILITIES) == Written(inserted=2, deleted=1)
    assert engine.rows() == [new, new]


def test_a_full_copy_counts_what_it_leaves_out_and_alters_the_target_while_it_is_empty(
    engine: Engine,
):
    rows = [(1, 1, 1, "a", None), (2, 1, 1, "gone", 1)]
    engine.put(TARGET, rows)
    engine.put(STAGING, rows)
    name = table_sql(TARGET)
    emptied = [f"INSERT INTO {name} SELECT 9, 9, COUNT(*), NULL, NULL FROM {name}"]
    batch = load(rows, deleted=Deletion(COLUMNS[4]))
    landed = replace_all(engine, batch, CAPABILITIES, emptied)
    assert landed == Written(inserted=1, deleted=2, unchanged=1)
    assert engine.rows() == [rows[0], (9, 9, 0, None, None)]


def test_a_full_copy_of_no_rows_empties_the_target_only_where_the_spec_says_so(engine: Engine):
    engine.put(TARGET, [(1, 1, 1, "old", None)])
    with pytest.raises(DataError, match=r"would empty the target.*`allow_empty: true`"):
        replace_all(engine, load([]), CAPABILITIES)
    engine.put(TARGET, [(1, 1, 1, "old", None)])  # as the transaction that fails leaves it
    emptied = load([], allow_empty=True, max_shrink_percent=10)
    assert replace_all(engine, emptied, CAPABILITIES) == Written(deleted=1)
    assert engine.rows() == []
    assert replace_all(engine, load([]), CAPABILITIES) == Written()  # what is empty stays so


def test_a_full_copy_shrinks_the_target_by_no_more_than_the_spec_says(engine: Engine):
    rows = [(number, 1, 1, "x", None) for number in range(10)]
    for kept, limit in ((8, 20), (9, 10), (10, 0), (1, None), (1, 90)):
        engine.put(TARGET, rows)
        engine.put(STAGING, rows[:kept])
        replace_all(engine, load(rows[:kept], max_shrink_percent=limit), CAPABILITIES)
    for kept, limit in ((7, 20), (8, 19), (9, 0)):
        engine.put(TARGET, rows)
        engine.put(STAGING, rows[:kept])
        with pytest.raises(
            DataError, match=rf"by more than {limit} %.*found {kept}, and 10 before"
        ):
            replace_all(engine, load(rows[:kept], max_shrink_percent=limit), CAPABILITIES)


def test_append_reads_the_boundary_again_and_doubles_no_row(engine: Engine):
    rows = [(1, 0, 5, "a", None), (2, 0, 6, "b", None), (3, 0, 6, "tie", None)]
    engine.put(TARGET, rows[:2])
    engine.put(STAGING, rows[1:])
    landed = replace_from(engine, load(rows[1:], key=()), 6, CAPABILITIES)
    assert engine.rows() == rows
    assert landed == Written(inserted=1, unchanged=1)


def test_append_of_nothing_changes_nothing(engine: Engine):
    engine.put(TARGET, [(1, 0, 5, "a", None)])
    assert replace_from(engine, load([], key=()), 5, CAPABILITIES) == Written()
    assert len(engine.rows()) == 1


def test_append_counts_what_changed_within_the_lag(engine: Engine):
    same, twin = (1, 0, 6, None, 1), (2, 0, 6, "twice", None)
    engine.put(TARGET, [(0, 0, 1, "before", None), same, twin, twin, (3, 0, 7, "old", None)])
    batch = [same, twin, twin, twin, (3, 0, 7, "new", None)]
    engine.put(STAGING, batch)
    changed = replace_from(engine, load(batch, key=()), 6, CAPABILITIES)
    assert changed == Written(inserted=2, deleted=1, unchanged=3)
    again = replace_from(engine, load(batch, key=()), 6, CAPABILITIES)
    assert again == Written(unchanged=5)
    engine.put(STAGING, other := [same, (9, 0, 8, "instead", None)])
    gone = replace_from(engine, load(other, key=()), 6, CAPABILITIES)
    assert gone == Written(inserted=1, deleted=4, unchanged=1)


def test_append_counts_a_row_that_was_only_read_again_as_unchanged(engine: Engine):
    columns = tuple(replace(each, read_time=each.name == "gone") for each in COLUMNS)
    engine.put(TARGET, [(1, 0, 6, "same", 1), (2, 0, 6, "old", 1)])
    engine.put(STAGING, batch := [(1, 0, 6, "same", 2), (2, 0, 6, "new", 2)])
    landed = replace_from(engine, load(batch, key=(), columns=columns), 6, CAPABILITIES)
    assert landed == Written(inserted=1, deleted=1, unchanged=1)


def test_append_of_all_there_is_keeps_what_the_source_has_forgotten(engine: Engine):
    forgotten, kept = [(1, 0, 1, "a", None), (2, 0, 2, "b", None)], (3, 0, 5, "c", None)
    engine.put(TARGET, [*forgotten, kept])
    engine.put(STAGING, batch := [kept, (4, 0, 6, "d", None)])
    landed = replace_from(engine, load(batch, key=()), None, CAPABILITIES)
    assert landed == Written(inserted=1, unchanged=1)
    assert engine.rows() == [*forgotten, *batch]
    engine.put(TARGET, [])
    first = load(batch, key=(), into_empty=True)
    assert replace_from(engine, first, None, CAPABILITIES) == Written(inserted=2)


def test_whether_the_target_has_rows_is_not_asked_again_under_the_lock(engine: Engine):
    engine.put(TARGET, [(1, 0, 1, "a", None)])
    engine.put(STAGING, batch := [(2, 0, 2, "b", None)])
    with patch.object(engine, "fetch", wraps=engine.fetch) as asked:
        replace_from(engine, load(batch, key=()), None, CAPABILITIES)
    assert call(any_row(TARGET)) not in asked.mock_calls


def test_append_by_a_cursor_that_no_row_of_the_target_has_is_refused(engine: Engine):
    engine.put(TARGET, [(1, 0, None, "a", None)])
    engine.put(STAGING, batch := [(1, 0, 5, "a", None)])
    with pytest.raises(DataError, match=r"nothing tells which rows.*value of modified.*mode full"):
        replace_from(engine, load(batch, key=()), None, CAPABILITIES)


def test_append_shrinks_the_target_by_no_more_than_the_spec_says(engine: Engine):
    rows = [(number, 0, number, "x", None) for number in range(10)]
    for kept, limit, refused in ((9, 10, False), (8, 10, True), (1, None, False)):
        engine.put(TARGET, rows)
        engine.put(STAGING, batch := rows[:kept])
        loaded = load(batch, key=(), max_shrink_percent=limit)
        with pytest.raises(DataError, match="by more than 10 %") if refused else nullcontext():
            replace_from(engine, loaded, 0, CAPABILITIES)


@pytest.mark.parametrize(
    ("not_grouped", "counts"),
    [((), Written(unchanged=1)), ((Kind.JSON,), Written(inserted=1, deleted=1))],
)
def test_append_counts_all_as_replaced_only_where_the_warehouse_cannot_group_values(
    engine: Engine, not_grouped: tuple[Kind, ...], counts: Written
):
    document = replace(COLUMNS[3], type=DataType(Kind.JSON))
    columns = (*COLUMNS[:3], document, COLUMNS[4])
    engine.put(TARGET, rows := [(1, 0, 6, "{}", None)])
    engine.put(STAGING, rows)
    can = replace(CAPABILITIES, not_grouped=frozenset(not_grouped))
    assert replace_from(engine, load(rows, key=(), columns=columns), 6, can) == counts
