"""The views that are bound to a column, from PostgreSQL's catalog, which Redshift has as well.

A rule of a view depends on the columns that it reads, and belongs to its view (`pg_depend`, type
`i`). Redshift's late-binding views depend on nothing. That Redshift records views in this way is
what AWS's own scripts build on
https://github.com/awslabs/amazon-redshift-utils/blob/master/src/AdminViews/v_view_dependency.sql
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ferry.schema import TableName
from ferry.statements import PARAM, Statement
from ferry.target.retype import View

_VIEWS = f"""
SELECT DISTINCT vn.nspname, v.relname, v.relkind
FROM pg_catalog.pg_class AS t
JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
JOIN pg_catalog.pg_depend AS used ON used.refobjid = t.oid
JOIN pg_catalog.pg_depend AS owned ON owned.objid = used.objid AND owned.deptype = 'i'
JOIN pg_catalog.pg_class AS v ON v.oid = owned.refobjid
JOIN pg_catalog.pg_namespace AS vn ON vn.oid = v.relnamespace
LEFT JOIN pg_catalog.pg_attribute AS a
  ON a.attrelid = used.refobjid AND a.attnum = used.refobjsubid AND a.attnum > 0
WHERE t.relname = {PARAM} AND tn.nspname = COALESCE(NULLIF({PARAM}, ''), current_schema())
  AND v.relkind IN ('v', 'm') AND v.oid <> t.oid"""  # noqa: S608
_OF_COLUMN = _VIEWS + f" AND a.attname = {PARAM}"

Fetch = Callable[[Statement], list[tuple[Any, ...]]]


def bound_views(fetch: Fetch, table: TableName, column: str | None) -> tuple[View, ...]:
    """The views over a column, and the views over these, in the order in which to drop them.

    Args:
        fetch: Returns a query's rows.
        table: The table.
        column: Its column; None for the views over any of it.
    """
    found: list[View] = []
    names = (table.name, table.schema)
    of_column = Statement(_OF_COLUMN, (*names, column))
    waiting = _views(fetch(Statement(_VIEWS, names) if column is None else of_column))
    while waiting:
        view = waiting.pop(0)
        if view in found:
            found.remove(view)  # something between reads it as well: it is dropped later
        found.append(view)
        waiting += _views(fetch(Statement(_VIEWS, (view.name.name, view.name.schema))))
    return tuple(reversed(found))


def _views(rows: list[tuple[Any, ...]]) -> list[View]:
    return [
        _view(TableName(schema, name), materialized=kind == "m")
        for schema, name, kind in sorted(rows, key=lambda row: row[:2])
    ]


def _view(name: TableName, *, materialized: bool) -> View:
    kind = "matview" if materialized else "view"
    query = (
        f"SELECT definition FROM pg_{kind}s WHERE schemaname = {_literal(name.schema)} "  # noqa: S608
        f"AND {kind}name = {_literal(name.name)};"
    )
    return View(name, query, materialized)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
