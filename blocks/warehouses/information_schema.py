"""What the views of SQL's standard catalog tell, for the engines that have it."""

from __future__ import annotations

from blocks.warehouse import Warehouse
from ferry.schema import TableName
from ferry.statements import PARAM, Statement

_HAS_DEFAULT = (
    f"SELECT column_name FROM information_schema.columns WHERE table_schema = {PARAM} "  # noqa: S608
    f"AND table_name = {PARAM} AND column_default IS NOT NULL"
)
_TABLES = f"SELECT table_name FROM information_schema.tables WHERE table_schema = {PARAM}"  # noqa: S608
# information_schema.schemata leaves out schemas in which the user has no rights.
# https://www.postgresql.org/docs/current/infoschema-schemata.html
_SCHEMA = f"SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = {PARAM}"  # noqa: S608


class StandardCatalog(Warehouse):
    """A warehouse with SQL's standard catalog and, as PostgreSQL's kin have, `pg_namespace`."""

    def filled_columns(self, table: TableName) -> set[str]:
        """Columns that have a default value, in lower case."""
        rows = self.fetch(Statement(_HAS_DEFAULT, (table.schema, table.name)))
        return {name.lower() for (name,) in rows}

    def has_schema(self, schema: str) -> bool:
        """Whether there is a schema of this name."""
        return bool(self.fetch(Statement(_SCHEMA, (schema,))))

    def tables_in(self, schema: str) -> list[str]:
        """Names of the tables in a schema; none where there is no such schema."""
        return [name for (name,) in self.fetch(Statement(_TABLES, (schema,)))]
