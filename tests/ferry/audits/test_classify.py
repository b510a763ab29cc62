"""Each row that two sides do not have alike is judged by what they then have of its key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.audits.carried import Carried
from ferry.audits.classify import (
    classify,
    refuse_incomplete,
    refuse_repeated,
    same_bucket,
    same_row,
    suspects,
)
from ferry.audits.outcome import Difference
from ferry.errors import DataError
from ferry.fingerprints.canonical import Fingerprint
from ferry.fingerprints.queries import Bucket, Row
from ferry.windows import union

CARRIED = Carried(((0, 10), (20, 30)))


def row(key: str, number: int = 1, at: Any = 5, **more: Any) -> Row:
    return Row(key, number, (key,), at, **{"version": at, **more})


def judge(source: Row | None, target: Row | None, deleted: Row | None = None) -> list[str]:
    sides = [{each.key: each} if each else {} for each in (source, deleted, target)]
    keys = sorted({key for side in sides for key in side})
    return [str(found.how) for found in classify(keys, *sides, CARRIED)]


@pytest.mark.parametrize(
    ("source", "target", "how"),
    [
        (row("a"), None, ["missing"]),
        (row("a"), row("a", 2), ["changed"]),
        (None, row("a"), ["extra"]),
        (row("a"), row("a"), []),
        (None, None, []),
        (row("a", at=15), None, ["pending"]),
        (row("a", at=30), row("a", 2), ["pending"]),
        (row("a", at=None), None, ["pending"]),
        (None, row("a", at=15), ["extra"]),
        (row("a", present=(1,)), row("a", present=(0,)), ["changed"]),
        (row("a", nearly=(1.0,)), row("a", nearly=(1.0 + 1e-9,)), []),
        (row("a", nearly=(1.0,)), row("a", nearly=(1.1,)), ["changed"]),
        (row("a", nearly=(None,)), row("a", nearly=(0.0,)), ["changed"]),
        (row("a", nearly=(0.0,)), row("a", nearly=(None,)), ["changed"]),
        (row("a", nearly=(None,)), row("a", nearly=(None,)), []),
        (row("a", nearly=(1.0, 2.0)), row("a", nearly=(1.0, 2.5)), ["changed"]),
        (row("a", nearly=(1.0, 2.0)), row("a", nearly=(1.5, 2.0)), ["changed"]),
    ],
)
def test_what_a_row_is(source: Row | None, target: Row | None, how: list[str]) -> None:
    assert judge(source, target) == how


def test_a_row_whose_deletion_is_applied_is_gone_or_its_deletion_is_pending() -> None:
    assert judge(None, row("a"), deleted=row("a", at=5)) == ["changed"]  # carried again, it goes
    assert judge(None, row("a"), deleted=row("a", at=99)) == ["pending"]
    assert judge(None, None, deleted=row("a", at=5)) == []


@pytest.mark.parametrize(
    ("start", "end", "any_between"),
    [(0, 1, True), (9, 11, True), (10, 20, False), (5, 25, True), (30, 40, False), (-5, 0, False)],
)
def test_whether_any_row_between_two_values_may_have_been_carried(
    start: int, end: int, any_between: bool
) -> None:
    assert CARRIED.any_between(start, end) is any_between
    assert Carried().any_between(start, end)
    assert Carried(((None, 10), (20, None))).any_between(start, end) is ((start, end) != (10, 20))


def test_a_version_that_came_after_all_that_was_carried_is_pending() -> None:
    carried = Carried(((0, 10),), until=100)
    old, new = row("a", at=5, version=99), row("a", at=5, version=100)
    assert carried.holds(old)
    assert not carried.holds(new)
    assert carried.holds(row("a", at=5, version=None))  # it has come by its cursor


def test_a_row_that_is_newer_in_the_target_is_known() -> None:
    ours, theirs = (
        row("a", at=datetime(2023, 1, 1)),
        row("a", 2, at=datetime(2023, 1, 2, tzinfo=UTC)),
    )
    (found,) = classify(["a"], {"a": ours}, {}, {"a": theirs}, Carried())
    assert (found.how, found.ahead) == (Difference.CHANGED, True)
    (found,) = classify(["a"], {"a": theirs}, {}, {"a": ours}, Carried())
    assert (found.how, found.ahead) == (Difference.CHANGED, False)


def test_a_version_that_is_none_is_older_than_any() -> None:
    ours, theirs = row("a", version=None), row("a", 2, version=5)
    (found,) = classify(["a"], {"a": ours}, {}, {"a": theirs}, Carried())
    assert (found.ahead, found.versions) == (True, (None, 5))
    (found,) = classify(["a"], {"a": theirs}, {}, {"a": ours}, Carried())
    assert not found.ahead


def test_a_version_as_new_as_the_source_s_is_not_ahead_whatever_its_zone() -> None:
    at = datetime(2023, 1, 2, tzinfo=UTC)
    korea = at.astimezone(timezone(timedelta(hours=9)))
    for ours, theirs in ((at, korea), (korea, at), (at.replace(tzinfo=None), korea), (at, at)):
        here, there = row("a", version=ours), row("a", 2, version=theirs)
        (found,) = classify(["a"], {"a": here}, {}, {"a": there}, Carried())
        assert not found.ahead


def test_a_row_that_only_the_target_marks_as_deleted_differs() -> None:
    same = {"a": row("a")}
    (found,) = classify(["a"], same, {}, same, CARRIED, ["a"])
    assert (found.how, found.marked, found.target_key) == (Difference.CHANGED, True, ("a",))
    assert classify(["a"], same, {}, same, CARRIED, ["b"]) == []


def test_of_a_row_whose_deletion_is_applied_both_versions_are_told() -> None:
    gone, there = row("a", version=7), row("a", version=9)
    (found,) = classify(["a"], {}, {"a": gone}, {"a": there}, CARRIED)
    assert (found.versions, found.ahead, found.target_key) == ((7, 9), True, ("a",))


def test_a_full_copy_has_carried_rows_without_a_time() -> None:
    assert Carried(((None, 10),), unordered=True).holds(row("a", at=None))
    assert not Carried(((None, 10),)).holds(row("a", at=None))


def test_a_key_that_is_not_unique_is_refused_with_both_sides_and_without_the_key() -> None:
    with pytest.raises(DataError, match="the key is not unique") as caught:
        refuse_repeated([row("b")], [row("secret"), row("secret", 2), row("b")], "raw_data.t")
    told = "0 keys more than once at the source, 1 in the target, among 3 rows"
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "out of the target: a full copy does" in str(caught.value)
    refuse_repeated([row("a"), row("b")], [row("a")], "raw_data.t")


@pytest.mark.parametrize("target", [[row("a")], [row("a"), row("a", 2)]])
def test_of_a_key_doubled_at_the_source_no_full_copy_is_offered(target: list[Row]) -> None:
    with pytest.raises(DataError, match="1 keys more than once at the source") as caught:
        refuse_repeated([row("a"), row("a", 2)], target, "raw_data.t")
    assert "Name in `key` of the table's spec" in str(caught.value)
    assert "a full copy does" not in str(caught.value)


def test_rows_without_a_full_key_are_refused_on_either_side() -> None:
    whole, part = row("a"), Row("x", 1, (1, None), 5)
    refuse_incomplete([whole], [whole], "raw_data.t")
    for sides in (([part], [whole]), ([whole], [part])):
        with pytest.raises(DataError, match="without a full key"):
            refuse_incomplete(*sides, "raw_data.t")


def test_suspects_are_what_is_not_alike_on_either_side() -> None:
    source = {r.key: r for r in (row("a"), row("b"), row("c"))}
    target = {r.key: r for r in (row("a"), row("b", 2), row("d"))}
    assert sorted(found.key for found in suspects(source, target)) == ["b", "c", "d"]


def test_buckets_are_alike_up_to_the_order_in_which_floats_were_added() -> None:
    one, errors = Bucket(Fingerprint(2, 7), ((2, 0.3, 0.3),), (1,)), (1e-9,)
    assert same_bucket(one, Bucket(Fingerprint(2, 7), ((2, 0.1 + 0.2, 0.3),), (1,)), errors)
    for other in (
        Bucket(Fingerprint(2, 8), ((2, 0.3, 0.3),), (1,)),
        Bucket(Fingerprint(2, 7), ((2, 0.31, 0.31),), (1,)),
        Bucket(Fingerprint(2, 7), ((1, 0.3, 0.3),), (1,)),
        Bucket(Fingerprint(2, 7), ((2, 0.3, 0.3),), (2,)),
    ):
        assert not same_bucket(one, other, errors)
    rounded = Bucket(Fingerprint(2, 7), ((2, 0.3 + 1e-8, 0.3),), (1,))
    assert same_bucket(one, rounded, (1e-6,)) and not same_bucket(one, rounded, errors)
    assert not same_row(row("a"), row("a", 2))


def test_one_column_that_differs_makes_a_bucket_differ_however_alike_another_is() -> None:
    one = Bucket(Fingerprint(2, 7), ((2, 0.3, 0.3), (2, 5.0, 5.0)), (1, 1))
    for nearly in (((2, 0.3, 0.3), (2, 6.0, 6.0)), ((2, 0.4, 0.4), (2, 5.0, 5.0))):
        assert not same_bucket(one, Bucket(Fingerprint(2, 7), nearly, (1, 1)), (1e-9, 1e-9))


def test_sums_may_differ_by_a_part_of_the_numbers_and_not_of_the_sum() -> None:
    def alike(one: float, other: float, numbers: float, error: float) -> bool:
        buckets = (Bucket(Fingerprint(2, 7), ((2, each, numbers),), (1,)) for each in (one, other))
        return same_bucket(*buckets, (error,))

    assert alike(0.0, 1e-4, 2e6, 1e-9)  # they cancel out
    assert not alike(0.0, 1e-4, 2e6, 1e-12)
    assert not alike(1e9, 1e9 + 0.5, 1e9, 1e-12)


STRETCHES = st.lists(
    st.tuples(st.none() | st.integers(0, 20), st.integers(0, 8) | st.none()).map(
        lambda each: (each[0], None if each[1] is None else (each[0] or 0) + each[1])
    ),
    max_size=5,
)


@given(STRETCHES, st.integers(-2, 32))
def test_merged_stretches_hold_what_any_of_them_held(stretches: Any, value: int) -> None:
    held = any(
        (start is None or start <= value) and (end is None or value < end)
        for start, end in stretches
    )
    assert Carried(tuple(union(stretches))).holds(row("a", at=value)) == held
