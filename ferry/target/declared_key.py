"""A primary key that a target declares where nothing enforces it: it has to be true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ferry.errors import SchemaError
from ferry.schema import TableName, TableSchema
from ferry.statements import quoted, table_sql


@dataclass(frozen=True)
class DeclaredKey:
    """A primary key as the warehouse's catalog tells it: the constraint's name, its columns."""

    name: str
    columns: tuple[str, ...]


def kept_key(source: TableSchema, upsert_by: Sequence[str] | None) -> frozenset[str]:
    """The source's primary key, in the target's names, if the target's rows keep to it as well.

    A full copy keeps to it; so does an upsert by this key or by a part of it, since that replaces
    all rows of the same. By other columns, or without any, a row may come beside its older version.

    Args:
        source: The source's table.
        upsert_by: The spec's key; None if the batch replaces every row.
    """
    columns = [source.column(name) for name in source.key]
    if not source.unique or any(column is None or column.nullable for column in columns):
        return frozenset()
    key = frozenset(name.lower() for name in source.key)
    by = key if upsert_by is None else frozenset(name.lower() for name in upsert_by)
    return key if by and by <= key else frozenset()


def refuse_untrue_key(table: TableName, declared: DeclaredKey | None, kept: frozenset[str]) -> None:
    """Refuse a target that declares a primary key which its rows need not keep to.

    Args:
        table: The target.
        declared: What it declares, if anything.
        kept: Columns whose values do not occur twice; none if that is not known of any.

    Raises:
        SchemaError: Rows of the declared key may repeat. No retry helps.
    """
    if declared is None or (kept and kept <= set(declared.columns)):
        return
    drop = f"ALTER TABLE {table_sql(table)} DROP CONSTRAINT {quoted(declared.name)};"
    raise SchemaError(
        "the target declares a primary key that its rows need not keep to",
        table=str(table),
        expected=_told(sorted(kept), "or none") if kept else "no primary key",
        found=_told(declared.columns, f"declared as {declared.name}"),
        todo="The warehouse does not enforce it, and answers queries as if it were true. Run: "
        f"{drop} Or correct `key` in the table's spec, if the source has that primary key.",
    )


def _told(columns: Sequence[str], more: str) -> str:
    return f"PRIMARY KEY ({', '.join(columns)}), {more}"
