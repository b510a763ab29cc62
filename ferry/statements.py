"""SQL statements that every warehouse understands: short templates over quoted identifiers.

Values are always bound parameters. What differs between engines comes in as a native type or a
capability. The statements keep within what Redshift accepts (no ON CONFLICT, RETURNING, DISTINCT
ON, FILTER or IS DISTINCT FROM, no alias on the target of a DELETE): Amazon Redshift Database
Developer Guide, "Unsupported PostgreSQL features".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ferry.schema import Column, DataType, Kind, TableName

MARK = "\0"
"""Where a bound parameter goes, while a statement is put together: no name can hold it."""

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


def highest_up_to(table: TableName, column: str, placeholder: str) -> str:
    """The highest value of a column that is not above a bound."""
    name = quoted(column)
    return bound(f"SELECT MAX({name}) FROM {table_sql(table)} WHERE {name} <= {MARK}", placeholder)


def any_row(table: TableName, *, with_value_in: str = "") -> str:
    """One row if the table has any, or any with a value in that column; else none."""
    condition = f" WHERE {quoted(with_value_in)} IS NOT NULL" if with_value_in else ""
    return f"SELECT 1 FROM {table_sql(table)}{condition} LIMIT 1"


def count_keyed_rows(table: TableName, key: Sequence[str], ranged: str | None = None) -> str:
    """How many rows the table has, how many of them have a full key, and the bounds of a column."""
    full = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in key)
    bounds = f", MIN({quoted(ranged)}), MAX({quoted(ranged)})" if ranged else ", NULL, NULL"
    return f"SELECT COUNT(*), COUNT(CASE WHEN {full} THEN 1 END){bounds} FROM {table_sql(table)}"


def lowest_within(table: TableName, column: str, placeholder: str) -> str:
    """The lowest value of a column between two bound values; NULL if there is none."""
    sql = f"SELECT MIN({quoted(column)}) FROM {table_sql(table)} WHERE 1 = 1"
    return only_within(sql, table, column, placeholder)


def only_within(sql: str, table: TableName, column: str, placeholder: str) -> str:
    """A statement that ends with its conditions, held to a range of one table between bound values.

    Redshift and DuckDB know the bounds of every column in each block of a table and read none that
    cannot hold such a row; a join alone reads them all. PostgreSQL uses an index.
    https://docs.aws.amazon.com/redshift/latest/dg/c_best-practices-sort-key.html
    """
    return bound(
        f"{sql} AND {table_sql(table)}.{quoted(column)} BETWEEN {MARK} AND {MARK}", placeholder
    )


def key_terms(key: Sequence[Column], pads_text: bool, prefix: str = "") -> list[str]:
    """What rows of one key have in common: where blanks are padded, the text's length as well."""
    terms = [prefix + quoted(column.name) for column in key]
    padded = [column for column in key if pads_text and column.type.kind is Kind.TEXT]
    return terms + [f"OCTET_LENGTH({prefix}{quoted(column.name)})" for column in padded]


def same_key(left: TableName, right: TableName, key: Sequence[Column], pads_text: bool) -> str:
    """The condition that two tables' rows have one key."""
    return " AND ".join(
        _equal(
            f"{table_sql(left)}.{quoted(c.name)}",
            f"{table_sql(right)}.{quoted(c.name)}",
            c,
            pads_text,
        )
        for c in key
    )


def _equal(left: str, right: str, column: Column, pads_text: bool) -> str:
    """Two values are equal; where blanks are padded, to the last blank."""
    equal = f"{left} = {right}"
    if pads_text and column.type.kind is Kind.TEXT:
        equal += f" AND OCTET_LENGTH({left}) = OCTET_LENGTH({right})"
    return equal


def delete_known(
    staging: TableName,
    target: TableName,
    columns: Sequence[Column],
    key: Sequence[Column],
    version: str | None,
    *,
    pads_text: bool,
    deleted: str | None = None,
) -> str:
    """Take out of the staging table what the target has already: the same row, or a newer one.

    A row without a version is older than one that has one. A row whose deletion is to be applied
    (`deleted` is the condition for it) stays, even if the target has it. When a row was read makes
    no difference.
    """
    ours, theirs = table_sql(staging), table_sql(target)
    same = " AND ".join(
        same_value(f"{ours}.{quoted(c.name)}", f"{theirs}.{quoted(c.name)}", c, pads_text)
        for c in columns
        if c not in key and not c.read_time
    )
    known = f"({same or '1 = 1'})"
    if deleted:
        known = f"({known} AND NOT {deleted})"
    if version:
        there, new = f"{theirs}.{quoted(version)}", f"{ours}.{quoted(version)}"
        known = f"({there} > {new} OR ({there} IS NOT NULL AND {new} IS NULL) OR {known})"
    one = same_key(staging, target, key, pads_text)
    return f"DELETE FROM {ours} USING {theirs} WHERE {one} AND {known}"


def same_value(left: str, right: str, column: Column, pads_text: bool) -> str:
    """Two values are equal, or both are NULL."""
    equal = _equal(left, right, column, pads_text)
    return f"({equal} OR ({left} IS NULL AND {right} IS NULL))"


def count_undecided(
    staging: TableName,
    target: TableName,
    key: Sequence[Column],
    version: str | None,
    pads_text: bool,
) -> str:
    """How many rows of the staging table have one in the target that is no older and no newer.

    To be asked when those that are alike have been taken out of it (`delete_known`).
    """
    sql = (
        f"SELECT COUNT(*) FROM {table_sql(target)}, {table_sql(staging)} "
        f"WHERE {same_key(target, staging, key, pads_text)}"
    )
    if version is None:
        return sql
    there, new = (f"{table_sql(table)}.{quoted(version)}" for table in (target, staging))
    return f"{sql} AND ({there} = {new} OR ({there} IS NULL AND {new} IS NULL))"


def count_equal_rows(
    staging: TableName,
    target: TableName,
    columns: Sequence[Column],
    cursor: str,
    placeholder: str,
    pads_text: bool,
) -> str:
    """How many rows the staging table has in common with the target's at or after a bound.

    A row that is there twice on both sides counts twice; NULL equals NULL, as GROUP BY has it.
    """
    names = column_list(column.name for column in columns if not column.read_time)
    terms = ", ".join(key_terms([c for c in columns if not c.read_time], pads_text))
    return bound(
        "SELECT SUM(CASE WHEN ferry_ours < ferry_theirs THEN ferry_ours ELSE ferry_theirs END) "
        "FROM (SELECT SUM(ferry_side) AS ferry_ours, SUM(1 - ferry_side) AS ferry_theirs FROM ("
        f"SELECT {names}, 1 AS ferry_side FROM {table_sql(staging)} UNION ALL "
        f"SELECT {names}, 0 AS ferry_side FROM {table_sql(target)} "
        f"WHERE {quoted(cursor)} >= {MARK}) AS both_sides GROUP BY {terms}) AS counted",
        placeholder,
    )


def delete_matching(
    target: TableName, staging: TableName, key: Sequence[Column], pads_text: bool
) -> str:
    """Take out of the target the rows whose key is in the staging table."""
    return (
        f"DELETE FROM {table_sql(target)} USING {table_sql(staging)} "
        f"WHERE {same_key(target, staging, key, pads_text)}"
    )


def count_deletable(
    staging: TableName,
    target: TableName,
    key: Sequence[Column],
    deleted: str,
    pads_text: bool,
) -> str:
    """How many rows of the target the staging table marks as deleted, by this condition."""
    return (
        f"SELECT COUNT(*) FROM {table_sql(target)}, {table_sql(staging)} "
        f"WHERE {same_key(target, staging, key, pads_text)} "
        f"AND {deleted}"
    )


def count_deleted(staging: TableName, deleted: str) -> str:
    """How many rows of the staging table are marked as deleted, by this condition."""
    return f"SELECT COUNT(*) FROM {table_sql(staging)} WHERE {deleted}"


def delete_all(table: TableName) -> str:
    """Empty the table (TRUNCATE would commit on Redshift)."""
    return f"DELETE FROM {table_sql(table)}"


def bound(sql: str, placeholder: str) -> str:
    """A statement of ours with its parameters, `MARK` each, marked as the driver wants them.

    A driver that formats with % takes one in a name for another parameter, unless it is doubled.
    One without parameters stays as it is.
    """
    if MARK not in sql:
        return sql
    parts = sql.split(MARK)
    if "%" in placeholder:
        parts = [part.replace("%", "%%") for part in parts]
    return placeholder.join(parts)


def delete_from(table: TableName, column: str, placeholder: str) -> str:
    """Take out the rows at or after a bound."""
    sql = f"DELETE FROM {table_sql(table)} WHERE {quoted(column)} >= {MARK}"
    return bound(sql, placeholder)


def delete_where(table: TableName, column: str, placeholder: str) -> str:
    """Take out the rows whose column has a bound value."""
    return bound(f"DELETE FROM {table_sql(table)} WHERE {quoted(column)} = {MARK}", placeholder)


def delete_between(table: TableName, column: str, placeholder: str) -> str:
    """Take out the rows from one bound up to, but not including, another."""
    name = quoted(column)
    sql = f"DELETE FROM {table_sql(table)} WHERE {name} >= {MARK} AND {name} < {MARK}"
    return bound(sql, placeholder)


def insert_all(
    target: TableName, staging: TableName, columns: Sequence[Column], unless: str | None = None
) -> str:
    """Insert the staging table's rows, but for those that meet a condition."""
    names = column_list(column.name for column in columns)
    text = f"INSERT INTO {table_sql(target)} ({names}) SELECT {names} FROM {table_sql(staging)}"
    return f"{text} WHERE NOT {unless}" if unless else text


def insert_values(table: TableName, columns: Sequence[Column], rows: int, placeholder: str) -> str:
    """Insert so many rows of bound parameters."""
    row = "(" + ", ".join([MARK] * len(columns)) + ")"
    names = column_list(column.name for column in columns)
    values = ", ".join([row] * rows)
    return bound(f"INSERT INTO {table_sql(table)} ({names}) VALUES {values}", placeholder)


def select_where(table: TableName, columns: Sequence[Column], column: str, placeholder: str) -> str:
    """The rows whose column has a bound value."""
    names = column_list(c.name for c in columns)
    return bound(
        f"SELECT {names} FROM {table_sql(table)} WHERE {quoted(column)} = {MARK}", placeholder
    )


def select_newest(table: TableName, columns: Sequence[Column], by: str, rows: int) -> str:
    """The rows with the highest values in a column, so many at most, the highest first."""
    names = column_list(c.name for c in columns)
    return (
        f"SELECT {names} FROM {table_sql(table)} ORDER BY {quoted(by)} DESC NULLS LAST "
        f"LIMIT {int(rows)}"
    )


def count_where(table: TableName, column: str, placeholder: str) -> str:
    """How many rows have a bound value in this column."""
    sql = f"SELECT COUNT(*) FROM {table_sql(table)} WHERE {quoted(column)} = {MARK}"
    return bound(sql, placeholder)


def count_within(table: TableName, column: str, stretches: int, placeholder: str) -> str:
    """How many rows lie in any of so many stretches, each from a bound up to, but without, another.

    One question, however many they are: without an index each would read the whole table.
    """
    name = quoted(column)
    each = " OR ".join([f"({name} >= {MARK} AND {name} < {MARK})"] * stretches)
    return bound(f"SELECT COUNT(*) FROM {table_sql(table)} WHERE {each}", placeholder)


def find_schema(placeholder: str) -> str:
    """One row if there is a schema of the bound name."""
    return f"SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = {placeholder}"


def find_tables(placeholder: str) -> str:
    """Names of the tables in the schema of the bound name."""
    return f"SELECT table_name FROM information_schema.tables WHERE table_schema = {placeholder}"
