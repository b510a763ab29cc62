"""What in PostgreSQL's catalog makes a DELETE or an INSERT do otherwise than it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ferry.schema import TableName
from ferry.statements import PARAM, Statement

# An empty schema is the connection's own. `t` is the table and what is below it: a key onto a
# partition, or a trigger of one, sees its rows go. Rules and policies are of the table that a
# statement names, and an INSERT goes into that and its partitions. Of a rule's events 1 is SELECT,
# which every view has.
# https://www.postgresql.org/docs/current/catalog-pg-rewrite.html
# A trigger's bits: 1 for each row, 2 before, 4 on INSERT, 8 on DELETE.
# https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_trigger.h
# Keys and triggers have copies of their own for every partition: `tgparentid`, since 13, tells.
_SIDE_EFFECTS = f"""
WITH RECURSIVE t AS (
  SELECT c.oid, c.relkind, true AS named, 12 AS events FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  WHERE c.relname = {PARAM} AND n.nspname = COALESCE(NULLIF({PARAM}, ''), current_schema())
  UNION
  SELECT c.oid, c.relkind, false, CASE WHEN c.relispartition THEN 12 ELSE 8 END FROM t
  JOIN pg_catalog.pg_inherits AS i ON i.inhparent = t.oid
  JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
), f AS (
  SELECT f.oid, f.conparentid, f.conname, f.conrelid
  FROM t JOIN pg_catalog.pg_constraint AS f ON f.confrelid = t.oid
  WHERE f.contype = 'f' AND f.confdeltype IN ('c', 'n', 'd')
), g AS (
  SELECT g.oid, g.tgparentid, g.tgname, g.tgrelid, g.tgtype & t.events AS events
  FROM t JOIN pg_catalog.pg_trigger AS g ON g.tgrelid = t.oid
  WHERE NOT g.tgisinternal AND g.tgenabled IN ('O', 'A')
    AND g.tgtype & 3 = 3 AND g.tgtype & t.events > 0
)
SELECT 'the foreign key ' || conname || ' of ' || CAST(conrelid AS pg_catalog.regclass)
       || ' deletes or empties rows there with each row that is replaced here'
FROM f WHERE conparentid NOT IN (SELECT oid FROM f)
UNION ALL
SELECT 'the rule ' || r.rulename || ' does something else in the place of a statement'
FROM t JOIN pg_catalog.pg_rewrite AS r ON r.ev_class = t.oid
WHERE t.named AND r.ev_type <> '1' AND r.ev_enabled <> 'D'
UNION ALL
SELECT 'the trigger ' || tgname || ' of ' || CAST(tgrelid AS pg_catalog.regclass)
       || CASE WHEN events & 8 = 8 THEN ' before a DELETE can keep the row'
          ELSE ' before an INSERT can change the row or leave it out' END
FROM g WHERE tgparentid NOT IN (SELECT oid FROM g)
UNION ALL
SELECT 'row level security hides rows from this user'
FROM t WHERE t.named AND row_security_active(t.oid)
UNION ALL
SELECT 'it is a view, and what the tables under it do is not looked for' FROM t WHERE relkind = 'v'
ORDER BY 1
"""  # noqa: S608


def side_effects(
    fetch: Callable[[Statement], list[tuple[Any, ...]]], table: TableName
) -> tuple[str, ...]:
    """What would keep a row that is deleted, hide one, or change others, a sentence each."""
    return tuple(said for (said,) in fetch(Statement(_SIDE_EFFECTS, (table.name, table.schema))))
