"""SQL statements over a staging table and its target: which rows they have in common.

They keep within what every warehouse accepts, as those of `ferry.statements` do.
"""

from __future__ import annotations

from collections.abc import Sequence

from ferry.schema import Column, Kind, TableName
from ferry.statements import PARAM, Statement, column_list, quoted, table_sql
from ferry.windows import RepeatedTimes


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


def known(
    staging: TableName,
    target: TableName,
    columns: Sequence[Column],
    key: Sequence[Column],
    version: str | None,
    *,
    pads_text: bool,
    repeated: Sequence[RepeatedTimes] = (),
    deleted: Statement | None = None,
) -> Statement:
    """The condition that the target has a row of the staging table already, or a newer one.

    A row without a version is older than one that has one; of two versions within one stretch of
    `repeated` times neither is older. A row whose deletion is to be applied
    (`deleted` is the condition for it) is not known, even if the target has it. When a row was read
    makes no difference. What is added at its end is a condition on the target's rows.
    """
    ours, theirs = table_sql(staging), table_sql(target)
    same = " AND ".join(
        same_value(f"{ours}.{quoted(c.name)}", f"{theirs}.{quoted(c.name)}", c, pads_text)
        for c in columns
        if c not in key and not c.read_time
    )
    alike = f"({same or '1 = 1'})"
    if deleted:
        alike = f"({alike} AND NOT {deleted.sql})"
    values = deleted.values if deleted else ()
    if version:
        there, new = f"{theirs}.{quoted(version)}", f"{ours}.{quoted(version)}"
        older = f"{there} > {new}"
        if repeated:
            same_times = within_one(there, new, repeated)
            older += f" AND NOT {same_times.sql}"
            values = (*same_times.values, *values)
        alike = f"({older} OR ({there} IS NOT NULL AND {new} IS NULL) OR {alike})"
    one = same_key(staging, target, key, pads_text)
    return Statement(f"{one} AND {alike}", values)


def count_unknown(
    staging: TableName, target: TableName, known: Statement, key: Sequence[Column]
) -> Statement:
    """How many rows of the staging table are not `known`.

    A key that the target has more than once counts no row twice.
    """
    return Statement(
        f"SELECT COUNT(*) FROM {table_sql(staging)} LEFT JOIN {table_sql(target)} ON {known.sql} "
        f"WHERE {table_sql(target)}.{quoted(key[0].name)} IS NULL",
        known.values,
    )


def within_one(left: str, right: str, stretches: Sequence[RepeatedTimes]) -> Statement:
    """The condition that two values lie within the same one of these stretches of times."""
    within = f"{{0}} >= {PARAM} AND {{0}} < {PARAM}"
    both = f"({within.format(left)} AND {within.format(right)})"
    return Statement(
        f"({' OR '.join([both] * len(stretches))})",
        tuple(bound for stretch in stretches for bound in (*stretch, *stretch)),
    )


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
    repeated: Sequence[RepeatedTimes] = (),
) -> Statement:
    """How many rows of the staging table have one in the target that is no older and no newer.

    To be asked when those that are alike have been taken out of it (`known`).
    """
    sql = (
        f"SELECT COUNT(*) FROM {table_sql(target)}, {table_sql(staging)} "
        f"WHERE {same_key(target, staging, key, pads_text)}"
    )
    if version is None:
        return Statement(sql)
    there, new = (f"{table_sql(table)}.{quoted(version)}" for table in (target, staging))
    undecided = no_newer(there, new, repeated)
    return Statement(f"{sql} AND {undecided.sql}", undecided.values)


def no_newer(left: str, right: str, repeated: Sequence[RepeatedTimes]) -> Statement:
    """The condition that of two versions neither is newer, as far as they can tell."""
    equal = f"{left} = {right} OR ({left} IS NULL AND {right} IS NULL)"
    if not repeated:
        return Statement(f"({equal})")
    same_times = within_one(left, right, repeated)
    return Statement(f"({equal} OR {same_times.sql})", same_times.values)


def count_equal_rows(
    staging: TableName,
    target: TableName,
    columns: Sequence[Column],
    cursor: str,
    start: object,
    pads_text: bool,
) -> Statement:
    """How many rows the staging table has in common with the target's at or after a bound.

    A row that is there twice on both sides counts twice; NULL equals NULL, as GROUP BY has it.
    """
    names = column_list(column.name for column in columns if not column.read_time)
    terms = ", ".join(key_terms([c for c in columns if not c.read_time], pads_text))
    return Statement(
        "SELECT SUM(CASE WHEN ferry_ours < ferry_theirs THEN ferry_ours ELSE ferry_theirs END) "
        "FROM (SELECT SUM(ferry_side) AS ferry_ours, SUM(1 - ferry_side) AS ferry_theirs FROM ("
        f"SELECT {names}, 1 AS ferry_side FROM {table_sql(staging)} UNION ALL "
        f"SELECT {names}, 0 AS ferry_side FROM {table_sql(target)} "
        f"WHERE {quoted(cursor)} >= {PARAM}) AS both_sides GROUP BY {terms}) AS counted",
        (start,),
    )


def delete_matching(
    target: TableName, staging: TableName, key: Sequence[Column], *, pads_text: bool, using: bool
) -> Statement:
    """Take out of the target the rows whose key is in the staging table.

    What is added at its end is a condition on the target's rows.
    """
    same = Statement(same_key(target, staging, key, pads_text))
    return delete_joined(target, staging, same, using=using)


def delete_joined(
    table: TableName, other: TableName, condition: Statement, *, using: bool
) -> Statement:
    """Take out of a table the rows that meet a condition together with a row of the other."""
    head, joined = f"DELETE FROM {table_sql(table)}", table_sql(other)
    if using:
        sql = f"{head} USING {joined} WHERE {condition.sql}"
    else:
        sql = f"{head} WHERE EXISTS (SELECT 1 FROM {joined} WHERE {condition.sql})"
    return Statement(sql, condition.values)


def select_matching(
    item: str, staging: TableName, target: TableName, key: Sequence[Column], pads_text: bool
) -> str:
    """The item for each row of the target whose key is in the staging table."""
    return (
        f"SELECT {item} FROM {table_sql(target)}, {table_sql(staging)} "
        f"WHERE {same_key(target, staging, key, pads_text)}"
    )


def select_deletable(
    item: str,
    staging: TableName,
    target: TableName,
    key: Sequence[Column],
    deleted: Statement,
    pads_text: bool,
) -> Statement:
    """The item for each row of the target that the staging table marks as deleted."""
    matching = select_matching(item, staging, target, key, pads_text)
    return Statement(f"{matching} AND {deleted.sql}", deleted.values)


def count_deleted(staging: TableName, deleted: Statement) -> Statement:
    """How many rows of the staging table are marked as deleted, by this condition."""
    sql = f"SELECT COUNT(*) FROM {table_sql(staging)} WHERE {deleted.sql}"
    return Statement(sql, deleted.values)
