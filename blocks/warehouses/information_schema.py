"""What the views of SQL's standard catalog tell, for the engines that have it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ferry.schema import TableName
from ferry.statements import PARAM, Statement

_HAS_DEFAULT = (
    f"SELECT column_name FROM information_schema.columns WHERE table_schema = {PARAM} "  # noqa: S608
    f"AND table_name = {PARAM} AND column_default IS NOT NULL"
)
_TABLES = f"SELECT table_name FROM information_schema.tables WHERE table_schema = {PARAM}"  # noqa: S608

Fetch = Callable[[Statement], list[tuple[Any, ...]]]


def columns_with_default(fetch: Fetch, table: TableName) -> set[str]:
    """Columns that have a default value, in lower case."""
    rows = fetch(Statement(_HAS_DEFAULT, (table.schema, table.name)))
    return {name.lower() for (name,) in rows}


def tables_in(fetch: Fetch, schema: str) -> list[str]:
    """Names of the tables in a schema; none where there is no such schema."""
    return [name for (name,) in fetch(Statement(_TABLES, (schema,)))]
