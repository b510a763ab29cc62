"""What in PostgreSQL's catalog keeps a column's type from being altered, but for views.

As `ALTER TABLE … ALTER COLUMN … TYPE` refuses it, of the table and of what is below it:
https://github.com/postgres/postgres/blob/master/src/backend/commands/tablecmds.c, at
RememberAllDependentForRebuilding and ATPrepAlterColumnType.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from ferry.schema import TableName
from ferry.statements import PARAM, Statement
from ferry.target.retype import HeldColumns

# A column of a partition key is bound to its table. A generated column is bound to those it is made
# of: itself until 14, its expression since 15.
_HELD = f"""
WITH RECURSIVE t AS (
  SELECT c.oid, true AS named FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  WHERE c.relname = {PARAM} AND n.nspname = COALESCE(NULLIF({PARAM}, ''), current_schema())
  UNION
  SELECT i.inhrelid, false FROM t JOIN pg_catalog.pg_inherits AS i ON i.inhparent = t.oid
), a AS (
  SELECT t.oid, t.named, a.attname, a.attnum, a.attinhcount
  FROM t JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.oid
  WHERE a.attnum > 0 AND NOT a.attisdropped
), used AS (
  SELECT a.oid, a.attname, a.attnum, CAST(d.classid AS regclass) AS by, d.objid, d.objsubid
  FROM a JOIN pg_catalog.pg_depend AS d ON d.refobjid = a.oid AND d.refobjsubid = a.attnum
  WHERE d.refclassid = CAST('pg_catalog.pg_class' AS regclass)
)
SELECT a.attname, 'the partition key', NULL
FROM a JOIN pg_catalog.pg_depend AS d ON d.objid = a.oid AND d.objsubid = a.attnum
WHERE d.classid = CAST('pg_catalog.pg_class' AS regclass) AND d.classid = d.refclassid
  AND d.refobjid = a.oid AND d.refobjsubid = 0 AND d.deptype = 'i'
UNION
SELECT a.attname, 'the table ' || CAST(i.inhparent AS regclass) || ', which hands it down',
       format(CASE WHEN c.relispartition THEN 'ALTER TABLE %2$s DETACH PARTITION %1$s'
              ELSE 'ALTER TABLE %1$s NO INHERIT %2$s' END,
              CAST(a.oid AS regclass), CAST(i.inhparent AS regclass))
FROM a JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = a.oid
JOIN pg_catalog.pg_class AS c ON c.oid = a.oid
WHERE a.named AND a.attinhcount > 0
UNION
SELECT u.attname, 'the generated column ' || g.attname,
       format('ALTER TABLE %s DROP COLUMN %I', CAST(g.attrelid AS regclass), g.attname)
FROM used AS u LEFT JOIN pg_catalog.pg_attrdef AS x
  ON x.oid = u.objid AND u.by = CAST('pg_catalog.pg_attrdef' AS regclass)
JOIN pg_catalog.pg_attribute AS g
  ON (g.attrelid, g.attnum) = (x.adrelid, x.adnum) OR (g.attrelid, g.attnum) = (u.objid, u.objsubid)
  AND u.by = CAST('pg_catalog.pg_class' AS regclass)
WHERE g.attgenerated <> '' AND NOT (g.attrelid = u.oid AND g.attnum = u.attnum)
  AND g.attinhcount = 0
UNION
SELECT u.attname, 'the trigger ' || g.tgname,
       format('DROP TRIGGER %I ON %s', g.tgname, CAST(g.tgrelid AS regclass))
FROM used AS u JOIN pg_catalog.pg_trigger AS g
  ON g.oid = u.objid AND u.by = CAST('pg_catalog.pg_trigger' AS regclass)
WHERE NOT g.tgisinternal AND g.tgparentid = 0
UNION
SELECT u.attname, 'the policy ' || p.polname,
       format('DROP POLICY %I ON %s', p.polname, CAST(p.polrelid AS regclass))
FROM used AS u JOIN pg_catalog.pg_policy AS p
  ON p.oid = u.objid AND u.by = CAST('pg_catalog.pg_policy' AS regclass)
UNION
SELECT u.attname, 'the publication ' || p.pubname,
       format('ALTER PUBLICATION %I DROP TABLE %s', p.pubname, CAST(r.prrelid AS regclass))
FROM used AS u JOIN pg_catalog.pg_publication_rel AS r
  ON r.oid = u.objid AND u.by = CAST('pg_catalog.pg_publication_rel' AS regclass)
JOIN pg_catalog.pg_publication AS p ON p.oid = r.prpubid
UNION
SELECT u.attname, 'the function ' || CAST(CAST(u.objid AS regprocedure) AS text),
       'DROP ROUTINE ' || CAST(CAST(u.objid AS regprocedure) AS text)
FROM used AS u WHERE u.by = CAST('pg_catalog.pg_proc' AS regclass)
ORDER BY 1, 2
"""  # noqa: S608

_SHOWN_BY = (
    "pg_get_triggerdef, pg_policies, pg_publication_tables, pg_get_functiondef; or of all, "
    "with what was granted, pg_dump --schema-only"
)


def held_columns(
    fetch: Callable[[Statement], list[tuple[Any, ...]]], table: TableName
) -> HeldColumns:
    """Columns whose type cannot be altered, what holds each, and the statements that free it."""
    held, freed = defaultdict(list), defaultdict(list)
    for name, what, statement in fetch(Statement(_HELD, (table.name, table.schema))):
        held[name].append(what)
        freed[name].append(statement)
    return HeldColumns(
        {name: ", of ".join(each) for name, each in held.items()},
        freed_by={name: each for name, each in freed.items() if all(each)},
        copied_whole=False,
        shown_by=_SHOWN_BY,
    )
