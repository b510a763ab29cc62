"""Which columns a batch gave values to: rows that landed without one have nothing in it.

A column that the target gains is seen when it is added. One that the target has, and that a table
begins to carry (it was in `exclude`, or somebody added it on both sides), is told from receipts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ferry.receipts.receipt import COLUMNS_BYTES


@dataclass(frozen=True)
class ColumnsCarried:
    """What has landed in a target with the same columns.

    Attributes:
        names: The columns, as the target names them.
        begun_at: When the last batch of them was begun: before its target was looked at.
        landed_at: When the last of them landed.
    """

    names: frozenset[str]
    begun_at: datetime
    landed_at: datetime


def columns_text(names: Iterable[str]) -> str | None:
    """The columns as a receipt has them, as JSON; None if they are too many for it."""
    text = json.dumps(sorted(names), ensure_ascii=False, separators=(",", ":"))
    return text if len(text.encode()) <= COLUMNS_BYTES else None


def names_of(text: str) -> frozenset[str]:
    """The columns that a receipt tells of."""
    return frozenset(json.loads(text))


def begun_to_carry(names: Iterable[str], landed: Iterable[ColumnsCarried]) -> frozenset[str]:
    """Those of the columns that some rows landed without, and nobody has looked at them since.

    A batch that carries a column and was begun after others had landed without it has looked
    whether they have a value in it.

    Args:
        names: Columns that are carried, and that the target has.
        landed: What has landed in what the target is now.
    """
    past = list(landed)

    def not_looked_at(name: str) -> bool:
        without = [each.landed_at for each in past if name not in each.names]
        looked_at = [each.begun_at for each in past if name in each.names]
        return bool(without) and not any(begun >= max(without) for begun in looked_at)

    return frozenset(name for name in names if not_looked_at(name))
