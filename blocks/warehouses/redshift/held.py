"""What Redshift's catalog says of a table's keys, constraints and encodings, which hold columns.

In statements of their own: functions of the leader node alone, and PostgreSQL's catalog, are
refused beside a view that goes to the compute nodes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ferry.schema import TableName
from ferry.statements import PARAM, Statement, quoted, storage_keys, table_sql
from ferry.target.retype import HeldColumns, LengthHold

Fetch = Callable[[Statement | str], list[tuple[Any, ...]]]

# https://docs.aws.amazon.com/redshift/latest/dg/r_SVV_REDSHIFT_COLUMNS.html
_COLUMNS = f"""
SELECT column_name, distkey, sortkey, is_nullable, encoding, column_default
FROM svv_redshift_columns
WHERE database_name = {PARAM} AND table_name = {PARAM} AND schema_name = {PARAM}
ORDER BY sortkey, ordinal_position
"""  # noqa: S608
# As https://github.com/sqlalchemy-redshift/sqlalchemy-redshift asks: the leader node alone answers.
_CONSTRAINTS = f"""
SELECT k.contype, k.conname, a.attname
FROM pg_catalog.pg_constraint AS k
JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
WHERE k.contype IN ('p', 'u', 'f') AND c.relname = {PARAM}
  AND n.nspname = COALESCE(NULLIF({PARAM}, ''), current_schema())
ORDER BY k.contype, k.conname, a.attnum
"""  # noqa: S608
_CALLED = {"p": "PRIMARY KEY", "u": "UNIQUE", "f": "FOREIGN KEY"}
_OF_FIXED_LENGTH = {"bytedict", "runlength", "text255", "text32k"}
"""https://docs.aws.amazon.com/redshift/latest/dg/r_ALTER_TABLE.html, at ALTER COLUMN … TYPE."""


@dataclass(frozen=True)
class Constraint:
    """A constraint that is declared, and that nothing enforces.

    Attributes:
        kind: `p`, `u` or `f`, as `pg_constraint` has it.
        name: Its name.
        columns: The table's columns that it is over.
    """

    kind: str
    name: str
    columns: tuple[str, ...]


def constraints(fetch: Fetch, table: TableName) -> list[Constraint]:
    """The table's primary, unique and foreign keys."""
    columns: dict[tuple[str, str], list[str]] = {}
    for kind, name, column in fetch(Statement(_CONSTRAINTS, (table.name, table.schema))):
        columns.setdefault((kind, name), []).append(column)
    return [Constraint(kind, name, tuple(each)) for (kind, name), each in columns.items()]


def held_columns(fetch: Fetch, table: TableName) -> HeldColumns:
    """Columns that cannot be dropped, or not be made again as they are, or not be made longer.

    Of the first kind are those of the distribution and the sort key, and those that are NOT NULL,
    as the primary key's are: a column with that constraint cannot be added to a table with rows.
    Of the last are those of some encodings, with a default, or under a declared key.
    """
    ((database, schema),) = fetch("SELECT current_database(), current_schema()")
    rows = fetch(Statement(_COLUMNS, (database, table.name, table.schema or schema)))
    held = {name: "the primary key, or NOT NULL" for name, _, _, null, *_ in rows if null == "NO"}
    dist = [name for name, distkey, *_ in rows if distkey]
    sort = [name for name, _, sortkey, *_ in rows if sortkey]
    held |= dict.fromkeys(sort, "the sort key") | dict.fromkeys(dist, "the distribution key")
    alter = f"ALTER TABLE {table_sql(table)}"
    lengths: dict[str, list[LengthHold]] = defaultdict(list)
    for name, *_, encoding, default in rows:
        if (encoding or "").lower() in _OF_FIXED_LENGTH:
            encode = f"{alter} ALTER COLUMN {quoted(name)} ENCODE zstd;"
            lengths[name].append(LengthHold(f"of the encoding {encoding}", encode))
        if default:
            lengths[name].append(LengthHold("with a default value"))
    for each in constraints(fetch, table):
        drop = f"{alter} DROP CONSTRAINT {quoted(each.name)};"
        for name in each.columns:
            lengths[name].append(LengthHold(f"under the {_CALLED[each.kind]} {each.name}", drop))
    return HeldColumns(held, storage_keys(sort, dist[0] if dist else None), lengths)
