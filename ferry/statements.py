"""SQL statements that every warehouse understands: short templates over quoted identifiers.

Values are always bound parameters. What differs between engines comes in as a native type or a
capability. The statements keep within what Redshift accepts (no ON CONFLICT, RETURNING, DISTINCT
ON, FILTER or IS DISTINCT FROM, no alias on the target of a DELETE): Amazon Redshift Database
Developer Guide, "Unsupported PostgreSQL features".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ferry.schema import Column, DataType, Kind, TableName

NativeType = Callable[[DataType], str]


def quoted(name: str) -> str:
    """The identifier in double quotes, any quote in it doubled."""
    return '"' + name.replace('"', '""') + '"'


def table_sql(table: TableName) -> str:
    """The table's quoted name, with its schema if it has one."""
    return f"{quoted(table.schema)}.{quoted(table.name)}" if table.schema else quoted(table.name)


def column_list(names: Iterable[str], prefix: str = "") -> str:
    """Quoted column names, separated by commas."""
    return ", ".join(prefix + quoted(name) for name in names)


def create_schema(schema: str) -> str:
    """Make the schema if it is missing."""
    return f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}"


def create_table(
    table: TableName,
    columns: Sequence[Column],
    native_type: NativeType,
    *,
    kind: str = "",
    required: Iterable[str] = (),
    sort_key: Sequence[str] = (),
    dist_key: str | None = None,
) -> str:
    """Make the table if it is missing.

    Args:
        table: Its name.
        columns: Its columns, in order.
        native_type: How the engine declares a type.
        kind: A word before TABLE, such as UNLOGGED.
        required: Columns that are NOT NULL.
        sort_key: Redshift's sort key; leave empty elsewhere.
        dist_key: Redshift's distribution key; leave empty elsewhere.
    """
    needed = set(required)
    lines = ",\n  ".join(
        f"{quoted(column.name)} {native_type(column.type)}"
        + (" NOT NULL" if column.name in needed else "")
        for column in columns
    )
    text = (
        f"CREATE {kind + ' ' if kind else ''}TABLE IF NOT EXISTS {table_sql(table)} (\n  {lines}\n)"
    )
    if dist_key:
        text += f" DISTSTYLE KEY DISTKEY ({quoted(dist_key)})"
    if sort_key:
        text += f" SORTKEY ({column_list(sort_key)})"
    return text


def drop_table(table: TableName) -> str:
    """Drop the table if it is there."""
    return f"DROP TABLE IF EXISTS {table_sql(table)}"


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


def highest(table: TableName, column: str) -> str:
    """The highest value of a column."""
    return f"SELECT MAX({quoted(column)}) FROM {table_sql(table)}"


def any_row(table: TableName) -> str:
    """One row if the table has any, else none."""
    return f"SELECT 1 FROM {table_sql(table)} LIMIT 1"


def count_keyed_rows(table: TableName, key: Sequence[str]) -> str:
    """How many rows the table has, and how many of them have a full key."""
    full = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in key)
    return f"SELECT COUNT(*), COUNT(CASE WHEN {full} THEN 1 END) FROM {table_sql(table)}"


def count_repeated_keys(table: TableName, key: Sequence[str]) -> str:
    """How many keys occur more than once."""
    names = column_list(key)
    return (
        f"SELECT COUNT(*) FROM (SELECT {names} FROM {table_sql(table)} "
        f"GROUP BY {names} HAVING COUNT(*) > 1) AS repeated"
    )


def create_newest(
    newest: TableName,
    table: TableName,
    columns: Sequence[Column],
    key: Sequence[str],
    cursor: str | None,
) -> str:
    """A copy of the table with just the newest row of each key.

    Rows that tie on the cursor are told apart by their other columns, so that a second run picks
    the same one.
    """
    names = column_list(column.name for column in columns)
    others = [
        c.name
        for c in columns
        if c.name not in (*key, cursor) and c.type.kind not in (Kind.JSON, Kind.BINARY)
    ]
    newest_first = [cursor, *others] if cursor else others
    order = ", ".join(f"{quoted(name)} DESC NULLS LAST" for name in newest_first or key)
    return (
        f"CREATE TABLE {table_sql(newest)} AS SELECT {names} FROM (SELECT {names}, "
        f"ROW_NUMBER() OVER (PARTITION BY {column_list(key)} ORDER BY {order}) AS ferry_rank "
        f"FROM {table_sql(table)}) AS ranked WHERE ferry_rank = 1"
    )


def same_key(left: TableName, right: TableName, key: Sequence[str]) -> str:
    """The condition that two tables' rows have one key."""
    return " AND ".join(
        f"{table_sql(left)}.{quoted(name)} = {table_sql(right)}.{quoted(name)}" for name in key
    )


def delete_known(
    staging: TableName,
    target: TableName,
    columns: Sequence[Column],
    key: Sequence[str],
    cursor: str | None,
    *,
    pads_text: bool,
    deleted: Column | None = None,
) -> str:
    """Take out of the staging table what the target has already: the same row, or a newer one.

    A row whose deletion is to be applied (`deleted` marks it) stays, even if the target has it.
    """
    ours, theirs = table_sql(staging), table_sql(target)
    same = " AND ".join(
        _same_value(f"{ours}.{quoted(c.name)}", f"{theirs}.{quoted(c.name)}", c, pads_text)
        for c in columns
        if c.name not in key
    )
    known = f"({same or '1 = 1'})"
    if deleted:
        known = f"({known} AND NOT {is_deleted(deleted, ours + '.')})"
    if cursor:
        known = f"({theirs}.{quoted(cursor)} > {ours}.{quoted(cursor)} OR {known})"
    return f"DELETE FROM {ours} USING {theirs} WHERE {same_key(staging, target, key)} AND {known}"


def _same_value(left: str, right: str, column: Column, pads_text: bool) -> str:
    equal = f"{left} = {right}"
    if pads_text and column.type.kind is Kind.TEXT:
        equal += f" AND OCTET_LENGTH({left}) = OCTET_LENGTH({right})"
    return f"({equal} OR ({left} IS NULL AND {right} IS NULL))"


def delete_matching(target: TableName, staging: TableName, key: Sequence[str]) -> str:
    """Take out of the target the rows whose key is in the staging table."""
    return (
        f"DELETE FROM {table_sql(target)} USING {table_sql(staging)} "
        f"WHERE {same_key(target, staging, key)}"
    )


def is_deleted(column: Column, prefix: str = "") -> str:
    """The condition that a soft-delete column marks a row: not NULL, not false and not 0."""
    name = prefix + quoted(column.name)
    if column.type.kind is Kind.BOOLEAN:
        return f"({name} IS NOT NULL AND {name} = TRUE)"
    if column.type.kind in (Kind.INT16, Kind.INT32, Kind.INT64, Kind.DECIMAL):
        return f"({name} IS NOT NULL AND {name} <> 0)"
    return f"({name} IS NOT NULL)"


def count_deletable(
    staging: TableName, target: TableName, key: Sequence[str], deleted: Column
) -> str:
    """How many rows of the target the staging table marks as deleted."""
    return (
        f"SELECT COUNT(*) FROM {table_sql(target)}, {table_sql(staging)} "
        f"WHERE {same_key(target, staging, key)} "
        f"AND {is_deleted(deleted, table_sql(staging) + '.')}"
    )


def delete_all(table: TableName) -> str:
    """Empty the table (TRUNCATE would commit on Redshift)."""
    return f"DELETE FROM {table_sql(table)}"


def delete_from(table: TableName, column: str, placeholder: str) -> str:
    """Take out the rows at or after a bound."""
    return f"DELETE FROM {table_sql(table)} WHERE {quoted(column)} >= {placeholder}"


def insert_all(
    target: TableName, staging: TableName, columns: Sequence[Column], unless: str | None = None
) -> str:
    """Insert the staging table's rows, but for those that meet a condition."""
    names = column_list(column.name for column in columns)
    text = f"INSERT INTO {table_sql(target)} ({names}) SELECT {names} FROM {table_sql(staging)}"
    return f"{text} WHERE NOT {unless}" if unless else text


def insert_values(table: TableName, columns: Sequence[Column], rows: int, placeholder: str) -> str:
    """Insert so many rows of bound parameters."""
    row = "(" + ", ".join([placeholder] * len(columns)) + ")"
    names = column_list(column.name for column in columns)
    return f"INSERT INTO {table_sql(table)} ({names}) VALUES " + ", ".join([row] * rows)


def select_where(table: TableName, columns: Sequence[Column], column: str, placeholder: str) -> str:
    """The rows whose column has a bound value."""
    names = column_list(c.name for c in columns)
    return f"SELECT {names} FROM {table_sql(table)} WHERE {quoted(column)} = {placeholder}"


def find_tables(schema_placeholder: str, pattern_placeholder: str) -> str:
    """Names of the tables of a schema that match a LIKE pattern; both are bound parameters."""
    return (
        "SELECT table_name FROM information_schema.tables "
        f"WHERE table_schema = {schema_placeholder} AND table_name LIKE {pattern_placeholder}"
    )
