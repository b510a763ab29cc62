"""SQL statements over a table in which a key can occur more than once: which of its rows wins.

They keep within what every warehouse accepts, as those of `ferry.statements` do.
"""

from __future__ import annotations

from collections.abc import Sequence

from ferry.errors import DataError
from ferry.schema import Column, Kind, TableName
from ferry.statements import Statement, column_list, quoted, table_sql
from ferry.windows import RepeatedTimes
from ferry.write.merge import key_terms, no_newer, same_key, same_value

_RANK, _OF_KEY = '"ferry__rank"', '"ferry__rows_of_key"'
"""Columns of our own beside a table's: no source has such names."""


def count_repeated_keys(table: TableName, key: Sequence[Column], pads_text: bool) -> str:
    """How many keys occur more than once."""
    terms = ", ".join(key_terms(key, pads_text))
    return (
        f"SELECT COUNT(*) FROM (SELECT {terms} FROM {table_sql(table)} "
        f"GROUP BY {terms} HAVING COUNT(*) > 1) AS repeated"
    )


def create_newest(
    newest: TableName,
    table: TableName,
    columns: Sequence[Column],
    key: Sequence[Column],
    version: str | None,
    pads_text: bool,
) -> str:
    """A copy of the table with just the newest row of each key, and how many rows the key had.

    Rows that tie on the version are told apart by their other columns (but for JSON and binary,
    which have no order everywhere), so that a second run picks the same one.
    """
    names = column_list(column.name for column in columns)
    unordered = (Kind.JSON, Kind.BINARY)
    others = [
        c.name
        for c in columns
        if c not in key and c.name != version and c.type.kind not in unordered
    ]
    newest_first = ([version] if version else []) + others or [column.name for column in key]
    order = ", ".join(f"{quoted(name)} DESC NULLS LAST" for name in newest_first)
    terms = ", ".join(key_terms(key, pads_text))
    return (
        f"CREATE TABLE {table_sql(newest)} AS SELECT {names}, {_OF_KEY} FROM (SELECT {names}, "
        f"ROW_NUMBER() OVER (PARTITION BY {terms} ORDER BY {order}) AS {_RANK}, "
        f"COUNT(*) OVER (PARTITION BY {terms}) AS {_OF_KEY} "
        f"FROM {table_sql(table)}) AS ranked WHERE {_RANK} = 1"
    )


def count_undecided_keys(
    newest: TableName,
    table: TableName,
    columns: Sequence[Column],
    key: Sequence[Column],
    version: str | None,
    pads_text: bool,
    repeated: Sequence[RepeatedTimes] = (),
) -> Statement:
    """How many keys have rows in the table that differ, and of which none is newer.

    Each row of a key that has several, and is as new as the one in `create_newest`'s table, is held
    against that one. Of two versions within one stretch of `repeated` times neither is newer. When
    a row was read makes no difference.
    """
    best, other = table_sql(newest) + ".", table_sql(table) + "."
    same = [
        same_value(best + quoted(c.name), other + quoted(c.name), c, pads_text)
        for c in columns
        if c not in key and not c.read_time
    ]
    # CASE, as what cannot be compared, such as two kinds of JSON in Redshift, is NULL and differs.
    tests = [
        f"{best}{_OF_KEY} > 1",
        same_key(newest, table, key, pads_text),
        f"CASE WHEN {' AND '.join(same) or '1 = 1'} THEN 0 ELSE 1 END = 1",
    ]
    values: tuple[object, ...] = ()
    if version:
        undecided = no_newer(best + quoted(version), other + quoted(version), repeated)
        tests.append(undecided.sql)
        values = undecided.values
    terms = ", ".join(key_terms(key, pads_text, best))
    return Statement(
        f"SELECT COUNT(*) FROM (SELECT {terms} FROM {table_sql(newest)}, {table_sql(table)} "
        f"WHERE {' AND '.join(tests)} GROUP BY {terms}) AS undecided",
        values,
    )


def undecided_keys(
    key: Sequence[Column], version: str | None, keys: int, *, repeats: bool = False
) -> DataError:
    """The error for keys that have rows which differ, and of which none is newer."""
    return DataError(
        f"rows of one key ({', '.join(column.name for column in key)}) differ, and none of them is "
        "newer" + (f" by {version!r}" if version else ""),
        expected="one row of each key, or one that is newer than the others",
        found=f"{keys:,} keys with such rows"
        + (", perhaps of an hour that the clocks repeat, in which no time is newer" * repeats),
        todo="Name all columns that identify a row as `key`, or what tells the newer row as "
        "`version`; or say `on_repeated_key: newest`, and one of them wins.",
    )
