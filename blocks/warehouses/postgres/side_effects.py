"""What in PostgreSQL's catalog makes a DELETE or an INSERT do otherwise than it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ferry.schema import TableName
from ferry.statements import PARAM, Statement

# An empty schema is the connection's own. Of a rule's events 1 is SELECT, which every view has.
# https://www.postgresql.org/docs/current/catalog-pg-rewrite.html
# A trigger's bits: 1 for each row, 2 before, 8 on DELETE.
# https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_trigger.h
_SIDE_EFFECTS = f"""
WITH t AS (
  SELECT c.oid FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  WHERE c.relname = {PARAM} AND n.nspname = COALESCE(NULLIF({PARAM}, ''), current_schema())
)
SELECT 'the foreign key ' || f.conname || ' of ' || CAST(f.conrelid AS pg_catalog.regclass)
       || ' deletes or empties rows there with each row that is replaced here'
FROM t JOIN pg_catalog.pg_constraint AS f ON f.confrelid = t.oid
WHERE f.contype = 'f' AND f.confdeltype IN ('c', 'n', 'd')
UNION ALL
SELECT 'the rule ' || r.rulename || ' does something else in the place of a statement'
FROM t JOIN pg_catalog.pg_rewrite AS r ON r.ev_class = t.oid
WHERE r.ev_type <> '1' AND r.ev_enabled <> 'D'
UNION ALL
SELECT 'the trigger ' || g.tgname || ' before a DELETE can keep the row'
FROM t JOIN pg_catalog.pg_trigger AS g ON g.tgrelid = t.oid
WHERE NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') AND g.tgtype & 11 = 11
UNION ALL
SELECT 'row level security hides rows from this user' FROM t WHERE row_security_active(t.oid)
ORDER BY 1
"""  # noqa: S608


def side_effects(
    fetch: Callable[[Statement], list[tuple[Any, ...]]], table: TableName
) -> tuple[str, ...]:
    """What would keep a row that is deleted, hide one, or change others, a sentence each."""
    return tuple(said for (said,) in fetch(Statement(_SIDE_EFFECTS, (table.name, table.schema))))
