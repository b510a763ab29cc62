"""SQL statements that every warehouse understands: short templates over quoted identifiers.

What has values, or a condition that can have some, is a `Statement`: whoever executes it binds them
in its driver's own way. Text that never has any is a plain `str`. What differs between engines
comes in as a native type or a capability. The statements keep within what Redshift accepts (no ON
CONFLICT, RETURNING, DISTINCT ON, FILTER or IS DISTINCT FROM, no alias on the target of a DELETE):
Amazon Redshift Database Developer Guide, "Unsupported PostgreSQL features".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ferry.bounded import in_groups
from ferry.errors import SchemaError
from ferry.schema import Column, DataType, TableName

PARAM = "\0"
"""Where a value goes in a statement's text. No name can hold it, see `quoted`."""

NativeType = Callable[[DataType], str]

_ROWS_AT_ONCE = 250
_BYTES_AT_ONCE = 4 << 20  # twice as much where each character is a quotation mark


@dataclass(frozen=True)
class Statement:
    """SQL, and the values that are bound in it, in their order.

    Attributes:
        sql: The text, with `PARAM` for each value.
        values: As many as there are `PARAM`s. They may be a row's, so `repr` has none.

    Raises:
        ValueError: There are more or fewer.
    """

    sql: str
    values: tuple[object, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if (places := self.sql.count(PARAM)) != len(self.values):
            raise ValueError(
                f"{len(self.values)} values for the {places} parameters of a statement"
            )

    @classmethod
    def of(cls, statement: Statement | str) -> Statement:
        """The statement itself, or the text as one without values."""
        return cls(statement) if isinstance(statement, str) else statement

    def rendered(self, placeholder: str, escaped: Callable[[str], str] = str) -> str:
        """The text with a driver's own placeholder for each value, the rest of it escaped."""
        return placeholder.join(map(escaped, self.sql.split(PARAM)))


class Transaction(Protocol):
    """An open transaction of a warehouse. Text without values may be a plain `str`."""

    def execute(self, statement: Statement | str) -> int:
        """Run one statement; returns the rows it touched."""
        ...

    def fetch(self, statement: Statement | str) -> list[tuple[Any, ...]]:
        """The rows of one query."""
        ...


def quoted(name: str) -> str:
    """The identifier in double quotes, any quote in it doubled.

    Raises:
        SchemaError: It has a NUL character in it, which is our `PARAM`.
    """
    if PARAM in name:
        raise SchemaError("a name has a NUL character in it", todo="Rename it, or leave it out.")
    return '"' + name.replace('"', '""') + '"'


_LITERAL_OR_NAME = re.compile(r"""--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|"((?:[^"]|"")*)\"""", re.DOTALL)


def requoted(text: str, quote: Callable[[str], str]) -> str:
    """The text with each quoted identifier as an engine quotes it that knows no double quotes.

    Its warehouse hands it to `Statement.rendered`; `quote` makes an identifier of a name. What
    stands in a literal or a comment is left as it is.
    """
    return _LITERAL_OR_NAME.sub(
        lambda found: found[0] if found[1] is None else quote(found[1].replace('""', '"')), text
    )


def table_sql(table: TableName) -> str:
    """The table's quoted name, with its schema if it has one."""
    return f"{quoted(table.schema)}.{quoted(table.name)}" if table.schema else quoted(table.name)


def column_list(names: Iterable[str]) -> str:
    """Quoted column names, separated by commas."""
    return ", ".join(map(quoted, names))


def create_schema(schema: str) -> str:
    """Make the schema if it is missing."""
    return f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}"


def create_table(
    table: TableName,
    columns: Sequence[Column],
    native_type: NativeType,
    *,
    kind: str = "",
    if_missing: bool = True,
    required: Iterable[str] = (),
    primary_key: Sequence[str] = (),
    sort_key: Sequence[str] = (),
    dist_key: str | None = None,
) -> str:
    """Make the table.

    Args:
        table: Its name.
        columns: Its columns, in order.
        native_type: How the engine declares a type.
        kind: A word before TABLE, such as UNLOGGED.
        if_missing: Whether it is no error that the table is there.
        required: Columns that are NOT NULL.
        primary_key: Columns to declare as the primary key.
        sort_key: Redshift's sort key; leave empty elsewhere.
        dist_key: Redshift's distribution key; leave empty elsewhere.
    """
    needed = set(required)
    items = [
        f"{quoted(column.name)} {native_type(column.type)}"
        + (" NOT NULL" if column.name in needed else "")
        for column in columns
    ]
    if primary_key:
        items.append(f"PRIMARY KEY ({column_list(primary_key)})")
    lines = ",\n  ".join(items)
    words = ["CREATE", kind, "TABLE", "IF NOT EXISTS" if if_missing else "", table_sql(table)]
    text = f"{' '.join(filter(None, words))} (\n  {lines}\n)"
    return text + storage_keys(sort_key, dist_key)


def storage_keys(sort_key: Sequence[str], dist_key: str | None) -> str:
    """What ends a CREATE TABLE with Redshift's sort key and distribution key."""
    text = f" DISTSTYLE KEY DISTKEY ({quoted(dist_key)})" if dist_key else ""
    return text + (f" SORTKEY ({column_list(sort_key)})" if sort_key else "")


def drop_table(table: TableName) -> str:
    """Drop the table if it is there. One in each statement: DuckDB takes no list."""
    return f"DROP TABLE IF EXISTS {table_sql(table)}"


def today() -> str:
    """The day by the warehouse's own clock, whichever machine asks."""
    return "SELECT CURRENT_DATE"


def add_column(table: TableName, column: Column, native_type: NativeType) -> str:
    """Add one column: Redshift takes one in each ALTER."""
    return (
        f"ALTER TABLE {table_sql(table)} ADD COLUMN {quoted(column.name)} "
        f"{native_type(column.type)}"
    )


def widen_column(table: TableName, column: Column, native_type: NativeType) -> str:
    """Raise a VARCHAR's length; on Redshift not within a transaction."""
    return (
        f"ALTER TABLE {table_sql(table)} ALTER COLUMN {quoted(column.name)} "
        f"TYPE {native_type(column.type)}"
    )


def lock(table: TableName, mode: str) -> str:
    """Make other writers of the table wait; on Redshift the first statement of a transaction."""
    return f"LOCK TABLE {table_sql(table)} {mode}".rstrip()


def count_rows(table: TableName) -> str:
    """How many rows the table has."""
    return f"SELECT COUNT(*) FROM {table_sql(table)}"


def lowest_and_highest(table: TableName, column: str) -> str:
    """The lowest and the highest value of a column."""
    return f"SELECT MIN({quoted(column)}), MAX({quoted(column)}) FROM {table_sql(table)}"


def highest_up_to(table: TableName, column: str, bound: object) -> Statement:
    """The highest value of a column that is not above a bound."""
    name = quoted(column)
    return Statement(
        f"SELECT MAX({name}) FROM {table_sql(table)} WHERE {name} <= {PARAM}", (bound,)
    )


def copy_aside(table: TableName, key: Sequence[str], columns: Sequence[str]) -> str:
    """CREATE TABLE of these columns' values, with the key that tells which row each is of.

    Args:
        table: The table that has them.
        key: Its key; without one, whole rows are copied.
        columns: The columns.
    """
    kept = table_sql(TableName(table.schema, f"{table.name}_kept"))
    copied = column_list([*(name.lower() for name in key), *columns]) if key else "*"
    return f"CREATE TABLE {kept} AS SELECT {copied} FROM {table_sql(table)};"


def any_row(table: TableName, *, with_value_in: str = "") -> str:
    """One row if the table has any, or any with a value in that column; else none."""
    condition = f" WHERE {quoted(with_value_in)} IS NOT NULL" if with_value_in else ""
    return f"SELECT 1 FROM {table_sql(table)}{condition} LIMIT 1"


def count_keyed_rows(table: TableName, key: Sequence[str], ranged: str | None = None) -> str:
    """How many rows the table has, how many of them have a full key, and the bounds of a column."""
    full = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in key)
    bounds = f", MIN({quoted(ranged)}), MAX({quoted(ranged)})" if ranged else ", NULL, NULL"
    return f"SELECT COUNT(*), COUNT(CASE WHEN {full} THEN 1 END){bounds} FROM {table_sql(table)}"


def lowest_within(table: TableName, column: str, low: object, high: object) -> Statement:
    """The lowest value of a column between two values; NULL if there is none."""
    sql = f"SELECT MIN({quoted(column)}) FROM {table_sql(table)} WHERE 1 = 1"
    return only_within(sql, table, column, low, high)


def only_within(
    statement: Statement | str, table: TableName, column: str, low: object, high: object
) -> Statement:
    """A statement that ends with its conditions, held to a range of one table between two values.

    Redshift and DuckDB know the bounds of every column in each block of a table and read none that
    cannot hold such a row; a join alone reads them all. PostgreSQL uses an index.
    https://docs.aws.amazon.com/redshift/latest/dg/c_best-practices-sort-key.html
    """
    whole = Statement.of(statement)
    return Statement(
        f"{whole.sql} AND {table_sql(table)}.{quoted(column)} BETWEEN {PARAM} AND {PARAM}",
        (*whole.values, low, high),
    )


def delete_all(table: TableName) -> str:
    """Empty the table (TRUNCATE would commit on Redshift)."""
    return f"DELETE FROM {table_sql(table)}"


def delete_from(table: TableName, column: str, start: object) -> Statement:
    """Take out the rows at or after a bound."""
    return Statement(f"DELETE FROM {table_sql(table)} WHERE {quoted(column)} >= {PARAM}", (start,))


def delete_between(table: TableName, column: str, start: object, end: object) -> Statement:
    """Take out the rows from one bound up to, but not including, another."""
    name = quoted(column)
    sql = f"DELETE FROM {table_sql(table)} WHERE {name} >= {PARAM} AND {name} < {PARAM}"
    return Statement(sql, (start, end))


def insert_all(
    target: TableName,
    staging: TableName,
    columns: Sequence[Column],
    unless: Statement | None = None,
) -> Statement:
    """Insert the staging table's rows, but for those that meet a condition."""
    names = column_list(column.name for column in columns)
    sql = f"INSERT INTO {table_sql(target)} ({names}) SELECT {names} FROM {table_sql(staging)}"
    return Statement(f"{sql} WHERE NOT {unless.sql}", unless.values) if unless else Statement(sql)


def insert_rows(
    table: TableName, columns: Sequence[Column], rows: Iterable[Sequence[object]]
) -> Statement:
    """Insert these rows, each with a value for each column."""
    row = "(" + ", ".join([PARAM] * len(columns)) + ")"
    names, all_rows = column_list(column.name for column in columns), list(rows)
    return Statement(
        f"INSERT INTO {table_sql(table)} ({names}) VALUES {', '.join([row] * len(all_rows))}",
        tuple(value for each in all_rows for value in each),
    )


def rows_at_once(rows: Iterable[Sequence[object]]) -> Iterator[list[Sequence[object]]]:
    """The rows in lists for one statement each, 250 or 4 MB of text: Redshift takes 16 MB.

    https://docs.aws.amazon.com/redshift/latest/dg/c_redshift-sql.html
    """
    sized = ((row, sum(len(v.encode()) for v in row if isinstance(v, str))) for row in rows)
    return in_groups(sized, _BYTES_AT_ONCE, _ROWS_AT_ONCE)


def select_where(
    table: TableName, columns: Sequence[Column], column: str, value: object
) -> Statement:
    """The rows whose column has this value."""
    names = column_list(c.name for c in columns)
    sql = f"SELECT {names} FROM {table_sql(table)} WHERE {quoted(column)} = {PARAM}"
    return Statement(sql, (value,))


def select_newest(table: TableName, columns: Sequence[Column], by: str, rows: int) -> str:
    """The rows with the highest values in a column, so many at most, the highest first."""
    names = column_list(c.name for c in columns)
    return (
        f"SELECT {names} FROM {table_sql(table)} ORDER BY {quoted(by)} DESC NULLS LAST "
        f"LIMIT {int(rows)}"
    )


def count_where(table: TableName, column: str, value: object) -> Statement:
    """How many rows have this value in the column."""
    sql = f"SELECT COUNT(*) FROM {table_sql(table)} WHERE {quoted(column)} = {PARAM}"
    return Statement(sql, (value,))


def count_within(
    table: TableName, column: str, stretches: Sequence[tuple[object, object]]
) -> Statement:
    """How many rows lie in any of the stretches, each from a bound up to, but without, another.

    One question, however many they are: without an index each would read the whole table.
    """
    name = quoted(column)
    each = " OR ".join([f"({name} >= {PARAM} AND {name} < {PARAM})"] * len(stretches))
    sql = f"SELECT COUNT(*) FROM {table_sql(table)} WHERE {each}"
    return Statement(sql, tuple(bound for stretch in stretches for bound in stretch))
