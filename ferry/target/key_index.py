"""The index on a target's key, for warehouses that have indexes: its name, and what makes it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from itertools import chain, count

from ferry.schema import TableName
from ferry.statements import column_list, quoted, table_sql

_SUFFIX = "_ferry_key"


def key_index_name(table: TableName, indexes: Collection[tuple[str, str]]) -> str | None:
    """What to call the index on the table's key; None if it has one of ours.

    The name tells tables apart that begin alike, and is not one that another table's index has,
    such as that of a target that was renamed. Two runs at once choose the same.

    Args:
        table: The table.
        indexes: Table and name of every index in the table's schema.
    """
    taken = {name for _, name in indexes}
    if any(of == table.name and _SUFFIX in name for of, name in indexes):
        return None
    digest = hashlib.sha256(table.name.encode()).hexdigest()[:8]
    name = f"{table.name[:36]}_{digest}{_SUFFIX}"
    numbered = (f"{name}_{number}" for number in count(2))
    return next(each for each in chain([name], numbered) if each not in taken)


def create_index(name: str, table: TableName, columns: Sequence[str]) -> str:
    """Make an index, if there is none of that name in the table's schema."""
    return (
        f"CREATE INDEX IF NOT EXISTS {quoted(name)} ON {table_sql(table)} ({column_list(columns)})"
    )
