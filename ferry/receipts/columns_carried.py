"""Which columns a batch gave values to: rows that landed without one have nothing in it.

A column that the target gains is seen when it is added. One that the target has, and that a table
begins to carry (it was in `exclude`, or somebody added it on both sides), is told from receipts.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from ferry.fingerprints.sums import TEXT_BYTES
from ferry.schema import Column


@dataclass(frozen=True)
class ColumnsCarried:
    """What has landed in a target with the same columns.

    Attributes:
        names: The columns, as the target names them.
        batches: How many receipts tell of it.
        begun_at: When the last whole batch of them was begun: before its target was looked at. None
            if there was none but for a part: such a batch looks at that part of the rows alone.
        landed_at: When the last of them landed.
    """

    names: frozenset[str]
    batches: int
    begun_at: datetime | None
    landed_at: datetime


def columns_text(columns: Iterable[Column]) -> str:
    """Their names as a receipt has them, as JSON; empty if they are too many for it."""
    names = sorted(column.name for column in columns)
    text = json.dumps(names, ensure_ascii=False, separators=(",", ":"))
    return text if len(text.encode()) <= TEXT_BYTES else ""


def names_of(text: str) -> frozenset[str]:
    """The columns that a receipt tells of."""
    return frozenset(json.loads(text))


def begun_to_carry(names: Iterable[str], landed: Iterable[ColumnsCarried]) -> frozenset[str]:
    """Those of the columns that some rows landed without, and nobody has looked at them since.

    A whole batch that carries a column and was begun after others had landed without it has looked
    whether they have a value in it.

    Args:
        names: Columns that are carried, and that the target has.
        landed: What has landed in what the target is now.
    """
    past = list(landed)

    def not_looked_at(name: str) -> bool:
        without = [each.landed_at for each in past if name not in each.names]
        looked_at = [each.begun_at for each in past if name in each.names and each.begun_at]
        return bool(without) and not any(begun >= max(without) for begun in looked_at)

    return frozenset(name for name in names if not_looked_at(name))


def renamed(
    names: Iterable[str], there: Iterable[str], landed: Iterable[ColumnsCarried]
) -> frozenset[str]:
    """Those of the columns that are others renamed, as far as receipts tell.

    Had a column that is gone from the target had this name from the beginning, nobody would have to
    look at what landed without it. Of one that is new beside one that was dropped they tell the
    same: ask, too, whether there are values in it. None where more columns may be renamed than are
    gone, or where some rows have landed with the column since, which may be all that have a value.

    Args:
        names: Columns that some rows landed without (`begun_to_carry`).
        there: The columns that the target has.
        landed: What has landed in what the target is now.
    """
    past = list(landed)
    gone = frozenset[str]().union(*(each.names for each in past)) - frozenset(there)

    def was(old: str, name: str) -> bool:
        if any({old, name} <= each.names for each in past):  # two that landed together are two
            return False
        with_old = max(each.landed_at for each in past if old in each.names)
        if any(name in each.names and each.landed_at > with_old for each in past):
            return False
        as_if = (
            replace(each, names=each.names | {name}) if old in each.names else each for each in past
        )
        return not begun_to_carry([name], as_if)

    found = frozenset(name for name in names if any(was(old, name) for old in gone))
    return found if len(found) <= len(gone) else frozenset()


def landed_otherwise(
    names: Iterable[str],
    had: Collection[str],
    past: Collection[ColumnsCarried],
    now: Iterable[ColumnsCarried],
) -> str | None:
    """What has landed since a batch was planned with other columns than it brings.

    Where it landed without one, nobody has looked whether its rows have a value in it; where it
    landed with one that the target had not, the batch's own rows would have nothing in it.

    Args:
        names: The columns that the batch brings.
        had: The columns that the target had when the batch was planned.
        past: What had landed by then.
        now: What has landed.

    Returns:
        Which columns these are, in words; None if all is alike.
    """
    since = [each.names for each in now if each not in past]
    if not since:
        return None
    brought = frozenset(names)
    lacking = brought - frozenset.intersection(*since)
    more = frozenset.union(*since) - brought - frozenset(had)
    if lacking:
        return f"without a column that it brings: {', '.join(sorted(lacking))}"
    if more:
        return f"with a column that it was read without: {', '.join(sorted(more))}"
    return None
