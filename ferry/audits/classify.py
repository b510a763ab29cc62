"""What each row that two sides do not have alike is: missing, changed, extra, pending, or no more.

A row is judged by its key, as both sides have it at that moment: a row that a writer, or Ferry
itself, changes while it is compared is found alike, or pending.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ferry.audits.carried import Carried
from ferry.audits.outcome import Difference, DifferentRow
from ferry.errors import DataError
from ferry.fingerprints.queries import Bucket, Row

FLOAT_ERROR = 1e-6
"""By how much a float may differ: an engine may write a REAL with seven digits."""


def by_key(rows: Iterable[Row]) -> dict[str, Row]:
    """The rows by their keys."""
    return {row.key: row for row in rows}


def refuse_repeated(source: Sequence[Row], target: Sequence[Row], table: str) -> None:
    """Refuse rows of which two have one key.

    Raises:
        DataError: There are such on a side; both sides are told. No retry helps.
    """
    twice = [_repeated(rows) for rows in (source, target)]
    if any(twice):
        # A full copy carries all rows that the source has, those of one key, too.
        advice = (
            "Name in `key` of the table's spec all columns that tell the source's rows apart, as "
            "of its whole primary key. A full copy would carry them all."
            if twice[0]
            else "Name the whole primary key in the table's spec; or take the doubled rows out of "
            "the target: a full copy does, and takes out what the source has no more, too."
        )
        raise DataError(
            "the key is not unique",
            table=table,
            expected="each key once on each side",
            found=f"{twice[0]:,} keys more than once at the source, {twice[1]:,} in the target, "
            f"among {max(len(source), len(target)):,} rows that differ or stand beside such",
            todo=advice,
        )


def refuse_incomplete(source: Sequence[Row], target: Sequence[Row], table: str) -> None:
    """Refuse rows without a full key, which nobody can find again.

    Raises:
        DataError: There are such on a side; both sides are told. No retry helps.
    """
    without = [sum(None in row.keys for row in rows) for rows in (source, target)]
    if any(without):
        raise DataError(
            "rows without a full key cannot be compared",
            table=table,
            expected="a value in each column of the key",
            found=f"{without[0]:,} rows without one at the source, {without[1]:,} in the target, "
            "among those that differ or stand beside such",
            todo="Give them keys, or take them out.",
        )


def _repeated(rows: Iterable[Row]) -> int:
    """How many keys are there more than once."""
    return sum(count > 1 for count in Counter(row.key for row in rows).values())


def same_bucket(left: Bucket, right: Bucket, errors: Sequence[float]) -> bool:
    """Whether both sides' buckets are alike, as far as that can be told without their rows.

    Args:
        left: One side's.
        right: The other's.
        errors: For each column that is compared nearly, by how much sums may differ, of the sum of
            the absolute values.
    """
    if left.fingerprint != right.fingerprint or left.present != right.present:
        return False
    return all(
        one[0] == other[0]
        and math.isclose(one[1], other[1], rel_tol=0, abs_tol=error * max(one[2], other[2]))
        for one, other, error in zip(left.nearly, right.nearly, errors, strict=True)
    )


def same_row(left: Row, right: Row) -> bool:
    """Whether both sides' rows of one key are alike."""
    if left.number != right.number or left.present != right.present:
        return False
    return all(
        one == other
        or (
            (one is not None and other is not None)
            and math.isclose(one, other, rel_tol=FLOAT_ERROR)
        )
        for one, other in zip(left.nearly, right.nearly, strict=True)
    )


def suspects(source: Mapping[str, Row], target: Mapping[str, Row]) -> list[Row]:
    """The rows that are not alike, of whichever side has them."""
    found = [
        row
        for key, row in source.items()
        if (there := target.get(key)) is None or not same_row(row, there)
    ]
    return found + [row for key, row in target.items() if key not in source]


def classify(
    keys: Sequence[str],
    source: Mapping[str, Row],
    deleted: Mapping[str, Row],
    target: Mapping[str, Row],
    carried: Carried,
    marked: Collection[str] = (),
) -> list[DifferentRow]:
    """What each of the keys is, by what both sides have of it now.

    Args:
        keys: The keys' canonical texts.
        source: The source's rows of these keys.
        deleted: Those that it marks as deleted, where that is applied to the target.
        target: The target's rows of these keys.
        carried: Which rows have been carried.
        marked: Those that the target marks as deleted, where the source has no such mark.

    Returns:
        Those that differ or are pending; the others are alike by now.
    """
    found = []
    for key in keys:
        at_source, in_target, gone = source.get(key), target.get(key), deleted.get(key)
        if at_source is None:
            if in_target is None:
                continue
            if gone is None:
                found.append(
                    DifferentRow(Difference.EXTRA, key, in_target.keys, in_target.ordering)
                )
                continue
            # Carrying the row again, marked as it is, takes it out.
            how = Difference.CHANGED if carried.holds(gone) else Difference.PENDING
            versions = (gone.version, in_target.version)
            ahead = _newer(in_target, gone)
            found.append(DifferentRow(how, key, in_target.keys, gone.ordering, versions, ahead))
            continue
        if in_target is not None and same_row(at_source, in_target) and key not in marked:
            continue
        how = Difference.MISSING if in_target is None else Difference.CHANGED
        if not carried.holds(at_source):
            how = Difference.PENDING
        there = None if in_target is None else in_target.keys
        ahead = in_target is not None and _newer(in_target, at_source)
        versions = (at_source.version, in_target.version if in_target is not None else None)
        found.append(
            DifferentRow(how, key, there, at_source.ordering, versions, ahead, key in marked)
        )
    return found


def _newer(in_target: Row, at_source: Row) -> bool:
    """Whether the target's version is the newer one; any is newer than none."""
    there, here = _comparable(in_target.version), _comparable(at_source.version)
    return there is not None and (here is None or there > here)


def _comparable(value: Any) -> Any:
    """A version, a wall clock as UTC's: the sides may have one of each."""
    naive = isinstance(value, datetime) and value.tzinfo is None
    return value.replace(tzinfo=UTC) if naive else value
