"""The write algorithms against a model in plain Python, on an engine that needs only pip."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ferry.write.upsert as write_upsert
from ferry.errors import CountMismatchError, DataError, RequestError, StaleReadError
from ferry.schema import Column, DataType, Kind
from ferry.write.algorithms import replace_all, write
from ferry.write.deletions import Deletion
from ferry.write.load import Written
from ferry.write.merge import same_key
from ferry.write.repeated_keys import count_repeated_keys
from tests.harness.embedded import examples
from tests.harness.write_engine import (
    CAPABILITIES,
    COLUMNS,
    INT,
    STAGING,
    TARGET,
    Engine,
    load,
    upserted,
)

small = st.integers(0, 3)
row = st.tuples(
    small,
    small,
    st.none() | st.integers(0, 4),
    st.none() | st.sampled_from(["", "a", "b ", "b"]),
    st.none() | st.integers(0, 1),
)
batch = st.lists(row, max_size=12)


def newest(rows: Sequence[tuple[Any, ...]]) -> dict[tuple[int, int], tuple[Any, ...]]:
    """The model: of each key the row with the highest cursor, then the highest other columns."""

    def order(one: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple((value is not None, value if value is not None else 0) for value in one[2:])

    best: dict[tuple[int, int], tuple[Any, ...]] = {}
    for one in rows:
        key = one[:2]
        if key not in best or order(one) > order(best[key]):
            best[key] = one
    return best


def undecided(rows: Sequence[tuple[Any, ...]]) -> set[tuple[int, int]]:
    """The model: keys of which several rows are the newest, and not all of these are one."""
    best = newest(rows)
    return {one[:2] for one in rows if one[2] == best[one[:2]][2] and one != best[one[:2]]}


def older(there: tuple[Any, ...], new: tuple[Any, ...]) -> bool:
    return there[2] is not None and (new[2] is None or there[2] > new[2])


@settings(max_examples=examples(900))
@given(
    apply_deletes=st.booleans(),
    how=st.sampled_from([(0, True), (100_000, True), (100_000, False)]),
    before=batch,
    rows=batch,
)
def test_upsert_is_what_the_model_says(
    engine: Engine, apply_deletes: bool, how: tuple[int, bool], before: list, rows: list
):
    many_rows, using = how
    target = newest(before)
    engine.put(TARGET, list(target.values()))
    engine.put(STAGING, rows)
    expected = dict(target)
    for key, new in newest(rows).items():
        if key in target and older(target[key], new):
            continue
        if apply_deletes and new[4] not in (None, 0):
            expected.pop(key, None)
        else:
            expected[key] = new
    deleted = Deletion(COLUMNS[4]) if apply_deletes else None

    with patch.object(write_upsert, "MANY_ROWS", many_rows):
        landed = upserted(
            engine, load(rows, deleted=deleted), replace(CAPABILITIES, deletes_using=using)
        )

    assert engine.rows() == sorted(expected.values(), key=repr)
    assert landed.inserted == len(expected.keys() - target.keys())
    assert landed.deleted == len(target.keys() - expected.keys())
    assert landed.updated == sum(target[k] != expected[k] for k in target.keys() & expected.keys())
    assert landed.superseded == len(rows) - len(newest(rows))
    counts = (landed.inserted, landed.updated, landed.deleted, landed.unchanged, landed.superseded)
    assert sum(counts) == len(rows)
    assert landed.undecided_keys == len(undecided(rows))


@settings(max_examples=examples(150))
@given(before=batch, rows=batch)
def test_rows_of_one_key_that_differ_and_none_is_newer_are_refused(
    engine: Engine, before: list, rows: list
):
    engine.put(TARGET, list(newest(before).values()))
    engine.put(STAGING, rows)
    there, keys = engine.rows(), undecided(rows)
    strict = load(rows, any_may_win=False)
    if not keys:
        assert upserted(engine, strict, CAPABILITIES).undecided_keys == 0
        return
    with pytest.raises(DataError, match="differ, and none of them is newer") as refused:
        upserted(engine, strict, CAPABILITIES)
    assert "(id, Part)" in str(refused.value)
    assert f"found {len(keys)} keys" in str(refused.value)
    assert "on_repeated_key: newest" in str(refused.value)
    assert engine.rows() == there


@settings(max_examples=examples(80))
@given(before=batch, rows=batch)
def test_the_same_batch_again_changes_nothing(engine: Engine, before: list, rows: list):
    engine.put(TARGET, list(newest(before).values()))
    engine.put(STAGING, rows)
    upserted(engine, load(rows), CAPABILITIES)
    after = engine.rows()
    engine.put(STAGING, rows)

    landed = upserted(engine, load(rows), CAPABILITIES)

    assert landed.unchanged == len(newest(rows))
    assert landed.superseded == len(rows) - len(newest(rows))
    assert (landed.inserted, landed.updated, landed.deleted) == (0, 0, 0)
    assert engine.rows() == after


@settings(max_examples=examples(80))
@given(one=batch, two=batch)
def test_batches_in_either_order_give_the_same_newest_versions(
    engine: Engine, one: list, two: list
):
    results = []
    for rows in ((one, two), (two, one)):
        engine.put(TARGET, [])
        for batch_rows in rows:
            engine.put(STAGING, batch_rows)
            upserted(engine, load(batch_rows), CAPABILITIES)
        results.append([r[:3] for r in engine.rows()])
    assert results[0] == results[1]


def test_the_version_tells_which_row_is_newer_where_it_is_not_the_cursor(engine: Engine):
    # `modified` is the cursor here, and `gone` the version, which rises as `modified` falls.
    engine.put(TARGET, [(1, 1, 9, "old", 1), (2, 2, 1, "newer", 3)])
    rows = [(1, 1, 5, "newest", 3), (1, 1, 8, "newer", 2), (2, 2, 9, "older", 2)]
    engine.put(STAGING, rows)

    landed = upserted(engine, load(rows, version="gone"), CAPABILITIES)

    assert engine.rows() == [(1, 1, 5, "newest", 3), (2, 2, 1, "newer", 3)]
    assert landed == Written(updated=1, unchanged=1, superseded=1)


def test_a_row_that_was_only_read_again_is_not_written_again(engine: Engine):
    engine.put(TARGET, [(1, 1, 5, "same", None), (2, 2, 5, "before", None)])
    rows = [(1, 1, 6, "same", None), (2, 2, 6, "after", None)]
    engine.put(STAGING, rows)
    columns = tuple(replace(c, read_time=c.name == "modified") for c in COLUMNS)

    landed = upserted(engine, load(rows, columns=columns), CAPABILITIES)

    assert engine.rows() == [(1, 1, 5, "same", None), (2, 2, 6, "after", None)]
    assert landed == Written(updated=1, unchanged=1)


def test_rows_of_one_key_that_were_only_read_at_other_times_are_one(engine: Engine):
    rows = [(1, 1, 6, "same", None), (1, 1, 7, "same", None)]
    engine.put(TARGET, [])
    engine.put(STAGING, rows)
    columns = tuple(replace(c, read_time=c.name == "modified") for c in COLUMNS)

    strict = load(rows, columns=columns, cursor=None, any_may_win=False)

    assert upserted(engine, strict, CAPABILITIES) == Written(inserted=1, superseded=1)


def test_rows_of_one_key_that_differ_are_refused_where_nothing_tells_the_newer(engine: Engine):
    rows = [(1, 1, 6, "one", None), (1, 1, 7, "other", None), (2, 2, 7, "b", None)]
    engine.put(TARGET, [])
    engine.put(STAGING, rows)
    with pytest.raises(DataError, match="none of them is newer; expected") as refused:
        upserted(engine, load(rows, cursor=None, any_may_win=False), CAPABILITIES)
    assert "found 1 keys" in str(refused.value)


def test_the_newest_row_tells_whether_a_repeated_key_is_deleted(engine: Engine):
    there = (1, 1, 1, "old", None)
    gone, back = (1, 1, 2, "gone", 1), (1, 1, 3, "back", None)
    for rows, expected in (([gone, back], [back]), ([(1, 1, 4, *gone[3:]), back], [])):
        engine.put(TARGET, [there])
        engine.put(STAGING, rows)
        landed = upserted(
            engine, load(rows, deleted=Deletion(COLUMNS[4]), any_may_win=False), CAPABILITIES
        )
        assert engine.rows() == expected
        assert (landed.updated + landed.deleted, landed.superseded) == (1, 1)


def test_rows_doubled_in_the_target_by_others_become_one(engine: Engine):
    row = (1, 1, 1, "old", None)
    engine.put(TARGET, [row, row])
    engine.put(STAGING, [(1, 1, 2, "new", None)])
    landed = upserted(engine, load([row]), CAPABILITIES)
    assert engine.rows() == [(1, 1, 2, "new", None)]
    assert landed == Written(updated=1, deleted=1)


@pytest.mark.parametrize("unique_key", [True, False])
@pytest.mark.parametrize("there", [0, 1])
def test_a_staging_table_that_holds_other_rows_than_were_copied_is_refused(
    engine: Engine, unique_key: bool, there: int
):
    row = (1, 1, 1, "a", None)
    engine.put(TARGET, [(2, 2, 1, "b", None)] * there)
    engine.put(STAGING, [row])
    wrong = load([row, row], unique_key=unique_key)
    for refused in (
        lambda: upserted(engine, wrong, CAPABILITIES),
        lambda: replace_all(engine, wrong, CAPABILITIES),
        lambda: replace_all(engine, replace(wrong, deleted=Deletion(COLUMNS[4])), CAPABILITIES),
    ):
        with pytest.raises(CountMismatchError, match="expected 2; found 1"):
            refused()


@pytest.mark.parametrize("there", [[], [(2, 2, 1, "b", None)]])
def test_a_null_in_the_key_is_refused_without_its_row(engine: Engine, there: list):
    engine.put(TARGET, there)
    engine.put(STAGING, [(1, None, 1, "secret", None)])
    with pytest.raises(DataError, match="rows without a full key") as caught:
        upserted(engine, load([()]), CAPABILITIES)
    assert "secret" not in str(caught.value)
    assert engine.rows() == there


def test_rows_whose_keys_the_source_vouches_for_are_counted_in_an_empty_target(engine: Engine):
    rows = [(1, 1, 1, "a", None), (2, 1, 1, "gone", 1)]
    for deleted, landed, left in (
        (None, Written(inserted=2), rows),
        (Deletion(COLUMNS[4]), Written(inserted=1, unchanged=1), rows[:1]),
    ):
        engine.put(TARGET, [])
        engine.put(STAGING, rows)
        batch = load(rows, unique_key=True, deleted=deleted)
        assert upserted(engine, batch, CAPABILITIES) == landed
        assert engine.rows() == left


def test_a_window_without_a_key_is_refused_and_the_target_is_as_it_was(engine: Engine):
    rows = [(1, 1, 1, "old", None)]
    for batch in ([], [(2, 1, 1, "new", None)]):
        engine.put(TARGET, rows)
        engine.put(STAGING, batch)
        with pytest.raises(RequestError, match="a table without a key has no windows"):
            write(engine, load(batch, key=()), CAPABILITIES, "window")
        assert engine.rows() == rows


def test_a_row_read_before_another_batch_landed_does_not_replace_one_that_is_no_older(
    engine: Engine,
):
    newer, older = (1, 1, 7, "newer", None), (1, 1, 7, "older", None)
    for version in ("modified", None):
        engine.put(TARGET, [newer, (2, 1, 1, "z", None)])
        engine.put(STAGING, [older])
        stale = load([older], others_landed=True, version=version, cursor=version)
        with pytest.raises(StaleReadError, match="1 rows that differ"):
            upserted(engine, stale, CAPABILITIES)
    sure = [(1, 1, 8, "newest", None), (2, 1, 0, "z", None), (3, 1, 1, "new", None)]
    engine.put(TARGET, [newer, (2, 1, 1, "z", None)])
    engine.put(STAGING, sure)
    landed = upserted(engine, load(sure, others_landed=True), CAPABILITIES)
    assert landed == Written(inserted=1, updated=1, unchanged=1)


def test_keys_that_differ_in_trailing_blanks_stay_two_where_comparing_ignores_blanks():
    key = (Column("code", DataType(Kind.TEXT, max_bytes=9)), Column("n", INT))
    condition = same_key(TARGET, STAGING, key, pads_text=True)
    assert condition.count("OCTET_LENGTH") == 2
    assert 'OCTET_LENGTH("code")' in count_repeated_keys(STAGING, key, pads_text=True)
    assert "OCTET_LENGTH" not in same_key(TARGET, STAGING, key, pads_text=False)


def test_of_many_rows_that_the_target_has_none_is_taken_out_of_the_staging_table(engine: Engine):
    rows = [(n, 0, 1, "a", None) for n in range(5)]
    engine.put(TARGET, [*rows, rows[0]])  # one of them twice
    engine.put(STAGING, rows)
    with patch.object(write_upsert, "MANY_ROWS", 5):
        assert upserted(engine, load(rows), CAPABILITIES) == Written(unchanged=5)
    assert len(engine.fetch("SELECT * FROM main.staging")) == 5
    changed = [*rows[:4], (4, 0, 2, "b", None)]
    engine.put(STAGING, changed)
    with patch.object(write_upsert, "MANY_ROWS", 5):
        assert upserted(engine, load(changed), CAPABILITIES) == Written(updated=1, unchanged=4)
